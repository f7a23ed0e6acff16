"""Residual networks for small images (He et al., CVPR 2016): ResNet-20 and -56 as for CIFAR-10, ResNet-18.

The same without shortcuts are the plain networks whose loss surfaces Li et al. (2018) compare with them. Right when
the parameter counts are the published ones: 269,722, 853,018 and 11,173,962 (`tests/gcsam/training/test_models.py`).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResNet", "resnet18", "resnet20", "resnet20_noshort", "resnet56", "resnet56_noshort"]


class _PadShortcut(nn.Module):
    """Option A: take every second pixel and fill the new channels with zeros; no weights."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.before, self.after = new_channels // 2, new_channels - new_channels // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class _Zero(nn.Module):
    """No shortcut: nothing is added."""

    def forward(self, x: Tensor) -> float:
        del x
        return 0.0


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, shortcut: str) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv3x3(outputs, outputs, 1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module
        if shortcut == "none":
            self.shortcut = _Zero()
        elif stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif shortcut == "pad":
            self.shortcut = _PadShortcut(outputs - inputs)
        else:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks, each but the first at half the resolution, global average, linear layer.

    Args:
        in_channels: Colors.
        num_classes: Classes.
        widths: Channels of each stage.
        blocks: Blocks in each stage.
        shortcut: Across stages "pad" (option A: no weights) or "project" (option B: 1x1 convolutions); "none" leaves
            out those inside stages too.
    """

    def __init__(
        self, in_channels: int, num_classes: int, widths: tuple[int, ...], blocks: int, *, shortcut: str
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3x3(in_channels, widths[0], 1), nn.BatchNorm2d(widths[0]), nn.ReLU())
        layers: list[nn.Module] = []
        channels = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(_Block(channels, width, stride, shortcut=shortcut))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al., ICCV 2015, as in the paper's training
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, classes] for images [B, C, H, W]."""
        scores: Tensor = self.head(self.blocks(self.stem(images)).mean((2, 3)))
        return scores


def resnet20(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """Build the ResNet-20 of section 4.2: three stages of three blocks, option A; any image size."""
    del image_size
    return ResNet(in_channels, num_classes, (16, 32, 64), 3, shortcut="pad")


def resnet20_noshort(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """Build ResNet-20 without shortcuts; any image size."""
    del image_size
    return ResNet(in_channels, num_classes, (16, 32, 64), 3, shortcut="none")


def resnet56(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """Build the ResNet-56 of section 4.2: three stages of nine blocks, option A; any image size."""
    del image_size
    return ResNet(in_channels, num_classes, (16, 32, 64), 9, shortcut="pad")


def resnet56_noshort(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """Build ResNet-56 without shortcuts; any image size."""
    del image_size
    return ResNet(in_channels, num_classes, (16, 32, 64), 9, shortcut="none")


def resnet18(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """Build ResNet-18 with a 3x3 stem and no pooling before the blocks; any image size."""
    del image_size
    return ResNet(in_channels, num_classes, (64, 128, 256, 512), 2, shortcut="project")


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
