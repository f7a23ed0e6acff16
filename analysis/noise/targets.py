"""What is asked about each measured weight, in the precision and on the device of that weight.

Right when the answers are those of the definition (`tests/analysis/noise/test_sample_norms.py`,
`test_gradient_noise.py`). Cost: D numbers for the directions of the control.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from analysis.noise.control import control_directions
from analysis.noise.scalars import Target
from analysis.objective import Objective


def targets_of(
    objective: Objective,
    state: Mapping[str, Tensor],
    kinds: tuple[str, ...],
    along: Tensor | None,
    seed: int,
    *,
    is_centered: bool = False,
) -> dict[str, Target]:
    """Return what is asked about each parameter.

    Args:
        objective: Whose parameters.
        state: By name, tensors whose precision and device the answers are to have: as from `objective.state()`.
        kinds: Wanted beside "raw".
        along: G, [D], or None.
        seed: Of the control's directions.
        is_centered: Whether g_i - G is asked about, and its product with that of the sample before.

    Returns:
        Parameter name to target.
    """
    shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
    dims = objective.centralize_dims
    units = control_directions(shapes, dims, seed) if "control" in kinds else {}
    pieces = {} if along is None else objective.layout.split(along)
    return {
        name: Target(
            shape,
            tuple(dims[name]),
            kinds,
            units[name].to(state[name]) if name in units else None,
            pieces[name].to(state[name]) if name in pieces else None,
            torch.zeros_like(state[name]) if is_centered else None,
            is_centered,
        )
        for name, shape in shapes.items()
    }
