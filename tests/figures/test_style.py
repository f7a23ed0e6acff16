"""Presets: widths and text reach the figures, and nothing is left of them outside the context."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest

from figures import FIGURES, Run, compare_surfaces, draw_study
from figures.claims import figure_verdicts
from figures.style import PRESETS, context, sizes

NARROW = {"eigenvalues", "accuracy"}  # of one panel


@pytest.mark.parametrize("preset", PRESETS)
def test_every_figure_is_as_wide_as_the_preset_says(preset: str, runs: list[Run], study: Path) -> None:
    """Fails for a figure with a width of its own."""
    with context(preset):
        made = {name: make(runs) for name, make in FIGURES.items()}
        made["verdicts"] = figure_verdicts(Run(study / "study.h5"))
    found = {name: figure.get_size_inches()[0] for name, figure in made.items() if figure is not None}
    chosen = PRESETS[preset]
    assert found == {name: chosen.narrow if name in NARROW else chosen.wide for name in found}
    assert len(found) >= 8


def test_text_is_larger_in_one_column(runs: list[Run]) -> None:
    found = {}
    for preset in PRESETS:
        with context(preset):
            figure = FIGURES["training"](runs)
        assert figure is not None
        ax = figure.axes[0]
        found[preset] = (ax.xaxis.label.get_size(), ax.get_xticklabels()[0].get_size())
    assert found == {"two-column": (8, 7), "one-column": (9, 8)}


def test_the_preset_ends_with_its_block() -> None:
    """Fails if a figure after an error is drawn in the preset of the one before."""
    before = dict(mpl.rcParams)
    found = []

    def broken() -> None:
        with context("one-column"):
            found.append(sizes())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert found == [PRESETS["one-column"]]
    assert sizes() == PRESETS["two-column"]
    assert dict(mpl.rcParams) == before


def test_the_preset_reaches_what_is_drawn(study: Path, tmp_path: Path) -> None:
    from PIL import Image

    (written,) = [
        path
        for path in draw_study([study / "sgd-0.h5"], tmp_path, formats=("png",), preset="one-column")
        if path.stem == "training"
    ]
    with Image.open(written) as image:
        assert image.size[0] == 5.5 * 200  # dots per inch
    figure = compare_surfaces({"a": study / "sgd-0.h5", "b": study / "sam-0.h5"}, preset="one-column")
    assert figure.get_size_inches()[0] == 5.5


def test_another_preset_is_one_line(study: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="preset must be one of two-column, one-column, got 'poster'"):
        draw_study([study / "sgd-0.h5"], tmp_path, preset="poster")
