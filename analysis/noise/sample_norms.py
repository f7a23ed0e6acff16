"""Squared norms of every sample's gradient, by layer: raw, centralized, under the control; and products with G.

Layers with a form of their own are measured from their inputs and output gradients, and the gradients of samples need
not exist (`analysis.noise.answers`).

Proved right by plain autograd, sample by sample on a float64 copy, for every kind of layer
(`tests/analysis/noise/test_sample_norms.py`). Cost: stated at `per_sample_norms`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from analysis.checks import check_whole
from analysis.evaluation import At
from analysis.evidence import Result, Status, measured
from analysis.noise.answers import Answers
from analysis.noise.kinds import checked_kinds
from analysis.noise.layers import Layers
from analysis.noise.scalars import KINDS
from analysis.noise.targets import targets_of
from analysis.objective import Objective

SQUARED = "loss^2/weight^2"
PRODUCT = "loss/weight"  # times the unit of the vector given
DEFINITION = "gradient of the sample's loss_sum"
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
    wanted = tuple(checked_kinds(kinds))
    vector = None if along is None else objective.layout.checked(along, "along")
    with objective.measuring(with_grad=True):
        state = objective.state(at)
        answers = Answers(objective, state, targets_of(objective, state, wanted, vector, seed), WHAT)
        pieces = list(answers)
    layers = Layers(objective)
    table = torch.zeros(len(layers.names), len(KINDS), 2, answers.num_samples, dtype=torch.float64)
    for name, row in layers.row.items():
        found = [piece[name][:, :2] for piece in pieces]
        table[row] += torch.cat(found, -1).cpu() if found else 0.0
    columns = table.permute(1, 2, 3, 0)  # [kind, square and product, N, L]
    squares, products = ([columns[kind, what].contiguous() for kind in range(len(KINDS))] for what in range(2))
    return PerSampleNorms(
        layers=layers.names,
        raw=squares[0],
        centralized=squares[1],
        control=squares[2],
        raw_along=products[0],
        centralized_along=products[1],
        control_along=products[2],
        parameters=objective.names,
        ways=tuple(answers.ways[name] for name in objective.names),
        num_samples=answers.num_samples,
        seed=seed,
        status=Status.COMPLETE if bool(squares[0].isfinite().all()) else Status.NOT_FINITE,
    )
