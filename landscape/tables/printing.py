"""Results printed on stdout: in the width of a terminal, or of a pipe that has none.

Right when a table in a pipe is as wide as here, and a line of text is not broken
(`tests/landscape/tables/test_tables.py`). Costs nothing; needs no torch.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

# A pipe has no width; this one keeps each row of the verdicts on a few lines.
PIPE_WIDTH = 140


def show(*things: Table | str) -> None:
    """Print results on stdout.

    Args:
        *things: Tables, or lines of text.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for thing in things:
        if isinstance(thing, str):
            console.print(thing, highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(thing)
