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
    name: Annotated[str, typer.Argument(help="digits, or a file in TOML.")] = "digits",
    seeds: Annotated[
        Optional[int],  # noqa: UP045  # typer 0.12 does not read `int | None`
        typer.Option("--seeds", min=1, help="Paired runs of each method; default: 3.", rich_help_panel=WHAT),
    ] = None,
    points: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--points", min=2, help="Of the surfaces, along both axes; default: 25, 5 if quick.", rich_help_panel=WHAT
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A small one that only shows how it works.", rich_help_panel=WHAT),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the runs, what they cost and how long they take, and do none."),
    ] = False,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", help="Folder of the study; default: runs/NAME.", rich_help_panel=WHERE),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--jobs",
            "--workers",
            min=1,
            help="Runs at a time, each in a process with one thread; default: one per core, on CUDA one per device.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            "--executor",
            help="Who does the runs: process; serial, without further processes; dask://HOST:PORT, a cluster that sees "
            "this folder under the same path; or package.module:function, which returns a concurrent.futures executor.",
            rich_help_panel=WHERE,
        ),
    ] = "process",
    retry: Annotated[
        bool, typer.Option("--retry", help="Do again the runs that failed before.", rich_help_panel=WHERE)
    ] = False,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
) -> None:
    """Train with SGD, gradient centralization, SAM and GCSAM; measure, draw, and judge the claims.

    Example:  [bold]landscape study digits[/bold]

    Needs no GPU and no download. Stopped by Ctrl-C, the same command goes on where it was; finished, it says so.

    A study of your own, written down in TOML (README, "Your own study"):  landscape study study.toml --dry-run
    """
    from landscape.study import run_study
    from landscape.study_config import STUDIES, check_study, reduced

    if name.endswith(".toml"):
        from landscape.study_file import read_study

        path = Path(name)
        config, name = read_study(path), path.stem
    else:
        check_study(name)
        config = STUDIES[name]
    config = reduced(config) if quick else config
    config = dataclasses.replace(config, seeds=seeds or config.seeds, points=points or config.points)
    folder = output or Path("runs") / (f"{name}-quick" if quick else name)
    if dry_run:
        from landscape.dry_run import show_plan

        show_plan(config, folder, device)
        return
    run_study(config, folder, device=device, workers=workers, quiet=quiet, executor=executor, retry=retry)
