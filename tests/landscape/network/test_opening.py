"""From options to a network ready to be measured. The user's own functions are tested in `test_sources.py`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from analysis.store import list_measurements
from gcsam.training import load_run, train
from landscape.measuring.measure import measure
from landscape.network import opening as module
from landscape.network.opening import open_run, run_subject, subjects
from landscape.options import Device, Given
from tests.landscape.conftest import TINY
from tests.landscape.recorder import Recorder

NETS = """
import torch

def model():
    return torch.nn.Linear(2, 2)

def data():
    return [(torch.ones(3, 2), torch.tensor([0, 1, 0]))]

def wide():
    return [(torch.ones(3, 5), torch.tensor([0, 1, 0]))]
"""
LOSS = "torch.nn.functional:cross_entropy"


def test_a_run_is_measured_with_selected_weights_on_its_training_data(trained: Path, tmp_path: Path) -> None:
    """The oracle is the run's own evaluation, float32 in batches of 512: a few roundings of a sum of 60 numbers."""
    run = open_run(trained)
    subject = run_subject(run, "cpu", output=tmp_path / "out.h5")
    assert subject.objective.loss() == pytest.approx(run.summary["train_loss"], rel=1e-5)
    assert torch.equal(
        subject.objective.weights(), torch.cat([p.detach().flatten() for p in run.model("cpu").parameters()])
    )
    assert subject.data == "60 of 60 training images of digits"
    assert subject.checkpoint_sha256
    assert subject.config == TINY.to_json()
    # a file of its own holds the training too, so that figures know method and seed
    assert list_measurements(tmp_path / "out.h5") == ["training/history", "training/summary"]


def test_fewer_samples_are_a_part_of_them(trained: Path, tmp_path: Path) -> None:
    subject = run_subject(open_run(trained), "cpu", limit=20, output=tmp_path / "out.h5")
    assert subject.data == "20 of 60 training images of digits"
    assert sum(len(labels) for _, labels in subject.objective.data) == 20


def test_without_a_wish_it_is_as_many_as_before(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a run measured on 20 images cannot be measured further without naming the 20 again."""
    monkeypatch.setattr(module, "SAMPLES", 30)
    given = Given([trained], output=tmp_path / "out.h5", samples="", device=Device.CPU)
    (fresh,) = subjects(given, Recorder())
    assert fresh.num_samples == 30
    (chosen,) = subjects(dataclasses.replace(given, samples="20"), Recorder())
    measure(chosen, [], Recorder())
    (again,) = subjects(given, Recorder())
    assert again.num_samples == 20


def test_batches_are_cut_by_the_size_of_an_image(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_NUMBERS", 64 * 7)
    subject = run_subject(open_run(trained), "cpu", output=tmp_path / "out.h5")
    assert [len(labels) for _, labels in subject.objective.data] == [7] * 8 + [4]


def test_a_run_trained_without_the_command_line_gets_its_history(tmp_path: Path) -> None:
    train(TINY, tmp_path / "run")
    (subject,) = subjects(Given([tmp_path / "run"]), Recorder())
    assert subject.path == tmp_path / "run" / "run.h5"
    assert "training/summary" in list_measurements(subject.path)


def test_runs_are_given_as_folders_or_as_their_files(trained: Path) -> None:
    found = list(subjects(Given([trained, trained / "run.h5"], samples="20", device=Device.CPU), Recorder()))
    assert [subject.path for subject in found] == [trained / "run.h5"] * 2
    assert {subject.data for subject in found} == {"20 of 60 training images of digits"}


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, progress=stop)
    assert not load_run(tmp_path).is_finished
    with pytest.raises(ValueError, match="the training stopped after 1 of 2 epochs; give the same landscape train"):
        open_run(tmp_path)


def given(**changes: object) -> Given:
    own = {"model": "nets:model", "checkpoint": "net.pt", "data": "nets:data", "loss": LOSS, "output": Path("net.h5")}
    return Given([], **{**own, **changes})  # type: ignore[arg-type]


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    torch.save({"weight": torch.eye(2), "bias": torch.zeros(2)}, "net.pt")


@pytest.mark.usefixtures("nets")
def test_an_own_network_is_opened_with_its_weights() -> None:
    (subject,) = subjects(given(), Recorder())
    assert subject.objective.loss() == pytest.approx(0.6931472)  # log 2: both outputs are 1
    assert subject.objective.weights().tolist() == [1, 0, 0, 1, 0, 0]
    assert (subject.path, subject.data) == (Path("net.h5"), "nets:data")


@pytest.mark.usefixtures("nets")
def test_what_was_done_to_the_names_of_weights_is_said() -> None:
    torch.save({"module.weight": torch.eye(2), "module.bias": torch.zeros(2)}, "net.pt")
    display = Recorder()
    list(subjects(given(), display))
    assert display.notes == ["net.pt: removed 'module.' from the names of the weights"]


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Given([]), "^give run folders, or your own network by --model, --checkpoint, --data, --loss and --output$"),
        (Given([Path("run")], model="nets:model"), "^give run folders or your own network, not both: got run and --mo"),
        (given(loss="", output=None), "^your own network needs --loss, --output too; --help shows an example$"),
        (given(output=Path("no/net.h5")), r"^--output no/net\.h5: no folder .*no; make it first$"),
        (given(data="nets:wide"), "^--model nets:model, --data nets:wide and --loss .* do not fit together; on the fi"),
        (Given([Path("a"), Path("b")], output=Path("c.h5")), r"^--output c\.h5: one file cannot hold 2 runs; leave it"),
        (Given([Path("a")]), "^a: no such folder; give one that landscape train wrote$"),
        (Given([Path()], samples="some"), "^--samples must be all or a number of at least 2, got 'some'$"),
        (Given([Path()], samples="1"), "got '1'$"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(options: Given, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        list(subjects(options, Recorder()))
