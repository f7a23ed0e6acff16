"""Blocks: a quadratic in every cell of an uneven grid, planes inside the block, three directions in small filters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import analysis
from analysis import Objective, Status, loss_block, loss_surface
from tests.cases import CASES


def test_a_quadratic_is_exact_in_every_cell() -> None:
    """Fails if two axes are swapped: the curvatures are 1, 4 and 9, the counts 3, 4 and 2."""
    model = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    objective = Objective(model, nn.MSELoss(reduction="sum"), (x, torch.zeros(3, 1, dtype=torch.float64)))
    extent = ((-1.0, 1.0), (0.0, 3.0), (-2.0, 0.5))
    found = loss_block(objective, torch.eye(3, dtype=torch.float64), "none", extent, (3, 4, 2))
    w = objective.weights()
    a, b, c = torch.meshgrid(found.x + w[0], found.y + w[1], found.z + w[2], indexing="ij")
    # the mean over three samples of (x w)^2; rounding of a few operations
    torch.testing.assert_close(found.loss, (a**2 + 4 * b**2 + 9 * c**2) / 3, rtol=1e-13, atol=1e-14)
    assert found.status is Status.COMPLETE
    assert found.points.tolist() == [3, 4, 2]


def test_the_middle_plane_is_the_surface_of_the_same_seed(tmp_path: Path) -> None:
    model, loss_fn, batches = CASES[1].make(torch.float64)
    objective = Objective(model, loss_fn, batches)
    found = loss_block(objective, points=3, seed=2, path=tmp_path / "run.h5")
    plane = loss_surface(objective, points=3, seed=2)
    assert torch.equal(found.directions[:2], plane.directions)
    assert torch.equal(found.loss[:, :, 1], plane.loss)
    assert float(found.loss[1, 1, 1]) == objective.loss()
    assert abs(found.cosine) <= max(1e-6, found.single_share)
    assert analysis.load(tmp_path / "run.h5") == found


def test_a_filter_of_two_elements_is_left_alone_in_the_third_direction() -> None:
    """Fails if the rounding that orthogonalization leaves there is scaled up to the norm of the filter."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 50, bias=False), nn.Tanh(), nn.Linear(50, 3, bias=False)).double()
    objective = Objective(model, nn.MSELoss(), (torch.ones(4, 2).double(), torch.zeros(4, 3).double()))
    found = loss_block(objective, points=2)
    small = found.directions[:, :100].reshape(3, 50, 2)
    large = found.directions[:, 100:]
    gram = large @ large.T
    assert float((gram - torch.diag(gram.diagonal())).abs().max()) < 1e-12 * float(gram.max())
    inner = (small[0] * small[1]).sum(1)
    assert float(inner.abs().max()) < 1e-12
    assert 0 < abs(found.cosine) <= found.single_share < 1
    # drawn as Gaussians: between the third and the first the angle is any, and not a multiple of rounding
    cosines = (small[0] * small[2]).sum(1) / (small[0].norm(dim=1) * small[2].norm(dim=1))
    assert float(cosines.abs().mean()) == pytest.approx(2 / torch.pi, abs=4 * 0.31 / 50**0.5)


def test_three_are_wanted() -> None:
    model, loss_fn, batches = CASES[1].make(torch.float64)
    objective = Objective(model, loss_fn, batches)
    with pytest.raises(ValueError, match=r"three vectors \[D\], got 2"):
        loss_block(objective, list(torch.ones(2, objective.num_parameters)), points=2)
