"""What is printed of a comparison: each number of the file in its row, and a sentence for each way it can end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analysis import judge_success
from analysis.claims import RunTable
from analysis.store import Measurement, Variable
from landscape.tables.ab import ab_table, answer_lines
from landscape.tables.printing import show

BASE = (0.90, 0.94, 0.91, 0.95, 0.93)


def judged(success: str, candidate: Sequence[float], baseline: Sequence[float] = BASE) -> Measurement:
    """Judge accuracies, which are losses and eigenvalues as well."""
    runs = len(baseline)
    numbers = np.array([*baseline, *candidate])
    columns = {name: Variable(numbers, ("run",)) for name in ("test_accuracy", "test_loss", "lambda_max")}
    table = RunTable(("sgd",) * runs + ("gcsam",) * runs, (*range(runs), *range(runs)), columns)
    return judge_success(table, "sgd", "gcsam", success).to_measurement()


def printed(found: Measurement, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(ab_table(found))
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def with_seeds(needed: float, low: float = 8.0, high: float = np.inf) -> Measurement:
    """An open criterion with chosen numbers of seeds."""
    found = judged("accuracy larger", [0.91, 0.93, 0.93, 0.94, 0.94])
    changed = {"seeds_needed": needed, "seeds_low": low, "seeds_high": high}
    variables = {name: Variable(np.array([number]), ("criterion",)) for name, number in changed.items()}
    return Measurement(found.type, {**found.variables, **variables})


def command(seeds: int) -> str:
    return f"landscape study --seeds {seeds}"


def test_each_row_holds_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: means 0.926 and 0.946, differences of 2 points with a deviation of sqrt(0.5) points; t = 3.4954."""
    found = judged(
        "accuracy >= baseline - 0.2%, loss <= baseline + 0.05, lambda_max larger by 1%, spread smaller",
        [0.91, 0.96, 0.94, 0.97, 0.95],
    )
    lines = printed(found, capsys)
    assert lines[0] == "gcsam beside sgd, 5 paired seeds"
    assert lines[2] == "criterion sgd gcsam effect [97.5 % interval, look 1] bound answer further seeds"
    assert lines[4] == "accuracy >= baseline - 0.2% 92.60 % 94.60 % +2.00 pp [+0.89, +3.11] > -0.20 pp yes"
    assert lines[5] == "loss <= baseline + 0.05 0.926 0.946 +0.02 [+0.00895, +0.0311] < +0.05 yes"
    # logarithms of the ratios: mean 0.02133, deviation 0.00757; the end is 0.954 %
    assert lines[6].startswith("lambda_max larger by 1% 0.926 0.946 +2.2 % [+1.0, +3.4] > +1.0 % not yet ")
    assert lines[7].startswith("spread smaller 2.07 pp 2.30 pp +11.0 % [")
    assert lines[7].split(" not yet ")[1].isdigit()


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (
            judged("accuracy larger", BASE + np.array([1, 2, 3, 2, 2]) / 100),
            ["Yes: gcsam meets the criterion beside sgd, with 5 paired seeds."],
        ),
        (
            judged("accuracy larger, loss larger", BASE + np.array([1, 2, 3, 2, 2]) / 100),
            ["Yes: gcsam meets all 2 criteria beside sgd, with 5 paired seeds."],
        ),
        (
            judged("accuracy smaller, spread smaller", BASE + np.array([1, 2, 3, 2, 2]) / 100),
            ['No: gcsam fails "accuracy smaller" beside sgd, with 5 paired seeds.'],
        ),
        (
            judged("accuracy larger", [0.95, 0.96], [0.90, 0.92]),
            ["Not yet: 2 of the 5 paired seeds a verdict needs. To go on:", "  landscape study --seeds 5"],
        ),
        (
            judged("accuracy larger", [0.9, np.nan, 0.9, 0.9, 0.91]),
            ['Not yet: seeds alone do not settle it. "accuracy larger": missing or not finite in 1 run.'],
        ),
        (
            with_seeds(np.inf),
            [
                'Not yet: "accuracy larger" would take more than 10,000 seeds: the two are equal for your purpose. '
                "Accept that, or relax the margin."
            ],
        ),
        (
            with_seeds(25.0),
            [
                'Not yet: 5 paired seeds leave "accuracy larger" open. 20 further seeds would settle it in 80 % of '
                "studies, if the truth is as estimated (3 to more than 10,000, as well as the spread is known). To go "
                "on:",
                "  landscape study --seeds 25",
            ],
        ),
    ],
    ids=["yes", "all", "no", "few", "missing", "equal", "open"],
)
def test_a_sentence_for_each_end(found: Measurement, lines: list[str]) -> None:
    assert answer_lines(found, command) == lines


def test_with_two_open_the_slower_counts() -> None:
    found = judged("accuracy larger, spread smaller", [0.91, 0.93, 0.93, 0.94, 0.94])
    seeds = found.variables["seeds_needed"].data
    assert seeds[0] != seeds[1]
    first, second = answer_lines(found, command)
    assert 'leave "accuracy larger" and "spread smaller" open' in first
    assert "settle each of them" in first
    assert second == f"  landscape study --seeds {int(seeds.max())}"


def test_a_number_that_is_not_there_is_not_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = judged("accuracy larger", [0.9, np.nan, 0.9, 0.9, 0.91])
    assert printed(found, capsys)[4] == "accuracy larger 92.60 % none > +0.00 pp not yet unknown"
