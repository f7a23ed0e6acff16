"""Where a model keeps its tensors, so that others are put in their place, and its own back afterwards.

`torch.func.functional_call` does the same, with two faults: it walks the module tree at every call, which a grid of
thousands of cells need not; and it leaves a module that is registered twice with changed weights (torch 2.13), because
under the second name it keeps what it has put in place itself as what was there. Right when what the model computes is
what a copy computes by `functional_call`, and the model is as found, for tied weights, modules in two places and
recurrent layers, also where the call raises (`tests/analysis/test_slots.py`).
Cost: a walk through the module tree once, then two assignments for each tensor and call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["Slots"]


class Slots:
    """All places where a model looks its parameters and buffers up.

    Args:
        model: Whose tree must stay as it is while this is in use.
    """

    def __init__(self, model: nn.Module) -> None:
        self._of: dict[str, list[tuple[dict[str, Any], str]]] = {}
        names: dict[int, str] = {}  # the first one of a tied weight, as in `named_parameters`
        for prefix, module in model.named_modules():
            for table in (module._parameters, module._buffers):
                for key, tensor in table.items():
                    if tensor is not None:  # a tied weight has several places and one name
                        name = names.setdefault(id(tensor), f"{prefix}.{key}" if prefix else key)
                        self._of.setdefault(name, []).append((table, key))

    @contextmanager
    def holding(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Put other tensors in place until the block ends.

        Args:
            state: Parameters and buffers by name; those left out stay as they are.

        Yields:
            Nothing.
        """
        before = [(table, key, table[key]) for name in state for table, key in self._of[name]]
        try:
            for name, tensor in state.items():
                for table, key in self._of[name]:
                    table[key] = tensor
            yield
        finally:
            for table, key, tensor in before:
                table[key] = tensor
