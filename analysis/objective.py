"""(model, loss, data, parameters) -> loss, gradient and Hessian-vector product at any point w.

Everything `analysis` measures goes through this contract; past it, weights are one flat vector [D]. The model is
evaluated on copies (`torch.func.functional_call`), so its weights, buffers and `.grad` are never written.

Proved right by: closed forms of linear regression, a dense float64 Hessian, central differences; equality however the
data are cut; and a "left as found" test over every public call (`tests/analysis/test_objective.py`).
Cost: `loss` one forward pass over the data, `gradient` one gradient, `hvp` about 2.8 to 3.1 gradients (CPU).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.batch_loss import BatchLoss, ModelAt, from_loss_fn, refuse_batch_statistics
from analysis.batches import Fingerprint, NotRepeatable, as_batches, check_same, moved
from analysis.guard import left_as_found
from analysis.losses import summed
from analysis.parameters import Selection, layout_of, select
from gcsam.centralize import module_dims, row_dims

__all__ = ["NotRepeatable", "Objective"]


class Objective:
    """The mean loss of a model over a data set, as a function of chosen weights.

    The mean is over samples (over valid targets for cross-entropy, or over whatever `batch_loss` counts), so it does
    not depend on how the data are cut into batches. Measuring happens in eval mode; flags, random states, weights,
    buffers and gradients of the model are as found afterwards.

    Args:
        model: The network. Inputs that are mappings are passed as keywords, tuples and lists as positions.
        loss_fn: Called as `loss_fn(output, target)`; mean or sum over its batch.
        data: Batches `(input, target)`: a `DataLoader`, a list, or one batch. Read once per pass.
        parameters: None for all that require a gradient, names or glob patterns, or a predicate (name, parameter).
        batch_loss: Instead of `loss_fn`, for any batch: `batch_loss(model, batch) -> (loss_sum, count)`.
        reduction: "mean" or "sum", for a `loss_fn` that has no `.reduction`; None reads it, else means "mean".
        device: Where to compute; None is where the model is. The model itself is not moved.
        dtype: Floating-point type to compute in, for example torch.float64; None is the model's own.

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
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if (loss_fn is None) == (batch_loss is None):
            raise ValueError("give either loss_fn(output, target) or batch_loss(model, batch), exactly one of them")
        if data is None:
            raise ValueError("data must be batches (input, target), got None; give a DataLoader, a list or one batch")
        refuse_batch_statistics(model)
        self.model = model
        self.data = as_batches(data)
        self.batch_loss = batch_loss if batch_loss is not None else from_loss_fn(summed(loss_fn, reduction))  # type: ignore[arg-type]
        self._dtype = dtype
        self.layout = layout_of(model, select(model, parameters), device, dtype)
        chosen = set(self.names)
        self.centralize_dims = {name: dims for name, dims in module_dims(model).items() if name in chosen}
        self.row_dims = {name: dims for name, dims in row_dims(model).items() if name in chosen}
        self._fingerprint: tuple[float, float] | None = None
        self._is_checked = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the measured parameters, in the order of the flat vector."""
        return self.layout.names

    @property
    def num_parameters(self) -> int:
        """D, the number of measured weights."""
        return self.layout.num_parameters

    @property
    def device(self) -> torch.device:
        """Where vectors live and the model is evaluated."""
        return self.layout.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the flat vectors."""
        return self.layout.dtype

    @property
    def data_fingerprint(self) -> str:
        """Sum and sum of squares of all numbers in the data, in hexadecimal; empty before the first pass."""
        return "" if self._fingerprint is None else "/".join(value.hex() for value in self._fingerprint)

    def weights(self) -> Tensor:
        """Return a copy of the model's present weights, [D]."""
        return self.layout.join(dict(self.model.named_parameters()))

    def loss(self, at: Tensor | None = None) -> float:
        """Return the mean loss; NaN and inf are returned as found. Cost: one forward pass over the data.

        Args:
            at: Weights [D]; None for the model's present ones.
        """
        count: Tensor | float = 0.0
        with self.measuring(with_grad=False):
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            state = self.state(at)
            for batch in self.batches():
                loss_sum, batch_count = self.evaluate(state, batch)
                total += loss_sum.double()
                count = count + batch_count
        return float(total) / _positive(count)

    def gradient(self, at: Tensor | None = None) -> Tensor:
        """Return the gradient of the mean loss, [D]. Cost: one forward and one backward pass over the data.

        Args:
            at: Weights [D]; None for the model's present ones.
        """
        return self._accumulate(at, lambda loss_sum, leaves: _gradients(loss_sum, leaves, create_graph=False))

    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        """Return the Hessian of the mean loss times a vector, [D]. Cost: about 2.8 to 3.1 gradients.

        Attention runs on the math kernel inside: the fused ones have no double backward.

        Args:
            vector: [D].
            at: Weights [D]; None for the model's present ones.
        """
        pieces = list(self.layout.split(self.layout.checked(vector, "vector")).values())

        def product(loss_sum: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
            gradients = _gradients(loss_sum, leaves, create_graph=True)
            pairs = [(g, v) for g, v in zip(gradients, pieces, strict=True) if g is not None and g.requires_grad]
            if not pairs:  # the loss is linear in these weights
                return [None] * len(leaves)
            outputs, directions = zip(*((g, v.to(g.dtype)) for g, v in pairs), strict=True)
            return list(torch.autograd.grad(outputs, leaves, directions, allow_unused=True))

        with sdpa_kernel(SDPBackend.MATH):
            return self._accumulate(at, product)

    def on(self, data: Any) -> Objective:
        """Return the same objective over other data, for example one batch.

        Args:
            data: As for the constructor.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.data, other._fingerprint, other._is_checked = as_batches(data), None, False
        return other

    @contextmanager
    def measuring(self, *, with_grad: bool) -> Iterator[None]:
        """Hold the model in eval mode and leave everything as found; check once that its loss repeats.

        Args:
            with_grad: Whether autograd records inside.

        Yields:
            Nothing.

        Raises:
            NotRepeatable: The first batch gave two different losses.
        """
        with left_as_found(self.model, self.data, self.device, with_grad=with_grad):
            if not self._is_checked:
                self._check_repeatable()
                self._is_checked = True
            yield

    def batches(self) -> Iterator[Any]:
        """Go through the data once, on this objective's device; refuse data that changed since the first pass.

        Yields:
            Each batch.
        """
        seen = Fingerprint()
        is_empty = True
        for batch in self.data:
            is_empty = False
            on_device = moved(batch, self.device, self._dtype)
            seen.add(on_device)
            yield on_device
        if is_empty:
            raise ValueError("data must hold at least one batch, got none; check the data set and drop_last")
        if self._fingerprint is None:
            self._fingerprint = seen.value()
        check_same(self._fingerprint, seen.value())

    def state(self, at: Tensor | None = None) -> dict[str, Tensor]:
        """Return what the model is evaluated on: every parameter and a copy of every buffer, by name.

        Args:
            at: Weights [D] of the measured parameters; None for the model's present ones.

        Returns:
            Detached tensors. Parameters share memory with `at` or the model; they are not to be written.
        """
        state = {name: _cast(tensor, self.device, self._dtype) for name, tensor in self.model.named_parameters()}
        if at is not None:
            for name, piece in self.layout.split(self.layout.checked(at, "at")).items():
                state[name] = piece.to(state[name].dtype)
        state.update(
            (name, _cast(tensor, self.device, self._dtype).clone()) for name, tensor in self.model.named_buffers()
        )
        return state

    def evaluate(self, state: Mapping[str, Tensor], batch: Any) -> tuple[Tensor, Tensor | int]:
        """Return (loss_sum, count) of one batch on given tensors, differentiable by them; call it inside `measuring`.

        Args:
            state: As returned by `state()`, any tensor replaced.
            batch: One of `batches()`.
        """
        return self.batch_loss(ModelAt(self.model, state), batch)

    def _accumulate(
        self, at: Tensor | None, differentiate: Callable[[Tensor, list[Tensor]], list[Tensor | None]]
    ) -> Tensor:
        count: Tensor | float = 0.0
        with self.measuring(with_grad=True):
            total = torch.zeros(self.num_parameters, dtype=self.dtype, device=self.device)
            parts = self.layout.split(total)
            state = self.state(at)
            leaves = [state[name].detach().requires_grad_() for name in self.names]
            state.update(zip(self.names, leaves, strict=True))
            for batch in self.batches():
                loss_sum, batch_count = self.evaluate(state, batch)
                count = count + batch_count
                for part, piece in zip(parts.values(), differentiate(loss_sum, leaves), strict=True):
                    if piece is not None:
                        part += piece.detach()
        return total / _positive(count)

    def _check_repeatable(self) -> None:
        batch = moved(next(iter(self.data), None), self.device, self._dtype)
        if batch is None:
            return  # batches() says what is wrong with empty data
        with torch.no_grad():
            first, second = (float(self.evaluate(self.state(), batch)[0]) for _ in range(2))
        # fused kernels may add in another order on a GPU; randomness is orders of magnitude above that
        if abs(first - second) > 1e-4 * abs(first):
            raise NotRepeatable(
                f"two passes over the same batch gave loss sums {first:.6g} and {second:.6g}, in eval mode. The model "
                "draws random numbers outside nn.Dropout (functional dropout with training=True, sampled noise): "
                "switch that off"
            )


def _gradients(loss_sum: Tensor, leaves: list[Tensor], *, create_graph: bool) -> list[Tensor | None]:
    if not loss_sum.requires_grad:
        return [None] * len(leaves)  # a batch that touches none of the measured weights
    return list(torch.autograd.grad(loss_sum, leaves, create_graph=create_graph, allow_unused=True))


def _cast(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return tensor.detach().to(device, dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype)


def _positive(count: Tensor | float) -> float:
    value = float(count)
    if value <= 0:
        raise ValueError(
            f"the data must hold a sample that counts, got a total count of {value:g}; is every target ignored?"
        )
    return value
