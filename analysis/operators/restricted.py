"""An operator seen through another: restricted to a subspace, or in the metric of an adaptive optimizer.

    Centralized         P H P, P the projection of gradient centralization
    RandomlyProjected   C H C, C a random projection of the rank of P: the control
    Preconditioned      M^(-1/2) H M^(-1/2), with the eigenvalues of M^(-1) H: what an optimizer with preconditioner M
                        sees as sharpness (Cohen et al., arXiv 2207.14484)

Proved right by: dense float64 products P H P, C H C and M^(-1/2) H M^(-1/2), and a step of torch's Adam
(`tests/analysis/operators/test_restricted.py`). Cost: that of the operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from analysis.noise.control import control_directions
from gcsam.centralize import centralize, remove_component

SECOND_MOMENTS = ("exp_avg_sq", "square_avg")  # Adam and its kin; RMSprop


class _Seen:
    """What both have in common.

    Args:
        operator: An `Objective`, or an operator made of one.
    """

    def __init__(self, operator: Any) -> None:
        self.operator = operator
        self.objective = getattr(operator, "objective", operator)

    @property
    def num_parameters(self) -> int:
        """D."""
        return int(self.operator.num_parameters)

    @property
    def device(self) -> torch.device:
        """Where vectors live."""
        device: torch.device = self.operator.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of vectors."""
        dtype: torch.dtype = self.operator.dtype
        return dtype

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the measured parameters, in the order of the flat vector."""
        return tuple(self.objective.names)

    @property
    def method(self) -> str:
        """How products of the operator inside are made, and what is done to it."""
        return f"{type(self).__name__.lower()} {getattr(self.operator, 'method', 'given')}"

    @property
    def product_error(self) -> float:
        """Estimated norm of the error of a product with a unit vector, as of the operator inside."""
        return float(getattr(self.operator, "product_error", 0.0))


class Centralized(_Seen):
    """P H P: curvature where centralized gradients can go. Directions that P removes have eigenvalue 0.

    Args:
        operator: An `Objective`, for the Hessian, or an operator made of one. The axes of P are the objective's.

    Example:
        >>> from analysis import Centralized, Objective, hessian_eigenvalues
        >>> model = torch.nn.Linear(3, 1, bias=False)  # one element per output would be left alone; three are not
        >>> x, y = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
        >>> operator = Centralized(Objective(model, torch.nn.MSELoss(), (x, y)))
        >>> operator.hvp(torch.ones(3))  # a constant row is what P removes
        tensor([0., 0., 0.])
    """

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D].
        """
        return self.project(self.operator.hvp(self.project(vector)))

    def project(self, vector: Tensor) -> Tensor:
        """Return P v, [D].

        Args:
            vector: [D].
        """
        layout, dims = self.objective.layout, self.objective.centralize_dims
        pieces = layout.split(layout.checked(vector, "vector"))
        return torch.cat([centralize(piece, dims[name]).reshape(-1) for name, piece in pieces.items()])


class RandomlyProjected(_Seen):
    """C H C: C removes a random direction from each row of a weight that P acts on, and so as many dimensions as P.

    Args:
        operator: As for `Centralized`.
        seed: Of the directions: those of `gradient_noise`.
    """

    def __init__(self, operator: Any, seed: int = 0) -> None:
        super().__init__(operator)
        layout, dims = self.objective.layout, self.objective.centralize_dims
        drawn = control_directions(dict(zip(layout.names, layout.shapes, strict=True)), dims, seed)
        self._directions = {name: direction.to(self.device, self.dtype) for name, direction in drawn.items()}

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D].
        """
        return self.project(self.operator.hvp(self.project(vector)))

    def project(self, vector: Tensor) -> Tensor:
        """Return C v, [D].

        Args:
            vector: [D].
        """
        layout, dims = self.objective.layout, self.objective.centralize_dims
        pieces = layout.split(layout.checked(vector, "vector"))
        kept = [
            remove_component(piece, self._directions[name], dims[name]) if name in self._directions else piece
            for name, piece in pieces.items()
        ]
        return torch.cat([piece.reshape(-1) for piece in kept])


class Preconditioned(_Seen):
    """M^(-1/2) H M^(-1/2) for a diagonal M.

    Args:
        operator: An `Objective`, for the Hessian, or an operator made of one.
        diagonal: M, [D], finite and > 0.

    Raises:
        ValueError: Another shape, or an entry that is not positive.
    """

    def __init__(self, operator: Any, diagonal: Tensor) -> None:
        super().__init__(operator)
        diagonal = self.objective.layout.checked(diagonal, "diagonal")
        if not bool((diagonal.isfinite() & (diagonal > 0)).all()):
            raise ValueError(
                "diagonal must be finite and > 0 in every entry, got one that is not; add the optimizer's eps"
            )
        self._scale = diagonal.rsqrt()

    def hvp(self, vector: Tensor) -> Tensor:
        """Return the product with a vector, [D].

        Args:
            vector: [D].
        """
        vector = self.objective.layout.checked(vector, "vector")
        product: Tensor = self._scale * self.operator.hvp(self._scale * vector)
        return product

    @property
    def product_error(self) -> float:
        """As of the operator inside, in the other metric."""
        return super().product_error * float(self._scale.max()) ** 2

    @classmethod
    def from_optimizer(cls, operator: Any, optimizer: Any) -> Preconditioned:
        """Take M from an optimizer's second moments: the metric in which its next step is plain descent.

        M = (1 - beta1^t) (sqrt(v / (1 - beta2^t)) + eps) for Adam and AdamW (Cohen et al. 2022, eq. 3);
        sqrt(v) + eps for RMSprop.

        Args:
            operator: As for the class.
            optimizer: That has trained the objective's model, for at least one step; one that wraps another, such as
                `GCSAM`, is looked into.

        Returns:
            The operator.

        Raises:
            ValueError: The optimizer has no second moment for one of the measured parameters.
        """
        objective = getattr(operator, "objective", operator)
        optimizer = getattr(optimizer, "base_optimizer", optimizer)
        groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
        parameters = dict(objective.model.named_parameters())
        found = {}
        for name in objective.names:
            state = optimizer.state.get(parameters[name], {})
            moment = next((state[key] for key in SECOND_MOMENTS if key in state), None)
            if moment is None:
                raise ValueError(
                    f"{type(optimizer).__name__} has no second moment ({' or '.join(SECOND_MOMENTS)}) for {name!r}; "
                    "give the Adam or RMSprop that trained this model, after a step, or the diagonal itself"
                )
            found[name] = _metric(moment, float(state["step"]), groups[parameters[name]])
        return cls(operator, objective.layout.join(found))


def _metric(moment: Tensor, step: float, group: dict[str, Any]) -> Tensor:
    epsilon = float(group["eps"])
    if "betas" not in group:
        return moment.sqrt() + epsilon
    beta1, beta2 = (float(beta) for beta in group["betas"])
    root = (moment / (1 - beta2**step)).sqrt()
    metric: Tensor = (root + epsilon) * (1 - beta1**step)
    return metric
