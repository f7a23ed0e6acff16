"""What the surface benchmark runs on, and the bare forward passes that a grid is compared with.

A bare pass is model(x) and the loss of each batch under inference mode, with the data in memory: no mean over batches,
no errors, nothing read back. Its batch size and order of memory are the fastest of all powers of two and all samples,
found by `search`; the contest then measures it anew, so that a lucky moment of the search is not its result.
Right when every sample is passed once and made-up clocks decide the search (`tests/benchmarks/test_surface.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.curvature_subject import CLASSES, SEED, load_images
from benchmarks.timing import Work, by_turns, now
from gcsam.training.models import build_model
from gcsam.training.readers import read_digits

__all__ = [
    "FULL",
    "QUICK",
    "Layout",
    "Scale",
    "Setup",
    "Subject",
    "bare",
    "best_bare",
    "layouts",
    "prepare",
    "search",
]

SMALLEST = 8  # samples in a batch that the search tries first


class Subject(NamedTuple):
    """A network, its data, and how often it is timed."""

    network: str
    data: str  # "cifar10" or "digits"
    samples: int
    image_size: int
    turns: int  # for one of the command line: the small ones vary more and cost little
    cells: int  # timed as one piece: a handover between contestants would tell in a single small one

    @property
    def label(self) -> str:
        """Its name in a table."""
        return f"{self.network}, {self.samples} {'images' if self.data == 'cifar10' else self.data}"


class Scale(NamedTuple):
    """Sizes of everything."""

    cost: tuple[Subject, ...]
    extras: tuple[Subject, ...]
    stacked: tuple[Subject, ...]
    processes: Subject
    stacks: tuple[int, ...]  # cells at once
    grid: int  # points along both directions of the grid that the trial is counted for
    search_turns: int


_RESNET = Subject("resnet20", "cifar10", 512, 32, 1, 1)
_CNN = Subject("cnn", "digits", 500, 8, 3, 4)
_MLP = Subject("mlp", "digits", 500, 8, 5, 16)
_TINY = Subject("mlp", "digits", 32, 8, 5, 32)

FULL = Scale(
    cost=(_RESNET, _CNN, _MLP, _TINY),
    extras=(_RESNET._replace(samples=128), _CNN),
    stacked=(_MLP, _TINY),
    processes=_RESNET._replace(samples=128),
    stacks=(1, 2, 4, 8, 16, 32, 64),
    grid=51,
    search_turns=4,
)
QUICK = Scale(
    cost=(Subject("cnn", "cifar10", 12, 8, 1, 1), Subject("mlp", "digits", 16, 8, 2, 2)),
    extras=(Subject("cnn", "digits", 12, 8, 1, 1),),
    stacked=(Subject("mlp", "digits", 8, 8, 1, 1),),
    processes=Subject("mlp", "digits", 8, 8, 1, 1),
    stacks=(1, 2),
    grid=5,
    search_turns=1,
)


class Setup(NamedTuple):
    """A network in eval mode, and its data as one batch: the cut that suits no network."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    about: str

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.images.device

    @property
    def has_images(self) -> bool:
        """Whether an order of memory makes a difference to any weight."""
        return any(parameter.ndim == 4 for parameter in self.model.parameters())

    def laid_out(self, channels_last: bool) -> tuple[nn.Module, Tensor]:
        """Return a copy of the network, and the images, in an order of memory."""
        form = torch.channels_last if channels_last else torch.contiguous_format
        model = copy.deepcopy(self.model).to(memory_format=form)  # type: ignore[call-overload]  # its stub lacks it
        return model, self.images.contiguous(memory_format=form)


class Layout(NamedTuple):
    """How bare passes are made."""

    batch_size: int
    channels_last: bool


def prepare(subject: Subject, folder: Path | None, device: torch.device) -> Setup:
    """Return the network and its data.

    The weights are those of a fixed seed, because time does not depend on training. Biases are moved off zero:
    loss-landscapes divides by the norm of each number of a bias. Running statistics are those of one pass.

    Args:
        subject: Which.
        folder: Of CIFAR-10; None for synthetic images.
        device: Where.
    """
    if subject.data == "digits":
        pixels, labels = read_digits()["train"]
        images, labels = pixels[: subject.samples].float(), labels[: subject.samples]
        images, about = (images - images.mean()) / images.std(), "the first digits of scikit-learn"
    else:
        images, labels, about = load_images(folder, subject.samples, subject.image_size)
    torch.manual_seed(SEED)
    model = build_model(
        subject.network, in_channels=images.shape[1], num_classes=CLASSES, image_size=subject.image_size
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.01 * torch.randn_like(parameter))
        model(images[:64])
    return Setup(model.to(device).eval(), images.to(device), labels.to(device), about)


def bare(setup: Setup, layout: Layout) -> Work:
    """Return work of one pass over the data after the other, without end.

    Args:
        setup: Network and data.
        layout: Samples in a batch, and the order of memory.
    """
    model, images = setup.laid_out(layout.channels_last)
    pieces = (torch.split(whole, layout.batch_size) for whole in (images, setup.labels))
    batches = list(zip(*pieces, strict=True))

    def work(done: Callable[[], None]) -> None:
        with torch.inference_mode():
            while True:
                for x, y in batches:
                    F.cross_entropy(model(x), y)
                done()

    return work


def layouts(samples: int, has_images: bool) -> list[Layout]:
    """Return all layouts worth a try: powers of two from 8, and all samples.

    Args:
        samples: In the data.
        has_images: Whether the order of memory matters.
    """
    powers = [2**i for i in range(SMALLEST.bit_length() - 1, samples.bit_length()) if 2**i < samples]
    orders = (False, True) if has_images else (False,)
    return [Layout(size, order) for order in orders for size in (*powers, samples)]


def search(works: Mapping[Layout, Work], turns: int, clock: Callable[[], float]) -> tuple[Layout, list[dict[str, Any]]]:
    """Return the layout whose fastest pass is the fastest, and what that took; other work only slows passes down.

    Args:
        works: Layout to its passes.
        turns: Of all.
        clock: Seconds.
    """
    measured = by_turns({str(i): work for i, work in enumerate(works.values())}, turns, clock)
    seconds = [min(taken[1:]) for taken in measured.values()]
    found = [{**layout._asdict(), "seconds": taken} for layout, taken in zip(works, seconds, strict=True)]
    return list(works)[seconds.index(min(seconds))], found


def best_bare(setup: Setup, turns: int) -> tuple[Layout, list[dict[str, Any]]]:
    """Return the fastest layout of bare passes, and what each took.

    Args:
        setup: Network and data.
        turns: Of all layouts.
    """
    tried = layouts(len(setup.labels), setup.has_images)
    return search({layout: bare(setup, layout) for layout in tried}, turns, lambda: now(setup.device))
