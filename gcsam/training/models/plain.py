"""Two small networks without normalization layers: where P and the Hessian act on plain weights.

Right when shapes and parameter counts are those of the formulas (`tests/gcsam/training/test_models.py`).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["CNN", "MLP"]


class MLP(nn.Module):
    """Two hidden layers of ReLU units on the flattened image.

    Args:
        in_channels: Colors.
        num_classes: Classes.
        image_size: (height, width).
        width: Of the hidden layers; 128 is our choice, because it fits the digits with few weights to spare.
    """

    def __init__(self, in_channels: int, num_classes: int, image_size: tuple[int, int], width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_channels * math.prod(image_size), width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, classes] for images [B, C, H, W]."""
        scores: Tensor = self.layers(images)
        return scores


class CNN(nn.Module):
    """Two 3x3 convolutions, pooling to 4x4, two linear layers; ReLU, no batch norm, no dropout.

    Its loss is a plain mean over samples, in training too, so that curvature and noise mean what they say.

    Args:
        in_channels: Colors.
        num_classes: Classes.
        image_size: (height, width); any, since the last pooling adapts.
        width: Channels of the first convolution; 16 is our choice, because 12 runs on digits then take a minute or two.
    """

    def __init__(self, in_channels: int, num_classes: int, image_size: tuple[int, int], width: int = 16) -> None:
        super().__init__()
        del image_size  # the pooling makes any size 4x4
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * width, 64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, classes] for images [B, C, H, W]."""
        scores: Tensor = self.head(self.features(images))
        return scores
