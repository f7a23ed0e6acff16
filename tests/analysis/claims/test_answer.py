"""Answers against the arithmetic by hand, and against planted truths in simulations over looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.claims import RunTable, spread_ratio
from analysis.claims.answer import (
    NO,
    NOT_YET,
    YES,
    Answer,
    all_together,
    effect_interval,
    held_against,
    judge_criterion,
)
from analysis.claims.further import seeds_for_mean, seeds_for_spread
from analysis.claims.looks import look_confidence
from analysis.claims.statistics import Array, Interval
from analysis.claims.success import Criterion, parse_success
from tests.analysis.claims.runs import table

LOOKS = (3, 5, 8, 12, 20)
STUDIES = 600
BASE = [0.90, 0.91, 0.92, 0.93, 0.95]
STEPS = np.array([0.01, 0.02, 0.03, 0.02, 0.02])


def criterion(text: str) -> Criterion:
    return parse_success(text)[0]


def judged(text: str, candidate: list[float], baseline: list[float], look: int = 1) -> Answer:
    found = criterion(text)
    runs = table({"new": {found.column: candidate}, "old": {found.column: baseline}})
    return judge_criterion(found, runs, "old", "new", look)


def at_most(count: int, share: float) -> bool:
    return count / STUDIES < share + 4 * math.sqrt(share * (1 - share) / STUDIES)


class TestInterval:
    def test_percentage_points_by_hand(self) -> None:
        """Mean 2 points; their squares sum to 2e-4 * 0.5 * 100^2; t(0.9875, 4) = 3.4954 for a first look."""
        found = judged("accuracy larger", list(BASE + STEPS), BASE)
        half = 3.4954059 * 100 * math.sqrt(2e-4 / 4 / 5)
        assert found.effect.estimate == pytest.approx(2.0)
        assert found.effect.low == pytest.approx(2.0 - half, rel=1e-6)
        assert found.effect.high == pytest.approx(2.0 + half, rel=1e-6)

    def test_ratios_are_geometric_means_in_percent(self) -> None:
        """One and a half, and a half more or less in logarithm: the mean ratio is exactly 1.5."""
        factors = 1.5 * np.exp([0.1, -0.1, 0.2, -0.2, 0.0])
        found = judged("lambda_max larger", list(3.0 * factors), [3.0] * 5)
        half = 3.4954059 * math.sqrt(0.1 / 4 / 5)
        assert found.effect.estimate == pytest.approx(50.0)
        assert found.effect.high == pytest.approx(100 * (1.5 * math.exp(half) - 1), rel=1e-6)

    def test_a_margin_without_a_unit_is_in_the_quantitys_own(self) -> None:
        found = judged("loss <= baseline + 0.05", list(BASE + STEPS), BASE)
        assert found.effect.estimate == pytest.approx(0.02)
        assert (found.answer, found.criterion.bound) == (YES, 0.05)

    def test_spread_is_pitman_morgans(self) -> None:
        ours, theirs = np.array([1.0, 2.0, 4.0, 3.0, 0.0]), np.array([5.0, 9.0, 2.0, 4.0, 8.0])
        found = judged("spread of loss smaller", list(ours), list(theirs))
        ratio = spread_ratio(ours, theirs, 0.975)
        assert found.effect == Interval(*(100 * (x - 1) for x in (ratio.estimate, ratio.low, ratio.high)))
        assert found.baseline_mean == pytest.approx(theirs.std(ddof=1))
        assert found.candidate_mean == pytest.approx(ours.std(ddof=1))

    def test_a_later_look_has_a_wider_interval(self) -> None:
        first, second = (judged("accuracy larger", list(BASE + STEPS), BASE, look).effect for look in (1, 2))
        wider = stats.t.ppf(0.99375, 4) / stats.t.ppf(0.9875, 4)
        assert second.high - 2.0 == pytest.approx(wider * (first.high - 2.0))


@pytest.mark.parametrize(
    ("text", "low", "high", "answer"),
    [
        ("accuracy >= baseline - 0.2%", -0.1, 0.4, YES),  # an interval that includes zero
        ("accuracy >= baseline - 0.2%", -0.3, 0.4, NOT_YET),
        ("accuracy >= baseline - 0.2%", -0.9, -0.3, NO),
        ("accuracy >= baseline + 0.2%", 0.1, 0.4, NOT_YET),
        ("lambda_max smaller by 10%", -30.0, -11.0, YES),
        ("lambda_max smaller by 10%", -30.0, -9.0, NOT_YET),
        ("lambda_max smaller by 10%", -9.0, -1.0, NO),
        ("spread smaller", -0.2, 0.0, NOT_YET),
    ],
)
def test_the_whole_interval_must_lie_on_one_side(text: str, low: float, high: float, answer: str) -> None:
    assert held_against(Interval((low + high) / 2, low, high), criterion(text))[0] == answer


def test_all_must_hold_and_one_no_is_a_no() -> None:
    assert all_together([YES, YES]) == YES
    assert all_together([YES, NOT_YET]) == NOT_YET
    assert all_together([YES, NOT_YET, NO]) == NO
    assert all_together([]) == NOT_YET


def draw(generator: np.random.Generator, shift: float, ratio: float) -> tuple[Array, Array]:
    """Twenty pairs with a correlation of 0.6: the candidate's mean, and its deviation beside the baseline's of 1."""
    control, own = generator.normal(size=(2, LOOKS[-1]))
    return shift + ratio * (0.6 * control + 0.8 * own), control


def counts(text: str, shift: float, ratio: float, seed: int) -> dict[str, int]:
    """Count the final answers of studies that stop at the first one, over the looks, by the intervals of `answer`."""
    found, generator = criterion(text), np.random.default_rng(seed)
    seen = dict.fromkeys((YES, NO, NOT_YET), 0)
    for _ in range(STUDIES):
        treatment, control = draw(generator, shift, ratio)
        answer = NOT_YET
        for look, seeds in enumerate(LOOKS, start=1):
            if answer == NOT_YET:
                effect = effect_interval(found, treatment[:seeds], control[:seeds], look_confidence(look))
                answer = held_against(effect, found)[0]
        seen[answer] += 1
    return seen


def test_false_answers_are_rare_over_all_looks() -> None:
    """The truth lies on the bound: neither answer comes in more than 2.5 % of studies, whatever the scale."""
    for text, shift, ratio in (("test_loss >= baseline - 0.5", -0.5, 1.0), ("spread of loss smaller by 20%", 0.0, 0.8)):
        seen = counts(text, shift, ratio, seed=0)
        assert at_most(seen[YES], 0.025), text
        assert at_most(seen[NO], 0.025), text


def test_planted_effects_are_found() -> None:
    """1.5 deviations of the differences (0.894) off the bound; ratios of a half and of two."""
    assert counts("test_loss >= baseline - 0.5", 0.84, 1.0, seed=1)[YES] > 0.95 * STUDIES
    assert counts("test_loss >= baseline - 0.5", -1.84, 1.0, seed=2)[NO] > 0.95 * STUDIES
    assert counts("spread of loss smaller", 0.0, 0.4, seed=3)[YES] > 0.9 * STUDIES


class TestNotYet:
    def test_fewer_than_five_seeds(self) -> None:
        found = judged("accuracy larger", [0.95, 0.96, 0.94], [0.5, 0.52, 0.49])
        assert (found.answer, found.reason) == (NOT_YET, "3 of the 5 seeds a verdict needs")
        assert found.effect.low > 0
        assert (found.needed.total, found.needed.low, found.needed.high) == (5, 5, 5)

    def test_open_and_how_many_seeds_it_takes(self) -> None:
        """At the level of the look that follows: 98.75 % after the first, 99.375 % after the second."""
        ours, theirs = [0.90, 0.93, 0.91, 0.94, 0.96], [0.91, 0.91, 0.92, 0.92, 0.96]
        differences = np.array(ours) - np.array(theirs)
        for look, level in ((1, 0.9875), (2, 0.99375)):
            found = judged("accuracy >= baseline - 0.4%", ours, theirs, look)
            assert (found.answer, found.reason) == (NOT_YET, "the interval includes the bound")
            assert found.needed == seeds_for_mean(differences, -0.004, level)
        spread = judged("spread smaller by 20%", ours, theirs)
        assert spread.needed == seeds_for_spread(np.array(ours), np.array(theirs), 0.8, 0.9875)
        ratio = judged("loss smaller by 20%", ours, theirs)
        assert ratio.answer == NO
        ratio = judged("loss smaller by 2%", ours, theirs)
        assert ratio.needed == seeds_for_mean(np.log(ours) - np.log(theirs), math.log(0.98), 0.9875)

    def test_what_is_settled_needs_no_more(self) -> None:
        assert judged("accuracy larger", list(BASE + STEPS), BASE).needed.total == 5

    @pytest.mark.parametrize(
        ("text", "candidate", "reason"),
        [
            ("loss smaller", [1.0, math.nan, 2.0, 3.0, 4.0], "missing or not finite in 1 run"),
            ("loss smaller", [1.0, math.nan, math.inf, 3.0, 4.0], "missing or not finite in 2 runs"),
            ("epochs to target smaller", [1.0, math.nan, 2.0, 3.0, 4.0], "not reached in 1 run"),
            (
                "lambda_max smaller",
                [1.0, -1.0, 2.0, 3.0, 4.0],
                "not positive in some runs, so without a ratio; give an absolute margin",
            ),
            (
                "accuracy larger",
                [0.9, 0.9, 0.9, 0.9, 0.9],
                "the numbers do not vary over seeds, so there is no interval; more test images, or other settings, "
                "tell more",
            ),
        ],
    )
    def test_without_numbers_that_can_be_compared(self, text: str, candidate: list[float], reason: str) -> None:
        found = judged(text, candidate, [0.8] * 5)
        assert (found.answer, found.reason) == (NOT_YET, reason)
        assert math.isnan(found.needed.total)
        assert math.isnan(found.effect.low)

    def test_differences_equal_up_to_rounding_do_not_vary(self) -> None:
        ours = [number + 0.1 for number in BASE]
        assert np.ptp(np.array(ours) - np.array(BASE)) > 0
        assert judged("accuracy larger", ours, BASE).answer == NOT_YET

    def test_no_pairs(self) -> None:
        runs = RunTable(("old", "new"), (0, 1), {})
        found = judge_criterion(criterion("loss smaller"), runs, "old", "new", 1)
        assert (found.answer, found.reason) == (NOT_YET, "no paired seeds of the two methods")


def test_runs_are_paired_by_their_seeds() -> None:
    """In the order of the rows the differences would vary; by seed they are 0.01, with the one of 0.02."""
    runs = table({
        "old": {"test_accuracy": BASE},
        "new": {"test_accuracy": [b + 0.01 for b in BASE[:4]] + [BASE[4] + 0.02]},
    })
    order = [9, 3, 0, 7, 5, 1, 8, 2, 4, 6]
    columns = {name: type(v)(v.data[order], v.dims) for name, v in runs.columns.items()}
    mixed = RunTable(tuple(runs.method[i] for i in order), tuple(runs.seed[i] for i in order), columns)
    found = judge_criterion(criterion("accuracy larger"), mixed, "old", "new", 1)
    assert found == judge_criterion(criterion("accuracy larger"), runs, "old", "new", 1)
    assert found.effect.high < 2.0
