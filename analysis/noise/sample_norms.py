"""Squared norms of every sample's gradient, by layer: raw, centralized, under the control; and products with G.

Where a layer has a form of its own (`analysis.noise.layer_forms`), its inputs and output gradients are enough, and the
gradients of samples need not exist. The weights of other layers go through `torch.func.vmap`, or a loop where that
cannot batch the model. The samples of the first batch with the smallest and the largest gradient are also
differentiated by plain autograd; a layer whose form disagrees is measured the other way.

Proved right by plain autograd, sample by sample on a float64 copy, for every kind of layer
(`tests/analysis/noise/test_sample_norms.py`). Cost: stated at `per_sample_norms`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.batches import tensors_of
from analysis.checks import check_whole
from analysis.cutting import batch_length, cut, rebuilt
from analysis.evaluation import At
from analysis.evidence import Result, Status, measured
from analysis.noise.control import control_directions
from analysis.noise.layer_forms import answer, has_form
from analysis.noise.per_sample import MeanGradient, PerSampleGradients, gradients_of
from analysis.noise.recording import record
from analysis.noise.scalars import KINDS, Target, of_gradients
from analysis.objective import Objective
from analysis.parameters import owner_of

SQUARED = "loss^2/weight^2"
PRODUCT = "loss/weight"  # times the unit of the vector given
DEFINITION = "gradient of the sample's loss_sum"
# How far the norm of one weight's gradient may be from that of plain autograd: relative, and in parts of the largest
# norm of all weights in the batch, because a gradient near zero is a difference of rounded numbers. Generous, our
# choice: a sample taken for another, or a loss that mixes samples, is wrong by far more.
AGREEMENT = {torch.float32: (1e-2, 1e-5), torch.float64: (1e-6, 1e-11)}
WHAT = "per-sample norms"


@dataclasses.dataclass(frozen=True, eq=False)
class PerSampleNorms(Result):
    """Squared norms of the gradients g_i of single samples, and products with a given vector G, by layer."""

    group: ClassVar[str] = "noise"
    layers: tuple[str, ...] = measured("layer", description="Modules that hold the measured weights")
    raw: Tensor = measured("sample", "layer", units=SQUARED, description="||g_i||^2", source=DEFINITION)
    centralized: Tensor = measured("sample", "layer", units=SQUARED, description="||P g_i||^2", source=DEFINITION)
    control: Tensor = measured(
        "sample", "layer", units=SQUARED, description="The same under a random projection", source=DEFINITION
    )
    raw_along: Tensor = measured("sample", "layer", units=PRODUCT, description="<g_i, G>", source=DEFINITION)
    centralized_along: Tensor = measured("sample", "layer", units=PRODUCT, description="<P g_i, G>", source=DEFINITION)
    control_along: Tensor = measured(
        "sample", "layer", units=PRODUCT, description="The same under the random projection", source=DEFINITION
    )
    parameters: tuple[str, ...] = measured("parameter", description="Measured weights")
    ways: tuple[str, ...] = measured("parameter", description="gram, product, grouped, sum; vmap or loop without form")
    num_samples: int = measured(units="1", description="N")
    seed: int = measured(units="1", description="Of the control's directions")
    status: Status = measured(description="How the measurement ended")


def per_sample_norms(
    objective: Objective, at: At = None, *, along: Tensor | None = None, kinds: Sequence[str] = KINDS, seed: int = 0
) -> PerSampleNorms:
    """Measure the squared norm of every sample's gradient, by layer, without holding these gradients.

    g_i is the gradient of the loss_sum of sample i alone, in eval mode. Exact to rounding; that of `centralized` and
    `control` is relative to `raw`. That the loss is a sum over samples is checked on two samples of the first batch.

    Args:
        objective: Whose per-sample gradients. Its loss must be a sum over samples, its batches tensors with the
            samples along their first axis.
        at: Weights [D] or a checkpoint; None for the model's present ones.
        along: G, [D] in the order of `objective.names`; None leaves the products out.
        kinds: Which of "raw", "centralized" and "control" to measure; "raw" always is.
        seed: Of the control's directions, >= 0: those of `gradient_noise`.

    Returns:
        PerSampleNorms (frozen). layers [L]: as in `gradient_noise`. raw, centralized, control and their products with
        G: each [N, L] in float64, in the order of the data; a sum over layers is the total. NaN where not asked for.
        ways: for each parameter how it was measured; "vmap" or "loop" are those without a form: weights used twice or
        outside their layer, parametrized, recurrent, of `nn.MultiheadAttention` and of modules not of torch.
        status: NOT_FINITE where a gradient is, else COMPLETE.

    Raises:
        ValueError: Batches that cannot be cut into samples, a loss that is not a sum over samples, or an argument out
            of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found.

    Cost: one pass over the data; raw and centralized take about one gradient (ResNet-18) to one and a half (ResNet-20)
    on a CPU (`benchmarks/noise.py`), `control` and `along` up to a forward pass more each. Weights without a form add a
    pass of `torch.func.vmap` by them alone. Memory: the inputs of the layers and the gradients of their outputs, and of
    per-sample gradients 2^21 numbers of one layer, or one sample's; without a form 2^25.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> x, y = torch.tensor([[1.0, 1.0], [2.0, 0.0]]), torch.ones(2, 1)  # g_i = -2 x_i
        >>> found = per_sample_norms(Objective(model, torch.nn.MSELoss(), (x, y)))
        >>> found.raw.round().tolist(), found.centralized.round().tolist()
        ([[8.0], [16.0]], [[0.0], [8.0]])

    References:
        Goodfellow, Efficient per-example gradient computations, arXiv 1510.01799: linear layers. We differ: positions,
        convolutions, and projections.
    """
    check_whole("seed", seed, 0, "it seeds the control's directions")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, got {unknown[0]!r}")
    vector = None if along is None else objective.layout.checked(along, "along")
    with objective.measuring(with_grad=True):
        state = objective.state(at)
        search = _Search(objective, state, _targets(objective, state, tuple(kinds), vector, seed))
        search.by_forms()
        search.by_gradients()
    owners = {name: owner_of(name) for name in objective.names}
    paths = list(dict.fromkeys(owners.values()))
    table = torch.zeros(len(paths), len(KINDS), 2, search.num_samples, dtype=torch.float64)
    for name, pieces in search.found.items():
        table[paths.index(owners[name])] += torch.cat(pieces, -1).cpu()
    columns = table.permute(1, 2, 3, 0)  # [kind, square and product, N, L]
    squares, products = ([columns[kind, what].contiguous() for kind in range(len(KINDS))] for what in range(2))
    return PerSampleNorms(
        layers=tuple(path or type(objective.model).__name__ for path in paths),
        raw=squares[0],
        centralized=squares[1],
        control=squares[2],
        raw_along=products[0],
        centralized_along=products[1],
        control_along=products[2],
        parameters=objective.names,
        ways=tuple(search.ways[name] for name in objective.names),
        num_samples=search.num_samples,
        seed=seed,
        status=Status.COMPLETE if bool(squares[0].isfinite().all()) else Status.NOT_FINITE,
    )


def _targets(
    objective: Objective, state: dict[str, Tensor], kinds: tuple[str, ...], along: Tensor | None, seed: int
) -> dict[str, Target]:
    """Return what is asked about each measured weight, in the precision of that weight."""
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
        )
        for name, shape in shapes.items()
    }


class _Search:
    """The answers of every weight, batch after batch, by forms first and by gradients for what is left.

    Attributes:
        found: Parameter name to pieces [kind, square and product, samples].
        ways: Parameter name to how it was measured.
        num_samples: N, after `by_forms`.
    """

    def __init__(self, objective: Objective, state: dict[str, Tensor], targets: dict[str, Target]) -> None:
        self._objective, self._state, self._targets = objective, state, targets
        self.found: dict[str, list[Tensor]] = {name: [] for name in objective.names}
        self.ways: dict[str, str] = {}
        self.num_samples = 0
        self._whole = MeanGradient(0, 0.0, 0.0, 1e-4, torch.empty(0))

    def by_forms(self) -> None:
        """Go through the data once; a weight whose use is unclear in one batch has no form."""
        modules = {name: self._objective.model.get_submodule(name.rpartition(".")[0]) for name in self.found}
        names = [
            name
            for name, module in modules.items()
            if has_form(module, name.rpartition(".")[2], self._targets[name].dims)
        ]
        for batch in self._objective.batches():
            size = batch_length(batch, WHAT)
            recorded = record(self._objective, self._state, batch, size, names)
            names = [name for name in names if name in recorded.calls]
            self.num_samples += size
            self._whole = dataclasses.replace(
                self._whole,
                loss_sum=self._whole.loss_sum + float(recorded.loss_sum),
                count=self._whole.count + float(recorded.count),
                rounding=max(self._whole.rounding, 8 * torch.finfo(recorded.loss_sum.dtype).eps),
            )
            for name in names:
                piece, self.ways[name] = answer(recorded.calls[name], name.rpartition(".")[2], self._targets[name])
                self.found[name].append(piece)
            if names and 0 < size == self.num_samples:  # the first batch
                names = self._agreeing(batch, names)
        self.ways = {name: self.ways[name] for name in names}

    def by_gradients(self) -> None:
        """Go through the data again for the weights without a form, and check that the loss is a sum over samples."""
        names = [name for name in self.found if name not in self.ways]
        if not names:
            return
        self.found.update({name: [] for name in names})
        gradients = PerSampleGradients(self._objective, self._state, names=names)
        with sdpa_kernel(SDPBackend.MATH):  # vmap batches only that kernel
            for pieces in gradients:
                for name in names:
                    self.found[name].append(of_gradients(pieces.pop(name), self._targets[name]))
        gradients.check_additive(self._whole)
        self.ways.update(dict.fromkeys(names, gradients.method))

    def _agreeing(self, batch: Any, names: list[str]) -> list[str]:
        """Return the weights whose answers of this batch are those of plain autograd, on two of its samples.

        The smallest gradient tells of losses that leave easy samples out, the largest of layers; both, of samples in
        another order, which may leave one where it was. Each is differentiated as a batch of twice itself, whose
        gradient is twice its own unless samples are mixed: convolutions of a single sample take a slower way on a CPU.
        """
        squares = torch.stack([self.found[name][-1][0, 0] for name in names])  # [names, B]
        total = squares.sum(0)
        leaves = [self._state[name].detach().requires_grad_() for name in names]
        replaced = {**self._state, **dict(zip(names, leaves, strict=True))}
        relative, absolute = AGREEMENT[
            torch.float64 if all(x.dtype == torch.float64 for x in leaves) else torch.float32
        ]
        is_right = torch.ones(len(names), dtype=torch.bool, device=squares.device)
        for i in {int(total.argmin()), int(total.argmax())}:
            loss_sum, _ = self._objective.evaluate(replaced, _twice(batch, i))
            pieces = gradients_of(loss_sum, leaves)
            truth = torch.stack([torch.linalg.vector_norm(piece).double() / 2 for piece in pieces])
            got = squares[:, i].sqrt()
            allowed = relative * truth + absolute * total.max().sqrt()
            is_right &= ((got - truth).abs() <= allowed) | (got == truth) | ~(got.isfinite() | truth.isfinite())
        return [name for name, right in zip(names, is_right.tolist(), strict=True) if right]


def _twice(batch: Any, i: int) -> Any:
    """Return a batch that holds sample i two times."""
    one = cut(batch, i, i + 1)
    return rebuilt(one, iter([torch.cat([tensor, tensor]) for tensor in tensors_of(one)]))
