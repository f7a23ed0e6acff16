"""The projections whose effect on the noise is compared: none, centralization P, and a random one of the same rank.

P removes from each row of a weight its component along the direction (1, ..., 1). The control removes the component
along a random direction, another one in each row, and so as many dimensions at the same places: what P does to the
noise beyond it is owed to the direction (1, ..., 1), the rest to being a projection.

Right when the control is an orthogonal projection of the rank of P and takes away 1/n of the energy of isotropic noise
in a row of n weights (`tests/analysis/noise/test_control.py`). Cost: D numbers of memory, two passes over a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gcsam.centralize import centralize, random_directions, remove_component


def control_directions(
    shapes: Mapping[str, Sequence[int]], dims: Mapping[str, Sequence[int]], seed: int
) -> dict[str, Tensor]:
    """Draw one unit vector for each row of each tensor that P acts on: Gaussian, then normalized, so uniform.

    Args:
        shapes: Parameter name to shape.
        dims: Parameter name to the axes that make up one row; () where P does nothing.
        seed: Drawn on the CPU in float64: the same on every device.

    Returns:
        Parameter name to a tensor of its shape, in float64 on the CPU, only where P acts.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: random_directions(shape, dims[name], generator) for name, shape in shapes.items() if dims[name]}


def projected(gradients: Tensor, dims: Sequence[int], directions: Tensor | None) -> list[Tensor]:
    """Return the gradients of one weight as they are, centralized, and under the control.

    Args:
        gradients: [C, *shape].
        dims: Axes of the weight that make up one row; () where P does nothing.
        directions: [*shape], of the control; None where P does nothing.

    Returns:
        [C, *shape] for each kind, or the raw one alone, which then stands for all.
    """
    axes = tuple(axis + 1 for axis in dims)
    if not axes or directions is None:
        return [gradients]
    return [gradients, centralize(gradients, axes), remove_component(gradients, directions, axes)]
