"""Whether the texts of a figure can be read: none lies over another and none leaves the paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

SLACK = 1.0  # pixels by which boxes may touch: they are rounded to whole ones


def clashes(figure: Figure) -> list[str]:
    """Return what cannot be read, a line for each; measured on the boxes that the renderer gives."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for ax in figure.axes for text in _texts(ax) if text.get_text().strip()]
    texts += [text for legend in figure.findobj(Legend) for text in legend.get_texts()]
    width, height = canvas.get_width_height()
    found = []
    for text in texts:
        box = text.get_window_extent()
        if min(box.x0, box.y0) < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK:
            found.append(f"{text.get_text()!r} leaves the figure")
    found += [
        f"{one.get_text()!r} lies over {other.get_text()!r}"
        for one, other in itertools.combinations(texts, 2)
        if _overlap(one, other)
    ]
    return found


def _texts(ax: Axes) -> Iterator[Text]:
    if not ax.get_visible() or not ax.axison:
        return
    yield ax.title
    for axis in (ax.xaxis, ax.yaxis) if ax.name != "3d" else ():  # its labels turn with it
        yield axis.label
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            for label in (tick.label1, tick.label2):
                if tick.get_visible() and label.get_visible() and low <= tick.get_loc() <= high:
                    yield label


def _overlap(one: Text, other: Text) -> bool:
    slant = math.radians(one.get_rotation())
    if one.get_rotation() == other.get_rotation() and one.get_rotation() % 90:
        # two slanted lines: what counts is the distance across them
        (x0, y0), (x1, y1) = (text.get_transform().transform(text.get_position()) for text in (one, other))
        apart = abs((x1 - x0) * math.sin(slant) - (y1 - y0) * math.cos(slant))
        beside = abs((x1 - x0) * math.cos(slant) + (y1 - y0) * math.sin(slant))
        length = max(text.get_window_extent().width / math.cos(slant) for text in (one, other))
        figure = one.get_figure(root=True)
        assert figure is not None
        return bool(apart < one.get_fontsize() * figure.dpi / 72 and beside < length)
    a, b = one.get_window_extent(), other.get_window_extent()
    return bool(min(a.x1, b.x1) - max(a.x0, b.x0) > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK)
