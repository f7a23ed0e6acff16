"""`landscape measure`, `surface` and `noise`: options in, measurements out.

Right when each stores what it says and prints it (`tests/landscape/test_stages_alone.py`).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from landscape import stages
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
)

if TYPE_CHECKING:
    from landscape.stages import Stage


class Directions(str, enum.Enum):
    """What the plane of a surface is spanned by."""

    RANDOM = "random"
    HESSIAN = "hessian"


class Normalize(str, enum.Enum):
    """Which parts of a random direction get the norm of the same part of the weights."""

    FILTER = "filter"
    LAYER = "layer"
    MODEL = "model"
    NONE = "none"


def measure(
    runs: Runs = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Eigenvalues wanted.", rich_help_panel=WHAT)] = stages.TOP,
    rho: Annotated[float, typer.Option("--rho", help="Radius of the sharpness.", rich_help_panel=WHAT)] = 0.05,
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: OwnCheckpoint = "",
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
    given = Given(runs or [], model, checkpoint, data, loss, output, samples, device)
    _make(given, [*stages.curvature(top=top, seed=seed), *stages.sharpness(rho=rho, seed=seed)], again, quiet)


def surface(
    runs: Runs = None,
    points: Annotated[int, typer.Option("--points", min=2, help="Along both axes.", rich_help_panel=WHAT)] = 51,
    extent: Annotated[
        float, typer.Option("--extent", help="Largest multiple of a direction.", rich_help_panel=WHAT)
    ] = 1.0,
    directions: Annotated[
        Directions, typer.Option("--directions", help="What spans the plane.", rich_help_panel=WHAT)
    ] = Directions.RANDOM,
    normalize: Annotated[
        Normalize, typer.Option("--normalize", help="What is scaled to the weights.", rich_help_panel=WHAT)
    ] = Normalize.FILTER,
    name: Annotated[str, typer.Option("--name", help="Of the surface in the file.", rich_help_panel=WHAT)] = "plane",
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: OwnCheckpoint = "",
    data: OwnData = "",
    loss: OwnLoss = "",
    output: Output = None,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Compute the loss on a grid in a plane through the weights; stopped, it goes on with the cells that are missing.

    A run of yours:  [bold]landscape surface runs/digits/runs/gcsam-seed0 --points 51 --name fine[/bold]

    A network trained elsewhere:
    landscape surface --model nets:build --checkpoint net.pt --data nets:data --loss nets:loss --output net.h5
    """
    given = Given(runs or [], model, checkpoint, data, loss, output, samples, device)
    stage = stages.surface(
        points=points, extent=extent, directions=directions.value, normalize=normalize.value, seed=seed, name=name
    )
    _make(given, [stage], again, quiet)


def noise(
    runs: Runs = None,
    seed: Seed = 0,
    model: OwnModel = "",
    checkpoint: OwnCheckpoint = "",
    data: OwnData = "",
    loss: OwnLoss = "",
    output: Output = None,
    samples: Samples = "",
    device: DeviceOption = Device.AUTO,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Measure gradient noise by layer: raw, centralized, and under a random projection of the same rank.

    A run of yours:  [bold]landscape noise runs/digits/runs/gcsam-seed0[/bold]

    A network trained elsewhere:
    landscape noise --model nets:build --checkpoint net.pt --data nets:data --loss nets:loss --output net.h5
    """
    given = Given(runs or [], model, checkpoint, data, loss, output, samples, device)
    _make(given, [stages.noise(seed=seed)], again, quiet)


def _make(given: Given, wanted: list[Stage], again: bool, quiet: bool) -> None:
    """Make the measurements, and print them: those made now and those found made."""
    from landscape.measuring import measure as make
    from landscape.progress import display
    from landscape.subjects import subjects
    from landscape.tables import measured_table, show

    paths = []
    with display(quiet=quiet) as shown:
        for subject in subjects(given, shown):
            make(subject, wanted, shown, again=again)
            paths.append(subject.path)
    for path in paths:
        show(measured_table(path, [stage.key for stage in wanted]))
