"""Angles that were chosen, the overlap they make, and what chance makes of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from analysis.noise.subspaces import cosines, overlap, principal_angles
from tests.compare import assert_close


def orthonormal(rows: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, rows, dtype=torch.float64, generator=generator))[0].T.contiguous()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_chosen_angles_come_back(dtype: torch.dtype) -> None:
    """Bases are turned within their spaces, so that no row meets its own partner."""
    angles = torch.tensor([0.0, 1e-4, 0.3, math.pi / 2], dtype=torch.float64)
    axes = orthonormal(8, 40, 0)
    first = orthonormal(4, 4, 1) @ axes[:4]
    second = orthonormal(4, 4, 2) @ (angles.cos()[:, None] * axes[:4] + angles.sin()[:, None] * axes[4:])
    first, second = first.to(dtype), second.to(dtype)
    # rows rounded to float32 move each angle by some 1e-7; the cosine of an angle near 0, where scipy takes it, by 2e-8
    assert_close(principal_angles(first, second), angles, absolute=1e-7 if dtype == torch.float64 else 1e-6)
    expected = float(angles.cos().square().mean())
    assert overlap(cosines(first, second)) == pytest.approx(expected, abs=1e-14 if dtype == torch.float64 else 1e-6)


def test_cosines_name_the_pair_and_forget_the_sign() -> None:
    first, second = torch.eye(3)[:2], torch.tensor([[0.0, -1.0, 0.0], [0.6, 0.0, 0.8]])
    assert_close(cosines(first, second), [[0.0, 0.6], [1.0, 0.0]], absolute=1e-7)


def test_random_spaces_overlap_by_chance() -> None:
    """K/D on average; 400 overlaps of 3 random vectors in 30 dimensions, each within the other by about 0.1 +- 0.05."""
    fixed = orthonormal(3, 30, 0)
    found = torch.tensor([overlap(cosines(orthonormal(3, 30, seed), fixed)) for seed in range(1, 401)])
    assert float(found.mean()) == pytest.approx(3 / 30, abs=4 * float(found.std()) / 20)
