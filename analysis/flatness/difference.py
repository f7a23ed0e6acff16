"""How much sharper one checkpoint is than another, sample by sample on the same random numbers.

Right when the difference of two quadratics is found within 4 of its standard errors, these are the spread over many
seeds, and they are far below those of independent samples (`tests/analysis/flatness/test_difference.py`). Cost: none;
it reads two results.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, measured
from analysis.flatness.average import standard_error
from analysis.flatness.curve import SharpnessCurve
from analysis.flatness.perturbation import Scaled
from analysis.flatness.sharpness import Sharpness

SHARED = ("kind", "norm", "adaptive", "scale", "subspace", "seed", "m")


@dataclasses.dataclass(frozen=True, eq=False)
class SharpnessDifference(Scaled, Result):
    """The sharpness of a first checkpoint less that of a second, at each rho."""

    group: ClassVar[str] = "sharpness"
    rho: Tensor = measured("rho", units="weight", description="Radii of the ball, or deviations; of u if adaptive")
    value: Tensor = measured("rho", units="loss", description="First sharpness less second")
    standard_error: Tensor = measured("rho", units="loss", description="Of the value, over pairs of samples")
    independent_standard_error: Tensor = measured(
        "rho", units="loss", description="What it would be if the two had no random number in common"
    )
    kind: str = measured(description="worst or average")
    adaptive: bool = measured(description="Whether perturbations are relative to the weights")
    norm: str = measured(description="Of the ball of a worst case: l2 or linf")
    num_samples: int = measured(units="1", description="Pairs of samples")
    seed: int = measured(units="1", description="Of perturbations or subsets, common to both")
    scale: str = measured(description="c of the perturbation c * u: none (1), weights (|w|) or filters", default="")
    subspace: str = measured(description="Of the perturbations: all, or centralized", default="all")


def sharpness_difference(first: Sharpness | SharpnessCurve, second: Sharpness | SharpnessCurve) -> SharpnessDifference:
    """Compare two sharpnesses, or two curves, whose samples belong together.

    Both must have been measured with the same settings and the same seed. Then sample i of both comes from the same
    perturbation (kind "average", networks of one architecture), or the same subset (kind "worst" with m, the same
    data), and what both share cancels in the difference of each pair. Where the samples do not belong together, as for
    two architectures, the standard error is still right, but no smaller.

    Args:
        first: As returned by `sharpness` or `sharpness_curve`.
        second: The same, of another checkpoint.

    Returns:
        SharpnessDifference (frozen). rho, value, standard_error, independent_standard_error: each [rho]. Positive:
        the first is sharper. Standard errors are NaN for a worst case over all data, which has one sample.

    Raises:
        ValueError: Results of two types, settings, seeds or numbers of samples.

    Cost: none.

    Example:
        >>> from analysis import Objective, sharpness_curve
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> x, y = torch.eye(2), torch.zeros(2, 1)
        >>> steep, flat = (Objective(model, torch.nn.MSELoss(), (scale * x, y)) for scale in (2.0, 1.0))
        >>> curves = [sharpness_curve(each, [0.1], kind="average") for each in (steep, flat)]  # H = 4 I and I
        >>> found = sharpness_difference(*curves)  # rho^2 tr(H) / 2: 0.04 and 0.01
        >>> bool((found.value - 0.03).abs() < 4 * found.standard_error)
        True

    References:
        Glasserman, Yao, Some guidelines and guarantees for common random numbers, Management Science 38 (1992).
    """
    if type(first) is not type(second):
        raise ValueError(
            f"both must be results of one function, got {type(first).__name__} and {type(second).__name__}"
        )
    for name in SHARED:
        a, b = getattr(first, name), getattr(second, name)
        if a != b:
            raise ValueError(
                f"both must be measured with the same {name}, got {a!r} and {b!r}; measure one of them anew"
            )
    rhos, rows = zip(_table(first), _table(second), strict=True)
    if not torch.equal(*rhos):
        raise ValueError(f"both must be measured at the same rho, got {rhos[0].tolist()} and {rhos[1].tolist()}")
    if rows[0].shape != rows[1].shape:
        raise ValueError(f"both must have as many samples, got {rows[0].shape[1]} and {rows[1].shape[1]}")
    values = [torch.as_tensor(each.value, dtype=torch.float64).reshape(-1) for each in (first, second)]
    errors = [torch.as_tensor(each.standard_error, dtype=torch.float64).reshape(-1) for each in (first, second)]
    return SharpnessDifference(
        rho=rhos[0],
        value=values[0] - values[1],
        standard_error=torch.tensor([standard_error(row) for row in rows[0] - rows[1]], dtype=torch.float64),
        independent_standard_error=torch.hypot(*errors),
        kind=first.kind,
        norm=first.norm,
        adaptive=first.adaptive,
        scale=first.scale,
        subspace=first.subspace,
        num_samples=rows[0].shape[1],
        seed=first.seed,
    )


def _table(found: Sharpness | SharpnessCurve) -> tuple[Tensor, Tensor]:
    """Return rho [rho] and the samples [rho, sample]."""
    if isinstance(found, SharpnessCurve):
        return found.rho, found.samples
    return torch.tensor([found.rho], dtype=torch.float64), found.samples[None]
