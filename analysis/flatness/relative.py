"""Relative flatness: the trace of a layer's Hessian with every pair of rows weighted by their scalar product.

Proved right by: the dense Hessian of the layer in float64; no change when the layers of a ReLU network are rescaled
(`tests/analysis/flatness/test_relative.py`, `test_invariance.py`). Cost: stated at `relative_flatness`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from analysis.curvature.trace import hessian_trace
from analysis.evidence import Result, Status, measured
from analysis.objective import Objective

PETZKA = "Petzka et al. (2021), arXiv 2001.00939"


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeFlatness(Result):
    """Relative flatness of chosen layers, small where they are flat."""

    group: ClassVar[str] = "sharpness"
    parameters: tuple[str, ...] = measured("layer", description="Weight matrices")
    value: Tensor = measured(
        "layer", units="loss", description="sum over rows s, t of <w_s, w_t> tr(H_st)", source=PETZKA
    )
    standard_error: Tensor = measured("layer", units="loss", description="Of the value, over random vectors")
    statuses: tuple[str, ...] = measured("layer", description="How the estimation of each ended")
    num_hvps: int = measured(units="Hessian products", description="Cost")
    tol: float = measured(units="1", description="Wanted standard error, relative to |value|")
    seed: int = measured(units="1", description="Of the random vectors")
    status: Status = measured(description="The least good of the statuses")


def relative_flatness(
    objective: Objective,
    parameters: Sequence[str] | None = None,
    *,
    tol: float = 0.05,
    max_hvps: int = 100,
    seed: int = 0,
) -> RelativeFlatness:
    """Estimate sum_{s,t} <w_s, w_t> tr(H_st) over the rows w_s of a weight matrix W, H_st the block of rows s and t.

    With W W^T = L L^T it is the trace of the Hessian by M where W moves along L M, and is estimated like any trace. It
    does not change when the layers of a ReLU network are rescaled without changing its function, nor, at the same
    random vectors, does its estimate; where each unit is rescaled by a factor of its own it does.

    Args:
        objective: Whose loss, at its model's present weights.
        parameters: Names of measured weight matrices; None takes that of the last `nn.Linear` (Petzka et al. 2021).
        tol: Wanted standard error over |value|, > 0. 0.05 as for `hessian_trace`.
        max_hvps: Budget for each layer, >= 10.
        seed: Of the random vectors.

    Returns:
        RelativeFlatness (frozen). value and standard_error, each [layer], in units of the loss. status: as of
        `hessian_trace`, the least good of all layers.

    Raises:
        ValueError: A name that is not measured or no matrix, no linear layer, or a setting of `hessian_trace`.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: 10 to max_hvps Hessian products for each layer.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)  # H = diag(1, 4) on the data below, one row: |w|^2 tr(H)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.diag(torch.tensor([1.0, 2.0])), torch.zeros(2, 1)))
        >>> round(float(relative_flatness(objective).value), 3)
        10.0

    References:
        Petzka, Kamp, Adilova, Sminchisescu, Boley, Relative flatness and generalization, arXiv 2001.00939.
    """
    names = [_last_linear(objective)] if parameters is None else list(parameters)
    shapes = dict(zip(objective.names, objective.layout.shapes, strict=True))
    for name in names:
        if len(shapes.get(name, ())) != 2:
            given = f"{tuple(shapes[name])}" if name in shapes else "no such parameter"
            raise ValueError(
                f"parameters must name measured weight matrices, got {name!r}: {given}; see objective.names"
            )
    found = [hessian_trace(_Rows(objective, name), tol=tol, max_hvps=max_hvps, seed=seed) for name in names]
    order = (Status.NOT_FINITE, Status.MAX_HVPS, Status.CONVERGED)
    return RelativeFlatness(
        parameters=tuple(names),
        value=torch.tensor([each.value for each in found], dtype=torch.float64),
        standard_error=torch.tensor([each.standard_error for each in found], dtype=torch.float64),
        statuses=tuple(each.status.name for each in found),
        num_hvps=sum(each.num_hvps for each in found),
        tol=tol,
        seed=seed,
        status=min((each.status for each in found), key=order.index),
    )


class _Rows:
    """The Hessian by M [K, I] where a weight matrix W [O, I] moves along L M, with L L^T = W W^T.

    Args:
        objective: Whose Hessian.
        name: Of the matrix.
    """

    def __init__(self, objective: Objective, name: str) -> None:
        self._objective, self._name = objective, name
        matrix = objective.layout.split(objective.weights())[name]
        self._root: Tensor = torch.linalg.qr(matrix.T, mode="r").R.T  # W^T = Q R: W W^T = R^T R; [O, K]
        self._shape = (self._root.shape[1], matrix.shape[1])
        self.num_parameters = self._shape[0] * self._shape[1]
        self.device, self.dtype = objective.device, objective.dtype

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector [K * I]."""
        layout = self._objective.layout
        whole = torch.zeros(layout.num_parameters, dtype=self.dtype, device=self.device)
        layout.split(whole)[self._name].copy_(self._root @ vector.view(self._shape))
        product: Tensor = self._root.T @ layout.split(self._objective.hvp(whole))[self._name]
        return product.reshape(-1)


def _last_linear(objective: Objective) -> str:
    linear = [path for path, module in objective.model.named_modules() if isinstance(module, nn.Linear)]
    names = [f"{path}.weight" if path else "weight" for path in linear]
    measured_names = [name for name in names if name in objective.names]
    if not measured_names:
        raise ValueError(
            "the model must have a measured nn.Linear, got none; name the weight matrices: parameters=[...]"
        )
    return measured_names[-1]
