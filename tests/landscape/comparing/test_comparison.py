"""What two files have in common: paired only where samples belong together, and unlike things named, not compared.

Measured on quadratics whose Hessian is known; the coverage of the intervals is in `test_intervals.py`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis import (
    Objective,
    critical_sharpness,
    fisher_rao_norm,
    gradient_noise,
    hessian_eigenvalues,
    hessian_trace,
    pac_bayes_sigma,
    relative_flatness,
    sharpness,
    sharpness_curve,
)
from analysis.store import Measurement, create, provenance, write
from landscape.comparing.comparison import Row, compare
from landscape.comparing.quantities import quantities, settings
from landscape.measuring.measure import measure
from landscape.measuring.stages import Stage
from landscape.network.subject import Subject
from tests.landscape.recorder import Recorder

X = torch.randn(24, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.zeros(24, 1, dtype=torch.float64)
HESSIAN = 2 / 24 * X.T @ X  # of the mean square of w.x


def scaled(output: torch.Tensor, target: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.nn.functional.mse_loss(output, target)


def objective(steepness: float = 1.0, weight: float = 0.5, x: torch.Tensor = X) -> Objective:
    """The quadratic with Hessian steepness * HESSIAN; the data are the same, and so is the network."""
    model = torch.nn.Linear(12, 1, bias=False, dtype=torch.float64)
    torch.nn.init.constant_(model.weight, weight)
    return Objective(
        model, lambda output, target: scaled(output, target, steepness), (x, Y[: len(x)]), reduction="mean"
    )


def stored(path: Path, found: Objective, results: dict[str, Any], model: str = "nets:linear") -> Path:
    """Write results as `landscape measure` does, with the record of the data."""
    config = json.dumps({"model": model})
    subject = Subject(path.stem, path, found, "a" * 64, config, f"{len(found.data[0][0])} rows")  # type: ignore[index]
    stages = [
        Stage("sharpness", name, name, {}, lambda *_, result=result: result)  # type: ignore[misc]
        for name, result in results.items()
    ]
    measure(subject, stages, Recorder(), again=True)
    return path


def measured(found: Objective, seed: int = 0) -> dict[str, Any]:
    return {
        "eigenvalues": hessian_eigenvalues(found, k=2, seed=seed),
        "trace": hessian_trace(found, seed=seed, max_hvps=10),
        "average": sharpness(found, kind="average", samples=10, seed=seed),
        "subsets": sharpness(found, m=8, restarts=0, seed=seed),
        "worst": sharpness(found, restarts=0, seed=seed),
        "curve": sharpness_curve(found, [0.1, 0.2], kind="average", samples=10, seed=seed),
        "fisher": fisher_rao_norm(found),
    }


def rows(first: Path, second: Path) -> dict[str, Row]:
    return {row.name: row for row in compare(first, second).rows}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network, and one that is 1.1 times as steep."""
    folder = tmp_path_factory.mktemp("pair")
    files = []
    for name, steepness in (("a", 1.0), ("b", 1.1)):
        found = objective(steepness)
        files.append(stored(folder / f"{name}.h5", found, measured(found)))
    return files[0], files[1]


def test_what_shares_its_random_numbers_is_paired_and_has_the_true_difference(pair: tuple[Path, Path]) -> None:
    """Every sample is 1.1 times as large: pairs see it at once, where independent samples do not."""
    found = rows(*pair)
    trace = float(HESSIAN.trace())
    for name, over, truth in (
        ("curvature/trace", "10 probes", 0.1 * trace),
        ("sharpness/average", "10 pairs", 0.1 * 0.05**2 * trace / 2),
        ("sharpness/curve rho 0.2", "10 pairs", 0.1 * 0.2**2 * trace / 2),
        ("sharpness/subsets", "3 subsets", math.nan),
        ("sharpness/fisher", "24 samples", math.nan),
    ):
        row = found[name]
        assert row.how == f"paired, {over}", name
        assert row.ratio == pytest.approx(1.1**2 if "fisher" in name else 1.1, rel=0.02)
        middle, half = row.interval.difference, row.interval.high - row.interval.difference
        assert middle == pytest.approx(row.second - row.first)
        if math.isfinite(truth):
            # 95 % over 10 pairs is 2.26 standard errors: 4 of them
            assert abs(middle - truth) < 4 / 2.26 * half
            assert row.words == "B is sharper"
    assert found["sharpness/fisher"].words in {"B is larger", "not told apart"}
    top = torch.linalg.eigvalsh(HESSIAN)[-1]
    eigen = found["curvature/eigenvalues 1"]
    assert eigen.how == "bounds of both"
    assert eigen.words == "B is sharper"
    assert eigen.interval.low <= 0.1 * float(top) <= eigen.interval.high
    worst = found["sharpness/worst"]
    assert (worst.words, worst.how) == ("no interval", "a single maximum each")
    assert found["loss"].words == "A is lower"
    assert found["loss"].how == "exact on these data"
    assert next(iter(found)) == "loss"


def test_in_the_other_order_it_says_the_same(pair: tuple[Path, Path]) -> None:
    there, back = rows(*pair), rows(*reversed(pair))
    for name, row in there.items():
        other = back[name]
        assert (other.first, other.second) == (row.second, row.first)
        assert other.words == row.words.translate(str.maketrans("AB", "BA"))
        if row.interval.is_known:
            assert [-other.interval.high, -other.interval.low] == pytest.approx([row.interval.low, row.interval.high])


def test_another_seed_is_independent_and_longer(pair: tuple[Path, Path], tmp_path: Path) -> None:
    found = objective(1.1)
    other = stored(tmp_path / "b.h5", found, measured(found, seed=1))
    apart, together = rows(pair[0], other), rows(*pair)
    for name in ("curvature/trace", "sharpness/average", "sharpness/curve rho 0.1"):
        assert apart[name].how == "as if independent (another seed)"
        lengths = [row.interval.high - row.interval.low for row in (apart[name], together[name])]
        assert lengths[0] > 3 * lengths[1]
    assert apart["sharpness/fisher"].how == "paired, 24 samples"  # it has no seed: its samples are the data


def test_other_data_and_another_architecture_are_said_and_not_paired(pair: tuple[Path, Path], tmp_path: Path) -> None:
    found = objective(1.1, x=X[:20])
    comparison = compare(pair[0], stored(tmp_path / "b.h5", found, measured(found)))
    assert comparison.notes[0] == "on other data: A on 24 rows, B on 20 rows"
    by_name = {row.name: row for row in comparison.rows}
    assert by_name["sharpness/average"].how == "as if independent (other data)"
    assert by_name["sharpness/worst"].words == "no interval"  # compared all the same: m is all samples of each
    assert (by_name["loss"].words, by_name["loss"].how) == ("no interval", "other data")
    found = objective(1.1)
    comparison = compare(pair[0], stored(tmp_path / "c.h5", found, measured(found), model="nets:deep"))
    assert comparison.notes == ["of another architecture: A nets:linear, B nets:deep"]
    by_name = {row.name: row for row in comparison.rows}
    assert by_name["curvature/trace"].how == "as if independent (another architecture)"
    assert by_name["loss"].how == "exact on these data"


def test_files_that_do_not_say_their_data_are_not_paired(pair: tuple[Path, Path], tmp_path: Path) -> None:
    sharpness(objective(), kind="average", samples=10).save(tmp_path / "bare.h5", "average")
    comparison = compare(pair[0], tmp_path / "bare.h5")
    assert comparison.notes[0] == "B does not say on which data it was measured; taken as other data"
    assert comparison.rows[1].how == "as if independent (data unknown)"
    assert comparison.notes[1].startswith("only in A: curvature/eigenvalues, curvature/trace, sharpness/curve")


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({"rho": 0.1}, "other settings: rho 0.05 and 0.1"),
        ({"adaptive": True}, "other settings: adaptive False and True"),
        ({"kind": "worst"}, "other settings: kind average and worst"),
        ({"norm": "linf"}, "other settings: norm l2 and linf"),
    ],
)
def test_other_settings_are_told_and_not_compared(tmp_path: Path, changes: dict[str, Any], how: str) -> None:
    found = sharpness(objective(), kind="average", samples=4)
    found.save(tmp_path / "a.h5", "average")
    dataclasses.replace(found, **changes).save(tmp_path / "b.h5", "average")
    row = compare(tmp_path / "a.h5", tmp_path / "b.h5").rows[-1]
    assert (row.name, row.words, row.how) == ("sharpness/average", "not compared", how)
    assert math.isnan(row.first)


def test_what_is_no_setting_does_not_forbid_to_compare(tmp_path: Path) -> None:
    """Costs, seeds, memory, tolerances, how products were made and a trace was estimated."""
    found = objective()
    pairs = hessian_eigenvalues(found, k=2)
    changes = {"method": "finite_difference", "num_hvps": 99, "tol": 0.5, "peak_memory": 7}
    assert settings(dataclasses.replace(pairs, **changes).to_measurement()) == settings(pairs.to_measurement())
    other = dataclasses.replace(pairs, method="gauss_newton").to_measurement()
    assert settings(other) != settings(pairs.to_measurement())
    for method in ("hutchinson", "xtrace"):
        hessian_trace(found, method=method, max_hvps=10, seed=3).save(tmp_path / f"{method}.h5", "trace")
    row = compare(tmp_path / "hutchinson.h5", tmp_path / "xtrace.h5").rows[0]
    assert row.how == "as if independent (data unknown)"
    small, large = (sharpness(found, m=m, restarts=0).to_measurement() for m in (4, 8))
    assert settings(small)["m"] != settings(large)["m"]


def test_samples_of_xtrace_are_not_taken_for_independent(tmp_path: Path) -> None:
    """They share most of their basis: the spread of their differences is not that of the estimate."""
    files = []
    for name, steepness in (("a", 1.0), ("b", 1.1)):
        found = objective(steepness)
        trace = hessian_trace(found, method="xtrace", max_hvps=10)
        files.append(stored(tmp_path / f"{name}.h5", found, {"trace": trace}))
    row = rows(*files)["curvature/trace"]
    assert row.how == "as if independent (no samples kept)"


def test_of_probes_that_one_has_more_of_the_common_ones_are_paired(tmp_path: Path) -> None:
    files = []
    for name, steepness, probes in (("a", 1.0, 10), ("b", 1.1, 25)):
        found = objective(steepness)
        trace = hessian_trace(found, tol=1e-9, max_hvps=probes)
        files.append(stored(tmp_path / f"{name}.h5", found, {"trace": trace}))
    row = rows(*files)["curvature/trace"]
    assert row.how == "paired, the first 10 probes of both"
    assert row.interval.difference == pytest.approx(0.1 * row.first)  # of the common probes, not B - A of all


def test_all_other_measures_by_what_they_hold(tmp_path: Path) -> None:
    files = []
    for name, steepness in (("a", 1.0), ("b", 4.0)):
        found = objective(steepness)
        results = {
            "sigma": pac_bayes_sigma(found, samples=10),
            "critical": critical_sharpness(found),
            "relative": relative_flatness(found, max_hvps=10),
            "noise": gradient_noise(found),
        }
        files.append(stored(tmp_path / f"{name}.h5", found, results))
    found = rows(*files)
    sigma = found["sharpness/sigma"]
    assert sigma.how == "as if independent (no samples kept)"
    assert sigma.ratio == pytest.approx(0.5, rel=1e-2)  # sigma^2 = 2 rise / tr(H)
    assert sigma.words == "B is sharper"  # the smaller sigma is the sharper one
    critical = found["sharpness/critical"]
    assert critical.how == "bounds of both"
    assert critical.words == "B is sharper"
    assert critical.interval.low <= critical.interval.difference <= critical.interval.high
    assert found["sharpness/relative weight"].how == "as if independent (no samples kept)"
    assert found["noise/noise raw trace"].ratio == pytest.approx(16.0)  # gradients four times as large
    assert found["noise/noise raw trace"].words == "B is larger"
    kinds = ("raw", "centralized", "control", "removed")
    totals = {f"noise/noise {kind} {name}" for kind in kinds for name in ("trace", "signal", "noise_scale")}
    assert {name for name in found if name.startswith("noise/")} == totals  # and not every layer


def test_numbers_that_are_not_finite_have_no_interval(tmp_path: Path) -> None:
    found = hessian_trace(objective(), max_hvps=10)
    for name, value in (("a", found.value), ("b", math.nan), ("c", math.inf)):
        dataclasses.replace(found, value=value).save(tmp_path / f"{name}.h5", "trace")
    for name in ("b", "c"):
        row = compare(tmp_path / "a.h5", tmp_path / f"{name}.h5").rows[0]
        assert (row.words, row.how) == ("no interval", "not finite")


def test_a_search_that_ran_out_is_told_as_a_lower_bound(tmp_path: Path) -> None:
    found = objective()
    for name, steps in (("a", 1), ("b", 200)):
        sharpness(found, m=8, restarts=0, steps=steps, tol=1e-6).save(tmp_path / f"{name}.h5", "worst")
    row = compare(tmp_path / "a.h5", tmp_path / "b.h5").rows[-1]
    assert row.how.endswith("; lower bound: A")


def test_smaller_smallest_eigenvalues_are_not_called_flatter(tmp_path: Path) -> None:
    for name, steepness in (("a", 1.0), ("b", 2.0)):
        hessian_eigenvalues(objective(steepness), k=1, which="smallest").save(tmp_path / f"{name}.h5", "eigenvalues")
    assert compare(tmp_path / "a.h5", tmp_path / "b.h5").rows[0].words == "B is larger"


def test_files_without_anything_in_common_are_refused(tmp_path: Path) -> None:
    hessian_trace(objective(), max_hvps=10).save(tmp_path / "a.h5", "trace")
    create(tmp_path / "b.h5", provenance())
    message = (
        r"a\.h5 and .*b\.h5 have no measurement in common: the first holds curvature/trace, the second none that h"
    )
    with pytest.raises(ValueError, match=message):
        compare(tmp_path / "a.h5", tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError, match=re.escape(f"no result file at {tmp_path / 'c.h5'}")):
        compare(tmp_path / "a.h5", tmp_path / "c.h5")


def test_what_has_no_number_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        hessian_trace(objective(), max_hvps=10).save(tmp_path / f"{name}.h5", "trace")
        write(tmp_path / f"{name}.h5", "noise", "odd", Measurement("Odd"))
    assert compare(tmp_path / "a.h5", tmp_path / "b.h5").notes[-1] == "without a number: noise/odd"
    assert quantities(Measurement("Odd")) == []


def test_the_same_samples_in_another_order_are_the_same_data(pair: tuple[Path, Path], tmp_path: Path) -> None:
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    model = objective(1.1)
    shuffled = model.on((X[order], Y))
    file = stored(tmp_path / "b.h5", shuffled, {"trace": hessian_trace(shuffled, max_hvps=10)})
    assert rows(pair[0], file)["curvature/trace"].how == "paired, 10 probes"
