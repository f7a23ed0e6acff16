"""What a cell of our grid and of loss-landscapes costs, beside a bare forward pass.

Contestants take turns after each cell (of small networks after some tens), so that seconds at most lie between what is
compared. All that a call does before its first cell ends, directions, fingerprints, checks and the passes at the
origin, is "outside", and a grid of 51 x 51 is counted as outside + 2,601 cells, ours with the trial of the plan on
top, which is timed by itself. Ratios are taken within a turn.
loss-landscapes moves the model's own weights, so each call has a copy; it draws directions on the default device, which
is the GPU until its first cell. Its `Loss` takes one batch; "best batch" is the same with a `GeneralModelWrapper`
whose forward goes by batches of the size, and with the order of memory, of the fastest bare passes.
Right when made-up clocks give the made-up times, and every contestant passes all samples (`tests/benchmarks/`).
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import importlib.util
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from analysis import Objective, Plan, loss_surface
from analysis.surface.points import points_of
from benchmarks.curvature_subject import SEED
from benchmarks.surface_subject import Layout, Scale, Setup, Subject, bare, best_bare, prepare
from benchmarks.timing import Work, by_turns, now, ratio_of

__all__ = [
    "COMPARISONS",
    "LIBRARY",
    "Comparison",
    "Times",
    "compare",
    "cost",
    "objective_of",
    "ours",
    "side_for",
    "take_turns",
    "theirs",
    "trial",
    "version",
    "whole",
]

LIBRARY = "loss-landscapes"


class Comparison(NamedTuple):
    """A ratio to report, and the most or the least that it should be; None where it is there for orientation."""

    of: str
    ours: str
    theirs: str
    at_most: float | None = None
    at_least: float | None = None


COMPARISONS = (
    Comparison("cell", "ours", "bare", at_most=1.05),
    Comparison("grid", "ours", "bare", at_most=1.05),
    Comparison("cell", "ours, layout of bare", "bare"),
    Comparison("cell", "ours, given", "ours"),
    Comparison("cell", LIBRARY, "ours", at_least=1.9),
    Comparison("grid", LIBRARY, "ours"),
    Comparison("cell", f"{LIBRARY}, best batch", "ours"),
)
ON_GPU = {("resnet20", LIBRARY): 5.0}
"""Least ratios of a cell on a GPU, where they differ."""


def version() -> str | None:
    """Return the version of loss-landscapes, None where it is not installed."""
    return importlib.metadata.version(LIBRARY) if importlib.util.find_spec("loss_landscapes") is not None else None


class Times(NamedTuple):
    """Seconds of a cell in each turn, and those of a call that no further cell adds to."""

    cell: list[float]
    outside: float


def take_turns(works: Mapping[str, tuple[Work, int]], turns: int, clock: Callable[[], float]) -> dict[str, Times]:
    """Time the cells of all contestants by turns.

    Args:
        works: Name to work that says when a cell is done, and how many of its cells are one piece.
        turns: Measured ones.
        clock: Seconds.

    Returns:
        Name to times.
    """
    pieces = {name: _every(work, cells) for name, (work, cells) in works.items()}
    found = {}
    for name, (first, *others) in by_turns(pieces, turns, clock).items():
        cells = [seconds / works[name][1] for seconds in others]
        found[name] = Times(cells, first - works[name][1] * statistics.median(cells))
    return found


def _every(work: Work, count: int) -> Work:
    def pieces(done: Callable[[], None]) -> None:
        calls = itertools.count(1)
        work(lambda: done() if next(calls) % count == 0 else None)

    return pieces


def side_for(cells: int, turns: int) -> int:
    """Return the points along both directions of a square grid that is not over before all turns are."""
    return math.isqrt(cells * (turns + 1)) + 1


def objective_of(setup: Setup) -> Objective:
    """Return our objective over the data as one batch."""
    return Objective(copy.deepcopy(setup.model), nn.CrossEntropyLoss(), [(setup.images, setup.labels)])


def ours(setup: Setup, plan: Plan, side: int, **options: Any) -> Work:
    """Return the work of a grid of ours.

    Args:
        setup: Network and data.
        plan: How cells are evaluated.
        side: Points along both directions.
        **options: For `loss_surface`.
    """
    objective = objective_of(setup)

    def work(done: Callable[[], None]) -> None:
        loss_surface(objective, points=side, seed=SEED, plan=plan, progress=lambda *_: done(), **options)

    return work


def theirs(setup: Setup, layout: Layout | None, side: int) -> Work:
    """Return the work of a filter-normalized random plane of loss-landscapes.

    Args:
        setup: Network and data.
        layout: Of its forward passes; None for the data as one batch.
        side: Its `steps`.
    """
    main = importlib.import_module("loss_landscapes")
    loss = importlib.import_module("loss_landscapes.metrics").Loss
    wrapper = importlib.import_module("loss_landscapes.model_interface.model_wrapper").GeneralModelWrapper
    model, images = setup.laid_out(layout is not None and layout.channels_last)
    moved: Any = model if layout is None else wrapper(model, [model], _Pieces(layout.batch_size))
    measured = loss(nn.CrossEntropyLoss(), images, setup.labels)

    def work(done: Callable[[], None]) -> None:
        with ExitStack() as stack:
            if setup.device.type != "cpu":
                stack.enter_context(setup.device)

            def metric(wrapped: Any) -> Any:
                stack.close()  # the mode of a default device would slow every operation down
                found = measured(wrapped)
                done()
                return found

            main.random_plane(moved, metric, steps=side, normalization="filter", deepcopy_model=True)

    return work


class _Pieces:
    """A forward pass in batches. A class, because it is copied with the model."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        return torch.cat([model(piece) for piece in torch.split(images, self._size)])


def trial(setup: Setup, num_points: int) -> tuple[Plan, float]:
    """Return the plan that plan="auto" finds for the data as one batch, and the seconds it took to find it.

    Args:
        setup: Network and data.
        num_points: Of the grid it is for.
    """
    with points_of(objective_of(setup)) as points:
        begin = now(setup.device)
        plan = points.fastest(num_points)
        return plan, now(setup.device) - begin


def compare(
    seconds: Mapping[str, Mapping[str, Sequence[float]]], network: str, device_type: str
) -> Iterator[dict[str, Any]]:
    """Yield each ratio whose two contestants ran.

    Args:
        seconds: Of a "cell" and of a whole "grid", by contestant, in rounds.
        network: Its name.
        device_type: "cpu" or "cuda".
    """
    for comparison in COMPARISONS:
        found = seconds[comparison.of]
        if {comparison.ours, comparison.theirs} <= found.keys():
            changed = ON_GPU.get((network, comparison.ours)) if device_type == "cuda" else None
            wanted = comparison._replace(at_least=changed) if changed and comparison.at_least else comparison
            ratio = ratio_of(found[comparison.ours], found[comparison.theirs])
            yield {**wanted._asdict(), **ratio._asdict()}


def cost(subject: Subject, scale: Scale, rounds: int, folder: Path | None, device: torch.device) -> dict[str, Any]:
    """Compare our grid with bare passes and with loss-landscapes.

    Args:
        subject: Network and data.
        scale: Sizes.
        rounds: Of all contestants; turns are a multiple.
        folder: Of CIFAR-10.
        device: Where.

    Returns:
        The row: ratios, raw seconds, what was tried for the bare passes, and the trial of our plan.
    """
    setup = prepare(subject, folder, device)
    best, tried = best_bare(setup, scale.search_turns)
    plan, seconds = trial(setup, scale.grid**2)
    same = Plan(best.batch_size if best.batch_size < subject.samples else 0, best.channels_last)
    turns = rounds * subject.turns
    plans = {"ours": plan, "ours, given": Plan(), "ours, layout of bare": same}
    works = {"bare": (bare(setup, best), subject.cells)}
    for number, (name, one) in enumerate(plans.items()):
        if one not in list(plans.values())[:number]:
            cells = max(one.stacked, subject.cells)
            works[name] = (ours(setup, one, side_for(cells, turns)), cells)
    failures: dict[str, str] = {}
    for name, layout in ((LIBRARY, None), (f"{LIBRARY}, best batch", best)) if version() else ():
        try:
            theirs(setup, layout, 2)(lambda: None)
        except (RuntimeError, ArithmeticError, TypeError) as reason:
            failures[name] = str(reason).splitlines()[0]
        else:
            works[name] = (theirs(setup, layout, side_for(subject.cells, turns)), subject.cells)
    times = take_turns(works, turns, lambda: now(device))
    cell_seconds = {name: one.cell for name, one in times.items()}
    outside = {name: 0.0 if name == "bare" else one.outside for name, one in times.items()}
    grids = {
        name: [whole(cell, outside[name], scale.grid, seconds if name == "ours" else 0.0) for cell in one.cell]
        for name, one in times.items()
    }
    return {
        "part": "cost",
        "network": subject.network,
        "label": subject.label,
        "data": setup.about,
        "bare": best._asdict(),
        "search": tried,
        "trial": {
            "batch_size": plan.batch_size,
            "channels_last": plan.channels_last,
            "stacked": plan.stacked,
            "seconds": seconds,
            "share": seconds / statistics.median(grids["ours"]),
        },
        "ratios": list(compare({"cell": cell_seconds, "grid": grids}, subject.network, device.type)),
        "failures": failures,
        "seconds": cell_seconds,
        "outside": outside,
    }


def whole(cell: float, outside: float, side: int, before: float) -> float:
    """Return the seconds of a square grid: what comes before the call, the call, its cells."""
    return before + outside + side**2 * cell
