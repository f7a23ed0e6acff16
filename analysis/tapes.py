"""Autograd graphs of the batches, kept from product to product as long as they fit into a memory budget.

A Hessian product differentiates the gradient, whose graph is the same for every vector: kept, a product costs about two
gradients, else about three and a half. Batches whose graph does not fit are recorded anew for each product; a batch
whose graph alone is too large is cut into micro-batches.

Proved right by: the same products, to rounding, with everything kept, some of it, nothing, and cut; and by recordings
counted (`tests/analysis/test_tapes.py`). Cost: one recording per batch and point; two of one and two samples before,
to learn how much a sample takes; one copy of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.batches import tensors_of
from analysis.checks import positive
from analysis.cutting import batch_length, cut
from analysis.evaluation import Evaluation
from analysis.graph import check_differentiable, graph_bytes
from analysis.memory import FRACTION, free_memory
from analysis.twice import FastDoubleBackward, ThirdDerivative


class Tape(Protocol):
    """What was recorded of one batch."""

    @property
    def roots(self) -> Sequence[Tensor]:
        """Tensors that hold its graph."""


T = TypeVar("T", bound=Tape)
Record = Callable[[Evaluation, "dict[str, Tensor]", "list[Tensor]", Any], "tuple[T, Tensor | int]"]
Use = Callable[[T, "list[Tensor]", bool], "Sequence[Tensor | None]"]


@dataclass
class _Entry(Generic[T]):
    """One batch or micro-batch: its tape where that is kept, and the batch to record it from where it is not."""

    batch: Any
    tape: T | None
    count: Tensor | int
    bytes: int


@dataclass
class _Point(Generic[T]):
    """Everything that belongs to one set of weights."""

    found: dict[str, Tensor]
    state: dict[str, Tensor]
    leaves: list[Tensor]
    is_present: bool
    entries: list[_Entry[T]] = field(default_factory=list)
    is_complete: bool = False


class Tapes(Generic[T]):
    """Record each batch once, use the recordings many times.

    Args:
        record: From (evaluation, state, leaves, batch) to (tape, count); the leaves are in the state.
        budget: Bytes that kept graphs, and the one at work, may take; None is half of what is free at the first use; 0
            keeps nothing and cuts nothing.

    Attributes:
        num_records: How many graphs were recorded so far, probes of one and two samples left out.
        num_cuts: How many micro-batches the batches of one pass were cut into, beyond the batches themselves.
    """

    def __init__(self, record: Record[T], budget: int | None) -> None:
        if budget is not None and not (isinstance(budget, int) and not isinstance(budget, bool) and budget >= 0):
            raise ValueError(
                f"memory_budget must be a whole number of bytes >= 0, or None for half of what is free, got {budget!r}"
            )
        self._record, self._given = record, budget
        self._budget = budget
        self._point: _Point[T] | None = None
        self._per_sample: tuple[float, float] | None = None
        self._is_streaming, self._may_cut = budget == 0, budget != 0
        self._twice: Callable[[], AbstractContextManager[Any]] = FastDoubleBackward
        self.num_records = self.num_cuts = 0

    @property
    def kept_bytes(self) -> int:
        """What the kept graphs take now."""
        return 0 if self._point is None else sum(e.bytes for e in self._point.entries if e.tape is not None)

    def fresh(self) -> Tapes[T]:
        """Return the same with nothing kept, for other data."""
        return Tapes(self._record, self._given)

    def release(self) -> None:
        """Give the memory back; the next use records anew."""
        self._point = None

    def total(self, evaluation: Evaluation, at: Tensor | None, use: Use[T]) -> Tensor:
        """Return the mean over the data of what `use` makes of each tape, [D].

        Args:
            evaluation: Of what; always the same one.
            at: Weights [D]; None for the model's present ones.
            use: From (tape, leaves, keep) to one tensor per measured parameter or None for zeros; with keep=False the
                tape is not used again, so that its memory can be freed on the way.

        Raises:
            ValueError: The loss of a batch is not finite at the present weights, or does not depend on the measured
                weights in any batch.
        """
        try:
            return self._total(evaluation, at, use)
        except ThirdDerivative:  # of a loss that takes one by its input
            self._twice = nullcontext
            self.release()
            return self._total(evaluation, at, use)

    def _total(self, evaluation: Evaluation, at: Tensor | None, use: Use[T]) -> Tensor:
        count: Tensor | float = 0.0
        with evaluation.measuring(with_grad=True), sdpa_kernel(SDPBackend.MATH), self._twice():
            point = self._point_at(evaluation, at)
            total = torch.zeros(evaluation.num_parameters, dtype=evaluation.dtype, device=evaluation.device)
            parts = list(evaluation.layout.split(total).values())
            has_graph = False
            for tape, batch_count, keep in self._each(evaluation, point):
                count = count + batch_count
                has_graph = has_graph or len(tape.roots) > 0
                for part, piece in zip(parts, use(tape, point.leaves, keep), strict=True):
                    if piece is not None:
                        part += piece.detach()
            if not has_graph:
                evaluation.refuse_detached(point.state)
        return total / positive(count)

    def _point_at(self, evaluation: Evaluation, at: Tensor | None) -> _Point[T]:
        found = evaluation.tensors(at)
        point = self._point
        if point is not None and all(torch.equal(point.found[name], tensor) for name, tensor in found.items()):
            return point
        self._point = point = None  # first free what was kept
        found = {name: tensor.clone() for name, tensor in found.items()}  # the model may be trained on in between
        state = evaluation.state_from(found)
        leaves = [state[name].detach().requires_grad_() for name in evaluation.names]
        state.update(zip(evaluation.names, leaves, strict=True))
        self._point = _Point(found, state, leaves, is_present=at is None)
        return self._point

    def _each(self, evaluation: Evaluation, point: _Point[T]) -> Iterator[tuple[T, Tensor | int, bool]]:
        if point.is_complete and not self._is_streaming:
            for entry in point.entries:
                if entry.tape is not None:
                    yield entry.tape, entry.count, True
                else:
                    yield *self._recorded(evaluation, point, entry.batch), False
            return
        point.entries.clear()
        if self._budget is None:
            self._budget = int(FRACTION * free_memory(evaluation.device))
        self.num_cuts = 0
        for number, batch in enumerate(evaluation.batches()):
            for piece in self._pieces(evaluation, point, batch):
                if not self._is_streaming:
                    self._make_room(point, piece)
                tape, count = self._recorded(evaluation, point, piece, number)
                keep = not self._is_streaming and self._keep(point, piece, tape, count)
                yield tape, count, keep
                del tape
        point.is_complete = True

    def _recorded(
        self, evaluation: Evaluation, point: _Point[T], batch: Any, number: int | None = None
    ) -> tuple[T, Tensor | int]:
        self.num_records += 1
        tape, count = self._record(evaluation, point.state, point.leaves, batch)
        check_differentiable(tape.roots)
        loss = getattr(tape, "loss", None)
        if number is not None and point.is_present and loss is not None and not math.isfinite(loss):
            raise ValueError(
                f"the loss of batch {number} (counted from 0) is {loss} at the present weights, so it has no "
                "derivatives; look at that batch and at the weights"
            )
        return tape, count

    def _pieces(self, evaluation: Evaluation, point: _Point[T], batch: Any) -> Iterator[Any]:
        assert self._budget is not None
        try:
            length = batch_length(batch, "a micro-batch") if self._may_cut else 1
        except ValueError:
            length = 1  # what cannot be cut is taken whole
        if length > 2:
            fixed, slope = self._bytes_per_sample(evaluation, point, batch)
            pieces = -(-length // max(1, int((self._budget - fixed) / max(slope, 1.0))))
            if pieces > 1 and self._is_additive(evaluation, point, batch, length):
                self.num_cuts += pieces - 1
                bounds = [length * i // pieces for i in range(pieces + 1)]
                yield from (cut(batch, start, stop) for start, stop in pairwise(bounds))
                return
        yield batch

    def _bytes_per_sample(self, evaluation: Evaluation, point: _Point[T], batch: Any) -> tuple[float, float]:
        if self._per_sample is None:
            one, two = (
                graph_bytes(
                    self._record(evaluation, point.state, point.leaves, cut(batch, 0, n))[0].roots,
                    without=[*point.state.values(), *tensors_of(batch)],
                )
                for n in (1, 2)
            )
            self._per_sample = (max(0.0, 2.0 * one - two), float(max(two - one, 0)))
        return self._per_sample

    def _is_additive(self, evaluation: Evaluation, point: _Point[T], batch: Any, length: int) -> bool:
        """Whether the loss is a sum over samples; one that compares samples of a batch cannot be cut."""
        half = length // 2
        with torch.no_grad():
            whole, *parts = (
                evaluation.evaluate(point.state, piece)
                for piece in (batch, cut(batch, 0, half), cut(batch, half, length))
            )
        allowed = 1e-3 * sum(abs(float(loss)) for loss, _ in parts)  # rounding is orders of magnitude below
        same_loss = abs(float(whole[0]) - sum(float(loss) for loss, _ in parts)) <= allowed
        self._may_cut = same_loss and float(whole[1]) == sum(float(count) for _, count in parts)
        return self._may_cut

    def _make_room(self, point: _Point[T], batch: Any) -> None:
        """Drop the latest tapes if the next one, as large as is expected, would not fit beside them."""
        assert self._budget is not None
        expected = max((entry.bytes for entry in point.entries), default=0)
        if self._per_sample is not None:
            expected = int(self._per_sample[0] + self._per_sample[1] * max(map(_length, tensors_of(batch)), default=1))
        for entry in reversed(point.entries):
            if self.kept_bytes + expected <= self._budget:
                break
            entry.tape = None

    def _keep(self, point: _Point[T], batch: Any, tape: T, count: Tensor | int) -> bool:
        assert self._budget is not None
        size = graph_bytes(tape.roots, without=[*point.state.values(), *tensors_of(batch)])
        room = self._budget - self.kept_bytes
        was_dropped = any(entry.tape is None for entry in point.entries)
        keep = size <= room and not was_dropped
        point.entries.append(_Entry(batch, tape if keep else None, count, size))
        data = sum(tensor.nbytes for entry in point.entries for tensor in tensors_of(entry.batch))
        if not keep and data > self._budget - self.kept_bytes:  # not even the batches fit: read the data each time
            self._is_streaming = True
            point.entries.clear()
        return keep


def _length(tensor: Tensor) -> int:
    return len(tensor) if tensor.ndim else 1
