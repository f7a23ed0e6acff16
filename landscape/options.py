"""Options that several commands share, each with one text and one name.

Right when `--help` of each command shows them in their groups (`tests/landscape/test_help.py`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Optional

import typer

OWN = "Your own network"
WHERE = "Where and how"
WHAT = "What to measure"
TRAIN = "train"  # the split of a run that is measured if nothing else is asked for


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


def places(data: str | None, root: Path | None) -> dict[str, str]:
    """Return where the data lie, by the settings of training.

    Args:
        data: As `DataPlace`.
        root: As `DataRoot`.
    """
    given = {"data": data, "root": None if root is None else str(root.expanduser().absolute())}
    return {key: place for key, place in given.items() if place is not None}


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
        splits: Of a run, to measure beside its training data: "validation", "test".
        test_data: Of an own network, the same: "package.module:function", or empty.
        batchnorm: "eval" or "recalibrate".
        on: The split of a run that is measured: "train", "validation" or "test".
        trust_checkpoint: Whether the checkpoint may run code when it is read.
        parameters: Names or globs of the weights of an own network that are measured; empty for all that are trained.
    """

    runs: list[Path]
    model: str = ""
    checkpoint: str = ""
    data: str = ""
    loss: str = ""
    output: Path | None = None
    samples: str = "all"
    device: Device = Device.AUTO
    splits: list[str] = field(default_factory=list)
    test_data: str = ""
    batchnorm: str = "eval"
    on: str = TRAIN
    trust_checkpoint: bool = False
    parameters: list[str] = field(default_factory=list)


class BatchNorm(str, enum.Enum):
    """Which statistics batch norm uses."""

    EVAL = "eval"
    RECALIBRATE = "recalibrate"


class Plan(str, enum.Enum):
    """How points are evaluated."""

    AUTO = "auto"
    GIVEN = "given"


class Precision(str, enum.Enum):
    """Of matrix products and convolutions."""

    FULL = "full"
    BFLOAT16 = "bfloat16"


Runs = Annotated[
    Optional[list[Path]],  # noqa: UP045  # typer 0.12 does not read `list | None`
    typer.Argument(metavar="RUN_DIR", help="Folders that [b]landscape train[/b] wrote.", show_default=False),
]
OwnModel = Annotated[
    str, typer.Option("--model", help="Builds the network, package.module:function.", rich_help_panel=OWN)
]
OwnCheckpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        help="Its weights: a file of torch.save, Lightning or safetensors, or a folder of save_pretrained.",
        rich_help_panel=OWN,
    ),
]
TrustCheckpoint = Annotated[
    bool,
    typer.Option(
        "--trust-checkpoint",
        help="Unpickle objects beside the weights, which runs any code the file asks for.",
        rich_help_panel=OWN,
    ),
]
OwnData = Annotated[
    str,
    typer.Option(
        "--data", help="Gives batches, (input, target) or what the loss takes, or a DataLoader.", rich_help_panel=OWN
    ),
]
TestData = Annotated[
    str,
    typer.Option("--test-data", help="Further data, measured beside: the split test.", rich_help_panel=OWN),
]
OwnLoss = Annotated[
    str,
    typer.Option(
        "--loss",
        help="loss(output, target), e.g. torch.nn.functional:cross_entropy; or, first argument named model, "
        "loss(model, batch) that returns (loss_sum, count), e.g. landscape.huggingface:model_loss.",
        rich_help_panel=OWN,
    ),
]
OwnParameters = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--parameters",
        metavar="GLOB",
        help="Weights to measure, name or glob such as '*lora_*'; repeat it for more; default: all that are trained.",
        rich_help_panel=OWN,
        show_default=False,
    ),
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
SplitNames = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--split",
        help="Of a run, to measure beside its training data: validation or test; repeat it for both.",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
Metrics = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--metric",
        help="Beside the loss: accuracy, or package.module:function(output, target); repeat it for more.",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
DataPlace = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--data",
        help="npz:FILE or folder:DIR, in the place of the study's.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
DataRoot = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--root", help="Folder that holds cifar-10-batches-py.", rich_help_panel=WHERE, show_default=False),
]
Jobs = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--jobs",
        "--workers",
        min=1,
        help="Runs at a time, each in a process with one thread; default: one per core, on CUDA one per device.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
BatchNormOption = Annotated[
    BatchNorm,
    typer.Option(
        "--batchnorm",
        help="Statistics of batch norm: the network's, or those of the data at every point.",
        rich_help_panel=WHAT,
    ),
]
PlanOption = Annotated[
    Plan,
    typer.Option(
        "--plan",
        help="auto tries for the fastest batches and order of memory; given repeats to the last bit.",
        rich_help_panel=WHERE,
    ),
]
PrecisionOption = Annotated[
    Precision, typer.Option("--precision", help="Of matrix products and convolutions.", rich_help_panel=WHERE)
]
