"""Options that several commands share, each with one text and one name.

Right when `--help` of each command shows them in their groups (`tests/landscape/test_help.py`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer

OWN = "Your own network"
WHERE = "Where and how"
WHAT = "What to measure"


class Device(str, enum.Enum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def resolve(self) -> str:
        """Return "cpu" or "cuda".

        Raises:
            ValueError: "cuda" where there is none.
        """
        import torch

        if self is Device.CUDA and not torch.cuda.is_available():
            raise ValueError("--device cuda: this machine, or this build of torch, has no CUDA device; use auto or cpu")
        return "cuda" if self is not Device.CPU and torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Given:
    """The options that say what to measure and where to store it.

    Args:
        runs: Folders of `landscape train`, or the `run.h5` in them.
        model: "package.module:function", or empty; so are the next three.
        checkpoint: Weights of that model.
        data: Its data.
        loss: Its loss.
        output: Result file; None for a run is its `run.h5`.
        samples: Of a run's training data: a number, "all", or empty for as many as the file's other measurements.
        device: Where to compute.
    """

    runs: list[Path]
    model: str = ""
    checkpoint: str = ""
    data: str = ""
    loss: str = ""
    output: Path | None = None
    samples: str = "all"
    device: Device = Device.AUTO


Runs = Annotated[
    Optional[list[Path]],  # noqa: UP045  # typer 0.12 does not read `list | None`
    typer.Argument(metavar="RUN_DIR", help="Folders that [b]landscape train[/b] wrote.", show_default=False),
]
OwnModel = Annotated[
    str, typer.Option("--model", help="Builds the network, package.module:function.", rich_help_panel=OWN)
]
OwnCheckpoint = Annotated[
    str, typer.Option("--checkpoint", help="Its weights: a state_dict, or a file that holds one.", rich_help_panel=OWN)
]
OwnData = Annotated[
    str, typer.Option("--data", help="Gives batches (input, target) or a DataLoader.", rich_help_panel=OWN)
]
OwnLoss = Annotated[
    str,
    typer.Option("--loss", help="loss(output, target), e.g. torch.nn.functional:cross_entropy.", rich_help_panel=OWN),
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--output", help="Result file; for runs RUN_DIR/run.h5.", rich_help_panel=WHERE, show_default=False),
]
Samples = Annotated[
    str,
    typer.Option(
        "--samples",
        help="Training images of a run to measure on, a fixed random choice, or all; default: as many as the file's "
        "other measurements, else 500.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where to compute; auto takes CUDA if there.", rich_help_panel=WHERE)
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of whatever is drawn at random.", rich_help_panel=WHAT)]
Again = Annotated[bool, typer.Option("--again", help="Make finished work anew.", rich_help_panel=WHERE)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only results.", rich_help_panel=WHERE)]
