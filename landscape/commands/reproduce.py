"""`landscape reproduce`: runs of a study done once more, from its file alone.

Right when equal numbers end with status 0, and any other with 1 and its size
(`tests/landscape/study/test_reproducing.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from landscape.options import WHERE, DataPlace, DataRoot, Device, DeviceOption, Jobs, Quiet, places


def reproduce(
    study: Annotated[Path, typer.Argument(metavar="STUDY.h5", help="The file of a study.", show_default=False)],
    runs: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer 0.12 does not read `list | None`
        typer.Argument(metavar="RUN", help="Of the study, as gcsam-seed0; default: all.", show_default=False),
    ] = None,
    data: DataPlace = None,
    root: DataRoot = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output",
            help="Folder for the runs; default: runs/again/NAME, NAME being that of the study's folder.",
            rich_help_panel=WHERE,
            show_default=False,
        ),
    ] = None,
    jobs: Jobs = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
) -> None:
    """Do runs of a study again with the settings in its file, and compare every number with the stored one.

    On the same machine and versions, on CPU, all agree to the last digit; elsewhere the table says how far apart they
    are. Times are not compared. Exit status 1 where a number differs.

    Example:  [bold]landscape reproduce docs/results/digits-full/study.h5 gcsam-seed0[/bold]
    """
    from landscape.jobs.executors import Where
    from landscape.progress import display
    from landscape.study.reproducing import likeness_table, other_conditions, reproduce
    from landscape.tables.printing import show

    if not study.is_file():
        raise FileNotFoundError(f"{study}: no such file; give the study.h5 of a study")
    folder = output or Path("runs") / "again" / study.absolute().parent.name
    with display(quiet=quiet) as shown:
        found = reproduce(study, runs or [], folder, Where(device, jobs), places(data, root), shown)
    show(likeness_table(found), *(f"differs: {condition}" for condition in other_conditions(study, device.resolve())))
    if differing := [run.run for run in found if run.differing]:
        raise RuntimeError(f"{len(differing)} of {len(found)} runs differ from {study}: {', '.join(differing)}")
    show(f"{len(found)} of {len(found)} runs agree in every number.")
