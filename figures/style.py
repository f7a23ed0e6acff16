"""How figures look: one colour, marker and line style per method, sizes for print; never the global rcParams.

Colours are those of Okabe and Ito (2008), which the common kinds of colour blindness tell apart, with their yellow
darkened, and a grey and a brown for what is left; methods also differ in marker, line style and lightness, so that
a grey print is readable. Right when a figure is as wide as its preset says
and nothing is left of it outside the context (`tests/figures/test_style.py`). Cost: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

SURFACE_COLORS = "viridis"  # lightness rises evenly: readable in grey and for the colour-blind

_RC: dict[Any, Any] = {
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text
    "ps.fonttype": 42,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "landscape",
}


@dataclass(frozen=True)
class Preset:
    """Sizes for one kind of paper: widths in inches of a small and of a full figure, text in points."""

    narrow: float
    wide: float
    text: float
    small: float


# Two columns: the columns of journals, 8 pt beside text of 9 or 10 pt. One column: 5.5 inches are the text width of
# NeurIPS and ICLR; 9 pt, one step below their text of 10 pt, so that labels stand beside it as equals and a caption
# still leads. There a small figure keeps 3.3 inches, 60 % of the line: with larger text a smaller one has no room.
PRESETS = {"two-column": Preset(3.3, 6.9, 8, 7), "one-column": Preset(3.3, 5.5, 9, 8)}
TWO_COLUMN = "two-column"
_ACTIVE: ContextVar[Preset] = ContextVar("preset", default=PRESETS[TWO_COLUMN])


@dataclass(frozen=True)
class Look:
    """How one method, or one kind of quantity, is drawn."""

    label: str
    color: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


# A control stands beside what it controls; the method the study is about comes last. Their dashes differ as their
# markers do, so that ten curves can be told apart without colour.
METHODS = {
    "sgd": Look("SGD", "#000000", "o", "-"),
    "sgd-long": Look("SGD, 2x epochs", "#777777", "v", (0, (1, 1))),
    "gc": Look("SGD + GC", "#56B4E9", "s", "--"),
    "sam": Look("SAM", "#E69F00", "^", "-."),
    "sam-matched": Look("SAM at qρ", "#CC79A7", "P", (0, (6, 1.5))),
    "sam-gc": Look("SAM + GC", "#009E73", "X", (0, (3, 1, 1, 1, 1, 1))),
    "fsam": Look("Friendly-SAM", "#B8A300", "*", (0, (1, 3))),
    "random": Look("random P", "#0072B2", "<", (0, (6, 1.5, 1, 1.5))),
    "gcsam-published": Look("GCSAM published", "#7B3F00", ">", (0, (2, 2))),
    "gcsam": Look("GCSAM", "#D55E00", "D", "-"),
}
KINDS = {
    "raw": Look("raw", "#000000", "o", "-"),
    "centralized": Look("centralized", "#D55E00", "D", "-"),
    "control": Look("random projection", "#56B4E9", "s", "--"),
}
VERDICTS = {
    "supported": Look("supported", "#009E73", "o", "-"),
    "contradicted": Look("contradicted", "#D55E00", "X", "-"),
    "inconclusive": Look("inconclusive", "#666666", "o", "-"),
}
_OTHERS = (("#009E73", "p"), ("#CC79A7", "h"), ("#0072B2", "d"), ("#F0E442", "8"))


def look(method: str) -> Look:
    """Return how a method is drawn; one this module does not know gets a colour by its name, always the same.

    Args:
        method: Name of the method.
    """
    if method in METHODS:
        return METHODS[method]
    color, marker = _OTHERS[sum(method.encode()) % len(_OTHERS)]
    return Look(method, color, marker, ":")


def in_order(methods: Sequence[str]) -> list[str]:
    """Return each method once: the known ones in the order of `METHODS`, then the others by name.

    Args:
        methods: Names, in any order.
    """
    known = [method for method in METHODS if method in methods]
    return known + sorted(set(methods) - set(METHODS))


def readable_log_ticks(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade of a logarithmic axis where it spans less than two, otherwise the decades.

    Args:
        axis: Its limits are final.
    """
    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if high < 100 * low else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(9, 9)))
    axis.set_minor_formatter(NullFormatter())


def sizes() -> Preset:
    """Return the sizes of the present context; outside any those of "two-column"."""
    return _ACTIVE.get()


@contextmanager
def context(preset: str = TWO_COLUMN) -> Iterator[None]:
    """Make figures look like this inside the block; outside it nothing changes.

    Args:
        preset: One of `PRESETS`.

    Yields:
        Nothing.

    Raises:
        ValueError: There is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}; it sets widths and text size")
    chosen = PRESETS[preset]
    text: dict[Any, Any] = dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), chosen.text)
    small: dict[Any, Any] = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), chosen.small)
    before = _ACTIVE.set(chosen)
    try:
        with mpl.rc_context({**_RC, **text, **small}):
            yield
    finally:
        _ACTIVE.reset(before)
