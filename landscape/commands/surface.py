"""`landscape surface`: the loss, the curvature or the gradient on a grid around a network.

Right when each option reaches the scan, and two processes make the file of one
(`tests/landscape/commands/test_surface.py`).
"""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from landscape.commands.making import make
from landscape.measuring import scans
from landscape.options import (
    WHAT,
    WHERE,
    Again,
    BatchNorm,
    BatchNormOption,
    Device,
    DeviceOption,
    Given,
    Metrics,
    Output,
    OwnCheckpoint,
    OwnData,
    OwnLoss,
    OwnModel,
    OwnParameters,
    Plan,
    PlanOption,
    Precision,
    PrecisionOption,
    Quiet,
    Runs,
    Samples,
    Seed,
    SplitNames,
    TestData,
    TrustCheckpoint,
)

if TYPE_CHECKING:
    from landscape.measuring.stages import Stage
    from landscape.network.subject import Subject
    from landscape.progress import Display


class Of(str, enum.Enum):
    """What is computed in each cell."""

    LOSS = scans.LOSS
    CURVATURE = scans.CURVATURE
    GRADIENT = scans.GRADIENT


class Directions(str, enum.Enum):
    """What spans the plane."""

    RANDOM = "random"
    HESSIAN = "hessian"


class Normalize(str, enum.Enum):
    """Which parts of a direction get the norm of the same part of the weights."""

    FILTER = "filter"
    LAYER = "layer"
    MODEL = "model"
    NONE = "none"


def surface(
    runs: Runs = None,
    of: Annotated[
        Of,
        typer.Option(
            "--of",
            help="The loss; the curvature, both ends of the Hessian's spectrum in each cell; or the gradient.",
            rich_help_panel=WHAT,
        ),
    ] = Of.LOSS,
    dimensions: Annotated[
        int, typer.Option("--dimensions", min=1, max=3, help="A line, a plane or a block.", rich_help_panel=WHAT)
    ] = 2,
    points: Annotated[
        str,
        typer.Option(
            "--points",
            help="Along all directions, or 31x21; default 51, of a line 101, a block 21, a map 15.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = "",
    extent: Annotated[
        str,
        typer.Option(
            "--extent",
            help="Largest multiple of a direction, LOW:HIGH, or auto: where the loss has risen tenfold.",
            rich_help_panel=WHAT,
        ),
    ] = "1.0",
    directions: Annotated[
        Directions, typer.Option("--directions", help="What spans the plane.", rich_help_panel=WHAT)
    ] = Directions.RANDOM,
    toward: Annotated[
        Optional[list[Path]],  # noqa: UP045  # typer 0.12 does not read `list | None`
        typer.Option(
            "--toward",
            help="Instead: a run's folder or a checkpoint to which a direction leads, once for each dimension.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    normalize: Annotated[
        Optional[Normalize],  # noqa: UP045
        typer.Option(
            "--normalize",
            help="What is scaled to the weights; default filter, with --toward none.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    keep_1d: Annotated[
        bool,
        typer.Option("--keep-1d", help="Move biases and norm parameters too.", rich_help_panel=WHAT),
    ] = False,
    metric: Metrics = None,
    split: SplitNames = None,
    batchnorm: BatchNormOption = BatchNorm.EVAL,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            help="Of the scan in the file; default line, plane, block, curvature or gradient.",
            rich_help_panel=WHERE,
            show_default=False,
        ),
    ] = "",
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: OwnCheckpoint = "",
    trust_checkpoint: TrustCheckpoint = False,
    data: OwnData = "",
    test_data: TestData = "",
    loss: OwnLoss = "",
    parameters: OwnParameters = None,
    output: Output = None,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    plan: PlanOption = Plan.AUTO,
    precision: PrecisionOption = Precision.FULL,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Compute the loss on a grid around the weights; stopped, it goes on with the cells that are missing.

    A run of yours:  [bold]landscape surface runs/digits/runs/gcsam-seed0 --points 51 --name fine[/bold]

    A network trained elsewhere:
    landscape surface --model nets:build --checkpoint net.pt --data nets:data --loss nets:loss --output net.h5

    Started by [bold]torchrun -m[/bold], several processes share the cells of one file.
    """
    from landscape.network.checkpoints import read_weights
    from landscape.network.fitting import fitted_with_notes
    from landscape.network.sources import named_metric

    given = Given(
        runs or [],
        model,
        checkpoint,
        data,
        loss,
        output,
        samples,
        device,
        splits=split or [],
        test_data=test_data,
        batchnorm=batchnorm.value,
        trust_checkpoint=trust_checkpoint,
        parameters=parameters or [],
    )
    metrics: dict[str, Any] = dict(map(named_metric, metric or []))
    ends = [read_weights(path, trust=trust_checkpoint) for path in toward or []]
    scaled = Normalize.NONE if ends else Normalize.FILTER
    wanted = scans.Scan(
        of=of.value,
        dimensions=dimensions,
        points=points,
        extent=extent,
        directions=directions.value,
        toward=ends,
        normalize=(scaled if normalize is None else normalize).value,
        zero_1d=not keep_1d,
        metrics=metrics,
        precision=precision.value,
        plan=plan.value,
        batchnorm=batchnorm.value,
        seed=seed,
        name=name,
        has_own_splits=bool(test_data),
    )
    scans.scan(wanted)  # a wrong word is said before anything is loaded

    def stages_of(subject: Subject, is_shared: bool, shown: Display) -> list[Stage]:
        named = zip(toward or [], ends, strict=True)
        fitting = [fitted_with_notes(subject.objective.model, end, path, shown.note) for path, end in named]
        return [scans.scan(dataclasses.replace(wanted, toward=fitting), subject.splits, distributed=is_shared)]

    make(given, stages_of, again, quiet, is_shared=True)
