"""`landscape trajectory`: where training went, on one plane, and the loss in that plane.

Right when two runs lie on the plane of both with their own true losses, and a stopped plane goes on
(`tests/landscape/commands/test_trajectory.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.measuring import stages
from landscape.options import (
    WHAT,
    Again,
    BatchNorm,
    BatchNormOption,
    Device,
    DeviceOption,
    Given,
    Output,
    Plan,
    PlanOption,
    Quiet,
    Samples,
)
from landscape.records.layout import kept_checkpoints

if TYPE_CHECKING:
    from analysis import Objective, Result, Trajectory
    from landscape.measuring.stages import Progress, Stage

TRAJECTORY, PLANE = "trajectory", "trajectory_plane"


def trajectory(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN_DIR...", help="Trained with --trajectory-every.", show_default=False)
    ],
    points: Annotated[
        int, typer.Option("--points", min=2, help="Of the plane, along both axes.", rich_help_panel=WHAT)
    ] = 31,
    output: Output = None,
    batchnorm: BatchNormOption = BatchNorm.EVAL,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    plan: PlanOption = Plan.AUTO,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Project the weights kept during training on their principal plane, and compute the loss in that plane.

    The plane goes through the selected weights of the first run. Distance to the plane and true loss of every point
    are stored beside the plane's loss. Several runs share the plane; they need one architecture, and --output. With
    batch norm far points are comparable only with --batchnorm recalibrate.

    Example:  [bold]landscape trajectory runs/resnet20 --points 31[/bold]
    """
    from landscape.measuring.measure import measure
    from landscape.network.opening import subjects
    from landscape.progress import display
    from landscape.tables.measured import measured_table
    from landscape.tables.printing import show

    if len(runs) > 1 and output is None:
        raise ValueError(
            f"{len(runs)} runs on one plane need --output FILE.h5: the plane belongs to none of them alone"
        )
    named = {_name(run, runs): kept_checkpoints(run) for run in runs}
    given = Given(runs[:1], output=output, samples=samples, device=device, batchnorm=batchnorm.value)
    with display(quiet=quiet) as shown:
        for subject in subjects(given, shown):
            wanted = [
                _path_stage(named, batchnorm.value),
                _plane_stage(points, subject.path, plan.value, batchnorm.value),
            ]
            measure(subject, wanted, shown, again=again)
    show(measured_table(subject.path, [stage.key for stage in wanted]))


def _name(run: Path, runs: list[Path]) -> str:
    """Return a run's name in the figure: that of its folder, or the whole path where two are called the same."""
    names = [Path(other).resolve().name for other in runs]
    return str(run) if names.count(run.resolve().name) > 1 else run.resolve().name


def _path_stage(named: dict[str, list[Path]], batchnorm: str) -> Stage:
    def compute(objective: Objective, into: Any, progress: Progress) -> Result:
        from analysis import trajectory as project
        from gcsam.training.checkpoint import load_file

        loaded = {name: [load_file(path)["model"] for path in paths] for name, paths in named.items()}
        return project(objective, loaded, path=into, name=TRAJECTORY, progress=progress)

    settings = {"run_names": list(named), "point": sum(map(len, named.values())), "batchnorm": batchnorm}
    return stages.Stage("surface", TRAJECTORY, "trajectory", settings, compute, is_grid=True, decides_itself=True)


def _plane_stage(points: int, path: Path, plan: str, batchnorm: str) -> Stage:
    def compute(objective: Objective, into: Any, progress: Progress) -> Result:
        from analysis import load, loss_surface

        found: Trajectory = load(path, f"surface/{TRAJECTORY}")  # type: ignore[assignment]
        return loss_surface(
            objective,
            found.directions,
            "none",
            found.extent(),
            points,
            plan=plan,
            path=into,
            name=PLANE,
            progress=progress,
        )

    settings = {"points": [points, points], "batchnorm": batchnorm}
    title = f"loss in its plane {points} x {points}"
    return stages.Stage("surface", PLANE, title, settings, compute, is_grid=True, weight=points**2 / 100)
