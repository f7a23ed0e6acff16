"""`landscape measure`: options in, measurements out.

Right when it stores what it says and prints it (`tests/landscape/test_stages_alone.py`), for several checkpoints too
(`tests/landscape/test_series.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from landscape import stages
from landscape.checkpoint_list import expand, is_several
from landscape.commands.making import make, make_series
from landscape.options import (
    OWN,
    WHAT,
    WHERE,
    Again,
    Device,
    DeviceOption,
    Given,
    OwnData,
    OwnLoss,
    OwnModel,
    Quiet,
    Runs,
    Samples,
    Seed,
    TrustCheckpoint,
)

Checkpoints = Annotated[
    Optional[list[str]],  # noqa: UP045  # typer 0.12 does not read `list | None`
    typer.Option(
        "--checkpoint",
        help="Its weights: a file of torch.save, Lightning or safetensors, or a folder of save_pretrained; repeat it, "
        'or give a quoted pattern "ckpt/*.pt", for several.',
        rich_help_panel=OWN,
        show_default=False,
    ),
]
OutputOrFolder = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--output",
        help="Result file; for runs RUN_DIR/run.h5. Of several checkpoints a folder, with a file for each; for "
        "--over-training RUN_DIR/over-training.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]


def measure(
    runs: Runs = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Eigenvalues wanted.", rich_help_panel=WHAT)] = stages.TOP,
    rho: Annotated[float, typer.Option("--rho", help="Radius of the sharpness.", rich_help_panel=WHAT)] = 0.05,
    over_training: Annotated[
        bool,
        typer.Option(
            "--over-training",
            help="At all weights that training kept (landscape train --trajectory-every), a file for each.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: Checkpoints = None,
    trust_checkpoint: TrustCheckpoint = False,
    data: OwnData = "",
    loss: OwnLoss = "",
    output: OutputOrFolder = None,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Measure curvature and sharpness: top Hessian eigenvalues, trace, worst-case and average-case sharpness.

    A run of yours:  [bold]landscape measure runs/digits/runs/gcsam-seed0[/bold]

    A run at all weights that its training kept:  landscape measure runs/resnet20 --over-training

    A network trained elsewhere:
    landscape measure --model nets:build --checkpoint net.pt --data nets:data --loss nets:loss --output net.h5

    Several checkpoints of it, on the same data with the same random numbers:
    landscape measure --model nets:build --checkpoint "ckpt/*.pt" --data nets:data --loss nets:loss --output measured
    """
    wanted = [*stages.curvature(top=top, seed=seed), *stages.sharpness(rho=rho, seed=seed)]
    named = checkpoint or []
    first = named[0] if named else ""
    given = Given(runs or [], model, first, data, loss, output, samples, device, trust_checkpoint=trust_checkpoint)
    if over_training:
        from landscape.series import run_series

        make_series(given, lambda: run_series(given), wanted, again, quiet)
    elif is_several(named):
        from landscape.series import own_series

        make_series(given, lambda: own_series(given, expand(named)), wanted, again, quiet)
    else:
        make(given, lambda *_: wanted, again, quiet)
