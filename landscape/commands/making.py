"""Open the networks given, make the measurements wanted on each, and print them: what all measuring commands do.

Right when measurements made now and those found made are printed alike
(`tests/landscape/commands/test_stages_alone.py`), several processes write one file
(`tests/landscape/commands/test_surface.py`), and of several checkpoints each has its row
(`tests/landscape/measuring/test_series.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.options import Given

if TYPE_CHECKING:
    from rich.table import Table

    from landscape.measuring.series import Series
    from landscape.measuring.stages import Stage
    from landscape.network.subject import Subject
    from landscape.progress import Display


def make(
    given: Given,
    stages_of: Callable[[Subject, bool, Display], list[Stage]],
    again: bool,
    quiet: bool,
    *,
    is_shared: bool = False,
    report: Callable[[Path], Iterable[Table | str]] | None = None,
) -> None:
    """Make the measurements, and print them: those made now and those found made.

    Args:
        given: What to measure.
        stages_of: From a network, whether several processes share the work, and the display, to the measurements.
        again: Make finished ones anew.
        quiet: Show no progress.
        is_shared: Whether several processes can share these measurements.
        report: What to print below them, from the result file.

    Raises:
        ValueError: Started by torchrun, for measurements that cannot be shared.
    """
    import torch

    from gcsam.training.team import Team
    from landscape.measuring.measure import measure
    from landscape.network.opening import subjects
    from landscape.progress import display
    from landscape.tables.measured import measured_table
    from landscape.tables.printing import show

    team = Team(torch.device(given.device.resolve()))
    with team, display(quiet=quiet or not team.is_first) as shown:
        if team.size > 1 and not is_shared:
            raise ValueError(f"this command works in one process, got {team.size}; start it without torchrun")
        made = []
        for subject in subjects(given, shown, team):
            stages = stages_of(subject, team.size > 1, shown)
            measure(subject, stages, shown, again=again, team=team)
            made.append((subject.path, [stage.key for stage in stages]))
    if team.is_first:
        for path, keys in made:
            show(measured_table(path, keys), *(report(path) if report is not None else ()))


def make_series(
    given: Given,
    opened: Callable[[], Series],
    stages_of: Callable[[Series], tuple[list[Stage], list[str]]],
    again: bool,
    quiet: bool,
) -> None:
    """Make the measurements at several checkpoints, and print a row for each.

    Args:
        given: What to measure.
        opened: Opens the checkpoints.
        stages_of: From the opened checkpoints to the measurements of each, and lines to print about those left out.
        again: Make finished ones anew.
        quiet: Show no progress.

    Raises:
        ValueError: Started by torchrun.
        RuntimeError: Some could not be measured; the others were, and were printed.
    """
    import torch

    from gcsam.training.team import Team
    from landscape.measuring.series import failure, measure_series
    from landscape.progress import display
    from landscape.tables.printing import show
    from landscape.tables.series import LEGEND, series_table

    team = Team(torch.device(given.device.resolve()))
    with team, display(quiet=quiet or not team.is_first) as shown:
        if team.size > 1:
            raise ValueError(f"this command works in one process, got {team.size}; start it without torchrun")
        series = opened()
        stages, notes = stages_of(series)
        failed = measure_series(series, stages, shown, again=again)
    files = [file for path, file in series.files.items() if path not in failed]
    if files:
        show(series_table(files), LEGEND, *notes)
    if failed:
        raise RuntimeError(failure(failed, len(series.files)))
