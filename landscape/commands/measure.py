"""`landscape measure`: options in, measurements out.

Right when it stores what it says and prints it (`tests/landscape/commands/test_stages_alone.py`,
`tests/landscape/measuring/test_choice.py`), for several checkpoints too (`test_series.py` there).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from landscape.commands.making import make, make_series
from landscape.measuring import stages
from landscape.measuring.choice import ALL, CHEAP, DEFAULT, Choice
from landscape.network.checkpoint_list import expand, is_several
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
    OwnParameters,
    Quiet,
    Runs,
    Samples,
    Seed,
    TrustCheckpoint,
)

if TYPE_CHECKING:
    from landscape.measuring.series import Series

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
    checkpoint: Checkpoints = None,
    trust_checkpoint: TrustCheckpoint = False,
    data: OwnData = "",
    loss: OwnLoss = "",
    parameters: OwnParameters = None,
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
    named = checkpoint or []
    first = named[0] if named else ""
    given = Given(
        runs or [],
        model,
        first,
        data,
        loss,
        output,
        samples,
        device,
        trust_checkpoint=trust_checkpoint,
        parameters=parameters or [],
    )
    choice = Choice(of or [], top=top, rho=rho, m=m, seed=seed, budget=budget)
    if not over_training and not is_several(named):
        if dry_run:
            choice.dry_run(given, again=again)
        else:
            make(given, choice.stages_for(again=again), again, quiet, report=choice.left_out)
        return
    from landscape.measuring.series import own_series, run_series

    def opened() -> Series:
        return run_series(given) if over_training else own_series(given, expand(named))

    if dry_run:
        choice.dry_run_of(opened())
    else:
        make_series(given, opened, choice.stages_of, again, quiet)
