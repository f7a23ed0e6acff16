"""ViT-Ti: a pre-LN vision transformer of width 192 (Dosovitskiy et al. 2021; sizes of Touvron et al., DeiT, 2021).

Right when, at 224x224 and 1,000 classes, it has the published 5,717,416 parameters
(`tests/gcsam/training/test_models.py`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ViT", "patch_size_for", "vit_tiny"]


class _Layer(nn.Module):
    """Attention and two linear layers, each on normalized input, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, T, D] -> [B, heads, T, D / heads]
            for part in self.qkv(self.norm1(tokens)).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.projection(mixed)
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class ViT(nn.Module):
    """Patches as tokens with learned positions, a class token, transformer layers, a linear layer; no dropout.

    Args:
        in_channels: Colors.
        num_classes: Classes.
        image_size: (height, width), divided evenly by the patch.
        patch_size: Side of a patch.
        width: Of the tokens.
        depth: Number of layers.
        heads: Of the attention.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int, int],
        *,
        patch_size: int,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
    ) -> None:
        super().__init__()
        num_patches = math.prod(side // patch_size for side in image_size)
        self.patches = nn.Conv2d(in_channels, width, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, num_patches + 1, width))
        self.layers = nn.Sequential(*(_Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        for tensor in (self.class_token, self.positions):
            nn.init.trunc_normal_(tensor, std=0.02)  # as in DeiT, also for the linear layers
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, classes] for images [B, C, H, W]."""
        patches = self.patches(images).flatten(2).transpose(1, 2)  # [B, D, h, w] -> [B, T, D]
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1) + self.positions
        scores: Tensor = self.head(self.norm(self.layers(tokens))[:, 0])
        return scores


def patch_size_for(image_size: tuple[int, int]) -> int:
    """Return the side of a patch: the divisor of both sides that is nearest to 16, 8, 4 or 2 pixels.

    16 from 128 pixels up as in the papers; 8 from 48, 4 from 16 and 2 below, our choice, because images of 28 to 64
    pixels then have 49 to 64 tokens.

    Args:
        image_size: (height, width).

    Example:
        >>> [patch_size_for((side, side)) for side in (8, 28, 32, 64, 224)]
        [2, 4, 4, 8, 16]
    """
    side = min(image_size)
    wanted = 16 if side >= 128 else 8 if side >= 48 else 4 if side >= 16 else 2
    common = math.gcd(*image_size)
    divisors = [size for size in range(1, common + 1) if common % size == 0]
    return min(divisors, key=lambda size: abs(math.log(size / wanted)))


def vit_tiny(in_channels: int, num_classes: int, image_size: tuple[int, int]) -> ViT:
    """Build ViT-Ti with patches that fit the image."""
    return ViT(in_channels, num_classes, image_size, patch_size=patch_size_for(image_size))
