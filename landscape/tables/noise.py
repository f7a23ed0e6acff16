"""Tables that answer what centralization does to gradient noise, for a reader who knows none of our names.

Without torch, from the stored numbers alone. Right when the words follow from the intervals in the file, and every
number is that of its layer (`tests/landscape/tables/test_noise.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table
from rich.text import Text

from analysis.store import Measurement

ALL = "all weights"
HEADINGS = ("noise scale", "noise kept", "signal kept", "P / raw", "random / raw", "P / random", "relative noise")
LEGEND = (
    "noise: variance of the gradients of single samples. signal: squared length of their mean, without the part that "
    "noise adds. noise scale: noise / signal, the batch size at which both are equal. kept: by P, of the raw gradient.",
    "P / raw: the noise scale of centralized gradients in units of the raw one, with its 95 % interval; below 1 means "
    "less noise for the same signal. random: a projection that removes as many dimensions at random; P must beat it.",
    "relative noise: lower or higher where both intervals lie on one side of 1. open: signal not told from 0.",
)
LOWER, HIGHER, NEITHER, OPEN, UNTOUCHED = "lower", "higher", "no difference", "open", "P does nothing"
STYLES = {LOWER: "green", HIGHER: "red", OPEN: "dim"}


class Row(NamedTuple):
    """One layer, or one time of training.

    Attributes:
        label: For the reader.
        noise_scale: Raw, with its standard error.
        noise_kept: tr(P Sigma P) / tr(Sigma).
        signal_kept: ||P G||^2 / ||G||^2; NaN where ||G||^2 is not two standard errors above 0.
        to_raw: Relative noise of P g in units of that of g: ratio, low, high.
        control: The ratio of the random projection.
        to_control: P in units of the random projection: ratio, low, high.
    """

    label: str
    noise_scale: tuple[float, float]
    noise_kept: float
    signal_kept: float
    to_raw: tuple[float, float, float]
    control: float
    to_control: tuple[float, float, float]

    @property
    def is_untouched(self) -> bool:
        """Whether P does nothing here, to the rounding of float32: no rows, or rows of zero mean after a layer norm."""
        return self.noise_kept > 1 - 1e-6

    @property
    def words(self) -> str:
        """What the intervals say."""
        if self.is_untouched:
            return UNTOUCHED
        if not (np.isfinite(self.to_raw[2]) and np.isfinite(self.to_control[2])):
            return OPEN
        if max(self.to_raw[2], self.to_control[2]) < 1:
            return LOWER
        if min(self.to_raw[1], self.to_control[1]) > 1:
            return HIGHER
        return NEITHER


def rows(found: Measurement) -> list[Row]:
    """Return a row for each layer, and the last one for all weights.

    Args:
        found: `/noise/gradient_noise` of a result file.
    """
    names = [str(name) for name in found.variables["layers"].data]
    kinds = {kind: _with_total(found.groups[kind]) for kind in ("raw", "centralized")}
    pairs = ("centralized_to_raw", "control_to_raw", "centralized_to_control")
    ratios = {pair: _with_total(found.groups[pair]) for pair in pairs}
    made = []
    for i, label in enumerate((*names, ALL)):
        raw, centralized = ({name: column[i] for name, column in kinds[kind].items()} for kind in kinds)
        is_clear = raw["signal"] > 2 * raw["signal_standard_error"]
        to_raw, control, to_control = (
            tuple(float(ratios[pair][name][i]) for name in ("ratio", "low", "high")) for pair in pairs
        )
        made.append(
            Row(
                label,
                (float(raw["noise_scale"]), float(raw["noise_scale_standard_error"])),
                float(centralized["trace"] / raw["trace"]) if raw["trace"] > 0 else float("nan"),
                float(centralized["signal"] / raw["signal"]) if is_clear else float("nan"),
                to_raw,  # type: ignore[arg-type]
                control[0] if is_clear else float("nan"),
                to_control,  # type: ignore[arg-type]
            )
        )
    return made


def layer_table(found: Measurement, when: str = "") -> Table:
    """Show what P does to the noise of each layer; layers that it does not touch share a line.

    Args:
        found: `/noise/gradient_noise` of a result file.
        when: Which weights: "after epoch 3"; empty for those of the network.

    Returns:
        The table.
    """
    *layers, total = rows(found)
    number = int(found.variables["num_samples"].data)
    place = f"by layer{f', {when}' if when else ''}, from {number} samples"
    table = _empty(f"Does centralization P lower the gradient noise? {place.capitalize()}", "layer")
    for row in layers:
        if not row.is_untouched:
            _add(table, row)
    untouched = [row for row in layers if row.is_untouched]
    if untouched:
        names = untouched[0].label if len(untouched) == 1 else f"{len(untouched)} more"
        table.add_row(names, *[""] * (len(HEADINGS) - 1), Text(untouched[0].words))
    table.add_section()
    _add(table, total)
    return table


def training_table(found: Mapping[str, Measurement]) -> Table:
    """Show what P does to the noise of all weights, over training.

    Args:
        found: From "epoch 3" to the measurement at its weights, in the order of training.

    Returns:
        The table.
    """
    table = _empty("Does centralization P lower the gradient noise? All weights, over training", "after")
    for label, measurement in found.items():
        _add(table, rows(measurement)[-1]._replace(label=label))
    return table


def answer(found: Measurement) -> str:
    """Say it in a sentence or two.

    Args:
        found: `/noise/gradient_noise` of a result file.

    Returns:
        The answer for all weights.
    """
    row = rows(found)[-1]
    kept = f"P keeps {_percent(row.noise_kept)} of the noise"
    if row.is_untouched:
        return "P changes nothing here: no measured weight has rows that it acts on."
    if row.words == OPEN:
        return (
            f"Open: {kept}, but the mean gradient of these {int(found.variables['num_samples'].data)} samples is not "
            "told from zero, as it is near a minimum, so relative noise has no value. Measure on more samples, or "
            "during training: --over-training."
        )
    both = f"{kept} and {_percent(row.signal_kept)} of the signal"
    relative = f"relative to its signal the noise is {_interval(row.to_raw)} of what it was"
    chance = f"{_interval(row.to_control)} of what a random projection leaves"
    start = {LOWER: "Yes", HIGHER: "No, the opposite", NEITHER: "No difference seen"}[row.words]
    return f"{start}: {both}; {relative}, and {chance}."


def training_answer(found: Mapping[str, Measurement]) -> str:
    """Say it for all of training.

    Args:
        found: As for `training_table`.

    Returns:
        How often relative noise was lower and higher, and by how much.
    """
    last = [rows(measurement)[-1] for measurement in found.values()]
    counts = {words: sum(row.words == words for row in last) for words in (LOWER, HIGHER, NEITHER, OPEN)}
    told = ", ".join(f"{words} in {number}" for words, number in counts.items() if number)
    known = [row.to_raw[0] for row in last if row.words in {LOWER, HIGHER, NEITHER}]
    between = f"; P / raw between {min(known):.3f} and {max(known):.3f}" if known else ""
    return f"Over training: relative noise under P is {told} of {len(last)} checkpoints{between}."


def _with_total(group: Measurement) -> dict[str, Any]:
    """Return each column with the value over all weights at its end."""
    total = group.groups["total"].variables
    return {name: np.append(group.variables[name].data, total[name].data) for name in total}


def _empty(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in (first, *HEADINGS):
        is_text = heading in {first, HEADINGS[-1]}
        table.add_column(
            heading,
            overflow="fold",
            justify="left" if is_text else "right",
            no_wrap=heading != first,
            min_width=10 if heading == first else None,
        )
    return table


def _add(table: Table, row: Row) -> None:
    table.add_row(
        Text(row.label),
        with_error(*row.noise_scale),
        _percent(row.noise_kept),
        _percent(row.signal_kept),
        _interval(row.to_raw),
        f"{row.control:.3f}" if np.isfinite(row.control) else OPEN,
        _interval(row.to_control),
        Text(row.words, style=STYLES.get(row.words, "")),
    )


def with_error(value: float, error: float) -> str:
    """Return a value to the two digits to which its error is written; open where the error is far above it.

    Args:
        value: >= 0.
        error: Its standard error; NaN where there is none.

    Example:
        >>> with_error(47.56, 18.2), with_error(1.0873, 0.0592), with_error(520.3, 702.0)
        ('48 +- 18', '1.087 +- 0.059', '520 +- 700')
    """
    if not np.isfinite(value) or error > 3 * value:
        return OPEN
    if not (np.isfinite(error) and error > 0):
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(error))
    return " +- ".join(f"{round(x, digits):.{max(digits, 0)}f}" for x in (value, error))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if np.isfinite(share) else OPEN


def _interval(values: tuple[float, float, float]) -> str:
    ratio, low, high = (f"{value:.3f}" if value < 10 else f"{value:.1f}" for value in values)
    return f"{ratio} [{low}, {high}]" if np.isfinite(values[2]) else OPEN
