"""Words of the command line become scans: each reaches the function of `analysis`, and other settings are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
from analysis import Objective
from analysis.surface.quantities import accuracy
from landscape.measuring.scans import Scan, parse_extent, parse_points, scan
from landscape.measuring.stages import is_finished


@pytest.fixture
def objective() -> Objective:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    return Objective(model, torch.nn.CrossEntropyLoss(), (torch.randn(8, 3), torch.arange(8) % 2))


def compute(wanted: Scan, objective: Objective, path: Path, splits: Any = None) -> Any:
    stage = scan(wanted, splits)
    assert not is_finished(stage, path)
    found = stage.compute(objective, path, lambda *_: None)
    assert analysis.load(path, stage.name) == found
    assert is_finished(stage, path) is not stage.decides_itself
    return found


@pytest.mark.parametrize(
    ("wanted", "kind", "shape"),
    [
        (Scan(dimensions=1, points="4"), "Line", (4,)),
        (Scan(points="3x4"), "Surface", (3, 4)),
        (Scan(dimensions=3, points="2"), "Block", (2, 2, 2)),
        (Scan(of="curvature", points="2x3"), "CurvatureMap", (2, 3)),
        (Scan(of="gradient", points="2"), "GradientField", (2, 2)),
    ],
)
def test_every_kind_is_stored_under_its_name(
    wanted: Scan, kind: str, shape: tuple[int, ...], objective: Objective, tmp_path: Path
) -> None:
    found = compute(wanted, objective, tmp_path / "run.h5")
    assert (type(found).__name__, tuple(found.done.shape)) == (kind, shape)
    assert scan(wanted).name == {"Surface": "plane", "CurvatureMap": "curvature", "GradientField": "gradient"}.get(
        kind, kind.lower()
    )
    for change in ({"seed": 1}, {"extent": "0.5"}, {"normalize": "layer"}, {"batchnorm": "recalibrate"}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} .* asked for is .* --again"):
            is_finished(scan(Scan(**{**vars(wanted), **change})), tmp_path / "run.h5")


def test_metrics_and_splits_are_measured_and_part_of_the_settings(objective: Objective, tmp_path: Path) -> None:
    wanted = Scan(points="2", metrics={"accuracy": accuracy})
    splits = {"test": (torch.randn(5, 3), torch.arange(5) % 2)}
    found = compute(wanted, objective, tmp_path / "run.h5", splits)
    assert found.metric_names == ("accuracy", "test/loss", "test/accuracy")
    with pytest.raises(ValueError, match="metric_names"):
        is_finished(scan(wanted), tmp_path / "run.h5")


def test_a_direction_leads_to_another_checkpoint(objective: Objective, tmp_path: Path) -> None:
    end = {name: tensor + 0.5 for name, tensor in objective.model.state_dict().items()}
    wanted = Scan(dimensions=1, points="2", extent="0:1", toward=[end], normalize="none")
    found = compute(wanted, objective, tmp_path / "run.h5")
    assert float(found.loss[0]) == objective.loss()
    assert float(found.loss[1]) == pytest.approx(objective.loss(end), rel=1e-5)  # start + (end - start) rounds
    with pytest.raises(ValueError, match="--toward must be given once for each of 2 dimensions, got 1"):
        scan(Scan(toward=[end]))


def test_the_other_words_reach_the_scan(objective: Objective, tmp_path: Path) -> None:
    def alone(number: int, **settings: Any) -> Any:
        return compute(Scan(points="3", name=f"scan{number}", **settings), objective, tmp_path / "run.h5")

    base = alone(0)
    assert alone(1, directions="hessian").source == "hessian"
    assert not torch.equal(alone(2, zero_1d=False).loss, base.loss)
    assert alone(3, precision="bfloat16").precision == "bfloat16"
    assert alone(4, extent="auto").extent[0, 1] != 1.0
    assert alone(5, plan="given").batch_size == 0


@pytest.mark.parametrize("text", ["1", "3x", "3x4x5", "x", "2.5", "", "-3", "3,4"])
def test_wrong_points_are_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"--points must be a whole number >= 2, or one such .* like 31x21, got"):
        parse_points(text, 2)


@pytest.mark.parametrize("text", ["0", "-1", "1:1", "2:1", "nan", "inf", "", "1:", "wide", "0:inf"])
def test_a_wrong_extent_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="--extent must be a number > 0, LOW:HIGH with LOW < HIGH, or auto, got"):
        parse_extent(text)


@pytest.mark.parametrize("change", [{"dimensions": 1}, {"metrics": {"accuracy": accuracy}}])
def test_maps_are_planes_without_metrics(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--of curvature is of a plane, without --dimensions, --metric and --split"):
        scan(Scan(of="curvature", **change))
