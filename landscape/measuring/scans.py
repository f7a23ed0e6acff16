"""Scans around a network as stages: from the words of the command line to lines, planes, blocks, maps and fields.

Right when each word reaches the scan, and a finished scan with other settings is refused by name
(`tests/landscape/measuring/test_scans.py`). Cost: that of the scans of `analysis`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landscape.measuring.stages import Progress, Stage

if TYPE_CHECKING:
    from analysis import Objective, Result

LOSS, CURVATURE, GRADIENT = "loss", "curvature", "gradient"
DIMENSIONS = {1: "line", 2: "plane", 3: "block"}
# As the functions of `analysis` have them.
POINTS = {"line": 101, "plane": 51, "block": 21, CURVATURE: 15, GRADIENT: 15}
TITLES = {
    "line": "loss line",
    "plane": "loss surface",
    "block": "loss block",
    CURVATURE: "curvature map",
    GRADIENT: "gradient field",
}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Scan:
    """What to scan, and how.

    Args:
        of: "loss", "curvature" or "gradient".
        dimensions: 1, 2 or 3; maps of curvature and gradient have 2.
        points: "51", or "31x21" for each direction; empty for the default of the kind.
        extent: "1.0" for [-1, 1], "-0.5:2", or "auto".
        directions: "random" or "hessian".
        toward: Instead of these, weights to which directions lead: a `state_dict` of the network for each dimension.
        normalize: As in `analysis.loss_surface`.
        zero_1d: The same.
        metrics: The same, by name.
        precision: The same.
        plan: "auto", or "given" to repeat to the last bit.
        batchnorm: That of the objective, "eval" or "recalibrate".
        seed: Of random directions.
        name: Of the scan in the file; empty for the name of its kind.
        has_own_splits: Whether further data come from the user's function, so that no setting tells them apart.
    """

    of: str = LOSS
    dimensions: int = 2
    points: str = ""
    extent: str = "1.0"
    directions: str = "random"
    toward: Sequence[Mapping[str, Any]] = ()
    normalize: str = "filter"
    zero_1d: bool = True
    metrics: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "full"
    plan: str = "auto"
    batchnorm: str = "eval"
    seed: int = 0
    name: str = ""
    has_own_splits: bool = False

    @property
    def kind(self) -> str:
        """Line, plane, block, curvature or gradient."""
        return DIMENSIONS[self.dimensions] if self.of == LOSS else self.of


def parse_points(text: str, dimensions: int) -> tuple[int, ...]:
    """Return the points along each direction.

    Args:
        text: "51", or "31x21".
        dimensions: 1, 2 or 3.

    Returns:
        As many numbers.

    Raises:
        ValueError: Neither.

    Example:
        >>> parse_points("51", 2), parse_points("31x21", 2)
        ((51, 51), (31, 21))
    """
    parts = text.split("x")
    if len(parts) in {1, dimensions} and all(part.isdecimal() and int(part) >= 2 for part in parts):
        numbers = [int(part) for part in parts]
        return tuple(numbers * dimensions if len(numbers) == 1 else numbers)
    example = "x".join(["31", "21", "11"][:dimensions])
    several = f", or one such number for each direction like {example}" if dimensions > 1 else ""
    raise ValueError(f"--points must be a whole number >= 2{several}, got {text!r}; odd numbers hold the origin")


def parse_extent(text: str) -> float | tuple[float, float] | str:
    """Return how far a scan looks.

    Args:
        text: "1.0", "-0.5:2" or "auto".

    Returns:
        r, (low, high), or "auto".

    Raises:
        ValueError: None of these.

    Example:
        >>> parse_extent("0.5"), parse_extent("-0.5:2"), parse_extent("auto")
        (0.5, (-0.5, 2.0), 'auto')
    """
    if text == "auto":
        return text
    found = re.fullmatch(f"({NUMBER})(?::({NUMBER}))?", text)
    if found:
        low, high = float(found[1]), found[2]
        if high is None and 0 < low < math.inf:
            return low
        if high is not None and -math.inf < low < float(high) < math.inf:
            return low, float(high)
    raise ValueError(f"--extent must be a number > 0, LOW:HIGH with LOW < HIGH, or auto, got {text!r}; 1.0 is usual")


def scan(wanted: Scan, splits: Mapping[str, Any] | None = None, *, distributed: bool = False) -> Stage:
    """Return the stage of a scan, which writes its cells into the file as it goes on.

    Args:
        wanted: What and how.
        splits: Further data by name.
        distributed: Whether the cells are shared among the processes of the group.

    Returns:
        The stage.

    Raises:
        ValueError: Words that mean nothing, or do not go together.
    """
    if wanted.of != LOSS and (wanted.dimensions != 2 or wanted.metrics or splits):
        raise ValueError(f"--of {wanted.of} is of a plane, without --dimensions, --metric and --split")
    if wanted.toward and len(wanted.toward) != wanted.dimensions:
        raise ValueError(
            f"--toward must be given once for each of {wanted.dimensions} dimensions, got {len(wanted.toward)}"
        )
    points = parse_points(wanted.points or str(POINTS[wanted.kind]), wanted.dimensions)
    extent = parse_extent(wanted.extent)
    name = wanted.name or wanted.kind

    def compute(objective: Objective, path: Any, progress: Progress) -> Result:
        import analysis

        one: dict[str, Any] = {"points": points[0] if wanted.dimensions == 1 else points, "extent": extent}
        shared = {
            **one,
            "normalize": wanted.normalize,
            "seed": wanted.seed,
            "zero_1d": wanted.zero_1d,
            "distributed": distributed,
            "path": path,
            "name": name,
            "progress": progress,
        }
        toward = [objective.flat(end) - objective.weights() for end in wanted.toward]
        given = toward or wanted.directions
        if wanted.of != LOSS:
            function = analysis.curvature_map if wanted.of == CURVATURE else analysis.gradient_field
            return function(objective, given, **shared)
        measure: Any = {1: analysis.loss_line, 2: analysis.loss_surface, 3: analysis.loss_block}[wanted.dimensions]
        found: Result = measure(
            objective,
            given,
            splits=splits,
            metrics=wanted.metrics,
            plan=wanted.plan,
            precision=wanted.precision,
            **shared,
        )
        return found

    cells = math.prod(points)
    title = f"{TITLES[wanted.kind]} {' x '.join(map(str, points))}"
    cost = {LOSS: 0.01, GRADIENT: 0.03, CURVATURE: 1.0}[wanted.of]
    settings = _settings(wanted, points, extent, splits)
    decides = bool(wanted.toward) or wanted.has_own_splits
    return Stage("surface", name, title, settings, compute, True, cells * cost, decides_itself=decides)


def _settings(
    wanted: Scan, points: tuple[int, ...], extent: float | tuple[float, float] | str, splits: Mapping[str, Any] | None
) -> dict[str, Any]:
    is_scaled = wanted.toward or wanted.directions == "random"  # eigenvectors are never scaled
    is_line = wanted.dimensions == 1
    found: dict[str, Any] = {
        "points": points[0] if is_line else list(points),
        "source": "given" if wanted.toward else wanted.directions,
        "normalize": wanted.normalize if is_scaled else "none",
        "seed": wanted.seed,
        "batchnorm": wanted.batchnorm,
    }
    if not isinstance(extent, str):
        pair = [-extent, extent] if isinstance(extent, float) else list(extent)
        found["extent"] = pair if is_line else [pair] * wanted.dimensions
    if wanted.of == LOSS:
        further = [f"{split}/{of}" for split in splits or {} for of in ("loss", *wanted.metrics)]
        found["metric_names"] = [*wanted.metrics, *further]
        found["precision"] = wanted.precision
    return found
