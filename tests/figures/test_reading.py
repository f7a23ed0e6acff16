"""Result files as figures see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.store import Measurement, read, write
from figures import FIGURES, Run, load_runs
from figures.reading import by_method, stacked
from tests.figures.synthetic import METHODS, bowl, measurement, write_run


def test_runs_come_by_seed_with_method_and_arrays(runs: list[Run]) -> None:
    assert [run.seed for run in runs] == [0] * 4 + [1] * 4
    assert {run.method for run in runs} == set(METHODS)
    first = next(run for run in runs if run.method == "gcsam")
    assert first.array("curvature/eigenvalues", "values").tolist() == [20.0, 12.0]  # 4 * (5, 3)
    assert float(first.array("noise/gradient_noise", "control/total/trace")) == 36.0  # 4 * 3rd kind * 3


@pytest.mark.parametrize(
    ("key", "name"),
    [("curvature/trace", "value"), ("noise/gradient_noise", "raw/no"), ("noise/gradient_noise", "no/total/trace")],
)
def test_what_is_not_there_is_none(runs: list[Run], key: str, name: str) -> None:
    assert runs[0].array(key, name) is None


def test_a_network_trained_elsewhere_goes_by_its_file(tmp_path: Path) -> None:
    write(tmp_path / "mynet.h5", "surface", "plane", measurement(**bowl(1.0)))
    (run,) = load_runs([tmp_path / "mynet.h5"])
    assert (run.method, run.seed) == ("mynet", 0)


def test_collecting_leaves_out_runs_without_the_variable(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a.h5", "sgd", 0, without={"curvature/eigenvalues"}),
        write_run(tmp_path / "b.h5", "sgd", 1),
    ]
    found = by_method(load_runs(paths), "curvature/eigenvalues", "values")
    assert [array.tolist() for array in found["sgd"]] == [[5.5, pytest.approx(3.3)]]
    assert by_method(load_runs(paths), "curvature/trace", "value") == {}


def test_only_what_a_figure_asks_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a file is read as a whole, or a measurement twice."""
    asked: list[str] = []

    def counting(path: Path, key: str) -> Measurement:
        asked.append(key)
        return read(path, key)

    monkeypatch.setattr("figures.reading.read", counting)
    path = write_run(tmp_path / "a.h5", "sgd", 0)
    write(path, "surface", "line", measurement(of="Line", t=(np.zeros(1000), "t")))
    (run,) = load_runs([path])
    assert asked == ["training/summary"]  # to order the runs by seed
    assert run.of_type("Line") == ["surface/line"]
    assert "noise/gradient_noise" in run.measurements
    assert "curvature/trace" not in run.measurements
    assert len(run.measurements) == len(list(run.measurements)) == 10
    assert FIGURES["training"]([run]) is not None
    assert FIGURES["training"]([run]) is not None
    assert sorted(asked) == ["training/history", "training/summary"]
    with pytest.raises(KeyError, match="curvature/trace"):
        run.measurements["curvature/trace"]


def test_stacking_fills_with_nan() -> None:
    found = stacked([np.array([1.0]), np.array([2.0, 3.0])])
    assert np.array_equal(found, [[1.0, np.nan], [2.0, 3.0]], equal_nan=True)
