"""How figures look: one colour, marker and line style per method, sizes for print; never the global rcParams.

Colours are those of Okabe and Ito (2008), which the common kinds of colour blindness tell apart; methods also differ
in marker, line style and lightness, so that a grey print is readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

SINGLE_COLUMN = 3.3  # inches, as in two-column journals
DOUBLE_COLUMN = 6.9
SURFACE_COLORS = "viridis"  # lightness rises evenly: readable in grey and for the colour-blind

_RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
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
class Look:
    """How one method, or one kind of quantity, is drawn."""

    label: str
    color: str
    marker: str
    line: str


METHODS = {
    "sgd": Look("SGD", "#000000", "o", "-"),
    "gc": Look("SGD + GC", "#56B4E9", "s", "--"),
    "sam": Look("SAM", "#E69F00", "^", "-."),
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
_OTHERS = (("#009E73", "v"), ("#CC79A7", "P"), ("#0072B2", "X"), ("#F0E442", "*"))


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


def context() -> AbstractContextManager[None]:
    """Return a context in which figures look like this; outside it nothing changes."""
    return mpl.rc_context(_RC)
