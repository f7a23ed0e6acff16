"""`landscape robustness`: a finished run on corrupted test images.

Right when it prints what the file holds, now and when called again (`tests/landscape/measuring/test_robustness.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from landscape.options import WHAT, Again, Device, DeviceOption, Quiet


def robustness(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", help="Folders that [b]landscape train[/b] wrote.", show_default=False),
    ],
    severity: Annotated[
        Optional[list[float]],  # noqa: UP045  # typer 0.12 does not read `list | None`
        typer.Option(
            "--severity",
            help="Of the corruptions, above 0 and at most 5, whole or not; repeat it for more. Default: those in the "
            "file, else 1 to 5.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Measure loss and accuracy of runs on corrupted test images: noise, blur, contrast, brightness, small motions.

    The clean images stand beside them as severity 0. All runs see the same corrupted images. Whether a shift hurts
    GCSAM less is judged by [b]landscape verify[/b]; a study makes this measurement on each of its runs.

    Example:  [bold]landscape robustness runs/digits/runs/gcsam-seed0[/bold]

    Three levels:  landscape robustness runs/one runs/other --severity 0.5 --severity 1 --severity 2
    """
    from landscape.measuring.robustness import (
        SEVERITIES,
        check_severities,
        measure_robustness,
        robustness_table,
        severities_in,
    )
    from landscape.network.opening import folder_of, open_run
    from landscape.progress import display
    from landscape.records.layout import RUN_FILE
    from landscape.tables.printing import show

    if severity is not None:
        check_severities(severity)
    opened = [open_run(folder_of(path)) for path in runs]
    where = device.resolve()
    with display(quiet=quiet) as shown:
        for run in opened:
            stored = () if again else severities_in(run.directory / RUN_FILE)
            measure_robustness(run, where, shown, severities=severity or stored or SEVERITIES, again=again)
    for run in opened:
        show(*robustness_table(run.directory / RUN_FILE))
