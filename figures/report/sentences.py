"""The answers: one sentence for each numbered claim, from the stored verdicts alone.

The first comparison of a claim that decides stands for it, as the claims list it; the order was fixed before any run,
so none is picked for its result. With fewer seeds than a verdict needs the sentence says what was seen and what so many
seeds could have seen. Right when verdict, effect and interval of the file are in the sentence, in words
(`tests/figures/report/test_sentences.py`). Cost: none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from figures.claims import VERDICT_TABLE
from figures.reading import Run
from figures.report.content import Answer
from figures.report.wording import (
    QUANTITIES,
    amount,
    compared,
    counted,
    label,
    listed,
    method,
    quantity,
    sentence,
    signed,
)
from figures.style import METHODS

DECIDES, UNTESTED = "decides", "untested"
NOT_TESTED, REPORTED = "not tested", "reported"


@dataclass(frozen=True)
class Row:
    """One comparison of a study's file; numbers that the file lacks are NaN, texts empty."""

    number: int
    statement: str
    quantity: str
    comparison: str
    role: str
    effect: float
    low: float
    high: float
    unit: str
    verdict: str
    reason: str
    caveat: str
    num_seeds: int
    p_corrected: float
    effect_size: float
    detectable: float

    @property
    def shown(self) -> str:
        """The verdict as it is shown: that of a comparison that decides, or that it does not."""
        return {DECIDES: self.verdict, UNTESTED: NOT_TESTED}.get(self.role, REPORTED)


def read_rows(study: Run) -> list[Row]:
    """Return the comparisons of a study.

    Args:
        study: Its file.

    Returns:
        In the order of the file; none where it holds no verdicts.
    """
    numbers = study.array(VERDICT_TABLE, "number")
    if numbers is None:
        return []

    def column(name: str, missing: Any) -> list[Any]:
        values = study.array(VERDICT_TABLE, name)
        return [missing] * len(numbers) if values is None else list(values.tolist())

    texts = {name: column(name, "") for name in ("statement", "quantity", "comparison", "unit", "verdict")}
    texts |= {name: column(name, "") for name in ("reason", "caveat")} | {"role": column("role", DECIDES)}
    stored = {"low": "interval_low", "high": "interval_high"}
    stored |= {name: name for name in ("effect", "p_corrected", "effect_size", "detectable")}
    values = {name: column(there, math.nan) for name, there in stored.items()}
    seeds = column("num_seeds", 0)
    return [
        Row(
            number=int(number),
            num_seeds=int(seeds[i]),
            **{name: str(column[i]) for name, column in texts.items()},  # type: ignore[arg-type]
            **{name: float(column[i]) for name, column in values.items()},  # type: ignore[arg-type]
        )
        for i, number in enumerate(numbers.tolist())
    ]


def answers(study: Run) -> list[Answer]:
    """Return what the study says about each numbered claim.

    Args:
        study: Its file.
    """
    rows = read_rows(study)
    claims, overall = (study.array(VERDICT_TABLE, name) for name in ("claim_number", "overall"))
    verdicts = (
        dict(zip(claims.tolist(), overall.tolist(), strict=True)) if claims is not None and overall is not None else {}
    )
    needed = study.array(VERDICT_TABLE, "min_seeds")
    found = []
    for number in dict.fromkeys(row.number for row in rows):
        own = [row for row in rows if row.number == number]
        found.append(_answer(own, str(verdicts.get(number, "")), 0 if needed is None else int(needed)))
    return sorted(found, key=lambda answer: answer.number)


def shared_reason(rows: Sequence[Row]) -> str:
    """Return the reason that all deciding comparisons give for their verdict, or nothing.

    Args:
        rows: Of one study.
    """
    reasons = {row.reason for row in rows if row.role == DECIDES}
    return reasons.pop() if len(reasons) == 1 else ""


def compared_with(row: Row) -> str:
    """Return the comparison in words: "in GCSAM than in SAM".

    Args:
        row: Any.

    Returns:
        What follows "higher" or "lower"; a comparison of a form not known here in parentheses, as it is stored.
    """
    if own := re.fullmatch(r"(\S+), vs (\S+)", row.comparison):
        return f"than {quantity(own[2])}"
    if pair := re.fullmatch(r"(?:spread over seeds, )?(\S+) vs (\S+)", row.comparison):
        return f"with {method(pair[1])} than with {method(pair[2])}" if pair[2] != "1" else "than 1"
    return f"({row.comparison})"


def comparison(row: Row) -> str:
    """Return who is compared with whom, with the names that readers know.

    Args:
        row: Any.
    """
    words = {name: label(name) for name in QUANTITIES} | {name: look.label for name, look in METHODS.items()}
    return re.sub(r"[\w-]+", lambda found: words.get(found[0], found[0]), row.comparison)


def subject(row: Row) -> str:
    """Return what a comparison is about, as the subject of a sentence.

    Args:
        row: Any.
    """
    spread = "the spread over seeds of " if row.comparison.startswith("spread over seeds") else ""
    return spread + quantity(row.quantity)


def seen(row: Row) -> str:
    """Return the effect and its interval in words, without a verdict.

    Args:
        row: With an effect.
    """
    if row.unit == "rank correlation":
        with_what, _, where = row.comparison.removeprefix("with ").partition(", ")
        text = f"{subject(row)} has a rank correlation of {signed(row.effect, row.unit)} with {quantity(with_what)}"
        return f"{text} ({where}{_interval(row)})"
    size, than = compared(row.effect, row.unit), compared_with(row)
    if "times as" in size:
        than = re.sub(r"\bthan\b", "as", than)
    elif size == "no different":
        than = re.sub(r"\bthan\b", "from" if than.startswith("than") else "and", than)
        than = than.replace("with ", "between ", 1).replace("and with", "and")
    return f"{subject(row)} is {size} {than}{_interval(row, lone=True)}"


def _interval(row: Row, *, lone: bool = False) -> str:
    if not (math.isfinite(row.low) and math.isfinite(row.high)) or row.low == row.high:
        return " (without an interval: the numbers do not vary)" if lone else ""
    ends = f"95 % interval {signed(row.low, row.unit)} to {signed(row.high, row.unit)}"
    return f" ({ends})" if lone else f"; {ends}"


def _answer(rows: Sequence[Row], overall: str, needed: int) -> Answer:
    deciding = [row for row in rows if row.role == DECIDES]
    reported = [row for row in rows if row.role not in {DECIDES, UNTESTED}]
    first = (deciding or reported or list(rows))[0]
    statements = list(dict.fromkeys(row.statement for row in (deciding or reported or rows)))
    statement = "; ".join(statements)
    if not deciding and not reported:
        reasons = ", and it ".join(dict.fromkeys(row.reason for row in rows))
        return Answer(first.number, NOT_TESTED, statement, f"Not tested here: it {reasons}.")
    if not deciding:
        told = [seen(row) for row in reported if math.isfinite(row.effect)] or [f"{subject(first)} was not measured"]
        return Answer(first.number, REPORTED, statement, f"{sentence(first.reason)}. {sentence('; '.join(told))}.")
    verdict = overall or first.verdict
    if not math.isfinite(first.effect):
        said = f"there is no effect to report for {subject(first)}"
    else:
        said = seen(first)
    parts = [f"{sentence(verdict)}: {said}."]
    is_short = needed and first.num_seeds < needed
    if is_short:
        parts = [f"{sentence(verdict)}, for want of seeds. Seen: {said}.", _could_see(first)]
    elif math.isfinite(first.p_corrected):
        p = "below 0.001" if first.p_corrected < 0.001 else f"{first.p_corrected:.3f}"
        parts[0] = f"{parts[0][:-1]}, corrected p {p}."
    if len(deciding) > 1:
        parts.append(_tally(deciding))
    if first.caveat:
        parts.append(f"Beware: {first.caveat}.")
    return Answer(first.number, verdict, statement, " ".join(filter(None, parts)))


def _could_see(row: Row) -> str:
    seeds = counted(row.num_seeds, "seed")
    if not math.isfinite(row.detectable) or row.detectable == 0:
        return f"What {seeds} could have seen is not known."
    size = amount(row.detectable, row.unit)
    return f"{sentence(seeds)} could have seen, in four studies of five, a difference of {size} or more."


def _tally(rows: Sequence[Row]) -> str:
    counts = {name: sum(row.verdict == name for row in rows) for name in ("supported", "contradicted", "inconclusive")}
    told = [f"{count} {'is' if count == 1 else 'are'} {name}" for name, count in counts.items() if count]
    return (
        f"All its {len(rows)} comparisons are {rows[0].verdict}."
        if len(told) == 1
        else (f"Of its {len(rows)} comparisons {listed(told)}.")
    )
