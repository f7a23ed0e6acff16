"""Measuring leaves no trace: train/eval flags and random states are as found afterwards, also when something raises.

Weights, buffers and `.grad` need no guard: `analysis.objective` evaluates the model on copies and never writes to it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def left_as_found(model: nn.Module, data: Any, device: torch.device, *, with_grad: bool) -> Iterator[None]:
    """Hold the model in eval mode, outside autocast, and give back flags and random states at the end.

    A model with recurrent layers is held outside cuDNN too.

    Args:
        model: Its `training` flags are set and restored one by one. `model.eval()` is not called, because adapters
            exist whose `train()` merges weights.
        data: A loader's own generators are restored too, so that measuring does not change its next epoch.
        device: Whose random state and autocast are held, besides the CPU's.
        with_grad: Whether autograd records inside, whatever the caller's own mode.

    Yields:
        Nothing.
    """
    modes = [(module, module.training) for module in model.modules()]
    generators = {id(generator): generator for generator in _generators(data)}.values()
    states = [(generator, generator.get_state()) for generator in generators]
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    cudnn = torch.backends.cudnn.enabled
    try:
        for module, _ in modes:
            module.training = False
            if isinstance(module, nn.RNNBase):  # its cuDNN kernels have no backward in eval mode, and no second one
                torch.backends.cudnn.enabled = False
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(with_grad))
            for device_type in {"cpu", device.type}:
                stack.enter_context(torch.autocast(device_type, enabled=False))
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        torch.backends.cudnn.enabled = cudnn
        for generator, state in states:
            generator.set_state(state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002  # the global state is what has to be left as found
        torch.set_rng_state(torch_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, device)


def _generators(data: Any) -> Iterator[torch.Generator]:
    for holder in (
        data,
        getattr(data, "sampler", None),
        getattr(getattr(data, "batch_sampler", None), "sampler", None),
    ):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            yield generator
