"""Areas, drops and slopes of curves known in closed form; the table survives its file and joins the runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.claims import RunTable, SweepTable, with_sweeps
from analysis.claims.sweeps import COLUMNS, area
from analysis.store import Variable

RADII = (0.01, 0.02, 0.05, 0.1, 0.2)


def sweep(setting: str, values: tuple[float, ...], accuracy: list[list[list[float]]]) -> SweepTable:
    shape = np.shape(accuracy)
    numbers = {"test_accuracy": np.array(accuracy), "train_accuracy": np.ones(shape)}
    return SweepTable(setting, values, ("sam", "gcsam")[: shape[0]], tuple(range(shape[1])), numbers)


def test_a_line_in_log_rho_has_the_mean_of_its_ends_and_one_slope() -> None:
    """Fails if the radii are taken as they are: the mean over rho itself would be 0.9 - 0.1 * 1.02."""
    line = [0.9 - 0.1 * math.log10(rho / 0.01) for rho in RADII]
    found = sweep("rho", RADII, [[line]]).columns()
    decades = math.log10(20)
    assert found["rho_area"][0, 0] == pytest.approx(0.9 - 0.05 * decades, rel=1e-12)
    assert found["rho_drop"][0, 0] == pytest.approx(0.1 * decades, rel=1e-12)
    assert found["rho_slope_low"][0, 0] == pytest.approx(-0.1, rel=1e-12)
    assert found["rho_slope_high"][0, 0] == pytest.approx(-0.1, rel=1e-12)


def test_a_peak_inside_has_slopes_of_both_signs_and_a_drop_to_the_worse_end() -> None:
    found = sweep("rho", (0.01, 0.1, 1.0), [[[0.6, 0.9, 0.5]]]).columns()
    assert {name: float(numbers[0, 0]) for name, numbers in found.items()} == pytest.approx({
        "rho_area": (0.75 + 0.7) / 2,
        "rho_drop": 0.4,
        "rho_slope_low": 0.3,
        "rho_slope_high": -0.4,
    })


def test_trapezoids_are_exact_to_second_order() -> None:
    """For x^2 on intervals of width h the trapezoid rule is too high by h^2 / 6 times the length of the range."""
    x = np.linspace(0.0, 2.0, 41)
    assert float(area(x, x**2)) == pytest.approx(4 / 3 + 0.05**2 / 6, rel=1e-12)


def test_label_noise_is_on_its_own_scale_and_may_be_0() -> None:
    found = sweep("label_noise", (0.0, 0.2, 0.8), [[[1.0, 0.9, 0.3]]]).columns()
    assert {name: float(numbers[0, 0]) for name, numbers in found.items()} == pytest.approx({
        "label_noise_area": (0.2 * 0.95 + 0.6 * 0.6) / 0.8,
        "label_noise_drop": 0.7,
        "label_noise_highest": 0.3,
    })


def test_a_run_that_diverged_leaves_no_number() -> None:
    """Fails if it is left out: its method would gain by it."""
    found = sweep("rho", (0.1, 0.2), [[[0.9, math.nan]], [[0.9, 0.8]]]).columns()
    assert np.isnan(found["rho_area"]).tolist() == np.isnan(found["rho_drop"]).tolist() == [[True], [False]]


def test_columns_are_described() -> None:
    grids = {"lr": RADII, "rho": RADII, "label_noise": (0.0, 0.4)}
    found = [sweep(setting, values, [[[0.5] * len(values)]]) for setting, values in grids.items()]
    assert [name for one in found for name in one.columns()] == list(COLUMNS)


def test_rows_get_the_numbers_of_their_method_and_seed() -> None:
    runs = RunTable(
        ("sgd", "gcsam", "sam", "gcsam"), (0, 1, 0, 0), {"test_accuracy": Variable(np.arange(4.0), ("run",), "1")}
    )
    found = sweep("rho", (0.1, 0.2), [[[0.9, 0.9], [0.8, 0.8]], [[0.7, 0.7], [0.6, 0.6]]])
    joined = with_sweeps(runs, [found])
    assert (joined.method, joined.seed) == (runs.method, runs.seed)
    np.testing.assert_allclose(joined.values("rho_area"), [np.nan, 0.6, 0.9, 0.7], rtol=1e-12)
    assert joined.columns["test_accuracy"] == runs.columns["test_accuracy"]
    assert with_sweeps(runs, []).columns.keys() == runs.columns.keys()


def test_it_survives_its_file(tmp_path: Path) -> None:
    found = sweep("rho", (0.1, 0.2), [[[0.9, math.nan], [0.8, 0.7]]])
    found.save(tmp_path / "study.h5")
    again = SweepTable.load(tmp_path / "study.h5", "rho")
    assert (again.setting, again.values, again.method, again.seed) == ("rho", (0.1, 0.2), ("sam",), (0, 1))
    assert again.numbers.keys() == found.numbers.keys()
    for name, numbers in found.numbers.items():
        np.testing.assert_array_equal(again.numbers[name], numbers)


@pytest.mark.parametrize(
    ("setting", "values", "told"),
    [
        ("rho", (0.1,), r"two or more finite values above 0 in rising order, got 0\.1$"),
        ("rho", (), r"got none$"),
        ("rho", (0.2, 0.1), r"rising order, got 0\.2, 0\.1$"),
        ("rho", (0.0, 0.1), r"values above 0 in rising order, got 0, 0\.1$"),
        ("lr", (0.0, 0.1), r"values above 0 in rising order, got 0, 0\.1$"),
        ("rho", (0.1, math.nan), r"got 0\.1, nan$"),
        ("rho", (0.1, math.inf), r"got 0\.1, inf$"),
        ("label_noise", (-0.1, 0.1), r"values of 0 or more in rising order, got -0\.1, 0\.1$"),
    ],
)
def test_a_grid_that_is_none_is_refused(setting: str, values: tuple[float, ...], told: str) -> None:
    with pytest.raises(ValueError, match=f"a sweep of {setting} needs .*{told}"):
        SweepTable(setting, values, (), (), {"test_accuracy": np.empty((0, 0, len(values)))})
