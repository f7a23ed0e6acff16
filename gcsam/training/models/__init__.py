"""Networks by name, and a user's own by "package.module:function".

Each is built for given channels, classes and image size, and leaves torch's random state to the caller. Right when
parameter counts equal the published ones (`tests/gcsam/training/test_models.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gcsam.training.functions import call_with_accepted, check_name, find_function
from gcsam.training.models.plain import CNN, MLP
from gcsam.training.models.resnet import resnet18, resnet20, resnet20_noshort, resnet56, resnet56_noshort
from gcsam.training.models.vgg import vgg11, vgg11_bn
from gcsam.training.models.vit import vit_tiny

__all__ = ["MODELS", "build_model"]

_BUILDERS: Mapping[str, Callable[[int, int, tuple[int, int]], nn.Module]] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet20": resnet20,
    "resnet20_noshort": resnet20_noshort,
    "resnet56": resnet56,
    "resnet56_noshort": resnet56_noshort,
    "resnet18": resnet18,
    "vgg11": vgg11,
    "vgg11_bn": vgg11_bn,
    "vit-tiny": vit_tiny,
}

MODELS = tuple(_BUILDERS)
"""Networks known by name; beside them "package.module:function"."""


def build_model(name: str, *, in_channels: int, num_classes: int, image_size: int | tuple[int, int]) -> nn.Module:
    """Build a network that maps images [B, in_channels, height, width] to scores [B, num_classes].

    Args:
        name: One of `MODELS`, or "package.module:function": a function that takes any of the arguments below by name.
            It is given `image_size` as one integer where images are square, else as (height, width).
        in_channels: Colors.
        num_classes: Classes.
        image_size: Side of the square images, or (height, width).

    Returns:
        The network, freshly initialized from torch's global random state, on the CPU, in train mode.

    Raises:
        ValueError: Unknown name, or a function that fails or does not return such a network.

    Example:
        >>> model = build_model("resnet20", in_channels=3, num_classes=10, image_size=32)
        >>> sum(parameter.numel() for parameter in model.parameters())
        269722
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    check_name(name, MODELS, "model", functions=True)
    if name in MODELS:
        return _BUILDERS[name](in_channels, num_classes, (height, width))
    available = {
        "in_channels": in_channels,
        "num_classes": num_classes,
        "image_size": height if height == width else (height, width),
    }
    model = call_with_accepted(find_function(name, "model"), available, f"model {name}")
    if not isinstance(model, nn.Module):
        raise ValueError(f"model {name}: must return a torch.nn.Module, but returned {type(model).__name__}")
    _check_scores(model, name, (in_channels, height, width), num_classes)
    return model


def _check_scores(model: nn.Module, name: str, shape: tuple[int, int, int], num_classes: int) -> None:
    """Run two black images through a user's network in eval mode; this also makes the weights of lazy modules."""
    given = f"images [2, {', '.join(map(str, shape))}]"
    is_training = model.training
    try:
        with torch.no_grad():
            scores: Any = model.eval()(torch.zeros(2, *shape))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"model {name}: fails on {given}: {reason}") from None
    model.train(is_training)
    if not isinstance(scores, Tensor) or scores.shape != (2, num_classes):
        got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"model {name}: must return scores [2, {num_classes}] for {given}, but returned {got}")
