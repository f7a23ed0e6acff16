"""What a cell of our grid and of loss-landscapes costs, beside a bare forward pass.

The time of a cell is read off within the call: from the end of the first cell (or of the first group that is computed
together) to the end of the last, over the cells between. What is left of the call, directions, fingerprints, checks and
the passes at the origin, is "outside", and a grid of 51 x 51 is counted as outside + 2,601 cells, ours with the trial
of the plan on top, which is timed by itself. Ratios are taken within a round.
loss-landscapes moves the model's own weights, so each call has a copy; it draws directions on the default device, which
is the GPU until its first cell. Its `Loss` takes one batch; "best batch" is the same with a `GeneralModelWrapper`
whose forward goes by batches of the size, and with the order of memory, of the fastest bare passes.
Right when made-up stamps give the made-up times, and every contestant passes all samples (`tests/benchmarks/`).
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import importlib.util
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
from benchmarks.surface_subject import Layout, Scale, Setup, Subject, Times, bare, prepare, search
from benchmarks.timing import now, paired, ratio_of

__all__ = ["COMPARISONS", "Comparison", "compare", "cost", "objective_of", "ours", "stamped", "theirs", "trial"]

LIBRARY = "loss-landscapes"
Run = Callable[[], Times]


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
    Comparison("cell", "bare, one batch", "bare"),
    Comparison("cell", LIBRARY, "ours", at_least=1.9),
    Comparison("grid", LIBRARY, "ours"),
    Comparison("cell", f"{LIBRARY}, best batch", "ours"),
)
ON_GPU = {("resnet20", LIBRARY): 5.0}
"""Least ratios of a cell on a GPU, where they differ."""


def version() -> str | None:
    """Return the version of loss-landscapes, None where it is not installed."""
    return importlib.metadata.version(LIBRARY) if importlib.util.find_spec("loss_landscapes") is not None else None


def stamped(begin: float, stamps: Sequence[float], end: float, together: int = 1) -> Times:
    """Return the time of a cell, and of what is not a cell.

    Args:
        begin: When the call began.
        stamps: When each cell was done.
        end: When it returned.
        together: Cells that are done at once.

    Returns:
        The times.

    Raises:
        ValueError: No cell follows the first group.
    """
    if len(stamps) <= together:
        raise ValueError(f"a grid must have more cells than are computed at once, got {len(stamps)} and {together}")
    cell = (stamps[-1] - stamps[together - 1]) / (len(stamps) - together)
    return Times(cell, end - begin - len(stamps) * cell)


def objective_of(setup: Setup) -> Objective:
    """Return our objective over the data as one batch."""
    return Objective(copy.deepcopy(setup.model), nn.CrossEntropyLoss(), [(setup.images, setup.labels)])


def ours(setup: Setup, plan: Plan, side: int, *, processes: int = 1, **options: Any) -> Run:
    """Return a function that computes a grid of ours.

    Args:
        setup: Network and data.
        plan: How cells are evaluated.
        side: Points along both directions, more where as many are computed at once.
        processes: That share the grid.
        **options: For `loss_surface`.
    """
    objective, together = objective_of(setup), plan.stacked * processes
    while side**2 < 4 * together:
        side += 1

    def run() -> Times:
        stamps: list[float] = []
        begin = now(setup.device)
        loss_surface(
            objective,
            points=side,
            seed=SEED,
            plan=plan,
            progress=lambda *_: stamps.append(now(setup.device)),
            distributed=processes > 1,
            **options,
        )
        return stamped(begin, stamps, now(setup.device), together)

    return run


def theirs(setup: Setup, layout: Layout | None, side: int) -> Run:
    """Return a function that computes a filter-normalized random plane of loss-landscapes.

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

    def run() -> Times:
        stamps: list[float] = []
        measured = loss(nn.CrossEntropyLoss(), images, setup.labels)
        with ExitStack() as stack:
            if setup.device.type != "cpu":
                stack.enter_context(setup.device)

            def metric(wrapped: Any) -> Any:
                stack.close()  # the mode of a default device would slow every operation down
                found = measured(wrapped)
                stamps.append(now(setup.device))
                return found

            begin = now(setup.device)
            main.random_plane(moved, metric, steps=side, normalization="filter", deepcopy_model=True)
            return stamped(begin, stamps, now(setup.device))

    return run


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
        rounds: Of all contestants by turns.
        folder: Of CIFAR-10.
        device: Where.

    Returns:
        The row: ratios, raw seconds, what was tried for the bare passes, and the trial of our plan.
    """
    setup = prepare(subject, folder, device)
    best, tried = search(setup, subject, scale.search_rounds)
    plan, seconds = trial(setup, scale.grid**2)
    same = Plan(best.batch_size if best.batch_size < subject.samples else 0, best.channels_last)
    passes = subject.side**2
    runs: dict[str, Run] = {"bare": bare(setup, best, passes), "ours": ours(setup, plan, subject.side)}
    if plan != Plan():
        runs["ours, given"] = ours(setup, Plan(), subject.side)
    if same not in {plan, Plan()}:
        runs["ours, layout of bare"] = ours(setup, same, subject.side)
    if best != Layout(subject.samples, channels_last=False):
        runs["bare, one batch"] = bare(setup, Layout(subject.samples, channels_last=False), passes)
    failures: dict[str, str] = {}
    for name, layout in ((LIBRARY, None), (f"{LIBRARY}, best batch", best)) if version() else ():
        try:
            run = theirs(setup, layout, subject.side)
            run()
        except (RuntimeError, ArithmeticError, TypeError) as reason:
            failures[name] = str(reason).splitlines()[0]
        else:
            runs[name] = run
    times = paired(runs, rounds * subject.turns)
    cells = {name: [one.cell for one in taken] for name, taken in times.items()}
    outside = {name: [one.outside for one in taken] for name, taken in times.items()}
    grids = {
        name: [whole(one, scale.grid, seconds if name == "ours" else 0.0) for one in taken]
        for name, taken in times.items()
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
        "ratios": list(compare({"cell": cells, "grid": grids}, subject.network, device.type)),
        "failures": failures,
        "seconds": cells,
        "outside": outside,
    }


def whole(times: Times, side: int, before: float) -> float:
    """Return the seconds of a square grid: what comes before the call, the call, its cells."""
    return before + times.outside + side**2 * times.cell
