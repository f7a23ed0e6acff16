"""Curvature and gradient over a plane: closed forms of a separable quartic, a dense Hessian of a network, resuming.

The quartic has a diagonal Hessian, so it cannot show an error in products; the network can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import analysis
from analysis import Objective, Status, curvature_map, gradient_field, loss_surface
from tests.analysis.surface.test_scan import network, stop_at
from tests.analysis.test_objective import assert_same, everything
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close
from tests.oracles import dense

SCALES = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
LEANING = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)  # neither unit nor orthogonal


def wells() -> Objective:
    """L(w) = sum_i a_i (w_i^2 - 1)^2: H = diag(a_i (12 w_i^2 - 4)) and g_i = 4 a_i w_i (w_i^2 - 1)."""
    model = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.2, -0.3, 1.5]]))
    return Objective(model, batch_loss=lambda m, _: ((SCALES * (m.weight**2 - 1) ** 2).sum(), 1), data=torch.ones(1, 1))


def cells(found: Any, objective: Objective) -> list[tuple[int, int, Tensor]]:
    w = objective.weights()
    return [
        (i, j, w + x * LEANING[0] + y * LEANING[1])
        for i, x in enumerate(found.x.tolist())
        for j, y in enumerate(found.y.tolist())
    ]


def test_both_ends_of_a_known_spectrum_in_every_cell() -> None:
    """Fails if an end is that of the origin, the two are swapped, or axes are."""
    objective = wells()
    found = curvature_map(objective, LEANING, "none", ((-1.0, 0.5), (0.0, 0.7)), (4, 3), tol=1e-8)
    assert found.status is Status.COMPLETE
    for i, j, at in cells(found, objective):
        diagonal = SCALES * (12 * at**2 - 4)
        # the residuals bound the error; H in three dimensions closes the Krylov space, so rounding is left
        assert_close(found.lambda_max[i, j], diagonal.max(), relative=1e-10)
        assert_close(found.lambda_min[i, j], diagonal.min(), relative=1e-10)
        expected = max(0.0, -float(diagonal.min())) / abs(float(diagonal.max()))
        assert_close(found.ratio[i, j], expected, absolute=1e-10)
    assert 0.0 in found.ratio or float(found.lambda_min.max()) < 0
    assert found.residuals.shape == (2, 4, 3)
    assert bool((found.num_hvps >= 2).all())


def test_a_convex_cell_has_ratio_zero() -> None:
    found = curvature_map(wells(), torch.eye(3, dtype=torch.float64)[:2], "none", (2.0, 3.0), 2)
    assert found.ratio.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert float(found.lambda_min.min()) > 0


def test_a_network_has_the_ends_of_its_dense_hessian() -> None:
    model, loss_fn, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    found = curvature_map(objective, points=2, extent=0.5, tol=1e-4)
    start = objective.weights()
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = start + found.x[i] * found.directions[0] + found.y[j] * found.directions[1]
        nn.utils.vector_to_parameters(at, model.parameters())
        eigenvalues = torch.linalg.eigvalsh(dense.hessian(model, loss_fn, batches))
        # the residual bounds the distance to an eigenvalue; differences of the oracle are good to 1e-8
        assert abs(found.lambda_max[i, j] - eigenvalues[-1]) <= found.residuals[0, i, j] + 1e-7
        assert abs(found.lambda_min[i, j] - eigenvalues[0]) <= found.residuals[1, i, j] + 1e-7


def test_the_gradient_in_the_plane_and_its_share() -> None:
    """Fails if slopes are those of unit vectors, or leaning directions are taken as orthogonal."""
    objective = wells()
    found = gradient_field(objective, LEANING, "none", ((-1.0, 0.5), (0.0, 0.7)), (4, 3))
    for i, j, at in cells(found, objective):
        gradient = 4 * SCALES * at * (at**2 - 1)
        assert_close(found.slope[:, i, j], LEANING @ gradient, relative=1e-12)
        assert_close(found.gradient_norm[i, j], gradient.norm(), relative=1e-12)
        inside = (gradient[:2] ** 2).sum() / (gradient**2).sum()  # the plane holds the first two axes
        assert_close(found.in_plane[i, j], inside, relative=1e-12)


def test_slopes_are_those_of_the_surface() -> None:
    """The same seed gives the same plane; a central difference of the surface knows nothing of gradients."""
    objective = network(dtype=torch.float64)
    step = 1e-4
    near = loss_surface(objective, extent=step, points=3)
    field = gradient_field(objective, extent=((0, 1), (0, 1)), points=2)
    differences = [(near.loss[2, 1] - near.loss[0, 1]) / (2 * step), (near.loss[1, 2] - near.loss[1, 0]) / (2 * step)]
    # truncation of order step^2 = 1e-8 beside slopes of order 0.1
    assert_close(field.slope[:, 0, 0], differences, relative=1e-6)


def test_a_cell_that_diverged_says_so() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    objective = Objective(model, batch_loss=lambda m, _: ((m.weight**1.5).sum(), 1), data=torch.ones(1, 1))
    for scan in (curvature_map, gradient_field):
        found = scan(objective, torch.eye(2), "none", (-2.0, 0.0), 2)
        assert found.diverged.tolist() == [[True, True], [True, False]]
        assert bool(found.done.all())
        assert found.status is Status.NOT_FINITE


def test_a_gradient_of_zero_has_no_share() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    objective = Objective(model, batch_loss=lambda m, _: (m.weight.square().sum(), 1), data=torch.ones(1, 1))
    found = gradient_field(objective, torch.eye(2), "none", (0.0, 1.0), 2)
    assert found.gradient_norm[0, 0] == 0.0
    assert bool(found.in_plane[0, 0].isnan())
    assert found.status is Status.COMPLETE


@pytest.mark.parametrize("scan", [curvature_map, gradient_field])
def test_a_stopped_map_goes_on_and_equals_an_uninterrupted_one(scan: Any, tmp_path: Path) -> None:
    objective = network(CASES[2])
    path = tmp_path / "run.h5"
    whole = scan(objective, points=(2, 3))
    with pytest.raises(KeyboardInterrupt):
        scan(objective, points=(2, 3), path=path, name="map", progress=stop_at(4))
    part = analysis.load(path, "map")
    assert part.status is Status.INTERRUPTED
    assert int(part.done.sum()) == 4
    assert scan(objective, points=(2, 3), path=path, name="map") == whole == analysis.load(path, "map")
    with pytest.raises(ValueError, match=r"begun with another configuration .*seed: given 1, stored 0"):
        scan(objective, points=(2, 3), seed=1, path=path, name="map")


@pytest.mark.parametrize("scan", [curvature_map, gradient_field])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_everything_is_left_as_found(scan: Any, case: Case) -> None:
    model, loss_fn, batches = case.make()
    before = everything(model)
    scan(Objective(model, loss_fn, batches), points=2)
    assert_same(before, everything(model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tol": 1.0}, "tol must be between 0 and 1"),
        ({"max_hvps": 1}, "max_hvps must be a whole number >= 2, got 1"),
        ({"points": 1}, "points must be a whole number >= 2"),
    ],
)
def test_mistakes_are_one_line(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        curvature_map(network(), **settings, path=tmp_path / "run.h5")
    assert not (tmp_path / "run.h5").exists()
    with pytest.raises(ValueError, match="at least two measured weights, got 1"):
        curvature_map(Objective(nn.Linear(1, 1, bias=False), nn.MSELoss(), (torch.ones(1, 1), torch.ones(1, 1))))
