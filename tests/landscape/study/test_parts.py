"""The search, the sweep and the schedule as data. Blind to the runs: `test_tuning.py`, `test_sweeps.py`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest

from landscape.jobs.measurements import MEASURED, PROBED, Measure
from landscape.study.parts import Sweep, Tuning, matched

WIDE = Tuning(9, (0.01, 0.3), (0.01, 0.2))


def test_a_probe_can_be_asked_for_all_that_it_measures() -> None:
    from analysis.probe.quantities import QUANTITIES
    from landscape.study.file import Probed

    assert tuple(QUANTITIES) == PROBED == get_args(Probed)


def test_every_method_tries_the_same_rates_as_often() -> None:
    """Fails if a method with a radius has more trials, or sees fewer rates, than one without."""
    plain, climbing = (WIDE.points(with_rho=with_rho) for with_rho in (False, True))
    assert len(plain) == len(climbing) == 9
    assert [point["lr"] for point in plain] == [point["lr"] for point in climbing]
    assert all(set(point) == {"lr"} for point in plain)
    assert len({point["lr"] for point in climbing}) == len({point["rho"] for point in climbing}) == 9


@pytest.mark.parametrize("name", ["lr", "rho"])
def test_values_are_evenly_spaced_on_a_logarithmic_scale_and_hold_both_ends(name: str) -> None:
    low, high = getattr(WIDE, name)
    values = sorted(point[name] for point in WIDE.points(with_rho=True))
    assert (values[0], values[-1]) == (low, high)
    steps = [math.log(b / a) for a, b in itertools.pairwise(values)]
    # three digits are an error of 0.5 % of each of the two values
    assert steps == pytest.approx([math.log(high / low) / 8] * 8, abs=0.01)
    assert all(value == float(f"{value:.3g}") for value in values)


@pytest.mark.parametrize("count", [4, 5, 6, 9, 16, 25])
def test_radii_are_matched_to_rates_as_evenly_as_by_the_best_of_many_draws(count: int) -> None:
    """Fails if low rates go with low radii; the oracle is the best of many random matchings."""

    def nearest(partners: Sequence[int]) -> float:
        points = np.stack([np.arange(count), np.asarray(partners)], axis=1)
        return float(min(np.square(a - b).sum() for a, b in itertools.combinations(points, 2)))

    found = matched(count)
    assert sorted(found) == list(range(count))
    random = np.random.default_rng(0)
    assert nearest(found) >= max(nearest(random.permutation(count)) for _ in range(1000 // count))
    assert abs(np.corrcoef(np.arange(count), found)[0, 1]) < 0.5


def test_one_trial_is_the_middle() -> None:
    (point,) = Tuning(1, (0.01, 1.0), (0.1, 0.4)).points(with_rho=True)
    assert point == {"lr": 0.1, "rho": 0.2}
    assert Tuning(1, (0.1, 1.0)).ends(point) == Tuning(2, (0.1, 1.0)).ends(point) == []


def test_a_radius_that_is_not_searched_stays() -> None:
    assert Tuning(2, (0.1, 1.0)).points(with_rho=True) == [{"lr": 0.1}, {"lr": 1.0}]


@pytest.mark.parametrize(
    ("point", "ends"),
    [
        ({"lr": 0.01, "rho": 0.05}, ["lr"]),
        ({"lr": 0.3, "rho": 0.2}, ["lr", "rho"]),
        ({"lr": 0.1, "rho": 0.01}, ["rho"]),
        ({"lr": 0.1}, []),
    ],
)
def test_ends_of_the_ranges_are_named(point: dict[str, float], ends: list[str]) -> None:
    assert WIDE.ends(point) == ends


def test_only_what_is_swept_is_a_grid() -> None:
    assert Sweep().grids() == {}
    assert Sweep(rho=(0.1, 0.2), label_noise=(0.0, 0.4)).grids() == {"rho": (0.1, 0.2), "label_noise": (0.0, 0.4)}
    assert Sweep.from_values({"label_noise": [0.0, 0.4], "methods": ["sam"]}) == Sweep(
        label_noise=(0.0, 0.4), methods=("sam",)
    )


def test_by_default_all_is_measured_and_nothing_on_the_way() -> None:
    assert Measure() == Measure(MEASURED, "")
    assert Measure.from_values({"of": ["trace"], "probe": "every:5"}) == Measure(("trace",), "every:5")
