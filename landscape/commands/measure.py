"""`landscape measure`: options in, measurements out.

Right when it stores what it says and prints it (`tests/landscape/test_stages_alone.py`, `test_measures.py`).
"""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from landscape import stages
from landscape.commands.making import make
from landscape.measures import ALL, CHEAP, DEFAULT, Choice
from landscape.options import (
    WHAT,
    Again,
    Device,
    DeviceOption,
    Given,
    Output,
    OwnCheckpoint,
    OwnData,
    OwnLoss,
    OwnModel,
    Quiet,
    Runs,
    Samples,
    Seed,
    TrustCheckpoint,
)


def measure(
    runs: Runs = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Eigenvalues wanted.", rich_help_panel=WHAT)] = stages.TOP,
    rho: Annotated[float, typer.Option("--rho", help="Radius of the sharpness.", rich_help_panel=WHAT)] = 0.05,
    of: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer 0.12 does not read `list | None`
        typer.Option(
            "--of",
            help=f"A measure of the sharpness report, {ALL} for all; repeat it for more. Default: "
            f"{', '.join((*DEFAULT, *CHEAP))}.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    m: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--m",
            min=1,
            help="Samples of a subset for --of worst_m; default: 128, halved until there are 4 subsets.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            help='A time, "5 min", or gradients over all data, "200", for each network; what is not expected to fit is '
            "left out.",
            rich_help_panel=WHAT,
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be measured and its cost.", rich_help_panel=WHAT),
    ] = False,
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: OwnCheckpoint = "",
    trust_checkpoint: TrustCheckpoint = False,
    data: OwnData = "",
    loss: OwnLoss = "",
    output: Output = None,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Measure curvature and sharpness: top Hessian eigenvalues, trace, worst-case and average-case sharpness.

    A run of yours:  [bold]landscape measure runs/digits/runs/gcsam-seed0[/bold]

    A network trained elsewhere:
    landscape measure --model nets:build --checkpoint net.pt --data nets:data --loss nets:loss --output net.h5
    """
    given = Given(runs or [], model, checkpoint, data, loss, output, samples, device, trust_checkpoint=trust_checkpoint)
    choice = Choice(of or [], top=top, rho=rho, m=m, seed=seed, budget=budget)
    if dry_run:
        choice.dry_run(given, again=again)
    else:
        make(given, choice.stages_for(again=again), again, quiet, report=choice.left_out)
