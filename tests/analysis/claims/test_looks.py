"""Several looks at growing data: how often any of them errs, in simulations, against what is promised."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.claims import further
from analysis.claims.further import seeds_for_mean
from analysis.claims.looks import counted_looks, look_confidence
from analysis.claims.power import seeds_needed
from analysis.claims.statistics import mean_interval, spread_ratio

LOOKS = (3, 5, 8, 12, 20)
STUDIES = 2000


def at_most(count: int, studies: int, share: float) -> bool:
    """Whether a count is no more than four binomial standard errors above a share."""
    return count / studies < share + 4 * math.sqrt(share * (1 - share) / studies)


def test_the_errors_of_all_looks_add_up_to_less_than_is_permitted() -> None:
    assert sum(1 - look_confidence(look, 0.9) for look in range(1, 60)) == pytest.approx(0.1, rel=1e-12)
    assert look_confidence(1) == pytest.approx(0.975)


def test_means_over_five_looks() -> None:
    """Each side errs in at most 2.5 % of studies; plain 95 % intervals miss in 17 %, by 100,000 studies of t alone."""
    data = np.random.default_rng(0).normal(0.0, 1.0, (STUDIES, LOOKS[-1]))
    errs, plain = np.zeros((2, STUDIES), dtype=bool), np.zeros(STUDIES, dtype=bool)
    for look, seeds in enumerate(LOOKS, start=1):
        narrower = stats.t.ppf(0.975, seeds - 1) / stats.t.ppf((1 + look_confidence(look)) / 2, seeds - 1)
        for study, values in enumerate(data[:, :seeds]):
            found = mean_interval(values, look_confidence(look))
            errs[:, study] |= found.low > 0, found.high < 0
            plain[study] |= abs(found.estimate) > narrower * (found.estimate - found.low)
    assert all(at_most(int(side.sum()), STUDIES, 0.025) for side in errs)
    assert abs(plain.mean() - 0.166) < 4 * math.sqrt(0.166 * 0.834 / STUDIES)


def test_ratios_of_spread_over_five_looks() -> None:
    """Pairs with a correlation of 0.5 and a ratio of 0.8, asked for a ratio below 0.8."""
    studies = 1000
    first, second = np.random.default_rng(1).normal(0.0, 1.0, (2, studies, LOOKS[-1]))
    treatment = 0.8 * (0.5 * first + math.sqrt(0.75) * second)
    is_yes = np.zeros(studies, dtype=bool)
    for look, seeds in enumerate(LOOKS, start=1):
        for study in range(studies):
            found = spread_ratio(treatment[study, :seeds], first[study, :seeds], look_confidence(look))
            is_yes[study] |= found.high < 0.8
    assert at_most(int(is_yes.sum()), studies, 0.025)
    assert is_yes.sum() > 0.01 * studies  # and what is permitted is not thrown away


@pytest.mark.slow
def test_following_the_number_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look is chosen by the data, up to 60 seeds and four looks; the truth lies on the bound."""
    monkeypatch.setattr(further, "DRAWS", 400)  # the proposals are a few percent rougher, and quicker
    generator, studies, false = np.random.default_rng(2), 500, 0
    for _ in range(studies):
        values = generator.normal(0.0, 1.0, 5)
        for look in range(1, 5):
            if mean_interval(values, look_confidence(look)).low > 0:
                false += 1
                break
            total = seeds_for_mean(values, 0.0, look_confidence(look + 1)).total
            if total > 60:
                break
            values = np.concatenate([values, generator.normal(0.0, 1.0, int(total) - len(values))])
    assert at_most(false, studies, 0.025)


def test_the_table_of_the_page_on_comparing_is_that_of_the_second_look() -> None:
    needed = [seeds_needed(distance, confidence=look_confidence(2)) for distance in (3, 2, 1, 0.5, 0.25, 0.1)]
    page = Path(__file__).parents[3] / "docs" / "how-to" / "ab.md"
    assert f"| {' | '.join(map(str, needed))} |" in page.read_text(encoding="utf-8")


def test_looks_count_once_and_only_where_a_verdict_was_possible() -> None:
    assert counted_looks((8, 3, 5, 8), 8) == (5, 8)
    assert counted_looks((), 4) == ()


@pytest.mark.parametrize("look", [0, -1, math.nan])
def test_a_look_has_a_number(look: int) -> None:
    with pytest.raises(ValueError, match=r"look must be at least 1, got .*; the first look is number 1"):
        look_confidence(look)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"confidence must lie between 0 and 1, got"):
        look_confidence(1, confidence)


@pytest.mark.parametrize("before", [(-1,), (math.nan,)])
def test_looks_are_numbers_of_seeds(before: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"looks must be numbers of seeds, at least 0, got .*; \(\) where nobody"):
        counted_looks(before, 5)
