"""Run a batch and keep, of each layer with a form, its input and the gradient of its output; refuse what is unclear.

A layer's form holds only where its weight is used exactly once, by one call of the layer, with the samples along the
first axis of the input. Hooks see the calls; the autograd graph tells how often a weight is used, in whatever way.
Output gradients are taken at the place in the graph, so that operations in place after the layer do no harm.

Proved right by networks that break each condition (`tests/analysis/noise/test_recording.py`).
Cost: a forward pass and a backward pass that skips the gradients of weights; the graph is walked once. Memory: the
gradients of the layers' outputs beside the graph.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from analysis.evaluation import Evaluation
from analysis.graph import nodes
from analysis.noise.layer_forms import Call, is_batched

INDICES = (torch.int64, torch.int32)


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What a pass over one batch gave.

    Attributes:
        calls: Parameter name to the call of its layer, only for weights whose use is clear.
        spread: Parameter name to the gradients of the samples, [B, *shape], for weights that were spread.
        loss_sum: Of the batch, detached.
        count: Of the batch.
    """

    calls: dict[str, Call]
    spread: dict[str, Tensor]
    loss_sum: Tensor
    count: Tensor | int


def record(
    evaluation: Evaluation,
    state: Mapping[str, Tensor],
    batch: Any,
    size: int,
    names: Sequence[str],
    spread: Sequence[str] = (),
) -> Recorded:
    """Run one batch forward and backward; call it inside `measuring`.

    Args:
        evaluation: Model, loss and data.
        state: As returned by `evaluation.state()`.
        batch: One of its batches.
        size: B, the samples in it.
        names: Weights whose layers have a form; each must be held by a module of the model.
        spread: Weights of shape [1, ...], such as a class token, that are given to the model as [B, ...], a copy for
            each sample. Where it uses them by broadcasting or `expand`, a sample's gradient is that of its copy.

    Returns:
        The calls of those layers whose use of the weight is clear; without a gradient nothing is.
    """
    leaves = {name: state[name].detach().requires_grad_() for name in names}
    modules = {name: evaluation.model.get_submodule(name.rpartition(".")[0]) for name in names}
    copies = {name: state[name].detach().repeat_interleave(size, 0).requires_grad_() for name in spread}
    with _watched(set(modules.values())) as seen:
        loss_sum, count = evaluation.evaluate({**state, **leaves, **copies}, batch)
    uses = _uses(loss_sum, leaves)
    clear = [name for name in names if uses[name] == 1 and _is_clear(modules[name], seen, leaves[name], size)]
    called = {modules[name]: seen[modules[name]][0] for name in clear}
    calls: dict[nn.Module, Call] = {}
    apart: dict[str, Tensor] = {}
    if loss_sum.requires_grad and (called or copies):
        edges = [one.edge for one in called.values()]
        slopes = torch.autograd.grad(loss_sum, [*edges, *copies.values()], allow_unused=True)  # type: ignore[arg-type]
        for (module, one), slope in zip(called.items(), slopes, strict=False):
            if slope is not None and one.inputs._version == one.version:
                calls[module] = Call(module, one.inputs, one.statistics, slope)
        for (name, copy), slope in zip(copies.items(), slopes[len(edges) :], strict=True):
            apart[name] = (torch.zeros_like(copy) if slope is None else slope).unsqueeze(1)
    found = {name: calls[modules[name]] for name in clear if modules[name] in calls}
    return Recorded(found, apart, loss_sum.detach(), count)


class _Seen(NamedTuple):
    inputs: Tensor
    version: int  # of the input, which nobody may write to afterwards
    statistics: tuple[Tensor, ...]
    edge: GradientEdge | None
    shape: torch.Size
    dtype: torch.dtype


@contextmanager
def _watched(modules: set[nn.Module]) -> Iterator[dict[nn.Module, list[_Seen]]]:
    """Keep what the modules are called with, and where in the graph their outputs are."""
    seen: dict[nn.Module, list[_Seen]] = {}

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        inputs = [*args, *kwargs.values()]
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not isinstance(output, Tensor):
            seen.setdefault(module, []).extend([_UNCLEAR] * 2)
            return
        statistics: tuple[Tensor, ...] = ()
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # those of the state, which are in place only now
            statistics = tuple(x for x in (module.running_mean, module.running_var) if x is not None)
        given = inputs[0].detach()  # shares its version with the input
        edge = get_gradient_edge(output) if output.requires_grad else None
        one = _Seen(given, given._version, statistics, edge, output.shape, output.dtype)
        seen.setdefault(module, []).append(one)

    # first of all hooks: a later one of the user may replace the output
    handles = [module.register_forward_hook(keep, prepend=True, with_kwargs=True) for module in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


_UNCLEAR = _Seen(torch.empty(0), 0, (), None, torch.Size(), torch.float32)


def _is_clear(module: nn.Module, seen: Mapping[nn.Module, list[_Seen]], weight: Tensor, size: int) -> bool:
    """Whether there was one call, on a whole batch, in the weight's own precision, that autograd has recorded."""
    calls = seen.get(module, [])
    if len(calls) != 1 or calls[0].edge is None:
        return False
    (one,) = calls
    is_whole = is_batched(module, one.inputs) and one.inputs.shape[:1] == one.shape[:1] == (size,)
    return is_whole and one.dtype == weight.dtype and one.inputs.dtype in {weight.dtype, *INDICES}


def _uses(loss_sum: Tensor, leaves: Mapping[str, Tensor]) -> Counter[str]:
    """Count how often each leaf enters the graph of the loss."""
    names = {id(leaf): name for name, leaf in leaves.items()}
    found: Counter[str] = Counter()
    for node in nodes([loss_sum]):
        for following, _ in node.next_functions:
            variable = getattr(following, "variable", None)
            if id(variable) in names:
                found[names[id(variable)]] += 1
    return found
