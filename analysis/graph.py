"""Look into an autograd graph: what it holds in memory, and whether it can be differentiated once more.

Right when a graph of known tensors gives their bytes, and a function that has only one derivative is found out
(`tests/analysis/test_graph.py`). Cost: some 10 us per operation in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor


def nodes(roots: Iterable[Tensor]) -> Iterator[Any]:
    """Walk over the operations that tensors came from.

    Args:
        roots: Any tensors.

    Yields:
        Each node once.
    """
    waiting: list[Any] = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def graph_bytes(roots: Iterable[Tensor], without: Iterable[Tensor] = ()) -> int:
    """Return the bytes of all tensors that an autograd graph keeps alive, each storage counted once.

    Args:
        roots: Tensors with a `grad_fn`; they count themselves.
        without: Tensors whose storage does not count: weights and data, which are there anyway.
    """
    roots = list(roots)
    skipped = {tensor.untyped_storage().data_ptr() for tensor in without}
    held = [*roots, *(tensor for node in nodes(roots) for tensor in _saved(node))]
    storages = [tensor.untyped_storage() for tensor in held]
    return sum({s.data_ptr(): s.nbytes() for s in storages if s.data_ptr() not in skipped}.values())


def check_differentiable(roots: Iterable[Tensor]) -> None:
    """Refuse a graph with a function that has no further derivative.

    torch would raise there only if it came by, and it does not: the way ends at that function, so that everything below
    it counts as zero in silence.

    Args:
        roots: Gradients that are to be differentiated.

    Raises:
        RuntimeError: There is such a function.
    """
    if any(node.name() == "torch::autograd::Error" for node in nodes(roots)):
        raise RuntimeError("the gradient holds a once_differentiable function, which torch cannot differentiate twice")


def _saved(node: Any) -> Iterator[Tensor]:
    if hasattr(node, "saved_tensors"):  # a Function written in Python
        yield from (tensor for tensor in node.saved_tensors if tensor is not None)
        return
    for name in dir(type(node)):
        if name.startswith("_saved_"):
            value = getattr(node, name)
            values = value if isinstance(value, (tuple, list)) else (value,)
            yield from (tensor for tensor in values if isinstance(tensor, Tensor))
