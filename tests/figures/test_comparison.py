"""Surfaces of several files side by side: titles in the order given, one scale, mistakes of one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.store import write
from figures import compare_surfaces
from tests.figures.synthetic import bowl, measurement


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for title, steepness in (("steep", 50.0), ("flat", 1.0)):
        found[title] = tmp_path / f"{title}.h5"
        write(found[title], "surface", "plane", measurement(**bowl(steepness)))
    return found


def test_panels_have_their_titles_and_one_scale(files: dict[str, Path], tmp_path: Path) -> None:
    """Fails if each panel has a scale of its own, or both show the same file."""
    figure = compare_surfaces(files, tmp_path / "both.png")
    steep, flat = figure.axes[:2]
    assert [ax.get_title() for ax in (steep, flat)] == ["steep", "flat"]
    first, second = (ax.collections[0] for ax in (steep, flat))
    assert first.get_clim() == second.get_clim()
    np.testing.assert_array_equal(first.levels, second.levels)  # type: ignore[attr-defined]
    used = [sum(len(path.vertices) > 0 for path in filled.get_paths()) for filled in (first, second)]
    assert used[0] > used[1]  # the flat one does not reach the upper levels
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_line(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a comparison needs at least one file, got none"):
        compare_surfaces({})
    with pytest.raises(ValueError, match="holds no surface 'fine' with a finite cell, but surface/plane"):
        compare_surfaces(files, name="fine")
    with pytest.raises(FileNotFoundError):
        compare_surfaces({"none": tmp_path / "none.h5"})
