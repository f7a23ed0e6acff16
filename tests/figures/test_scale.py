"""Colour scales: when logarithmic, where cut, and a colour bar that can be read for losses of all kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from figures.scale import CLIP_QUANTILE, FLOOR_QUANTILE, Scale, common_scale, label_bar, scale_label, within

SIDE = np.linspace(-1, 1, 31)
BOWL = SIDE[:, None] ** 2 + SIDE**2  # 0 to 2


def labels(scale: Scale) -> list[str]:
    """What stands beside the colour bar."""
    figure = Figure()
    bar: Any = figure.colorbar(ScalarMappable(scale.norm), ax=figure.subplots(), extend=scale.extend)
    label_bar(bar, scale)
    figure.draw_without_rendering()
    assert not len(bar.ax.yaxis.get_minorticklocs())
    low, high = sorted((scale.bottom, scale.top))
    ticks = zip(bar.ax.yaxis.get_ticklocs(), bar.ax.get_yticklabels(), strict=True)
    assert not bar.ax.yaxis.get_offset_text().get_text().startswith("+")  # a sum is overlooked
    return [label.get_text() for place, label in ticks if low <= place <= high and label.get_text()]


def test_one_scale_shows_all_losses_and_is_cut_at_a_quantile() -> None:
    flat, steep = np.full((10, 10), 2.0), np.linspace(1.0, 1000.0, 100).reshape(10, 10)
    scale = common_scale([flat, steep])
    assert scale.bottom == 1.0
    assert scale.top == pytest.approx(np.quantile(np.concatenate([flat.ravel(), steep.ravel()]), CLIP_QUANTILE))
    assert isinstance(scale.norm, LogNorm)
    assert (scale.is_clipped, scale.is_floored, scale.extend) == (True, False, "max")
    assert scale.levels[[0, -1]] == pytest.approx([scale.bottom, scale.top])


@pytest.mark.parametrize("low", [-3.0, 5.0])
def test_a_scale_is_linear_where_a_logarithm_says_nothing(low: float) -> None:
    scale = common_scale([np.linspace(low, low + 8.0, 50).reshape(5, 10)])
    assert not scale.is_log
    assert (scale.bottom, scale.extend) == (low, "max")


def test_six_decades_have_their_decades_as_labels() -> None:
    scale = common_scale([10 ** (3 * BOWL - 3)])
    assert scale.is_log
    assert not scale.is_floored
    assert [text.replace("\\mathdefault", "") for text in labels(scale)][:3] == [
        "${10^{-3}}$",
        "${10^{-2}}$",
        "${10^{-1}}$",
    ]


def test_a_single_deep_cell_does_not_take_the_colours_of_all_others() -> None:
    """Fails without the floor: six decades of colours for one cell, one colour for nearly all the others."""
    loss = 1e-6 + 100 * BOWL
    scale = common_scale([loss])
    assert scale.bottom == pytest.approx(np.quantile(loss, FLOOR_QUANTILE) / 10)
    assert (scale.is_floored, scale.extend) == (True, "both")
    assert within(loss, scale).min() == scale.bottom
    colors = np.unique(np.digitize(within(loss, scale), scale.levels))
    assert len(colors) > 12  # of 23 bands


def test_zeros_are_below_the_bottom_of_a_logarithmic_scale() -> None:
    loss = np.maximum(BOWL - 0.5, 0) ** 3
    scale = common_scale([loss])
    assert scale.is_log
    assert scale.is_floored
    assert (within(loss, scale) > 0).all()
    assert np.isnan(within(np.array([np.nan]), scale)).all()


def test_losses_within_a_per_mille_are_told_apart() -> None:
    scale = common_scale([2.3 + 1e-4 * BOWL])
    found = labels(scale)
    assert len(found) >= 3
    assert len(set(found)) == len(found)
    assert found[0] == "2.30000"
    assert scale_label(scale) == f"loss (cut at {scale.top:.7g})"


def test_one_decade_is_labelled_at_1_2_and_5() -> None:
    assert labels(common_scale([0.12 + 1.2 * BOWL])) == ["0.2", "0.5", "1"]


def test_negative_losses_have_round_labels() -> None:
    assert labels(common_scale([3 * BOWL - 5]))[0].replace("\N{MINUS SIGN}", "-") == "-5"


def test_a_constant_surface_has_a_scale_and_one_label() -> None:
    scale = common_scale([np.full((3, 3), 2.0)])
    assert scale.top > scale.bottom == 2.0
    assert np.all(np.diff(scale.levels) > 0)
    assert labels(scale) == ["2"]
    assert scale_label(scale) == "loss"


@pytest.mark.parametrize(
    ("top", "text"), [(147123.0, "147000"), (2.5e7, "2.50e+07"), (2.5e-7, "2.50e-07"), (-0.25, "-0.25")]
)
def test_a_cut_is_said_in_three_digits(top: float, text: str) -> None:
    scale = common_scale([np.array([[top - abs(top), top]])])
    cut = Scale(scale.norm, scale.levels, top - abs(top), top, is_clipped=True)
    assert scale_label(cut, "ratio") == f"ratio (cut at {text})"
