"""The list of measures: names, settings that are stored, costs that are counted, and what rescaling does."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from analysis.report.measure import HVP, LOSS, Effort, Measure, Setup
from analysis.report.measures import MEASURES, named
from tests.analysis.report.networks import Counting, relu_network

IDS = [measure.name for measure in MEASURES]
SAMPLED = {"average", "average_adaptive", "pac_bayes", "pac_bayes_adaptive"}
SETUP = Setup(top=3, rho=0.1, rho_linf=0.01, m=5, seed=2)


def units_of(measure: Measure, setup: Setup) -> int:
    """Return few units, enough for the sampled ones."""
    effort = measure.effort(setup)
    return effort.least if measure.name in SAMPLED else effort.full


def no_progress(done: int, total: int) -> None:
    assert 0 <= done
    assert total >= 1


def test_names_keys_and_rows_are_unique_and_priorities_say_what_comes_first() -> None:
    for values in (
        IDS,
        [measure.key for measure in MEASURES],
        [quantity.name for measure in MEASURES for quantity in measure.quantities],
    ):
        assert len(values) == len(set(values))
    assert min(MEASURES, key=lambda measure: measure.priority).name == "magnitudes"
    assert {"curvature/eigenvalues", "curvature/trace", "sharpness/worst", "sharpness/average"} <= {
        measure.key for measure in MEASURES
    }


@pytest.mark.parametrize("measure", MEASURES, ids=IDS)
def test_a_result_holds_the_settings_it_is_asked_for(measure: Measure) -> None:
    """Fails if a setting does not reach the function, or is not what the file calls it."""
    objective = relu_network()
    setup = SETUP.fitted(objective)
    stored = measure.compute(objective, setup, units_of(measure, setup), no_progress).to_measurement()
    settings = measure.settings(setup)
    assert {name: stored.setting(name) for name in settings} == dict(settings)
    assert type(stored).__name__ == "Measurement"
    titles = [quantity.title.format(**settings) for quantity in measure.quantities]
    assert all("{" not in title and len(title) <= 31 for title in titles)  # the table's first column


@pytest.mark.parametrize("measure", MEASURES, ids=IDS)
def test_what_a_measure_says_it_cost_is_what_was_asked_of_the_objective(measure: Measure) -> None:
    """Each new objective, the whole and that over subsets, checks first that its loss repeats: 2 losses more, each."""
    if measure.name == "fisher_rao":
        pytest.skip("its pass over layers is not made of gradients and losses")
    objective = Counting(relu_network())
    setup = Setup().fitted(objective)
    for units in (measure.effort(setup).least, units_of(measure, setup)):
        objective.seen.update(dict.fromkeys(objective.seen, 0.0))
        found = measure.compute(objective, setup, units, no_progress)
        seen = objective.seen["gradients"] + LOSS * objective.seen["losses"] + HVP * objective.seen["hvps"]
        assert seen > 0
        assert -1e-9 <= seen - measure.spent(found) <= 4 * LOSS + 1e-9
        # a step that is tried again costs a loss that the 1.3 a step do not foresee: at most 10 of them end an ascent;
        # and a noise more or two, where a search of sigma begins far off
        slack = 20 * LOSS if "worst" in measure.name else 0.0
        slack += 2 * 2 * LOSS * units if "pac" in measure.name else 0.0
        assert measure.spent(found) <= measure.effort(setup).most(units) + slack + 1e-9


@pytest.mark.parametrize("measure", MEASURES, ids=IDS)
def test_what_is_marked_stays_when_a_relu_network_is_rescaled_and_the_rest_changes(measure: Measure) -> None:
    """As in the table of invariances: 1e-6 is rounding along an ascent, a quarter is far above it."""
    readings = []
    for factor in (1.0, 10.0):
        objective = relu_network(factor)
        setup = Setup().fitted(objective)
        found = measure.compute(objective, setup, units_of(measure, setup), no_progress)
        readings.append([quantity.read(found).value for quantity in measure.quantities])
    for quantity, before, after in zip(measure.quantities, *readings, strict=True):
        change = abs(after / before - 1)
        assert change < 1e-6 if quantity.is_invariant else change > 0.25, quantity.name


def test_costs_of_an_effort() -> None:
    effort = Effort("steps", full=20, least=3, usual=8, gradients=2.0, fixed=1.0, stops=True)
    assert (effort.expected(20), effort.expected(5), effort.most(20), effort.most(5)) == (17.0, 11.0, 41.0, 11.0)
    assert [effort.affordable(left) for left in (math.inf, 41.0, 40.9, 7.0, 6.9, 0.0, -5.0)] == [20, 20, 19, 3, 0, 0, 0]


def test_a_setup_fits_its_m_and_its_eigenvalues_to_the_objective() -> None:
    """128 samples a subset where that gives 4 subsets, as 500 samples do; fewer where it does not, to the last one."""
    for samples, m in ((600, 128), (500, 128), (385, 128), (384, 64), (20, 4), (3, 1), (1, 1)):
        assert Setup().fitted(relu_network(samples=samples)).m == m
    few = relu_network(samples=20)
    assert Setup(m=7).fitted(few).m == 7
    assert Setup(top=1000).fitted(few).top == few.num_parameters == 51
    assert Setup(top=7).fitted(few).top == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rho": 0.0}, r"rho must be a finite number > 0, got 0.0; the default is 0.05"),
        ({"rho": math.nan}, r"rho must be a finite number > 0, got nan; the default is 0.05"),
        ({"rho_linf": math.inf}, r"rho_linf must be a finite number > 0, got inf; the default is 0.001"),
        ({"rho_linf": math.nan}, r"rho_linf must be a finite number > 0, got nan"),
        ({"top": 0}, r"top must be a whole number >= 1, got 0; 5 gives lambda_1 / lambda_5"),
        ({"m": 0}, r"m must be a whole number >= 1, got 0; None takes up to 128"),
        ({"m": math.nan}, r"m must be a whole number >= 1, got nan"),
        ({"seed": -1}, r"seed must be a whole number >= 0, got -1"),
    ],
)
def test_a_setup_out_of_range_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Setup(**given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^measures must be some of magnitudes, .*, critical, got 'tracee'$"):
        named(["tracee"])
    with pytest.raises(ValueError, match=r"^measures must be a sequence of names, got 'trace'; \('trace',\) is a"):
        named("trace")
    assert named() == MEASURES


def test_a_bracket_without_a_lower_end_is_no_interval() -> None:
    """Fails if 2 / 0 is taken: a critical step that was never seen not to rise."""
    measure = next(each for each in MEASURES if each.name == "critical")
    found = measure.compute(relu_network(), Setup(), 100, no_progress)
    reading = measure.quantities[0].read(found)
    assert reading.low < reading.value < reading.high
    open_ended = dataclasses.replace(found, low=0.0, value=math.nan)  # type: ignore[type-var]
    reading = measure.quantities[0].read(open_ended)
    assert math.isnan(reading.high)
    assert reading.meaning == "no bracket"


def test_the_interval_of_sigma_is_its_bracket_and_the_error_beyond() -> None:
    measure = next(each for each in MEASURES if each.name == "pac_bayes")
    found = measure.compute(relu_network(), Setup(), 10, no_progress)
    reading = measure.quantities[0].read(found)
    assert 0 <= reading.low < found.low <= reading.value <= found.high < reading.high  # type: ignore[attr-defined]
    assert not torch.tensor([reading.low, reading.high]).isnan().any()
