"""(model, loss, data, parameters) -> loss, gradient and Hessian-vector product at any point w.

Everything `analysis` measures goes through this contract; past it, weights are one flat vector [D].

Proved right by: closed forms of linear regression, a dense float64 Hessian, central differences; equality however the
data are cut; and a "left as found" test over every public call (`tests/analysis/test_objective.py`).
Cost: `loss` one forward pass over the data, `gradient` one gradient, `hvp` about two gradients where the graphs of the
batches fit into memory, else about three and a half (CPU; `benchmarks/curvature.py --only product`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from analysis.batch_loss import BatchLoss
from analysis.batches import NotRepeatable
from analysis.checks import positive
from analysis.difference import CentralDifference
from analysis.evaluation import At, Evaluation
from analysis.gradient_tape import record_gradient
from analysis.parameters import Selection
from analysis.self_check import SelfCheck, self_check
from analysis.tapes import Tapes

__all__ = ["NotRepeatable", "Objective"]

METHODS = ("auto", "double_backward", "finite_difference")


class Objective(Evaluation):
    """The mean loss of a model over a data set, as a function of chosen weights.

    The mean is over samples (over valid targets for cross-entropy, or over whatever `batch_loss` counts), so it does
    not depend on how the data are cut into batches. Measuring happens in eval mode; flags, random states, weights,
    buffers and gradients of the model are as found afterwards.

    Args:
        model: The network. Inputs that are mappings are passed as keywords, tuples and lists as positions.
        loss_fn: Called as `loss_fn(output, target)`; mean or sum over its batch.
        data: Batches `(input, target)`: a `DataLoader`, a list, or one batch. Read once per pass.
        parameters: None for all that require a gradient; names, glob patterns, compiled regular expressions; or a
            predicate (name, parameter).
        batch_loss: Instead of `loss_fn`, for any batch: `batch_loss(model, batch) -> (loss_sum, count)`.
        reduction: "mean" or "sum", for a `loss_fn` that has no `.reduction`; None reads it, else means "mean".
        device: Where to compute; None is where the model is. The model itself is not moved.
        dtype: To compute in, torch.float32 or torch.float64; None is the model's own, and float32 where its weights
            are in half precision.
        batchnorm: "eval" takes the model's running statistics; "recalibrate" those of the data, anew for every set of
            weights. Derivatives take either as constants.
        memory_budget: Bytes for the graphs kept between products; None is half of what is free at the first product,
            our choice; 0 keeps none. Kept until the weights change, `release()`, or the objective is gone.
        hvp_method: "auto" differentiates twice, and takes central differences of the gradient where an operation cannot
            be; "double_backward" raises there; "finite_difference" never tries.

    Raises:
        ValueError: Missing or one-shot data, both or neither of `loss_fn` and `batch_loss`, no parameters, parameters
            on two devices, or batch norm without running statistics (its loss is not a mean over samples).

    Example:
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> x, y = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
        >>> objective = Objective(model, torch.nn.MSELoss(), [(x[:2], y[:2]), (x[2:], y[2:])])  # uneven batches
        >>> objective.hvp(torch.ones(3))  # H = (2/N) X^T X
        tensor([6.0000, 2.6667, 0.6667])

    References:
        Pearlmutter, Fast exact multiplication by the Hessian (1994).
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[..., Tensor] | None = None,
        data: Any = None,
        parameters: Selection = None,
        *,
        batch_loss: BatchLoss | None = None,
        reduction: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        batchnorm: str = "eval",
        memory_budget: int | None = None,
        hvp_method: str = "auto",
    ) -> None:
        super().__init__(
            model,
            loss_fn,
            data,
            parameters,
            batch_loss=batch_loss,
            reduction=reduction,
            device=device,
            dtype=dtype,
            batchnorm=batchnorm,
        )
        if hvp_method not in METHODS:
            raise ValueError(f"hvp_method must be one of {', '.join(METHODS)}, got {hvp_method!r}")
        self.memory_budget = memory_budget
        self._asked_method = hvp_method
        self._tapes = Tapes(record_gradient, memory_budget)
        self._difference: CentralDifference | None = None
        self._is_by_difference = hvp_method == "finite_difference"

    @property
    def method(self) -> str:
        """How products are made: "double_backward", or "finite_difference" once that had to be taken."""
        return "finite_difference" if self._is_by_difference else "double_backward"

    @property
    def product_error(self) -> float:
        """Estimated norm of the error of a product with a unit vector, beyond rounding: 0 with double backward."""
        return 0.0 if self._difference is None else self._difference.error

    def loss(self, at: At = None) -> float:
        """Return the mean loss; NaN and inf are returned as found. Cost: one forward pass over the data.

        Args:
            at: Weights [D]; a checkpoint (`state_dict`), with its buffers; None for the model's present ones.
        """
        count: Tensor | float = 0.0
        with self.measuring(with_grad=False):
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            state = self.state(at)
            for batch in self.batches():
                loss_sum, batch_count = self.evaluate(state, batch)
                total += loss_sum.double()
                count = count + batch_count
        return float(total) / positive(count)

    def gradient(self, at: Tensor | None = None) -> Tensor:
        """Return the gradient of the mean loss, [D]. Cost: one forward and one backward pass over the data.

        Args:
            at: Weights [D]; None for the model's present ones.
        """
        count: Tensor | float = 0.0
        with self.measuring(with_grad=True):
            total = torch.zeros(self.num_parameters, dtype=self.dtype, device=self.device)
            parts = list(self.layout.split(total).values())
            state = self.state(at)
            leaves = [state[name].detach().requires_grad_() for name in self.names]
            state.update(zip(self.names, leaves, strict=True))
            has_gradient = False
            for batch in self.batches():
                loss_sum, batch_count = self.evaluate(state, batch)
                count = count + batch_count
                has_gradient = has_gradient or loss_sum.requires_grad
                if loss_sum.requires_grad:  # else a batch that touches none of the measured weights
                    pieces = torch.autograd.grad(loss_sum, leaves, allow_unused=True)
                    for part, piece in zip(parts, pieces, strict=True):
                        if piece is not None:
                            part += piece
            if not has_gradient:
                self.refuse_detached(state)
        return total / positive(count)

    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        """Return the Hessian of the mean loss times a vector, [D]. Cost: see the top of this file.

        Attention runs on the math kernel inside: the fused ones have no double backward.

        Args:
            vector: [D].
            at: Weights [D]; None for the model's present ones.

        Raises:
            ValueError: A vector of another shape, or a loss at the present weights that is not finite.
        """
        vector = self.layout.checked(vector, "vector")
        if not self._is_by_difference:
            pieces = list(self.layout.split(vector).values())
            try:
                return self._tapes.total(self, at, lambda tape, leaves, keep: tape.product(leaves, pieces, keep=keep))
            except RuntimeError as error:
                if self._asked_method != "auto" or not _lacks_double_backward(error):
                    raise
                self._is_by_difference = True
                self.release()
        return self._by_difference(vector, at)

    def block_diagonal_hvp(self, vector: Tensor, blocks: Sequence[Sequence[str]], at: Tensor | None = None) -> Tensor:
        """Return the product with the Hessian's diagonal blocks alone, [D]: H_bb v_b in the place of each block b.

        Args:
            vector: [D].
            blocks: Names of the parameters of each block, no name twice; what is in none gets zeros.
            at: Weights [D]; None for the model's present ones.

        Returns:
            The product. Cost: one pass over the data, in it for each block at most one product.

        Raises:
            ValueError: A vector of another shape, an unknown name, or an operation without double backward.
        """
        places = {name: i for i, name in enumerate(self.names)}
        unknown = [name for block in blocks for name in block if name not in places]
        if unknown:
            raise ValueError(f"blocks must hold names of measured parameters, got {unknown[0]!r}; see objective.names")
        if self._is_by_difference:
            raise ValueError("the blocks of a Hessian need hvp_method='double_backward', got products by differences")
        indices = [[places[name] for name in block] for block in blocks]
        pieces = list(self.layout.split(self.layout.checked(vector, "vector")).values())
        return self._tapes.total(
            self, at, lambda tape, leaves, keep: tape.block_products(leaves, pieces, indices, keep=keep)
        )

    def self_check(self, *, seed: int = 0) -> SelfCheck:
        """Check that products are what they should be. Cost: 3 products and 19 gradients.

        Args:
            seed: Of the random directions.

        Returns:
            Differences to a product by finite differences, to its transpose and to itself, and whether the model is
            unchanged; `.passed` and `.report` sum up.
        """
        return self_check(self, seed=seed)

    def release(self) -> None:
        """Free the graphs kept for Hessian products; the next product records them anew."""
        self._tapes.release()
        self._difference = None

    @property
    def kept_bytes(self) -> int:
        """Bytes of the graphs kept now."""
        return self._tapes.kept_bytes

    def _twin(self) -> Objective:
        other = super()._twin()
        other._tapes, other._difference = self._tapes.fresh(), None
        return other

    def _by_difference(self, vector: Tensor, at: Tensor | None) -> Tensor:
        weights = self.weights() if at is None else self.layout.checked(at, "at")
        if self._difference is None or not torch.equal(self._difference.weights, weights):
            twin = self.on(self.data)  # shares everything but what is kept: no reference to this object
            self._difference = CentralDifference(twin.gradient, weights.clone())
        return self._difference.product(vector)


def _lacks_double_backward(error: RuntimeError) -> bool:
    text = str(error)
    unknown = "derivative for" in text and "is not implemented" in text
    return unknown or "differentiate twice" in text or "double backward" in text
