"""Each stage alone, on the files of the stage before: on a run, on a study, and on the user's own network."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import hessian_eigenvalues, load
from analysis.store import list_measurements, read
from landscape.network.opening import open_run, run_subject
from tests.landscape.conftest import Done

NETS = """
import torch

def model():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))

def data():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    return [(x, torch.arange(20) % 2)]
"""
OWN = "--model nets:model --checkpoint net.pt --data nets:data --loss torch.nn:CrossEntropyLoss --output net.h5".split()


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_a_run_goes_through_all_stages(cli: Callable[..., Done], run: Path) -> None:
    for command, keys in (
        (("measure", run, "--top", "2"), ["curvature/eigenvalues", "curvature/trace", "sharpness/worst"]),
        (("noise", run), ["noise/gradient_noise"]),
        (("surface", run, "--points", "3"), ["surface/plane"]),
    ):
        done = cli(*command)
        assert (done.status, done.err) == (0, ""), done.err
        assert all(key in list_measurements(run / "run.h5") for key in keys)
        assert all(f"│ {key}" in done.out for key in keys)  # stored, and printed
        assert "done in" in done.out
        again = cli(*command)
        assert "finished before, skipped" in again.out
        assert "done in" not in again.out
        table = done.out[done.out.index("┏") :]
        assert again.out.endswith(table)
        assert cli(*command, "--quiet").out.endswith(table)
        assert "skipped" not in cli(*command, "--quiet").out
    found = load(run / "run.h5", "eigenvalues")
    expected = hessian_eigenvalues(run_subject(open_run(run), "cpu").objective, k=2)
    assert torch.equal(found.values, expected.values)  # type: ignore[union-attr]

    drawn = cli("figures", run)
    assert drawn.status == 0, drawn.err
    files = [Path(line) for line in drawn.out.splitlines()]
    assert all(path.is_file() and path.parent == run / "figures" for path in files)
    names = {path.name for path in files}
    assert {"training.png", "training.pdf", "surfaces.png", "eigenvalues.png", "noise.pdf"} <= names

    shown = cli("inspect", run / "run.h5")
    assert shown.status == 0
    assert all(key in shown.out for key in list_measurements(run / "run.h5"))


def test_options_reach_the_measurements(cli: Callable[..., Done], run: Path) -> None:
    assert cli("measure", run, "--top", "1", "--rho", "0.1", "--seed", "3", "--samples", "20").status == 0
    path = run / "run.h5"
    assert read(path, "curvature/eigenvalues").variables["values"].data.shape == (1,)
    assert float(read(path, "sharpness/worst").variables["rho"].data) == 0.1
    assert {int(read(path, key).variables["seed"].data) for key in ("curvature/trace", "sharpness/average")} == {3}
    assert "20 of 60" in str(read(path, "training/measured_data").variables["data"].data)
    options = "--points 2 --extent 0.5 --directions hessian --name top --samples 20 --seed 3".split()
    assert cli("surface", run, *options).status == 0
    surface = read(path, "surface/top").variables
    assert surface["x"].data.tolist() == [-0.5, 0.5]
    assert str(surface["source"].data) == "hessian"
    assert cli("surface", run, "--points", "2", "--normalize", "model", "--samples", "20").status == 0
    assert str(read(path, "surface/plane").variables["normalize"].data) == "model"
    assert cli("noise", run, "--seed", "4", "--samples", "20").status == 0
    assert int(read(path, "noise/gradient_noise").variables["seed"].data) == 4


def test_other_settings_need_again(cli: Callable[..., Done], run: Path) -> None:
    assert cli("surface", run, "--points", "2").status == 0
    refused = cli("surface", run, "--points", "3")
    assert refused.status == 2
    assert "holds surface/plane with points [2, 2], asked for is [3, 3]; give the same, or --again" in refused.err
    assert cli("surface", run, "--points", "3", "--again").status == 0
    assert read(run / "run.h5", "surface/plane").variables["loss"].data.shape == (3, 3)


def test_an_own_network_goes_through_all_stages(
    cli: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    torch.save({"model": model.state_dict(), "epoch": 3}, "net.pt")
    for command in (("measure", *OWN), ("surface", *OWN, "--points", "3"), ("noise", *OWN)):
        done = cli(*command)
        assert (done.status, done.err) == (0, ""), done.err
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    loss = torch.nn.functional.cross_entropy(model(x), torch.arange(20) % 2).item()
    surface = read("net.h5", "surface/plane").variables["loss"].data
    assert surface[1, 1] == pytest.approx(loss, rel=1e-6)  # float32 against float64 sums of 20 numbers
    assert cli("figures", "net.h5", "--output", "pictures").status == 0
    assert list((tmp_path / "pictures").glob("*.pdf"))
    torch.save({"model": {name: 2 * tensor for name, tensor in model.state_dict().items()}}, "net.pt")
    refused = cli("noise", *OWN)
    assert refused.status == 2
    assert "belongs to the checkpoint with SHA-256" in refused.err


def test_a_study_is_judged_and_drawn_anew(cli: Callable[..., Done], study: tuple[Path, str], tmp_path: Path) -> None:
    folder = shutil.copytree(study[0], tmp_path / "study")
    (folder / "study.h5").unlink()
    shutil.rmtree(folder / "figures")
    done = cli("verify", folder)
    assert done.status == 0, done.err
    assert "Claims about GCSAM" in done.out
    assert "not tested here: 8 " in done.out
    stored, expected = (read(root / "study.h5", "claims/verdicts").variables for root in (folder, study[0]))
    np.testing.assert_array_equal(np.sort(stored["effect"].data), np.sort(expected["effect"].data))
    assert stored["verdict"].data.tolist() == expected["verdict"].data.tolist()
    assert cli("figures", folder).status == 0
    drawn, before = ({path.name for path in (root / "figures").iterdir()} for root in (folder, study[0]))
    assert drawn == before


def test_a_file_with_nothing_to_draw_is_said(cli: Callable[..., Done], tmp_path: Path) -> None:
    from analysis.store import create, provenance

    create(tmp_path / "run.h5", provenance())
    done = cli("figures", tmp_path / "run.h5")
    assert done.status == 2
    assert done.err.endswith("run.h5 holds nothing to draw yet; measure first, and see landscape inspect\n")
