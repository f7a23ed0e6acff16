"""The arithmetic itself: exact norms, and the path that takes many tensors at a time on an accelerator.

That path is run here on the CPU, against the one that takes tensors one by one; it cannot see a kernel that is wrong
on the accelerator alone.
"""

from __future__ import annotations

import math

import pytest
import torch

from gcsam import GCSAM, ascent
from gcsam.rows import Rows
from tests.gcsam.small import backward_of, network
from tests.oracles import gcsam_twin


@pytest.mark.parametrize("chunk", [1, 20, 2**24])
@pytest.mark.parametrize("switches", [{}, {"adaptive": True}, {"centralize_ascent": False, "radius": "published"}])
def test_many_at_a_time_equals_one_by_one(monkeypatch, switches, chunk):
    """Fails if a chunk loses, doubles or mixes up tensors, or groups of another eta or dtype."""
    models = []
    for one_by_one in (True, False):
        monkeypatch.setattr(ascent, "_is_one_by_one", lambda _, answer=one_by_one: answer)
        monkeypatch.setattr(ascent, "_CHUNK_ELEMENTS", chunk)
        model = network()
        model[6].float()
        parameters = list(model.parameters())
        groups = [{"params": parameters[:3]}, {"params": parameters[3:], "rho": 0.3, "eta": 0.2}]
        optimizer = GCSAM.from_model(model, torch.optim.SGD, params=groups, rho=0.1, lr=0.1, **switches)

        def closure(model=model):
            hidden = model[:6](torch.ones(2, 2, 4, 4, dtype=torch.float64))
            model[6](hidden.float()).square().sum().backward()

        for _ in range(3):
            optimizer.step(closure)
        models.append((model, optimizer.ascent_ratio(), [optimizer.ascent_ratios()[p] for p in parameters]))
    (model, ratio, ratios), (other, other_ratio, other_ratios) = models
    # the float32 layer enters both norms, and they are added up in another order
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert ratio == pytest.approx(other_ratio, rel=1e-6)
    # single layers have gradients of norm 0.1 to 1, which such a difference of weights changes by up to 1e-5
    assert ratios == pytest.approx(other_ratios, rel=1e-5)


def piece_of(weight, rows=None, eta=None):
    """Return the piece of a weight whose gradient is the weight itself."""
    return ascent.Piece(weight, weight, weight.clone(), weight.clone(), rows, eta)


@pytest.mark.parametrize("chunk", [1, 20, 2**24])
def test_every_piece_is_in_one_chunk_of_its_own_kind(monkeypatch, chunk):
    monkeypatch.setattr(ascent, "_is_one_by_one", lambda _: False)
    monkeypatch.setattr(ascent, "_CHUNK_ELEMENTS", chunk)
    pieces = [
        piece_of(torch.ones(size, dtype=dtype), eta=eta)
        for size in (3, 30)
        for dtype in (torch.float32, torch.float64)
        for eta in (None, 0.1)
        for _ in range(2)
    ]
    chunks = list(ascent._chunks(pieces))
    assert sorted(id(piece) for chunk in chunks for piece in chunk) == sorted(map(id, pieces))
    for members in chunks:
        assert len({(piece.parameter.dtype, piece.eta) for piece in members}) == 1
        assert sum(piece.parameter.numel() for piece in members[:-1]) < chunk


@pytest.mark.parametrize("fill", [torch.ones, torch.rand, torch.randn])
def test_the_norm_of_many_float32_numbers_is_right(fill):
    """Fails with torch's own norm on a CPU: off by 4e-4 for constant entries."""
    tensors = [0.1 * fill(1_000_000), fill(3)]
    # a pairwise sum of n terms is off by log2(n) roundings of 6e-8 at most, the root halves it
    assert float(ascent.norm_of(tensors)) == pytest.approx(gcsam_twin.norm(tensors), rel=6e-8 * 21)


def test_the_norm_spans_dtypes_and_does_not_overflow_in_half_precision():
    tensors = [torch.full((4,), 6e4, dtype=torch.float16), torch.ones(2, dtype=torch.float64)]
    result = ascent.norm_of(tensors)
    assert result.dtype == torch.float64
    assert float(result) == pytest.approx(gcsam_twin.norm(tensors), rel=1e-6)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_the_norm_of_a_bad_number_is_bad(value):
    assert not math.isfinite(float(ascent.norm_of([torch.ones(3), torch.tensor([1.0, value])])))


def test_channels_last_weights_keep_their_layout_and_their_step():
    models = [network().float() for _ in range(2)]
    models[1].to(memory_format=torch.channels_last)
    strides = [parameter.stride() for parameter in models[1].parameters()]
    for model in models:
        optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.5, adaptive=True, centralize_descent=True, lr=0.1)
        for _ in range(3):
            optimizer.step(backward_of(model))
    assert [parameter.stride() for parameter in models[1].parameters()] == strides
    assert strides[0] != models[0][0].weight.stride()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)  # float32, convolutions in another order


def test_directions_and_moves_are_plain_functions_of_tensors():
    """One row by hand: w = [3, 0], g = w, P g = [1.5, -1.5]."""
    weight = torch.tensor([[3.0, 0.0]])
    piece = piece_of(weight, rows=Rows((1,), length=2))
    norms = ascent.write_directions([piece])
    assert torch.equal(weight, torch.tensor([[1.5, -1.5]]))
    assert float(norms.direction) == pytest.approx(math.sqrt(4.5))
    assert float(norms.gradient) == pytest.approx(3.0)
    assert norms.ratio() == pytest.approx(math.sqrt(0.5))
    ascent.perturb([piece], torch.tensor(2.0))
    assert torch.equal(weight, torch.tensor([[6.0, -3.0]]))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 3e38])
@pytest.mark.parametrize("size", [3, 2**15])
def test_one_number_that_is_not_finite_is_found_wherever_it_is(value, size):
    """Among short tensors and long ones; sums and squares of finite numbers that overflow count too."""
    tensors = [torch.ones(5), torch.ones(size), torch.ones(2**15)]
    assert bool(ascent.are_finite(tensors))
    assert bool(ascent.are_finite(tensors[1:]))
    tensors[1][-2:] = value
    assert not bool(ascent.are_finite(tensors))


def test_half_precision_sums_do_not_overflow():
    assert bool(ascent.are_finite([torch.full((2**15,), 100.0, dtype=torch.float16)]))
