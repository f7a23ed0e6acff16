"""A small language for what counts as success: "accuracy >= baseline - 0.2%, spread smaller".

Criteria are separated by commas, and all must hold. Each names a quantity and a bound for the candidate beside the
baseline:

    QUANTITY >= baseline - 0.2%      or <=, >, <; + or -; a margin in %, in pp (percentage points) or without a unit
    QUANTITY smaller                 or lower, larger, higher; with "by 10%" beyond a margin

A quantity is a column of the run table, by its name or by one of `FRIENDLY`, or "spread": the standard deviation of the
test accuracy over seeds ("spread of QUANTITY" for another one).

What a percent means. Of an accuracy, and of what else is a difference of fractions (gaps, cosines, shares of steps): a
percentage point, 0.2% is 0.002. Of every other quantity, and of a spread: a share of the baseline's number, so that
"lambda_max <= baseline - 10%" asks for at most nine tenths, in the geometric mean over seeds, which takes positive
numbers. A margin without a unit is in the quantity's own unit, for the mean of the differences. Of `>=` and `>` one
asks the same question, because equality has no probability.

Right when each form gives the comparison written out by hand, and each mistake one line
(`tests/analysis/claims/test_success.py`). Costs nothing; needs no torch.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.claims.table import DERIVED

SPREAD = "spread"
# What a user may call a column beside its own name; blanks, hyphens and underscores count alike.
FRIENDLY = {
    "accuracy": "test_accuracy",
    "loss": "test_loss",
    "gap": "generalization_gap",
    "largest_eigenvalue": "lambda_max",
    "worst_sharpness": "worst",
    "average_sharpness": "average",
    "noise_scale": "raw_noise_scale",
    "step_time": "step_seconds_median",
    "training_time": "seconds",
}
# Numbers that every run remembers of its training; `DERIVED` are the others.
SUMMARY = (
    *(f"{split}_{what}" for split in ("train", "validation", "test") for what in ("loss", "accuracy")),
    *("online_accuracy", "selected_epoch", "seconds", "step_seconds_median", "step_memory_bytes", "num_parameters"),
    "rho",
)
# q of single layers: "ascent_ratio.head.1"
LAYERS = "ascent_ratio."

EXAMPLE = '"accuracy >= baseline - 0.2%, spread smaller"'
POINTS, PERCENT = "percentage points", "%"
_ABOVE, _BELOW = (">=", ">", "larger", "higher"), ("<=", "<", "smaller", "lower")
_WORDS = ("larger", "higher", "smaller", "lower", "baseline", "by")
_MARGIN = r"(?P<margin>\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*(?P<unit>%|pp)?"
_BOUND = re.compile(rf"(?P<quantity>.+?)\s*(?P<than>>=|<=|>|<)\s*baseline\s*(?:(?P<sign>[+-])\s*{_MARGIN})?")
_WORD = re.compile(rf"(?P<quantity>.+?)\s+(?P<than>larger|higher|smaller|lower)(?:\s+by\s+{_MARGIN})?")


@dataclass(frozen=True)
class Criterion:
    """One bound for the candidate's runs beside the baseline's.

    Args:
        text: As the user wrote it.
        column: Of the run table.
        scale: "difference" or "log-ratio" of paired runs, or "spread" (ratio of standard deviations over seeds).
        bound: That the effect is held against, in `unit`.
        is_above: Whether the criterion holds above the bound; otherwise below.
        unit: Of effect and bound: "percentage points", "%" of the baseline, or empty for the column's own.
    """

    text: str
    column: str
    scale: str
    bound: float
    is_above: bool
    unit: str


def parse_success(text: str, columns: Iterable[str] = ()) -> tuple[Criterion, ...]:
    """Read criteria.

    Args:
        text: Criteria, separated by commas.
        columns: Of the run table, where it is at hand; those that every study can have are known.

    Returns:
        One or more, in the given order.

    Raises:
        ValueError: One is none, names an unknown quantity, or has a margin that its quantity cannot have; one line
            says which, what is allowed, and what may have been meant.

    Example:
        >>> for found in parse_success("accuracy >= baseline - 0.2%, lambda_max smaller by 10%, spread smaller"):
        ...     print(found.column, found.scale, ">" if found.is_above else "<", found.bound, found.unit)
        test_accuracy difference > -0.2 percentage points
        lambda_max log-ratio < -10.0 %
        test_accuracy spread < 0.0 %
        >>> parse_success("accurcy >= baseline")
        Traceback (most recent call last):
        ValueError: criterion 'accurcy >= baseline': quantity 'accurcy' is unknown; choose one of accuracy, loss, gap,
        largest_eigenvalue, worst_sharpness, average_sharpness, noise_scale, step_time, training_time, spread, or a
        column of the run table; did you mean 'accuracy'?
    """
    parts = [" ".join(part.split()) for part in text.split(",")]
    if not all(parts):
        raise ValueError(f"success must be criteria separated by commas, got {text!r}; for example {EXAMPLE}")
    known = {*SUMMARY, *DERIVED, *columns}
    return tuple(_criterion(part, known) for part in parts)


def is_fraction(column: str) -> bool:
    """Return whether a column holds fractions, so that a percent of it is a percentage point.

    Args:
        column: Of the run table.
    """
    return column.endswith(("accuracy", "cosine")) or column in {"generalization_gap", "corruption_gap", "loss_spikes"}


def _criterion(text: str, known: set[str]) -> Criterion:
    found = _BOUND.fullmatch(text) or _WORD.fullmatch(text)
    if found is None:
        raise ValueError(
            f"criterion {text!r} is not understood; write QUANTITY >= baseline - 0.2% (or <=, >, <; + or -; in %, pp "
            f"or without a unit), or QUANTITY smaller (lower, larger, higher; by 10%){_meant(text)}"
        )
    column, is_spread = _column(text, found["quantity"], known)
    is_above, unit = found["than"] in _ABOVE, found["unit"] or ""
    margin = float(found["margin"] or 0)
    if not math.isfinite(margin):
        raise ValueError(f"criterion {text!r}: the margin must be a finite number, got {found['margin']}")
    is_less = found["sign"] == "-" if "sign" in found.groupdict() else not is_above
    signed = -margin if is_less and margin else margin
    has_margin = found["margin"] is not None
    if is_spread or not is_fraction(column):
        return _of_numbers(text, column, signed, unit, is_above, has_margin=has_margin, is_spread=is_spread)
    return Criterion(text, column, "difference", signed if unit else 100 * signed, is_above, POINTS)


def _of_numbers(
    text: str, column: str, margin: float, unit: str, is_above: bool, *, has_margin: bool, is_spread: bool
) -> Criterion:
    """Return a criterion whose percent is a share of the baseline."""
    if unit == "pp":
        raise ValueError(
            f"criterion {text!r}: pp (percentage points) are for accuracies; give {margin:g}% of the baseline instead"
            + ("" if is_spread else f", or {margin:g} in the unit of {column}")
        )
    if has_margin and not unit:
        if is_spread:
            raise ValueError(
                f"criterion {text!r}: a spread is compared as a ratio; give its margin in % of the baseline"
            )
        return Criterion(text, column, "difference", margin, is_above, "")
    if margin <= -100:
        raise ValueError(f"criterion {text!r}: a margin of {margin:g}% leaves nothing; it must be above -100%")
    # a column that this file does not know may have any sign, and without a percent asks for no ratio
    is_ratio = has_margin or column in SUMMARY or column in DERIVED or column.startswith(LAYERS)
    scale = SPREAD if is_spread else "log-ratio" if is_ratio else "difference"
    return Criterion(text, column, scale, margin, is_above, PERCENT if scale != "difference" else "")


def _column(text: str, given: str, known: set[str]) -> tuple[str, bool]:
    """Return the column that a quantity names, and whether its spread is meant."""
    is_spread = given.lower() == SPREAD or given.lower().startswith(f"{SPREAD} of ")
    wanted = given[len(SPREAD) + len(" of ") :] if is_spread else given
    if is_spread and not wanted:
        return FRIENDLY["accuracy"], True
    name = re.sub(r"[\s_-]+", "_", wanted.strip())
    column = next((found for found in (wanted, name, name.lower()) if found in known), FRIENDLY.get(name.lower(), ""))
    if not column and name.startswith(LAYERS):
        column = name
    if not column:
        near = difflib.get_close_matches(name.lower(), [*FRIENDLY, SPREAD, *sorted(known)], n=1)
        raise ValueError(
            f"criterion {text!r}: quantity {wanted!r} is unknown; choose one of {', '.join([*FRIENDLY, SPREAD])}, or a "
            f"column of the run table{f'; did you mean {near[0]!r}?' if near else ''}"
        )
    return column, is_spread


def _meant(text: str) -> str:
    """Return which word of the language a word of the text resembles, or nothing."""
    for word in re.findall(r"[a-z]+", text.lower()):
        near = difflib.get_close_matches(word, _WORDS, n=1, cutoff=0.75)
        if near and word not in _WORDS:
            return f"; did you mean {near[0]!r} for {word!r}?"
    return ""
