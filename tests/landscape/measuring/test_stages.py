"""Every measurement finds itself finished, and itself with other settings refused. Values are tested in `analysis`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch

from analysis import Objective, spectral_density
from landscape.measuring import stages
from landscape.measuring.scans import Scan, scan
from landscape.measuring.stages import Stage, is_finished


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return Objective(model, torch.nn.CrossEntropyLoss(), (torch.randn(8, 3), torch.arange(8) % 2))


def everything(**extra: int) -> list[Stage]:
    return [
        *stages.curvature(top=2, **extra),
        stages.density(**extra),
        *stages.sharpness(rho=0.1, **extra),
        stages.noise(**extra),
        scan(Scan(points="3", **extra)),
    ]


def test_each_is_stored_where_it_says_with_the_settings_it_says(objective: Objective, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    for stage in everything():
        assert not is_finished(stage, path)
        told: list[tuple[float, float]] = []
        result = stage.compute(objective, path if stage.is_grid else None, lambda *step, told=told: told.append(step))
        if not stage.is_grid:
            result.save(path, stage.name)
        assert is_finished(stage, path)
        assert told, stage.key
        assert told[-1][0] <= told[-1][1]
    with h5py.File(path) as file:
        assert len(file["curvature/eigenvalues/values"]) == 2
        assert file["sharpness/worst_adaptive/rho"][()] == 0.1
        assert bool(file["sharpness/worst_adaptive/adaptive"][()])
        assert file["sharpness/average/kind"].asstr()[()] == "average"
    for stage in everything(seed=1):
        with pytest.raises(ValueError, match=rf"run\.h5 holds {stage.key} with seed 0, asked for is 1; .* --again"):
            is_finished(stage, path)


@pytest.mark.parametrize(
    ("make", "other", "message"),
    [
        (lambda: stages.curvature(top=2)[0], lambda: stages.curvature(top=3)[0], "pair 2, asked for is 3"),
        (lambda: stages.sharpness()[0], lambda: stages.sharpness(rho=0.2)[0], "rho 0.05, asked for is 0.2"),
        (
            lambda: scan(Scan(points="2")),
            lambda: scan(Scan(points="3")),
            r"points \[2, 2\], asked for is \[3, 3\]",
        ),
        (
            lambda: scan(Scan(points="2")),
            lambda: scan(Scan(points="2", extent="0.5")),
            r"extent \[\[-1.0, 1.0\], .*asked",
        ),
        (
            lambda: scan(Scan(points="2")),
            lambda: scan(Scan(points="2", directions="hessian")),
            "source random, asked for is hessian",
        ),
        (
            lambda: scan(Scan(points="2")),
            lambda: scan(Scan(points="2", normalize="layer")),
            "normalize filter, asked for is layer",
        ),
    ],
)
def test_other_settings_are_refused_by_name(
    objective: Objective, tmp_path: Path, make: Callable[[], Stage], other: Callable[[], Stage], message: str
) -> None:
    path = tmp_path / "run.h5"
    make().compute(objective, None, lambda *_: None).save(path, make().name)
    assert is_finished(make(), path)
    with pytest.raises(ValueError, match=message):
        is_finished(other(), path)


def test_eigenvectors_are_not_said_to_be_normalized(objective: Objective, tmp_path: Path) -> None:
    stage = scan(Scan(points="2", directions="hessian", name="top"))
    stage.compute(objective, tmp_path / "run.h5", lambda *_: None)
    assert is_finished(stage, tmp_path / "run.h5")


def test_eigenvalues_tell_how_far_they_are_by_what_is_usual(objective: Objective) -> None:
    """Fails if the time left is that of the whole budget: ten times too long."""
    told: list[tuple[int, int]] = []
    stages.curvature(top=2)[0].compute(objective, None, lambda done, total: told.append((done, total)))
    assert told
    assert all(done <= total <= 20 for done, total in told)


def test_the_density_is_that_of_the_defaults(objective: Objective) -> None:
    """Fails if the stage and the function come to mean different things by a spectral density."""
    defaults = {name: each.default for name, each in inspect.signature(spectral_density).parameters.items()}
    assert (defaults["probes"], defaults["steps"], defaults["seed"]) == (stages.PROBES, stages.STEPS, 0)
    assert stages.density(seed=3).compute(objective, None, lambda *_: None) == spectral_density(objective, seed=3)


def test_a_surface_stopped_midway_is_not_finished(objective: Objective, tmp_path: Path) -> None:
    path, stage = tmp_path / "run.h5", scan(Scan(points="3"))

    def stop(done: float, total: float) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.compute(objective, path, stop)
    assert not is_finished(stage, path)
    stage.compute(objective, path, lambda *_: None)
    assert is_finished(stage, path)


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wrong_radius_is_refused_before_anything_is_measured(rho: float) -> None:
    with pytest.raises(ValueError, match=rf"^rho must be a finite number > 0, got {rho}; 0\.05 is the usual one$"):
        stages.sharpness(rho=rho)
