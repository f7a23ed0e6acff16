"""`landscape noise`: what centralization does to the gradient noise, measured and answered in words.

Right when the numbers printed are those stored, at the weights asked for (`tests/landscape/test_noise_command.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Quiet,
    Runs,
    Samples,
    Seed,
)
from landscape.results import kept_checkpoints

if TYPE_CHECKING:
    from rich.table import Table


def noise(
    runs: Runs = None,
    over_training: Annotated[
        bool,
        typer.Option(
            "--over-training",
            help="Also at all weights that training kept (landscape train --trajectory-every).",
            rich_help_panel=WHAT,
        ),
    ] = False,
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
    kept = _kept(given.runs) if over_training else []
    wanted = [*(stages.noise(seed=seed, checkpoint=path) for path in kept), stages.noise(seed=seed)]
    make(given, lambda *_: wanted, again, quiet, report=lambda path: _report(path, [stage.key for stage in wanted]))


def _kept(runs: list[Path]) -> list[Path]:
    if len(runs) != 1:
        raise ValueError(f"--over-training needs one run folder, got {len(runs)}; measure each by itself")
    return kept_checkpoints(runs[0])


def _report(path: Path, keys: list[str]) -> Iterator[Table | str]:
    """Yield the tables below the list of measurements."""
    from analysis.store import read
    from landscape.noise_tables import LEGEND, OPEN, answer, layer_table, rows, training_answer, training_table

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
