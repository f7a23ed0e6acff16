"""(model, loss, data, parameters): the loss of a batch at any weights, and what holds while anything is measured.

The model is evaluated on other tensors (`analysis.slots`), so its weights, buffers and `.grad` are never written.
`analysis.objective` makes sums over the data and derivatives out of this; measurements that need single batches use it
directly. Proved right by the tests of the objective (`tests/analysis/test_objective.py`). Cost: that of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from analysis.batch_loss import BatchLoss, on_tensors, refuse_batch_statistics
from analysis.batches import Fingerprint, NotRepeatable, as_batches, check_same, moved
from analysis.batchnorm import BATCHNORM, recalibrate
from analysis.checks import check_dtype
from analysis.given_loss import GivenLoss, given_loss
from analysis.guard import left_as_found
from analysis.losses import LossSum
from analysis.parameters import Selection, check_fits, layout_of, select
from gcsam.centralize import module_dims, row_dims

HALF = (torch.bfloat16, torch.float16)
EMPTY = "data must hold at least one batch, got none; check the data set and drop_last"
READ_ONCE = (
    "data must be readable more than once, got batches at first and none at a later pass; give list(loader), or make a "
    "new iterator at every __iter__"
)
# Weights [D], a checkpoint's tensors by name, or None for the model's present ones.
At = Tensor | Mapping[str, Tensor] | None
Own = TypeVar("Own", bound="Evaluation")


class Evaluation:
    """A model, its loss and data, evaluated batch by batch. Arguments: see `analysis.objective.Objective`."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[..., Tensor] | None,
        data: Any,
        parameters: Selection,
        *,
        batch_loss: BatchLoss | None,
        reduction: str | None,
        device: str | torch.device | None,
        dtype: torch.dtype | None,
        batchnorm: str,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self._loss = given_loss(loss_fn, batch_loss, reduction)
        if data is None:
            raise ValueError("data must be batches (input, target), got None; give a DataLoader, a list or one batch")
        if batchnorm not in BATCHNORM:
            raise ValueError(f"batchnorm must be one of {', '.join(BATCHNORM)}, got {batchnorm!r}")
        refuse_batch_statistics(model)
        self.model = model
        self.data = as_batches(data)
        self.batchnorm = batchnorm
        check_dtype(dtype)
        self.layout = layout_of(model, select(model, parameters), device, dtype)
        is_half = any(parameter.dtype in HALF for parameter in model.parameters())
        self._dtype = self.layout.dtype if is_half else dtype
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
    def batch_loss(self) -> BatchLoss:
        """The loss, from (model, batch) to (loss_sum, count)."""
        return self._loss.of_batch

    @property
    def sample_losses(self) -> LossSum | None:
        """The losses of single samples, from (output, target); None where only batches have one."""
        return self._loss.of_samples

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

    def on(self: Own, data: Any) -> Own:
        """Return the same over other data, for example one batch.

        Args:
            data: As for the constructor.
        """
        other = self._twin()
        other.data, other._fingerprint = as_batches(data), None
        return other

    def with_loss(self: Own, loss_fn: Callable[..., Tensor], reduction: str | None = None) -> Own:
        """Return the same with another loss over the same data and weights, for example of normalized logits.

        Args:
            loss_fn: As for the constructor.
            reduction: As for the constructor.
        """
        return self._with(given_loss(loss_fn, None, reduction))

    def with_normalized_logits(self: Own) -> Own:
        """Return the same with the logits normalized before the loss, see `normalized_logits`.

        Raises:
            ValueError: The loss was given as `batch_loss`.
        """
        return self._with(self._loss.of_normalized_logits())

    def _with(self: Own, loss: GivenLoss) -> Own:
        other = self._twin()
        other._loss = loss
        return other

    def _twin(self: Own) -> Own:
        """Return a copy that has measured nothing yet."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._is_checked = False
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
        if is_empty:  # once checked, there was a batch before
            raise ValueError(READ_ONCE if self._is_checked else EMPTY)
        if self._fingerprint is None:
            self._fingerprint = seen.value()
        check_same(self._fingerprint, seen.value())

    def tensors(self, at: At = None) -> dict[str, Tensor]:
        """Return every parameter and buffer by name, on the device and in the dtype of this evaluation.

        Args:
            at: Weights [D] of the measured parameters; a checkpoint (`state_dict`), whose parameters and buffers take
                the place of the model's; None for the model's present ones.

        Returns:
            Detached tensors, which may share memory with `at` or the model; they are not to be written.

        Raises:
            ValueError: A vector of another length, or a checkpoint of another network.
        """
        own = dict([*self.model.named_parameters(), *self.model.named_buffers()])
        if isinstance(at, Mapping):
            check_fits(at, own, self.names)
            return {name: _cast(at.get(name, tensor), self.device, self._dtype) for name, tensor in own.items()}
        found = {name: _cast(tensor, self.device, self._dtype) for name, tensor in own.items()}
        if at is not None:
            for name, piece in self.layout.split(self.layout.checked(at, "at")).items():
                found[name] = piece.to(found[name].dtype)
        return found

    def flat(self, at: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return a copy of given weights as one vector [D].

        Args:
            at: As for `tensors`.

        Raises:
            ValueError: As `tensors`, or a weight that is not finite.
        """
        tensors = self.tensors(at)
        found = self.layout.join({name: tensors[name] for name in self.names})
        if not bool(found.isfinite().all()):
            raise ValueError("the weights given hold NaN or infinity; give those of an epoch before training diverged")
        return found

    def state(self, at: At = None) -> dict[str, Tensor]:
        """Return what the model is evaluated on; call it inside `measuring`.

        Args:
            at: As for `tensors`.

        Returns:
            As of `tensors`, but buffers are copies; with batchnorm="recalibrate" their statistics are those of the data
            at these weights, at the cost of one forward pass over the data.
        """
        return self.state_from(self.tensors(at))

    def state_from(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what `state` does, for given parameters and buffers.

        Args:
            tensors: As returned by `tensors`.
        """
        state = self._with_own_buffers(tensors)
        if self.batchnorm == "recalibrate":
            recalibrate(self.model, self.batches(), lambda batch: self.evaluate(state, batch))
        return state

    def evaluate(self, state: Mapping[str, Tensor], batch: Any) -> tuple[Tensor, Tensor | int]:
        """Return (loss_sum, count) of one batch on given tensors, differentiable by them; call it inside `measuring`.

        Args:
            state: As returned by `state()`, any tensor replaced.
            batch: One of `batches()`.
        """
        found: tuple[Tensor, Tensor | int] = on_tensors(self.model, state, self.batch_loss, batch)
        return found

    def refuse_detached(self, state: Mapping[str, Tensor]) -> None:
        """Refuse a loss without a gradient; call it where none of the measured weights had one.

        Args:
            state: As returned by `state()`.

        Raises:
            ValueError: The loss of the first batch depends on no parameter at all, so that it was cut off somewhere.
        """
        leaves = {name: state[name].detach().requires_grad_() for name, _ in self.model.named_parameters()}
        if not self.evaluate({**state, **leaves}, next(self.batches()))[0].requires_grad:
            raise ValueError(
                "the loss must depend on the model's parameters, got one without a gradient; look for .detach(), "
                ".item(), numpy or no_grad on the way from the model to the loss"
            )

    def _with_own_buffers(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**tensors, **{name: tensors[name].clone() for name, _ in self.model.named_buffers()}}

    def _check_repeatable(self) -> None:
        batch = moved(next(iter(self.data), None), self.device, self._dtype)
        if batch is None:
            raise ValueError(EMPTY)
        with torch.no_grad():
            first, second = (float(self.evaluate(self._with_own_buffers(self.tensors()), batch)[0]) for _ in range(2))
        # fused kernels may add in another order on a GPU; randomness is orders of magnitude above that
        if abs(first - second) > 1e-4 * abs(first):
            raise NotRepeatable(
                f"two passes over the same batch gave loss sums {first:.6g} and {second:.6g}, in eval mode. The model "
                "or the loss draws random numbers outside nn.Dropout (functional dropout with training=True, sampled "
                "noise): switch that off, or draw them once, in the data"
            )


def _cast(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return tensor.detach().to(device, dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype)
