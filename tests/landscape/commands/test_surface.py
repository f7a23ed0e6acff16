"""`landscape surface` and `landscape path` as a user types them, alone and under torchrun."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import analysis
from analysis import loss_surface
from analysis.store import list_measurements, read
from landscape.network.opening import open_run, run_subject
from tests.landscape.commands.test_stages_alone import NETS, OWN
from tests.landscape.conftest import Done

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of the user's own, where the command is called."""
    (tmp_path / "nets.py").write_text(
        NETS + "\ndef right(output, target):\n    return (output.argmax(1) == target) * 1.0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    for seed, name in enumerate(("net.pt", "other.pt")):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
        torch.save(model.state_dict(), name)
    return tmp_path


def test_every_kind_of_a_run(cli: Callable[..., Done], run: Path) -> None:
    for options, key, shown in (
        ("--points 3 --metric accuracy --split test --split validation", "plane", "9 of 9 cells"),
        ("--dimensions 1 --points 5 --extent -0.5:1", "line", "5 of 5 cells"),
        ("--dimensions 3 --points 2", "block", "8 of 8 cells"),
        ("--of curvature --points 2", "curvature", "lambda_max up to"),
        ("--of gradient --points 2x3", "gradient", "% in plane"),
    ):
        done = cli("surface", run, *options.split())
        assert (done.status, done.err) == (0, ""), done.err
        assert f"surface/{key}" in list_measurements(run / "run.h5")
        assert shown in done.out
        assert "finished before, skipped" in cli("surface", run, *options.split()).out
    plane = analysis.load(run / "run.h5", "plane")
    assert plane.metric_names == (
        "accuracy", "test/loss", "test/accuracy", "validation/loss", "validation/accuracy"
    )  # fmt: skip
    subject = run_subject(open_run(run), "cpu", beside=["test"], writes=False)
    assert float(plane.metrics[1, 1, 1]) == pytest.approx(subject.objective.on(subject.splits["test"]).loss(), rel=1e-6)


def test_a_path_between_two_runs(cli: Callable[..., Done], run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    kept = torch.load(other / "selected.pt", weights_only=True)
    kept["model"] = {name: -tensor for name, tensor in kept["model"].items()}
    torch.save(kept, other / "selected.pt")
    command = ("path", run, other, "--curve", "linear", "--curve", "bezier", "--points", "3", "--steps", "4")
    done = cli(*command, "--metric", "accuracy", "--output", tmp_path / "way.h5")
    assert (done.status, done.err) == (0, ""), done.err
    assert "barrier" in done.out
    objective = run_subject(open_run(run), "cpu", writes=False).objective
    for name in ("linear_path", "bezier_path"):
        found = analysis.load(tmp_path / "way.h5", name)
        assert float(found.loss[0]) == pytest.approx(objective.loss(), rel=1e-6)
        assert float(found.loss[2]) == pytest.approx(objective.loss(kept["model"]), rel=1e-6)
        assert found.metric_names == ("accuracy",)
    refused = cli(*command[:-1], "5", "--metric", "accuracy", "--output", tmp_path / "way.h5")
    assert refused.status == 2
    assert "holds surface/bezier_path with steps 4, asked for is 5" in refused.err


def test_an_own_network(cli: Callable[..., Done], own: Path) -> None:
    done = cli("surface", *OWN, "--points", "3", "--test-data", "nets:data", "--metric", "nets:right", "--keep-1d")
    assert (done.status, done.err) == (0, ""), done.err
    plane = analysis.load(own / "net.h5", "plane")
    assert plane.metric_names == ("right", "test/loss", "test/right")
    assert plane.zero_1d is False
    done = cli("surface", *OWN, "--dimensions", "1", "--toward", "other.pt", "--extent", "0:1", "--points", "2")
    assert (done.status, done.err) == (0, ""), done.err
    line = analysis.load(own / "net.h5", "line")
    assert (line.source, line.normalize) == ("given", "none")
    way = (
        "path",
        "net.pt",
        "other.pt",
        "--model",
        "nets:model",
        "--data",
        "nets:data",
        "--loss",
        "torch.nn:CrossEntropyLoss",
    )
    done = cli(*way, "--points", "2", "--output", "way.h5")
    assert (done.status, done.err) == (0, ""), done.err
    linear = analysis.load(own / "way.h5", "linear_path")
    assert linear.loss.tolist() == pytest.approx(line.loss.tolist(), rel=1e-5)


def test_other_ends_are_not_taken_for_finished(cli: Callable[..., Done], own: Path) -> None:
    """Fails if a stored line or path is skipped by its settings alone: the file does not hold what was asked for."""
    torch.save({name: 2 * tensor for name, tensor in torch.load("other.pt").items()}, "third.pt")
    line = ("surface", *OWN, *"--dimensions 1 --extent 0:1 --points 2 --toward".split())
    way = "--model nets:model --data nets:data --loss torch.nn:CrossEntropyLoss --points 2 --output way.h5".split()
    for command, key in ((line, "direction"), (("path", *way, "net.pt"), "end_sha256")):
        first = cli(*command, "other.pt")
        assert (first.status, first.err) == (0, ""), first.err
        again = cli(*command, "other.pt")
        assert again.out[again.out.index("┏") :] == first.out[first.out.index("┏") :]
        refused = cli(*command, "third.pt")
        assert refused.status == 2
        assert re.search(rf"begun with another configuration \(.*{key}: given", refused.err)
        assert cli(*command, "third.pt", "--again").status == 0
    more = ("surface", *OWN, *"--points 2 --test-data nets:data".split())
    assert cli(*more).status == 0
    sys.modules.pop("nets", None)
    importlib.invalidate_caches()
    own.joinpath("nets.py").write_text(NETS + "\ndef test():\n    return [(x + 1, y) for x, y in data()]\n")
    refused = cli(*more[:-1], "nets:test")
    assert "begun with another configuration (data_fingerprint: given" in refused.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("surface RUN --points 1", "--points must be a whole number >= 2"),
        ("surface RUN --extent 0", "--extent must be a number > 0"),
        (
            "surface RUN --toward nowhere.pt --dimensions 1",
            "nowhere.pt: no such file; give the one that torch.save wrote, a .safetensors file, or a",
        ),
        ("surface RUN --split train", "--split must be validation or test, got 'train'"),
        ("surface RUN --metric f1", "--metric must be accuracy or package.module:function, got 'f1'"),
        ("surface RUN --test-data nets:data", "--test-data nets:data: for runs give --split test"),
        ("surface RUN --of curvature --metric accuracy", "--of curvature is of a plane"),
        ("path RUN RUN --output way.h5", "start and end must differ, got equal weights"),
        ("path RUN nowhere.pt --output way.h5", "nowhere.pt: no such file; give the one that torch.save wrote, a"),
        ("path RUN odd.pt --output way.h5", "odd.pt: does not fit the model: it lacks "),
        ("surface RUN --toward odd.pt --dimensions 1", "odd.pt: does not fit the model: it lacks "),
        ("path RUN RUN", "a path belongs to neither end alone: give --output FILE.h5"),
        ("path RUN RUN --extent 2 --output way.h5", "--extent must be LOW:HIGH with LOW < HIGH"),
    ],
)
def test_mistakes_are_one_line(
    command: str, message: str, cli: Callable[..., Done], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"odd": torch.ones(2)}, "odd.pt")
    done = cli(*(run if word == "RUN" else word for word in command.split()))
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.distributed
def test_two_processes_make_the_file_of_one(run: Path, tmp_path: Path) -> None:
    """The real thing, torchrun; fails if both write, both talk, or cells are lost."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "landscape"]
    arguments = ["surface", str(run), "--points", "3x4", "--samples", "20"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("12 of 12 cells") == 1
    objective = run_subject(open_run(run), "cpu", limit=20, writes=False).objective
    assert analysis.load(run / "run.h5", "plane") == loss_surface(objective, points=(3, 4))
    assert str(read(run / "run.h5", "training/measured_data").variables["data"].data).startswith("20 of 60")
    refused = subprocess.run(
        [*command, "measure", str(run)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert refused.returncode != 0
    assert "this command works in one process, got 2; start it without torchrun" in refused.stderr
