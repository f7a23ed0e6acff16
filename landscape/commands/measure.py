"""`landscape measure`: options in, measurements out.

Right when it stores what it says and prints it (`tests/landscape/test_stages_alone.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from landscape import stages
from landscape.commands.making import make
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
    OwnParameters,
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
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: OwnCheckpoint = "",
    trust_checkpoint: TrustCheckpoint = False,
    data: OwnData = "",
    loss: OwnLoss = "",
    parameters: OwnParameters = None,
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
    given = Given(
        runs or [],
        model,
        checkpoint,
        data,
        loss,
        output,
        samples,
        device,
        trust_checkpoint=trust_checkpoint,
        parameters=parameters or [],
    )
    wanted = [*stages.curvature(top=top, seed=seed), *stages.sharpness(rho=rho, seed=seed)]
    make(given, lambda *_: wanted, again, quiet)
