"""The memory of one training step at its peak: what a method costs beside its time.

Counted are the weights and buffers of the network, what the optimizer keeps between steps, and the most that was
allocated at once during the step beyond that: gradients, activations, temporaries. Data sets, compiled code and other
networks are not. On CUDA torch's allocator says so; on a CPU every allocation of torch is recorded during the step, in
its order, so that the number is exact and does not depend on what the process did before (libraries that allocate by
themselves, such as oneDNN's scratch space, are not seen).

Right when it equals a count by hand for networks of one large weight, and when a run that is measured equals one that
is not, bit for bit (`tests/gcsam/training/test_step_memory.py`). Cost: some milliseconds in one step of a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gcsam.optimizer import GCSAM

__all__ = ["StepMemory"]

_autograd: Any = torch.autograd
_CHANGE = "memory_alloc"  # a piece of memory taken, or given back: its bytes are then negative


class StepMemory:
    """Watch one step, as a context around it.

    Only looks: weights, states, random numbers and batch-norm statistics are those of a step that is not watched.
    Gradients are cleared before, which the step would do first. On CUDA torch's record of the peak starts anew.

    Args:
        model: That is trained.
        optimizer: Whose step it is; not its first, in which states and room are made.
        device: Of the model.

    Attributes:
        bytes: After the step; NaN on a CPU where another profiler is at work, or torch records no allocations.

    Example:
        >>> model = nn.Linear(1000, 1000, bias=False)  # 4 MB
        >>> optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
        >>> closure = lambda: model(torch.ones(1, 1000)).sum().backward()
        >>> optimizer.step(closure)
        >>> with StepMemory(model, optimizer, torch.device("cpu")) as memory:
        ...     optimizer.step(closure)
        >>> round(memory.bytes / 4e6, 1)  # weight, copy of it, gradient
        3.0
    """

    def __init__(self, model: nn.Module, optimizer: GCSAM, device: torch.device) -> None:
        self.bytes = math.nan
        self._model, self._optimizer, self._device = model, optimizer, device
        self._held: list[Tensor] = []
        self._is_recording = False
        self._before = 0

    def __enter__(self) -> StepMemory:
        self._optimizer.zero_grad()
        # held, because torch complains of memory that is freed in the step and was allocated before it
        self._held = [*self._model.parameters(), *self._model.buffers(), *self._optimizer.kept_tensors()]
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        elif hasattr(_autograd, "_enable_profiler_legacy") and not _autograd._profiler_enabled():
            # the older profiler, because the newer one writes to the terminal
            experimental = torch._C._profiler._ExperimentalConfig()
            settings = (_autograd.ProfilerState.CPU, False, True, False, False, False, experimental)  # only memory
            _autograd._enable_profiler_legacy(_autograd.ProfilerConfig(*settings))
            self._is_recording = True
        return self

    def __exit__(self, *_: object) -> None:
        held = _bytes_of(self._held)
        if self._device.type == "cuda":
            self.bytes = held + float(torch.cuda.max_memory_allocated(self._device) - self._before)
        elif self._is_recording:
            self._is_recording = False
            threads = _autograd._disable_profiler_legacy()
            changes = [event.cpu_memory_usage() for events in threads for event in events if event.kind() == _CHANGE]
            self.bytes = held + float(_highest(changes))
        self._held = []


def _highest(changes: Iterable[int]) -> int:
    """Return the highest of the sums of the first changes, none included."""
    present = highest = 0
    for change in changes:
        present += change
        highest = max(highest, present)
    return highest


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes behind tensors; memory that several share counts once."""
    storages = {storage.data_ptr(): storage.nbytes() for storage in (tensor.untyped_storage() for tensor in tensors)}
    return sum(storages.values())
