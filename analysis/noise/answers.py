"""What is asked about every sample's gradient, piece after piece of the data, by forms first and by gradients else.

Where a layer has a form of its own (`analysis.noise.layer_forms`), its inputs and output gradients are enough, and the
gradients of samples need not exist. Weights of shape [1, ...], as class tokens and positions are, are given to the
model as a copy for each sample. The weights of other layers go through `torch.func.vmap`, or a loop where that
cannot batch the model. The samples of the first piece with the smallest and the largest gradient are also
differentiated by plain autograd; a layer whose form disagrees is measured the other way from then on.

Proved right by plain autograd, sample by sample on a float64 copy, for every kind of layer
(`tests/analysis/noise/test_sample_norms.py`). Cost: for weights with a form a forward and backward pass and what
`analysis.noise.factored` says; for the others a pass of vmap. Memory: that of one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.batches import tensors_of
from analysis.cutting import batch_length, cut, rebuilt
from analysis.noise.layer_forms import answer, has_form, last_gradient
from analysis.noise.per_sample import PerSampleGradients, check_additive, gradients_of
from analysis.noise.recording import Recorded, record
from analysis.noise.scalars import Target, deviations, of_gradients
from analysis.objective import Objective

# How far the norm of one weight's gradient may be from that of plain autograd: relative, and in parts of the largest
# norm of all weights in the piece, because a gradient near zero is a difference of rounded numbers. Generous, our
# choice: a sample taken for another, or a loss that mixes samples, is wrong by far more.
AGREEMENT = {torch.float32: (1e-2, 1e-5), torch.float64: (1e-6, 1e-11)}
SPREAD = "spread"  # the way of weights that the model got a copy of for each sample
# Numbers of input taken at once on a CPU: 64 images of CIFAR-10. Our choice: in pieces of a batch of 128 the norms of
# ResNet-20 took 0.83 of the time, because less of what a layer holds leaves the cache.
PIECE_INPUTS = 64 * 3 * 32 * 32


class Answers:
    """Iterate over the answers of every weight, in the order of the data; inside `measuring`.

    Args:
        objective: Whose per-sample gradients.
        state: As returned by `objective.state()`.
        targets: What is asked about each of its parameters.
        what: Needs it, for messages: "gradient noise".
        chunk: Samples taken at once, at most; pieces do not cross batches. None: equal pieces of at most
            `PIECE_INPUTS` on a CPU, else whole batches; of gradients of weights without a form as many as
            `PerSampleGradients` takes.

    Attributes:
        ways: Parameter name to how it was measured last: a way of `layer_forms.answer`, "vmap" or "loop".
        num_samples: Seen so far.
        loss_sum: Over the pieces seen so far.
        count: Over the pieces seen so far.
    """

    def __init__(
        self,
        objective: Objective,
        state: Mapping[str, Tensor],
        targets: Mapping[str, Target],
        what: str,
        chunk: int | None = None,
    ) -> None:
        self._objective, self._state, self._targets = objective, dict(state), dict(targets)
        self._what, self._chunk = what, chunk
        modules = {name: objective.model.get_submodule(name.rpartition(".")[0]) for name in targets}
        self._with_form = [
            name
            for name, module in modules.items()
            if has_form(module, name.rpartition(".")[2], self._targets[name].dims)
        ]
        self._spread = [
            name
            for name, target in self._targets.items()
            if name not in self._with_form and len(target.shape) > 1 and target.shape[0] == 1
        ]
        self.ways: dict[str, str] = {}
        self.num_samples = 0
        self.loss_sum, self.count, self._rounding = 0.0, 0.0, 1e-4

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield parameter name to [kind, (square, product, neighbor), C] in float64 for each piece of C samples."""
        for batch in self._objective.batches():
            length = batch_length(batch, self._what)
            step = self._chunk or _step(batch, length, self._objective.device)
            for start in range(0, length, step):
                yield self._piece(cut(batch, start, min(start + step, length)))

    def check_sums(self, loss_sum: float, count: float) -> None:
        """Refuse a loss that is not a sum over samples: its pieces would not add up to the whole.

        Args:
            loss_sum: Over whole batches.
            count: Over whole batches.

        Raises:
            ValueError: Those of the pieces differ by more than rounding.
        """
        check_additive((loss_sum, count), (self.loss_sum, self.count), self._rounding * abs(loss_sum))

    def _piece(self, piece: Any) -> dict[str, Tensor]:
        size = batch_length(piece, self._what)
        is_first = self.num_samples == 0
        recorded = self._recorded(piece, size)
        self._with_form = [name for name in self._with_form if name in recorded.calls]
        self._spread = [name for name in self._spread if name in recorded.spread]
        self.num_samples += size
        self.loss_sum += float(recorded.loss_sum)
        self.count += float(recorded.count)
        self._rounding = max(self._rounding, 8 * torch.finfo(recorded.loss_sum.dtype).eps)
        found = {name: of_gradients(recorded.spread[name], self._targets[name]) for name in self._spread}
        self.ways.update(dict.fromkeys(self._spread, SPREAD))
        for name in self._with_form:
            found[name], self.ways[name] = answer(recorded.calls[name], name.rpartition(".")[2], self._targets[name])
        if is_first and found:
            right = self._agreeing(piece, found)
            self._with_form, self._spread = (
                [n for n in names if n in right] for names in (self._with_form, self._spread)
            )
        known = {name: found[name] for name in (*self._with_form, *self._spread)}
        for name in known:
            if self._targets[name].previous is not None:
                self._targets[name] = self._targets[name]._replace(previous=self._last(recorded, name))
        rest = [name for name in self._targets if name not in known]
        return {**known, **(self._by_gradients(piece, rest, recorded) if rest else {})}

    def _recorded(self, piece: Any, size: int) -> Recorded:
        """Run a piece; weights that cannot be spread, because the model counts on their first axis, never are again."""
        if self._spread:
            try:
                return record(self._objective, self._state, piece, size, self._with_form, self._spread)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, IndexError):  # a mistake in the model or the loss is raised again below
                self._spread = []
        return record(self._objective, self._state, piece, size, self._with_form)

    def _last(self, recorded: Recorded, name: str) -> Tensor:
        """Return the gradient, or deviation, of the last sample of a piece."""
        target = self._targets[name]
        if name in recorded.calls:
            return last_gradient(recorded.calls[name], name.rpartition(".")[2], target)
        return deviations(recorded.spread[name][-1:], target)[0]

    def _by_gradients(self, piece: Any, names: list[str], recorded: Recorded) -> dict[str, Tensor]:
        gradients = PerSampleGradients(self._objective, self._state, self._chunk, names)
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        with sdpa_kernel(SDPBackend.MATH):  # vmap batches only that kernel
            for pieces in gradients.of_batch(piece):
                for name in names:
                    target, formed = self._targets[name], pieces.pop(name)
                    parts[name].append(of_gradients(formed, target))
                    if target.previous is not None:
                        self._targets[name] = target._replace(previous=deviations(formed[-1:], target)[0].clone())
        whole = (float(recorded.loss_sum), float(recorded.count))
        check_additive(whole, (gradients.loss_sum, gradients.count), self._rounding * gradients.loss_scale)
        self.ways.update(dict.fromkeys(names, gradients.method))
        return {name: torch.cat(found, -1) for name, found in parts.items()}

    def _agreeing(self, piece: Any, found: Mapping[str, Tensor]) -> list[str]:
        """Return the weights whose answers of this piece are those of plain autograd, on two of its samples.

        The smallest gradient tells of losses that leave easy samples out, the largest of layers; both, of samples in
        another order, which may leave one where it was. Each is differentiated as a batch of twice itself, whose
        gradient is twice its own unless samples are mixed: convolutions of a single sample take a slower way on a CPU.
        """
        names = list(found)
        squares = torch.stack([found[name][0, 0] for name in names])  # [names, C]
        total = squares.sum(0)
        leaves = [self._state[name].detach().requires_grad_() for name in names]
        replaced = {**self._state, **dict(zip(names, leaves, strict=True))}
        relative, absolute = AGREEMENT[
            torch.float64 if all(x.dtype == torch.float64 for x in leaves) else torch.float32
        ]
        means = [self._targets[name].along for name in names if self._targets[name].is_centered]
        scale = total.max().sqrt() + sum(float(mean.norm()) for mean in means if mean is not None)
        is_right = torch.ones(len(names), dtype=torch.bool, device=squares.device)
        for i in {int(total.argmin()), int(total.argmax())}:
            loss_sum, _ = self._objective.evaluate(replaced, _twice(piece, i))
            own = [gradient[None] / 2 for gradient in gradients_of(loss_sum, leaves)]
            asked = [deviations(gradient, self._targets[name]) for name, gradient in zip(names, own, strict=True)]
            truth = torch.stack([torch.linalg.vector_norm(gradient).double() for gradient in asked])
            got = squares[:, i].sqrt()
            allowed = relative * truth + absolute * scale
            is_right &= ((got - truth).abs() <= allowed) | (got == truth) | ~(got.isfinite() | truth.isfinite())
        return [name for name, right in zip(names, is_right.tolist(), strict=True) if right]


def _step(batch: Any, length: int, device: torch.device) -> int:
    """Return the samples in a piece, so that all pieces of a batch are about equal."""
    if device.type != "cpu":
        return max(1, length)
    numbers = max(tensor.numel() for tensor in tensors_of(batch))
    return max(1, -(-length // max(1, -(-numbers // PIECE_INPUTS))))


def _twice(batch: Any, i: int) -> Any:
    """Return a batch that holds sample i two times."""
    one = cut(batch, i, i + 1)
    return rebuilt(one, iter([torch.cat([tensor, tensor]) for tensor in tensors_of(one)]))
