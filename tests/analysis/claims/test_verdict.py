"""Verdicts on tables with planted effects, with none, and with what proves nothing.

The numbers behind an effect are worked out here by hand; that the intervals cover is the matter of test_statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from analysis.claims import CLAIMS, Claim, RunTable, Verdict, judge, overall
from analysis.store import Variable
from tests.analysis.claims.runs import table

SMALL = np.array([0.98, 1.03, 1.0, 0.99, 1.02, 1.01])  # variation between seeds that hides no planted effect
SEEDS = np.array([1.0, 8.0, 0.2, 30.0, 3.0, 0.7])  # variation between seeds, in any unit
FLATTER = Claim(3, "flatter", "trace", "log-ratio", "lower", control="sam")
DECIDING = [claim for claim in CLAIMS if claim.role == "decides"]


def label(claim: Claim) -> str:
    return f"{claim.number} {claim.scale} {claim.quantity or claim.reason} {claim.comparison}"


def one(claim: Claim, runs: RunTable) -> Verdict:
    (found,) = judge(runs, [claim])
    return found


def compare(gcsam: Sequence[float], sam: Sequence[float], claim: Claim = FLATTER) -> Verdict:
    return one(claim, table({"gcsam": {claim.quantity: gcsam}, "sam": {claim.quantity: sam}}))


def planted(claim: Claim, sign: float) -> RunTable:
    """A table in which the treatment's number is higher (sign 1), lower (-1) or neither (0)."""
    if claim.scale.startswith("rank"):
        ranks = np.arange(6.0)
        gap = {1.0: ranks, -1.0: -ranks, 0.0: np.array([5.0, 0, 3, 2, 4, 1])}[sign]
        return table({"gcsam": {claim.quantity: ranks, claim.control_quantity: gap}})
    if claim.scale == "level":
        return table({"gcsam": {claim.quantity: {1.0: 0.999, -1.0: 0.9, 0.0: 0.99}[sign] + 0.001 * (SMALL - 1)}})
    control = SEEDS
    treatment = {
        "log-ratio": control * SMALL * 2.0**sign,
        "difference": control + SMALL * sign + (SMALL - SMALL.mean()),
        "spread": control * 2.0**sign + 0.01 * SMALL,
    }[claim.scale]
    if not sign:
        treatment = control * np.array([1.1, 1 / 1.1] * 3) if claim.scale == "log-ratio" else treatment
        treatment = control[::-1] if claim.scale == "spread" else treatment
    if claim.control:
        return table({"gcsam": {claim.quantity: treatment}, claim.control: {claim.quantity: control}})
    return table({"gcsam": {claim.quantity: treatment, claim.control_quantity: control}})


@pytest.mark.parametrize("claim", DECIDING, ids=label)
def test_a_planted_effect_is_found_in_its_direction(claim: Claim) -> None:
    """Fails if a claim reads the wrong column or control, or has its direction the wrong way round."""
    claimed = 1.0 if claim.direction == "higher" else -1.0
    assert one(claim, planted(claim, claimed)).verdict == "supported"
    assert one(claim, planted(claim, -claimed)).verdict == "contradicted"
    found = one(claim, planted(claim, 0.0))
    assert (found.verdict, found.reason.startswith("the interval includes")) == ("inconclusive", True)


@pytest.mark.parametrize("claim", CLAIMS, ids=label)
def test_other_columns_do_not_count(claim: Claim) -> None:
    """A table that holds everything but the claim's own column decides nothing, whatever the rest says."""
    names = {name for other in CLAIMS for name in (other.quantity, other.control_quantity) if name} - {claim.quantity}
    runs = table({
        method: {name: factor * SMALL * SEEDS for name in names}
        for method, factor in [("gcsam", 0.1), ("sam", 1.0), ("sgd", 1.0), ("gc", 1.0)]
    })
    found = one(claim, runs)
    assert found.verdict == "inconclusive"
    assert found.num_seeds == 0


def test_the_effect_of_a_ratio_by_hand() -> None:
    """Log-ratios log(1/2) -+ 0.1: mean log(1/2), t(0.975, 4) * sqrt(0.04 / 4 / 5) = 2.776445 * 0.04472136."""
    sam = SEEDS[:5]
    found = compare(sam / 2 * np.exp([0.1, -0.1, 0.1, -0.1, 0.0]), sam)
    half = 2.776445 * math.sqrt(0.04 / 4 / 5)
    assert found.effect.estimate == pytest.approx(-50.0, rel=1e-12)
    assert found.effect.low == pytest.approx(100 * (0.5 * math.exp(-half) - 1), rel=1e-6)
    assert found.effect.high == pytest.approx(100 * (0.5 * math.exp(half) - 1), rel=1e-6)
    assert found.num_seeds == 5
    assert found.control_mean == pytest.approx(sam.mean(), rel=1e-12)
    assert (found.verdict, found.reason) == ("supported", "the whole interval is below no effect")


def test_the_effect_of_a_difference_is_in_points() -> None:
    accuracy = Claim(4, "better", "test_accuracy", "difference", "higher", control="sam", unit="percentage points")
    found = compare([0.97, 0.98, 0.99, 0.98, 0.98], [0.96, 0.96, 0.96, 0.96, 0.96], accuracy)
    assert found.effect.estimate == pytest.approx(2.0, rel=1e-12)
    assert found.effect.high == pytest.approx(2.0 + 100 * 2.776445 * math.sqrt(2e-4 / 4 / 5), rel=1e-6)
    assert found.treatment_mean == pytest.approx(0.98, rel=1e-12)


def test_the_effect_of_a_spread_is_a_change_of_the_deviation() -> None:
    steadier = Claim(4, "steadier", "test_accuracy", "spread", "lower", control="sam")
    found = compare(0.9 + SEEDS / 400, 0.9 + SEEDS / 100, steadier)
    assert found.effect.estimate == pytest.approx(-75.0, rel=1e-9)


def test_a_level_is_the_distance_to_one() -> None:
    found = one(DECIDING[0], planted(DECIDING[0], -1.0))
    assert DECIDING[0].scale == "level"
    assert found.effect.estimate == pytest.approx(100 * (0.9 - 1 + 0.001 * (SMALL.mean() - 1)), rel=1e-9)
    assert found.control_mean == 1.0


def test_pairs_take_away_what_the_seeds_share() -> None:
    """Seeds differ by a factor of 150, pairs by 5 %: unpaired, the effect would drown."""
    assert compare(0.95 * SEEDS * (1 + (SMALL - 1) / 10), SEEDS).verdict == "supported"


def test_pairs_are_made_by_seed_not_by_order() -> None:
    found = judge(
        RunTable(
            ("sam",) * 6 + ("gcsam",) * 6,
            (0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0),
            {"trace": Variable(np.concatenate([SEEDS, SEEDS[::-1] / 2]), ("run",))},
        ),
        [FLATTER],
    )[0]
    assert found.effect.low == pytest.approx(-50.0, abs=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("claim", DECIDING, ids=label)
def test_fewer_than_five_seeds_decide_nothing(claim: Claim, count: int) -> None:
    """Fails if an effect, however clear, is called "supported" on three seeds."""
    full = planted(claim, 1.0 if claim.direction == "higher" else -1.0)
    kept = [row for row, seed in enumerate(full.seed) if seed < count]
    columns = {name: replace(variable, data=variable.data[kept]) for name, variable in full.columns.items()}
    runs = RunTable(tuple(full.method[row] for row in kept), tuple(full.seed[row] for row in kept), columns)
    found = one(claim, runs)
    assert found.verdict == "inconclusive"
    assert found.num_seeds == count
    assert found.reason in {f"{count} of the 5 seeds a verdict needs", "no runs of method 'gcsam'", claim.needs}


def test_seeds_that_do_not_match_are_no_pairs() -> None:
    numbers = {"trace": Variable(np.concatenate([SEEDS, SEEDS / 2]), ("run",))}
    found = one(FLATTER, RunTable(("sam",) * 6 + ("gcsam",) * 6, tuple(range(12)), numbers))
    assert (found.verdict, found.reason) == ("inconclusive", "0 of the 5 seeds a verdict needs")


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (math.nan, "not measured"),
        (math.inf, "infinite"),
        (-math.inf, "infinite"),
    ],
)
def test_a_missing_number_is_no_verdict(bad: float, what: str) -> None:
    """Fails if the diverged run is left out: five clear pairs would remain."""
    found = compare([bad, *SEEDS[1:] / 2], SEEDS)
    assert (found.verdict, found.reason) == ("inconclusive", f"{what} in 1 run")
    assert found.num_seeds == 5
    assert found.effect.estimate == pytest.approx(-50.0)
    assert compare([bad] * 6, [*SEEDS[:5], bad]).reason == f"{what} in 7 runs; 0 of the 5 seeds a verdict needs"


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_number_that_is_not_positive_has_no_ratio(bad: float) -> None:
    found = compare([bad, bad, *SEEDS[2:] / 2], SEEDS)
    assert found.verdict == "inconclusive"
    assert found.reason == "not positive, so without a ratio, in 2 runs; 4 of the 5 seeds a verdict needs"


def test_within_one_run_a_missing_number_is_one_run() -> None:
    claim = next(claim for claim in DECIDING if claim.number == 2)
    runs = table({"gcsam": {claim.quantity: [math.nan, *SEEDS], claim.control_quantity: [math.nan, *SEEDS]}})
    assert one(claim, runs).reason == "not measured in 1 run"


def test_a_target_that_was_not_reached_is_called_so() -> None:
    claim = next(claim for claim in CLAIMS if claim.quantity == "epochs_to_target")
    assert compare([math.nan, 2, 2, 2, 2, 2], [4] * 6, claim).reason == "target accuracy not reached in 1 run"


@pytest.mark.parametrize("claim", CLAIMS, ids=label)
@pytest.mark.parametrize("number", [math.nan, 0.0, 1.0, -1.0, 1e300])
def test_degenerate_numbers_never_crash_and_never_support(claim: Claim, number: float) -> None:
    names = {name for name in (claim.quantity, claim.control_quantity, claim.matched) if name} or {"trace"}
    runs = table({method: dict.fromkeys(names, [number] * 6) for method in ("gcsam", "sam", "sgd", "gc")})
    found = one(claim, runs)
    assert found.verdict in (
        {"inconclusive", "contradicted", "supported"} if claim.scale == "level" else {"inconclusive"}
    )
    assert found.reason


def test_numbers_that_do_not_vary_have_no_spread() -> None:
    steadier = Claim(4, "steadier", "test_accuracy", "spread", "lower", control="sam")
    found = compare([0.5] * 6, SMALL.tolist(), steadier)
    assert (found.verdict, found.reason) == ("inconclusive", "the numbers do not vary, so there is no interval")


def test_two_wild_seeds_reach_to_infinity() -> None:
    found = compare([1e-300, 1e300], [1e300, 1e-300])
    assert found.effect.high == math.inf
    assert found.verdict == "inconclusive"


def test_a_missing_method_is_named() -> None:
    runs = table({"gcsam": {"trace": SEEDS}})
    assert one(FLATTER, runs).reason == "no runs of method 'sam'"
    assert one(replace(FLATTER, treatment="asam"), runs).reason == "no runs of method 'asam'"


def test_no_effect_is_rarely_called_one() -> None:
    """Of 1000 studies without an effect, 2.5 % should err on each side; z = 4 allows 0.5 % to 4.5 %."""
    noise = np.exp(0.1 * np.random.default_rng(6).normal(size=(1000, 5)))
    verdicts = [compare(SEEDS[:5] * factor, SEEDS[:5]).verdict for factor in noise]
    assert 5 <= verdicts.count("supported") <= 45
    assert 5 <= verdicts.count("contradicted") <= 45


def test_absolute_noise_falls_relative_noise_rises_and_nothing_is_supported() -> None:
    """A gradient whose mean lies along 1: centralizing removes most of the signal and little of the noise.

    Per-sample gradients g = s * 1 + noise in n dimensions, P g = g - mean(g). Then tr(P Sigma P) / tr(Sigma) is
    (n - 1) / n, while ||P G||^2 is a part of ||G||^2.
    """
    generator, n = np.random.default_rng(90), 20
    columns: dict[str, list[float]] = {}
    for _ in range(6):
        mean = 5.0 + 0.5 * generator.normal(size=n)
        gradients = mean + 3 * generator.normal(size=(2000, n))
        direction = generator.normal(size=n)
        projections = {
            "raw": np.eye(n),
            "centralized": np.eye(n) - 1 / n,
            "control": np.eye(n) - np.outer(direction, direction) / (direction @ direction),
        }
        for kind, projection in projections.items():
            projected = gradients @ projection
            trace, signal = np.trace(np.cov(projected.T)), np.sum((projection @ mean) ** 2)
            columns.setdefault(f"{kind}_noise_trace", []).append(trace)
            columns.setdefault(f"{kind}_noise_scale", []).append(trace / signal)
    verdicts = judge(table({"gcsam": columns}))
    absolute = [found for found in verdicts if found.claim.quantity == "centralized_noise_trace"]
    relative = [found for found in verdicts if found.claim.quantity == "centralized_noise_scale"]
    assert all(found.effect.high < 0 for found in absolute)
    assert all(found.effect.low > 0 for found in relative)
    assert {found.verdict for found in absolute} == {"inconclusive"}
    assert all("it falls under every projection" in found.reason for found in absolute)
    assert {found.verdict for found in relative} == {"contradicted"}
    assert overall(verdicts)[2] == "contradicted"
    assert "supported" not in {found.verdict for found in verdicts}


def test_relative_noise_must_fall_beyond_the_control() -> None:
    """Below the raw gradient but no lower than a random projection: the claim as a whole is not supported."""
    scales = {"centralized_noise_scale": SEEDS / 2, "raw_noise_scale": SEEDS, "control_noise_scale": SEEDS / 2 * SMALL}
    verdicts = judge(table({"gcsam": scales}))
    relative = [found.verdict for found in verdicts if found.claim.quantity == "centralized_noise_scale"]
    assert relative == ["supported", "inconclusive"]
    assert overall(verdicts)[2] == "inconclusive"


def test_a_noise_scale_that_is_infinite_is_not_called_unmeasured() -> None:
    scales = {"raw_noise_scale": SEEDS, "control_noise_scale": SEEDS}
    ours = [math.inf, math.inf, math.nan, *SEEDS[3:]]
    found = judge(table({"gcsam": {"centralized_noise_scale": ours, **scales}}))
    relative = next(verdict for verdict in found if verdict.claim.quantity == "centralized_noise_scale")
    assert relative.reason.startswith(
        "not measured in 1 run; infinite, as the mean gradient is not told from 0, in 2 runs; "
    )


MATCHED = replace(FLATTER, matched="train_loss")


@pytest.mark.parametrize(
    ("train_loss", "caveat"),
    [
        (1.09 * SEEDS, ""),
        (0.91 * SEEDS, ""),
        (1.11 * SEEDS, "not at matched train_loss: it differs by +11 %"),
        (0.5 * SEEDS, "not at matched train_loss: it differs by -50 %"),
        ([math.nan, *SEEDS[1:]], "not known to be at matched train_loss: it is missing or not positive in some runs"),
        ([0.0, *SEEDS[1:]], "not known to be at matched train_loss: it is missing or not positive in some runs"),
    ],
)
def test_unequal_training_loss_is_a_caveat(train_loss: Sequence[float], caveat: str) -> None:
    runs = {"gcsam": {"trace": SEEDS / 2, "train_loss": train_loss}, "sam": {"trace": SEEDS, "train_loss": SEEDS}}
    found = one(MATCHED, table(runs))
    assert (found.verdict, found.caveat) == ("supported", caveat)
    assert one(FLATTER, table(runs)).caveat == ""


def test_a_ratio_of_one_means_that_gcsam_equals_sam() -> None:
    """Fails if P's doing nothing passes for a change of direction: q is below 1 by rounding alone."""
    found = one(DECIDING[0], table({"gcsam": {"ascent_ratio": 0.9999 - 1e-6 * SEEDS}}))
    assert found.verdict == "contradicted"
    assert found.reason == "the ratio is about 1 (above 0.99): GCSAM equals SAM here"


def test_layers_in_which_gcsam_equals_sam_are_named() -> None:
    ratios = {"ascent_ratio": 0.9 * SMALL, "ascent_ratio.conv": 0.8 * SMALL, "ascent_ratio.norm": [0.9999] * 6}
    found = one(DECIDING[0], table({"gcsam": ratios, "sam": {"ascent_ratio.conv": [1.0]}}))
    assert found.caveat == "GCSAM equals SAM (ratio above 0.99) in 1 of 2 layers: norm"
    many = {f"ascent_ratio.{index}": [1.0] for index in range(10)}
    found = one(DECIDING[0], table({"gcsam": {"ascent_ratio": [0.9], **many}}))
    assert found.caveat.endswith("in 10 of 10 layers: 0, 1, 2, 3, 4, 5, 6, 7, ...")


def test_cost_is_reported_without_a_verdict() -> None:
    runs = table({"gcsam": {"step_seconds_median": 2.2 * SEEDS}, "sgd": {"step_seconds_median": SEEDS}})
    claim = next(claim for claim in CLAIMS if claim.number == 7 and claim.control == "sgd")
    found = one(claim, runs)
    assert found.effect.estimate == pytest.approx(120.0)
    assert (found.verdict, found.reason) == ("inconclusive", "reported as it is: the claim sets no bound")


def test_what_the_study_cannot_speak_to_says_what_it_needs() -> None:
    reasons = {found.claim.number: found.reason for found in judge(table({})) if found.claim.role == "untested"}
    assert reasons[5] == "needs runs over a grid of rho"
    assert set(reasons) == {2, 5, 8}


def test_a_control_without_runs_counts_for_nothing_and_one_with_runs_counts() -> None:
    """Fails if a study without the control cannot support a claim, or one with it can against its runs."""
    required = replace(FLATTER, control="sam")
    optional = replace(FLATTER, control="sam-matched", is_optional=True)
    better = {"gcsam": {"trace": SEEDS}, "sam": {"trace": 2 * SEEDS * SMALL}}
    found = judge(table(better), [required, optional])
    assert [verdict.role for verdict in found] == ["decides", "absent"]
    assert (found[1].verdict, found[1].reason) == ("inconclusive", "no runs of method 'sam-matched'")
    assert overall(found) == {3: "supported"}
    assert found[0].p_corrected == found[0].evidence.p_value  # one test was made
    found = judge(table({**better, "sam-matched": {"trace": SEEDS * SMALL}}), [required, optional])
    assert [verdict.role for verdict in found] == ["decides", "decides"]
    assert overall(found) == {3: "inconclusive"}
    assert found[0].p_corrected == pytest.approx(2 * found[0].evidence.p_value)  # two tests were made
    required_absent = judge(table({"gcsam": {"trace": SEEDS}}), [required])
    assert (required_absent[0].role, overall(required_absent)) == ("decides", {3: "inconclusive"})


def test_the_numbers_of_smoothness_are_judged_against_sam_and_sgd() -> None:
    """No spikes at all is a number: compared by difference, in percentage points of the steps."""
    runs = table({
        "gcsam": {"loss_spikes": np.zeros(6), "curve_roughness": SEEDS},
        "sam": {"loss_spikes": 0.01 * SMALL, "curve_roughness": 2 * SEEDS * SMALL},
        "sgd": {"loss_spikes": np.zeros(6), "curve_roughness": SEEDS / 2 * SMALL},
    })
    found = {
        (verdict.claim.quantity, verdict.claim.control): verdict.verdict
        for verdict in judge(runs)
        if verdict.claim.quantity in {"loss_spikes", "curve_roughness"}
    }
    assert found == {
        ("loss_spikes", "sam"): "supported",
        ("loss_spikes", "sgd"): "inconclusive",
        ("curve_roughness", "sam"): "supported",
        ("curve_roughness", "sgd"): "contradicted",
    }


ROBUST = next(claim for claim in CLAIMS if claim.quantity == "corrupted_accuracy")


def test_a_claim_that_needs_what_no_run_has_is_untested_and_counts_for_nothing() -> None:
    """Fails if every study without the measurement shows rows of nothing, or is held back by them."""
    runs = table({"gcsam": {"test_accuracy": SEEDS}, "sam": {"test_accuracy": SEEDS}})
    found = one(ROBUST, runs)
    assert (found.claim.role, found.verdict, found.reason) == ("untested", "inconclusive", ROBUST.needs)
    flatter = Verdict(replace(FLATTER, number=8), "supported", "")
    assert overall([flatter, found]) == {8: "supported"}


def test_a_claim_that_needs_what_some_runs_have_is_judged_by_them() -> None:
    accuracy = {"corrupted_accuracy": 0.8 + 0.01 * SEEDS}
    alone = one(ROBUST, table({"gcsam": accuracy, "sam": {"test_accuracy": SEEDS}}))
    assert (alone.claim.role, alone.reason) == ("decides", "not measured in 6 runs; 0 of the 5 seeds a verdict needs")
    better = {"corrupted_accuracy": 0.8 + 0.01 * SEEDS + 0.05 * SMALL}
    found = one(ROBUST, table({"gcsam": better, "sam": accuracy}))
    assert found.verdict == "supported"
    assert found.effect.estimate == pytest.approx(5 * float(SMALL.mean()))


def test_ranks_within_methods_ignore_what_lies_between_them() -> None:
    """Between the two methods sharpness and gap rise together, within each they fall together by rank."""
    low, falling = np.arange(6.0), -np.arange(6.0)
    runs = table({
        "sgd": {"trace": 100 + low, "generalization_gap": 100 + falling},
        "gcsam": {"trace": low, "generalization_gap": falling},
    })
    found = {claim.scale: one(claim, runs) for claim in DECIDING if claim.quantity == "trace" and claim.number == 9}
    assert found["rank"].effect.estimate > 0
    assert found["rank within methods"].effect.estimate == -1.0
    assert found["rank within methods"].num_seeds == 6


def test_confidence_widens_the_interval() -> None:
    runs = planted(FLATTER, -1.0)
    (usual,), (wide,) = judge(runs, [FLATTER]), judge(runs, [FLATTER], confidence=0.999)
    assert wide.effect.low < usual.effect.low
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got nan"):
        judge(runs, [FLATTER], confidence=math.nan)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "inconclusive"], "inconclusive"),
        (["supported", "contradicted"], "inconclusive"),
        (["contradicted", "inconclusive"], "contradicted"),
        (["inconclusive"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_overall_needs_all_that_decide(verdicts: list[str], expected: str) -> None:
    rows = [Verdict(FLATTER, verdict, "") for verdict in verdicts]
    cost = replace(FLATTER, direction="", reason="no bound")
    assert overall([*rows, Verdict(cost, "inconclusive", "no bound")]) == {3: expected}
