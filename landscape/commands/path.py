"""`landscape path`: the loss between two networks, on the straight line and on a curve trained to low loss.

Right when both ends have the losses of the two networks, for runs and for own checkpoints
(`tests/landscape/commands/test_surface.py`).
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from landscape.commands.making import make
from landscape.options import (
    WHAT,
    Again,
    BatchNorm,
    BatchNormOption,
    Device,
    DeviceOption,
    Given,
    Metrics,
    Output,
    OwnData,
    OwnLoss,
    OwnModel,
    Plan,
    PlanOption,
    Precision,
    PrecisionOption,
    Quiet,
    Samples,
    SplitNames,
    TestData,
    TrustCheckpoint,
)

if TYPE_CHECKING:
    from analysis import Objective, Result
    from landscape.measuring.stages import Progress, Stage
    from landscape.network.subject import Subject
    from landscape.progress import Display


class Curve(str, enum.Enum):
    """Which way."""

    LINEAR = "linear"
    BEZIER = "bezier"


def path(
    start: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint.", show_default=False)],
    end: Annotated[Path, typer.Argument(help="Another one of the same architecture.", show_default=False)],
    curve: Annotated[
        Optional[list[Curve]],  # noqa: UP045  # typer 0.12 does not read `list | None`
        typer.Option(
            "--curve",
            help="The straight line, or a Bezier curve trained to low loss; repeat it for both. Default linear.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    points: Annotated[int, typer.Option("--points", min=2, help="Ends included.", rich_help_panel=WHAT)] = 25,
    extent: Annotated[
        str,
        typer.Option("--extent", help="Of the line, LOW:HIGH; -0.5:1.5 looks beyond both ends.", rich_help_panel=WHAT),
    ] = "0:1",
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Of the training of the curve.", rich_help_panel=WHAT)
    ] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the training of the curve.", rich_help_panel=WHAT)] = 0,
    metric: Metrics = None,
    split: SplitNames = None,
    batchnorm: BatchNormOption = BatchNorm.EVAL,
    model: OwnModel = "",
    trust_checkpoint: TrustCheckpoint = False,
    data: OwnData = "",
    test_data: TestData = "",
    loss: OwnLoss = "",
    output: Output = None,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    plan: PlanOption = Plan.AUTO,
    precision: PrecisionOption = Precision.FULL,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Compute the loss between two networks: is there a barrier, and a way around it?

    Two runs:
    landscape path runs/digits/runs/sgd-seed0 runs/digits/runs/sgd-seed1 --curve linear --curve bezier --output way.h5

    Two networks trained elsewhere:
    landscape path one.pt two.pt --model nets:build --data nets:data --loss nets:loss --output way.h5
    """
    from landscape.measuring.scans import parse_extent
    from landscape.network.checkpoints import read_weights, weight_files
    from landscape.network.fitting import fitted_with_notes
    from landscape.network.sources import named_metric

    if output is None:
        raise ValueError("a path belongs to neither end alone: give --output FILE.h5")
    low_high = parse_extent(extent)
    if not isinstance(low_high, tuple):
        raise ValueError(f"--extent must be LOW:HIGH with LOW < HIGH, got {extent!r}; 0:1 is from end to end")
    own = bool(model or data or loss or test_data)
    given = Given(
        [] if own else [start],
        model,
        str(start) if own else "",
        data,
        loss,
        output,
        samples,
        device,
        splits=split or [],
        test_data=test_data,
        batchnorm=batchnorm.value,
        trust_checkpoint=trust_checkpoint,
    )
    weight_files(end)  # one that is not there is said before anything is loaded
    options: dict[str, Any] = {
        "points": points,
        "metrics": dict(map(named_metric, metric or [])),
        "plan": plan.value,
        "precision": precision.value,
    }
    ways: dict[Curve, dict[str, Any]] = {
        Curve.LINEAR: {"extent": low_high},
        Curve.BEZIER: {"steps": steps, "seed": seed},
    }

    def stages_of(subject: Subject, is_shared: bool, shown: Display) -> list[Stage]:
        model = subject.objective.model  # holds the weights of the start already
        first = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        ends = first, fitted_with_notes(model, read_weights(end, trust=trust_checkpoint), end, shown.note)
        shared = {**options, "splits": subject.splits, "distributed": is_shared}
        return [_stage(way, ends, {**shared, **ways[way]}, batchnorm.value) for way in curve or [Curve.LINEAR]]

    make(given, stages_of, again, quiet, is_shared=True)


def _stage(way: Curve, ends: tuple[Any, Any], options: dict[str, Any], batchnorm: str) -> Stage:
    from landscape.measuring.stages import Stage

    name = f"{way.value}_path"

    def compute(objective: Objective, file: Any, progress: Progress) -> Result:
        import analysis

        function = analysis.linear_path if way is Curve.LINEAR else analysis.bezier_path
        found: Result = function(objective, *ends, **options, path=file, name=name, progress=progress)
        return found

    further = [f"{split}/{of}" for split in options["splits"] for of in ("loss", *options["metrics"])]
    settings: dict[str, Any] = {
        "points": options["points"],
        "batchnorm": batchnorm,
        "metric_names": [*options["metrics"], *further],
        "precision": options["precision"],
    }
    if way is Curve.LINEAR:
        settings["extent"] = list(options["extent"])
    else:
        settings |= {"steps": options["steps"], "seed": options["seed"]}
    return Stage(
        "surface",
        name,
        f"{way.value} path of {options['points']} points",
        settings,
        compute,
        is_grid=True,
        decides_itself=True,
    )
