"""VGG-11 (configuration A of Simonyan and Zisserman, ICLR 2015) with one linear layer, as is usual on CIFAR-10.

Right when the parameter counts are 9,225,610 without and 9,231,114 with batch norm
(`tests/gcsam/training/test_models.py`).
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["VGG11", "vgg11", "vgg11_bn"]

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG11(nn.Module):
    """Eight 3x3 convolutions in five stages, global average, linear layer.

    A stage ends with pooling where the image still has two pixels a side, so that images from 1x1 up work; at 32x32
    and above this is the usual network.

    Args:
        in_channels: Colors.
        num_classes: Classes.
        image_size: (height, width).
        batch_norm: After every convolution.
    """

    def __init__(
        self, in_channels: int, num_classes: int, image_size: tuple[int, int], *, batch_norm: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = in_channels, min(image_size)
        for stage in _STAGES:
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU())
                channels = width
            if side >= 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)
        for module in self.features:
            if isinstance(module, nn.Conv2d):  # He et al., ICCV 2015: without it eleven layers do not start to learn
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # these convolutions have one

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, classes] for images [B, C, H, W]."""
        scores: Tensor = self.head(self.features(images).mean((2, 3)))
        return scores


def vgg11(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> VGG11:
    """Build VGG-11 without batch norm."""
    return VGG11(in_channels, num_classes, image_size)


def vgg11_bn(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> VGG11:
    """Build VGG-11 with batch norm."""
    return VGG11(in_channels, num_classes, image_size, batch_norm=True)
