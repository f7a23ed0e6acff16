"""`landscape study`: the main job, by name.

Right when the options reach the study's settings (`tests/landscape/test_study_command.py`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from landscape.options import WHAT, WHERE, Device, DeviceOption, Quiet


def study(
    name: Annotated[str, typer.Argument(help="Which study; there is one: digits.")] = "digits",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Paired runs of each method.", rich_help_panel=WHAT)] = 3,
    points: Annotated[
        Optional[int],  # noqa: UP045  # typer 0.12 does not read `int | None`
        typer.Option(
            "--points", min=2, help="Of the surfaces, along both axes; default: 25, 5 if quick.", rich_help_panel=WHAT
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A small one that only shows how it works.", rich_help_panel=WHAT),
    ] = False,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", help="Folder of the study; default: runs/NAME.", rich_help_panel=WHERE),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workers", min=1, help="Runs at a time; default: one per core.", rich_help_panel=WHERE),
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
) -> None:
    """Train with SGD, gradient centralization, SAM and GCSAM; measure, draw, and judge the claims.

    Example:  [bold]landscape study digits[/bold]

    Needs no GPU and no download. Stopped by Ctrl-C, the same command goes on where it was; finished, it says so.
    """
    from landscape.study import run_study
    from landscape.study_config import STUDIES, check_study, reduced

    check_study(name)
    config = dataclasses.replace(reduced(STUDIES[name]) if quick else STUDIES[name], seeds=seeds)
    if points is not None:
        config = dataclasses.replace(config, points=points)
    folder = output or Path("runs") / (f"{name}-quick" if quick else name)
    run_study(config, folder, device=device, workers=workers, quiet=quiet)
