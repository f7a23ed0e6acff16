"""What a sharpness, and a curve of it, may be asked for.

Right when each message is executed by a test (`tests/analysis/flatness/test_sharpness.py`). Cost: none.
"""

from __future__ import annotations

import math

from analysis.checks import check_whole
from analysis.flatness.balls import NORMS
from analysis.flatness.perturbation import SUBSPACES

KINDS = ("worst", "average")


def check_settings(
    kind: str,
    m: int | None,
    samples: int,
    steps: int,
    restarts: int,
    tol: float,
    norm: str,
    scale: str,
    subspace: str,
) -> None:
    """Refuse settings out of range, those of the other kind left aside.

    Args:
        kind: As for `sharpness`, like all of them.
        m: Samples of a subset.
        samples: Pairs.
        steps: Of an ascent.
        restarts: Ascents from random points.
        tol: Residual at which an ascent ends.
        norm: Of the ball.
        scale: By name.
        subspace: Of the perturbations.

    Raises:
        ValueError: In one line, what was given, what is allowed.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if subspace not in SUBSPACES:
        raise ValueError(f"subspace must be one of {', '.join(SUBSPACES)}, got {subspace!r}")
    if subspace != "all" and (norm != "l2" or scale != "none"):
        raise ValueError(f"subspace={subspace!r} is for norm='l2' and adaptive=False: elsewhere P u leaves the ball")
    if kind == "average":
        if norm != "l2":
            raise ValueError(f"norm={norm!r} is for kind='worst': Gaussian perturbations have no ball")
        if m is not None:
            raise ValueError(f"m is for kind='worst', got m={m!r}: a mean over perturbations does not depend on it")
        check_whole("samples", samples, 2, "one pair has no standard error")
        return
    check_whole("steps", steps, 0, "each is one gradient; 0 is SAM's perturbation as it is")
    check_whole("restarts", restarts, 0, "0 is the ascent from SAM's perturbation alone")
    if not (math.isfinite(tol) and tol > 0):
        raise ValueError(f"tol must be a finite number > 0, got {tol!r}; 0.01 is the default")


def check_average_tol(kind: str, average_tol: float | None) -> None:
    """Refuse a tolerance of the standard error that is out of range, or of a worst case.

    Args:
        kind: As for `sharpness`, like the other.
        average_tol: Relative standard error, or None.

    Raises:
        ValueError: In one line, what was given, what is allowed.
    """
    if average_tol is None:
        return
    if kind != "average":
        raise ValueError(f"average_tol is for kind='average', got average_tol={average_tol!r}; tol ends an ascent")
    if not (math.isfinite(average_tol) and average_tol > 0):
        raise ValueError(f"average_tol must be a finite number > 0 or None, got {average_tol!r}; 0.05 is 5 percent")
