"""`landscape noise`: what centralization does to the gradient noise, measured and answered in words.

Right when the numbers printed are those stored, at the weights asked for (`tests/landscape/commands/test_noise.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.commands.making import make
from landscape.measuring import noise_stages, stages
from landscape.options import (
    WHAT,
    WHERE,
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
from landscape.records.layout import kept_checkpoints

if TYPE_CHECKING:
    from rich.table import Table


class Split(str, enum.Enum):
    """Which data of a run."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Part(str, enum.Enum):
    """What is measured."""

    SIZE = "size"
    BATCHES = "batches"
    TAILS = "tails"
    WEIGHTS = "weights"
    SPECTRUM = "spectrum"


def noise(
    runs: Runs = None,
    of: Annotated[
        list[Part],
        typer.Option(
            "--of",
            help="size: of noise and signal, by layer. batches: agreement of mini-batches. tails: heavier than "
            "Gaussian? weights: signal-to-noise ratio of each. spectrum: beside the Hessian's. Repeat it for more.",
            rich_help_panel=WHAT,
        ),
    ] = [Part.SIZE],  # noqa: B006  # typer only reads it
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", help="For batches, at most half the samples.", rich_help_panel=WHAT)
    ] = "8,32,128",
    over_training: Annotated[
        bool,
        typer.Option(
            "--over-training",
            help="Also at all weights that training kept (landscape train --trajectory-every).",
            rich_help_panel=WHAT,
        ),
    ] = False,
    on: Annotated[
        Split,
        typer.Option(
            "--on",
            help="Of a run, which images; others than train go into RUN_DIR/SPLIT.h5.",
            rich_help_panel=WHERE,
        ),
    ] = Split.TRAIN,
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
    """Say what centralization does to the gradient noise: is it less, relative to the signal, and more than by chance?

    Measured by layer: raw, centralized, and under a random projection of the same rank.

    A run of yours:  [bold]landscape noise runs/digits/runs/gcsam-seed0[/bold]

    A network trained elsewhere:
    landscape noise --model nets:build --checkpoint net.pt --data nets:data --loss nets:loss --output net.h5
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
        on=on.value,
        trust_checkpoint=trust_checkpoint,
        parameters=parameters or [],
    )
    kept = _kept(given.runs) if over_training else []
    possible = {
        Part.SIZE: [*(stages.noise(seed=seed, checkpoint=path) for path in kept), stages.noise(seed=seed)],
        Part.BATCHES: [noise_stages.minibatch(_sizes(batch_sizes), seed=seed)],
        Part.TAILS: [noise_stages.tails(seed=seed)],
        Part.WEIGHTS: [noise_stages.weights(seed=seed)],
        Part.SPECTRUM: [noise_stages.spectrum(seed=seed)],
    }
    wanted = {part: some for part, some in possible.items() if part in of}
    every = [stage for some in wanted.values() for stage in some]

    def report(path: Path) -> Iterator[Table | str]:
        for part, some in wanted.items():
            yield from _report(part, path, [stage.key for stage in some])

    make(given, lambda *_: every, again, quiet, report=report)


def _sizes(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"--batch-sizes must be whole numbers with commas between, got {text!r}; 8,32,128 for example")
    return [int(part) for part in parts]


def _kept(runs: list[Path]) -> list[Path]:
    if len(runs) != 1:
        raise ValueError(f"--over-training needs one run folder, got {len(runs)}; measure each by itself")
    return kept_checkpoints(runs[0])


def _report(part: Part, path: Path, keys: list[str]) -> Iterator[Table | str]:
    """Yield the tables below the list of measurements."""
    from analysis.store import read
    from landscape.tables import noise_details as details

    if part is Part.SIZE:
        yield from _size_report(path, keys)
    else:
        tables = {
            Part.BATCHES: details.batch_report,
            Part.TAILS: details.tail_report,
            Part.WEIGHTS: details.weight_report,
            Part.SPECTRUM: details.spectrum_report,
        }
        yield from tables[part](read(path, keys[0]))


def _size_report(path: Path, keys: list[str]) -> Iterator[Table | str]:
    """Yield the tables below the list of measurements."""
    from analysis.store import read
    from landscape.tables.noise import LEGEND, OPEN, answer, layer_table, rows, training_answer, training_table

    prefix = f"noise/{stages.GRADIENT_NOISE}"
    own = read(path, keys[-1])
    when = {stages.place(key.removeprefix(f"{prefix}_")): read(path, key) for key in keys[:-1]}
    # near the end of training the signal may be lost in the noise: the last weights that still tell something
    clear = [name for name, found in when.items() if rows(found)[-1].words != OPEN]
    yield layer_table(when[clear[-1]], f"after {clear[-1]}") if clear else layer_table(own)
    if when:
        yield training_table(when)
    yield from LEGEND
    if when:
        yield training_answer(when)
    yield answer(own)
