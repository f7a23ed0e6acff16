"""A user's module: networks and data given by "package.module:function", right and wrong ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Dropped(nn.Module):
    """A network with dropout, so that resuming must restore the random state."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def dropped(in_channels: int, image_size: int, num_classes: int) -> nn.Module:
    return Dropped(in_channels * image_size**2, num_classes)


def linear(in_channels: int, image_size: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))


def everything(**given: Any) -> nn.Module:
    assert sorted(given) == ["image_size", "in_channels", "num_classes"]
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(given["num_classes"]))


def no_module(num_classes: int) -> int:
    return num_classes


def wrong_scores() -> nn.Module:
    return nn.Flatten()


def failing() -> nn.Module:
    raise KeyError("weights")


def data() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    images = torch.randn(60, 1, 4, 4, generator=generator) + labels[:, None, None, None]
    return {"train": (images, labels), "val": (images[:9], labels[:9]), "test": (images[:6], labels[:6])}


def train_only() -> dict[str, Any]:
    return {"train": data()["train"]}


def splits() -> Any:
    from gcsam.training import TrainConfig, load_data

    return load_data(TrainConfig(data="tests.gcsam.training.nets:data", device="cpu"))


def a_list() -> list[int]:
    return [1]


def unknown_split() -> dict[str, Any]:
    return {"train": data()["train"], "tset": data()["test"]}


def no_pair() -> dict[str, Any]:
    return {"train": 3}


def not_finite() -> dict[str, Any]:
    images, labels = data()["train"]
    images = images.clone()
    images[7] = 1e30  # finite, and its loss is not
    return {**data(), "train": (images, labels)}


NUMBER = 3
