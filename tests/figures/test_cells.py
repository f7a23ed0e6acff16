"""Cells: a mark covers its own cell, and the finest complete grid is found in whatever order cells were done."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from figures.cells import complete_grid, edges, hatch_cells


def crossings(*sets: tuple[object, object], shape: tuple[int, int] = (9, 11)) -> np.ndarray:
    done = np.zeros(shape, dtype=bool)
    for rows, columns in sets:
        done[rows, columns] = True
    return done


EVEN = (slice(None, None, 2), slice(None, None, 2))


def test_cells_begin_and_end_half_way_between_points() -> None:
    assert edges(np.array([0.0, 1.0, 3.0])).tolist() == [0.0, 0.5, 2.0, 3.0]


def test_a_hatch_covers_its_cell_and_has_an_entry(ax: Axes) -> None:
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 3] = True
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 10.0, 20.0, 30.0])
    hatch_cells(ax, x, y, mask, hatch="xx", label="here", color="#123456")
    assert ax.get_legend_handles_labels()[1] == ["here"]
    assert ax.collections[0].get_hatch() == "xx"
    (path,) = ax.collections[0].get_paths()
    assert [path.vertices.min(0).tolist(), path.vertices.max(0).tolist()] == [[0.5, 25.0], [1.5, 30.0]]
    hatch_cells(ax, x, y, np.zeros_like(mask), hatch="xx", label="none")
    hatch_cells(ax, x, y, None, hatch="xx", label="none")
    assert len(ax.collections) == 1


@pytest.mark.parametrize(
    ("done", "rows", "columns"),
    [
        (crossings((slice(None), slice(None))), range(9), range(11)),
        (crossings(EVEN), range(0, 9, 2), range(0, 11, 2)),
        (crossings(EVEN, (slice(0, 6), slice(None))), range(0, 9, 2), range(0, 11, 2)),  # the finer one under way
        (crossings((slice(None, None, 4), slice(None, None, 4))), (0, 4, 8), (0, 4, 8)),
        # the middle of an axis of ten points is in no grid that begins at the first
        (crossings((slice(1, None, 2), slice(1, None, 2))), range(1, 9, 2), range(1, 11, 2)),
    ],
)
def test_a_grid_filled_coarse_to_fine_shows_its_coarse_points(done: np.ndarray, rows: range, columns: range) -> None:
    found = complete_grid(done)
    assert [axis.tolist() for axis in found] == [list(rows), list(columns)]


def test_the_last_row_and_column_belong_to_the_coarse_grid() -> None:
    """Fails if the picture ends at the last multiple of the stride."""
    done = crossings(([[0], [4], [8], [9]], [0, 4, 8, 10]), shape=(10, 11))
    assert [axis.tolist() for axis in complete_grid(done)] == [[0, 4, 8, 9], [0, 4, 8, 10]]


def test_a_grid_filled_row_by_row_shows_its_complete_rows() -> None:
    done = crossings((slice(0, 5), slice(None)), (5, slice(0, 3)))
    assert [axis.tolist() for axis in complete_grid(done)] == [list(range(5)), list(range(11))]


def test_where_nothing_is_done_there_is_no_grid() -> None:
    rows, columns = complete_grid(crossings())
    assert 0 in (len(rows), len(columns))
