"""Several checkpoints in one command: each as if it were measured alone, and none at the cost of another.

Blind to the values: `tests/analysis` tests them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import landscape.measuring.series
from analysis import load
from analysis.store import list_measurements, read, read_attributes
from gcsam.training import train
from landscape.measuring.choice import Choice
from landscape.measuring.series import failure
from landscape.measuring.stages import Stage
from landscape.network.opening import open_run, run_subject
from landscape.network.subject import Subject
from tests.landscape.conftest import TINY, Done

NETS = """
import pathlib, torch

def model():
    with pathlib.Path("calls").open("a") as file: file.write("model ")
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))

def data():
    with pathlib.Path("calls").open("a") as file: file.write("data ")
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    return [(x[:8], torch.arange(8) % 2), (x[8:], torch.arange(12) % 2)]

def changing():
    x = torch.randn(20, 2)
    def batch(samples):
        return x[: len(samples)] + torch.randn(len(samples), 2), torch.arange(len(samples)) % 2
    return torch.utils.data.DataLoader(range(20), 20, collate_fn=batch, num_workers=0)
"""
OWN = "--model nets:model --data nets:data --loss torch.nn:CrossEntropyLoss".split()
MEASURED = [measure.key for measure in Choice().measures]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and three checkpoints, where the command is called."""
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    Path("ckpt").mkdir()
    for seed, name in enumerate(("epoch-10", "epoch-2", "epoch-1")):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
        weights = {f"module.{key}": tensor for key, tensor in model.state_dict().items()}
        torch.save({"model": weights}, f"ckpt/{name}.pt")
    return tmp_path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eigenvalues and one sharpness: how long it takes does not depend on which are asked for."""
    monkeypatch.setattr("landscape.measuring.choice.DEFAULT", ("eigenvalues", "worst"))
    monkeypatch.setattr("landscape.measuring.choice.CHEAP", ())


def rows(done: Done) -> list[str]:
    """Return the names in the first column of the table."""
    lines = done.out[done.out.index("checkpoint ") :].splitlines()
    return [line.split()[0] for line in lines if line.strip().startswith("epoch")]


def test_each_file_holds_what_its_checkpoint_alone_gives(cli: Callable[..., Done], own: Path) -> None:
    """Fails if weights, kept graphs or random numbers of one checkpoint reach the next, or order is not natural."""
    done = cli("measure", "--checkpoint", "ckpt/epoch-*[02].pt", *OWN, "--output", "made/measured", "--seed", "3")
    assert (done.status, done.err) == (0, ""), done.err
    assert Path("calls").read_text() == "model data "
    files = [Path(f"made/measured/epoch-{epoch}.h5") for epoch in (2, 10)]
    assert sorted(Path("made/measured").glob("*.h5")) == sorted(files)
    for place, file in enumerate(files):
        checkpoint = f"ckpt/{file.stem}.pt"
        assert cli("measure", "--checkpoint", checkpoint, *OWN, "--output", "one.h5", "--seed", "3").status == 0
        assert set(list_measurements(file)) == {*MEASURED, "training/checkpoint", "training/measured_data"}
        for key in MEASURED:
            assert load(file, key) == load("one.h5", key)
        attributes, expected_attributes = read_attributes(file), read_attributes("one.h5")
        for name in ("checkpoint_sha256", "config", "data_fingerprint"):
            assert attributes[name] == expected_attributes[name]
        noted = read(file, "training/checkpoint").variables
        assert (int(noted["position"].data), str(noted["path"].data)) == (place, checkpoint)
        Path("one.h5").unlink()
    assert rows(done) == ["epoch-2", "epoch-10"]
    for epoch in (2, 10):  # notes about names, once for each
        assert done.out.count(f"ckpt/epoch-{epoch}.pt: removed 'module.' from the names of the weights") == 1


@pytest.mark.usefixtures("few")
def test_finished_ones_are_skipped_and_a_stopped_one_goes_on(
    cli: Callable[..., Done], own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("measure", "--checkpoint", "ckpt/*.pt", *OWN, "--output", "out", "--top", "1")
    measure, computed = landscape.measuring.series.measure, []

    def stopping(subject: Subject, stages: list[Stage], *rest: object, **options: object) -> None:
        if subject.path.stem == "epoch-2":
            measure(subject, stages[:1], *rest, **options)  # type: ignore[arg-type]
            raise KeyboardInterrupt
        measure(subject, stages, *rest, **options)  # type: ignore[arg-type]

    def counting(subject: Subject, stages: list[Stage], *rest: object, **options: object) -> None:
        computed.extend(f"{subject.path.stem} {stage.name}" for stage in stages)
        measure(subject, stages, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("landscape.measuring.series.measure", stopping)
    assert cli(*command).status == 130
    assert list_measurements("out/epoch-2.h5") == ["training/measured_data", "curvature/eigenvalues"]
    before = Path("out/epoch-1.h5").read_bytes()
    monkeypatch.setattr("landscape.measuring.series.measure", counting)
    done = cli(*command)
    assert done.status == 0, done.err
    assert "1 of 3, ckpt/epoch-1.pt: finished before, skipped (--again makes it anew)" in done.out
    assert computed == ["epoch-2 worst", *(f"epoch-10 {name}" for name in ("eigenvalues", "worst"))]
    assert Path("out/epoch-1.h5").read_bytes() == before
    again = cli(*command)
    assert again.out.count("finished before, skipped") == 3
    assert again.out.endswith(done.out[done.out.index("checkpoint ") :])
    # the order is that of the last call, which is the one that figures follow
    turned = [word for epoch in (10, 1) for word in ("--checkpoint", f"ckpt/epoch-{epoch}.pt")]
    assert rows(cli("measure", *turned, *command[3:])) == ["epoch-10", "epoch-1"]
    positions = [int(read(f"out/epoch-{i}.h5", "training/checkpoint").variables["position"].data) for i in (10, 1)]
    assert positions == [0, 1]


@pytest.mark.usefixtures("few")
def test_a_bad_checkpoint_is_told_at_the_end_and_costs_no_other(cli: Callable[..., Done], own: Path) -> None:
    torch.save({"weight": torch.eye(2)}, "ckpt/epoch-3.pt")
    good = torch.load("ckpt/epoch-1.pt")["model"]
    torch.save({name: tensor * float("nan") for name, tensor in good.items()}, "ckpt/epoch-0.pt")
    done = cli("measure", "--checkpoint", "ckpt/*.pt", *OWN, "--output", "out", "--top", "1")
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert done.err.startswith(
        "landscape measure: 2 of 5 checkpoints could not be measured, all others are, and kept: ckpt/epoch-0.pt: the "
        "loss is nan, so there is nothing to measure; check the weights | --checkpoint ckpt/epoch-3.pt: does not "
        "fit the model: it lacks 4 names"
    )
    assert {path.stem for path in Path("out").glob("*.h5")} == {"epoch-1", "epoch-2", "epoch-10"}
    assert rows(done) == ["epoch-1", "epoch-2", "epoch-10"]
    done = cli("measure", "--checkpoint", "ckpt/epoch-[03].pt", *OWN, "--output", "out")
    assert done.status == 1
    assert "2 of 2 checkpoints could not be measured, none was: " in done.err


@pytest.mark.usefixtures("few")
def test_a_file_of_other_weights_is_one_failure(cli: Callable[..., Done], own: Path) -> None:
    command = ("measure", "--checkpoint", "ckpt/*.pt", *OWN, "--output", "out", "--top", "1")
    assert cli(*command).status == 0
    shutil.copy("ckpt/epoch-1.pt", "ckpt/epoch-2.pt")
    done = cli(*command)
    assert done.status == 1
    assert "1 of 3 checkpoints could not be measured, all others are, and kept: ckpt/epoch-2.pt: out" in done.err
    assert "epoch-2.h5 belongs to the checkpoint with SHA-256" in done.err


def test_an_error_that_names_its_checkpoint_names_it_once() -> None:
    told = failure({Path("a.pt"): "--checkpoint a.pt: wrong", Path("b.pt"): "the loss is nan"}, 3)
    assert told.endswith("kept: --checkpoint a.pt: wrong | b.pt: the loss is nan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--output out.h5",
            "--output out.h5: 3 checkpoints need a folder, with one result file for each; give a folder",
        ),
        ("--output nets.py", "--output nets.py: 3 checkpoints need a folder"),
        ("--output out --checkpoint none.pt", "--checkpoint none.pt: no such file; give the one that torch.save wrote"),
        ("--output out --checkpoint none/*.pt", "--checkpoint none/*.pt: no file matches this pattern in "),
        ("--output out --data nets:changing", "the data change between passes"),
        ("--output out --rho nan", "rho must be a finite number > 0"),
        ("", "your own network needs --output too; --help shows an example"),
        ("--output out --over-training", "--over-training needs one run folder and nothing else to measure, got 0 run"),
        ("run --output out", "give run folders or your own network, not both: got run and --model"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(
    cli: Callable[..., Done], own: Path, options: str, message: str
) -> None:
    words = ["measure", "--checkpoint", "ckpt/*.pt", *OWN]
    if "--data" in options:
        words = words[: words.index("--data")] + words[words.index("--data") + 2 :]
    done = cli(*words, *options.split())
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.usefixtures("few")
def test_other_settings_are_refused_before_anything_is_measured(cli: Callable[..., Done], own: Path) -> None:
    """Fails if files are looked at one by one: the first would be measured before the second is refused."""
    some = ("measure", "--checkpoint", "ckpt/epoch-[12].pt", *OWN, "--output", "out", "--top", "1")
    assert cli(*some).status == 0
    refused = cli(*some[:2], "ckpt/*.pt", *some[3:], "--seed", "1")
    assert refused.status == 2
    assert (
        "epoch-1.h5 holds curvature/eigenvalues with seed 0, asked for is 1; give the same, or --again" in refused.err
    )
    assert not Path("out/epoch-10.h5").exists()
    assert cli(*some, "--seed", "1", "--again").status == 0
    assert int(read("out/epoch-1.h5", "curvature/eigenvalues").variables["seed"].data) == 1


@pytest.mark.usefixtures("few")
def test_a_run_at_all_weights_that_its_training_kept(cli: Callable[..., Done], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TINY.model_copy(update={"trajectory_every": 1}), run)
    done = cli("measure", run, "--over-training", "--samples", "30", "--top", "1")
    assert (done.status, done.err) == (0, ""), done.err
    files = sorted((run / "over-training").glob("*.h5"))
    kept = sorted((run / "trajectory").glob("epoch-*.pt"))
    assert [file.stem for file in files] == [path.stem for path in kept]
    objective = run_subject(open_run(run), "cpu", limit=30, writes=False).objective
    for file, path in zip(files, kept, strict=True):
        weights = torch.load(path, weights_only=True)["model"]
        found = load(file, "sharpness/worst").base_loss  # type: ignore[union-attr]
        assert found == pytest.approx(objective.loss(weights), rel=1e-6)
        assert "30 of 60" in str(read(file, "training/measured_data").variables["data"].data)
    # without a wish on as many images as before
    assert "finished before, skipped" in cli("measure", run, "--over-training", "--top", "1").out
    assert len(list((run / "over-training").glob("*.h5"))) == len(kept)
    refused = cli("measure", run, run, "--over-training")
    assert refused.status == 2
    assert "--over-training needs one run folder and nothing else to measure, got 2 run folders" in refused.err


@pytest.mark.usefixtures("few")
def test_a_budget_and_a_dry_run_are_those_of_each_checkpoint(cli: Callable[..., Done], own: Path) -> None:
    """35 gradients: 4 to time, 30 of the eigenvalues; a worst case has no room."""
    command = ("measure", "--checkpoint", "ckpt/*.pt", *OWN, "--output", "out", "--top", "1", "--budget", "35")
    planned = cli(*command, "--dry-run")
    assert (planned.status, planned.err) == (0, "")
    assert not Path("out").exists()
    assert planned.out.startswith("each of 3 checkpoints, where nothing of it is finished")
    done = cli(*command)
    assert done.status == 0, done.err
    for epoch in (1, 2, 10):
        there = list_measurements(f"out/epoch-{epoch}.h5")
        assert [key for key in there if not key.startswith("training")] == ["curvature/eigenvalues"]
    assert done.out.count("worst-case sharpness: left out, would cost about 24 gradients") == 1
