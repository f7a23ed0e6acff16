"""`landscape study`: the main job, by name.

Right when the options reach the study's settings (`tests/landscape/commands/test_study.py`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from landscape.options import WHAT, WHERE, DataPlace, DataRoot, Device, DeviceOption, Jobs, Quiet, places

NAMES = ", ".join(sorted(path.stem for path in (Path(__file__).parents[1] / "studies").glob("*.toml")))


def study(
    name: Annotated[str, typer.Argument(help=f"{NAMES}, or a file in TOML.")] = "digits",
    seeds: Annotated[
        Optional[int],  # noqa: UP045  # typer 0.12 does not read `int | None`
        typer.Option(
            "--seeds", min=1, help="Paired runs of each method; default: as the study says.", rich_help_panel=WHAT
        ),
    ] = None,
    points: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--points",
            min=2,
            help="Of the surfaces, along both axes; default: as the study says.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A small one that only shows how it works.", rich_help_panel=WHAT),
    ] = False,
    compare: Annotated[
        Optional[tuple[str, str]],  # noqa: UP045
        typer.Option(
            "--compare",
            metavar="BASELINE CANDIDATE",
            help="Two methods alone, 5 seeds by default: does the second meet --success beside the first?",
            rich_help_panel=WHAT,
        ),
    ] = None,
    success: Annotated[
        str,
        typer.Option(
            "--success",
            help="What --compare asks, separated by commas: 'accuracy >= baseline - 0.2%, spread smaller'.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the runs, what they cost and how long they take, and do none."),
    ] = False,
    data: DataPlace = None,
    root: DataRoot = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", help="Folder of the study; default: runs/NAME.", rich_help_panel=WHERE),
    ] = None,
    workers: Jobs = None,
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

    The studies of cifar10 need --root DIR, pneumonia needs --data npz:FILE; cifar10-resnet18 is for a GPU. --dry-run
    says what each costs.

    Example:  [bold]landscape study digits[/bold]

    Needs no GPU and no download. Stopped by Ctrl-C, the same command goes on where it was; finished, it says so.

    Two methods, and a question that is answered yes, no or not yet (docs/how-to/ab.md; exit status 0 whatever it is):
    landscape study digits --compare sgd gcsam --success "accuracy >= baseline - 0.2%, spread smaller"

    A study of your own, written down in TOML (README, "Your own study"):  landscape study study.toml --dry-run
    """
    from landscape.study.config import reduced
    from landscape.study.named import find_study
    from landscape.study.running import run_study

    where_data_lie = places(data, root)
    config = find_study(name, where_data_lie)
    given, name = name, Path(name).stem if name.endswith(".toml") else name
    config = reduced(config) if quick else config
    if compare is not None or success:
        from landscape.study.ab import Wish, start

        if points is not None:
            raise ValueError(f"--points {points} has no use with --compare, which measures no surface; leave it out")
        wish = Wish(given, name, compare, success, quick, output, where_data_lie, device, workers, executor, retry)
        start(wish, config, seeds, dry_run=dry_run, quiet=quiet)
        return
    config = dataclasses.replace(config, seeds=seeds or config.seeds, points=points or config.points)
    folder = output or Path("runs") / (f"{name}-quick" if quick else name)
    if dry_run:
        from landscape.study.dry_run import show_plan

        show_plan(config, folder, device, workers)
        return
    run_study(config, folder, device=device, workers=workers, quiet=quiet, executor=executor, retry=retry)
