"""GCSAM against the SAM of pytorch_optimizer 4.1, in float64, where both treat the layers alike.

Its `use_gc=True` takes the norm before centralizing, which is our radius="published". Blind to conventions both share.
They do not share three: a weight with one element per row, which it sets to a gradient of zero in the ascent;
transposed convolutions, centralized there per input channel; embeddings, centralized there and left alone here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcsam import GCSAM

peer = pytest.importorskip(
    "pytorch_optimizer", reason="pip install --no-deps -r benchmarks/requirements.txt to compare with it"
)
pytestmark = pytest.mark.peers

STEPS = 20
OPTIONS: dict[str, Any] = {"rho": 0.5, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}  # a large rho: it must show
# Both do the same sums in another order, which rounds numbers near 1 in about ten places of 2e-16 a step. Momentum 0.9
# adds up ten such steps, and the curvature, below 10 but for the start, no more than doubles them: 20 steps, 1e-12.
SAME = 1e-12
DIFFERENT = 1e-3


@pytest.fixture(autouse=True)
def norm_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer rounds the norm to float32 whatever the dtype; leave float64 alone, and nothing else parts the two."""
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().double()


def batch(shape: tuple[int, ...] = (6, 2, 6, 6)) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def closure_of(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        model.zero_grad()
        scores = model(x)
        loss = F.cross_entropy(scores, torch.arange(len(scores)) % scores.shape[1])
        torch.autograd.backward(loss)
        return loss

    return closure


def train_ours(build: Callable[[], nn.Module], x: Tensor, steps: int = STEPS, **options: Any) -> list[Tensor]:
    model = seeded(build)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, **OPTIONS, **options)
    for _ in range(steps):
        optimizer.step(closure_of(model, x))
    return [parameter.detach() for parameter in model.parameters()]


def train_theirs(build: Callable[[], nn.Module], x: Tensor, steps: int = STEPS, *, use_gc: bool) -> list[Tensor]:
    model = seeded(build)
    # without its offset of the norm, which would part the two by 1e-12
    optimizer = peer.SAM(model.parameters(), torch.optim.SGD, use_gc=use_gc, perturb_eps=0.0, **OPTIONS)
    closure = closure_of(model, x)
    for _ in range(steps):
        closure()
        optimizer.step(closure)
    return [parameter.detach() for parameter in model.parameters()]


def distance(first: list[Tensor], second: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def test_the_published_radius_is_its_centralized_sam() -> None:
    ours = train_ours(conv_net, batch(), radius="published")
    assert distance(ours, train_theirs(conv_net, batch(), use_gc=True)) < SAME


def test_the_exact_radius_is_not() -> None:
    """Fails if `radius` has no effect. Its steps are longer: ||g|| / ||Pg|| times."""
    ours = train_ours(conv_net, batch())
    assert distance(ours, train_theirs(conv_net, batch(), use_gc=True)) > DIFFERENT


def test_without_centralization_both_are_sam() -> None:
    ours = train_ours(conv_net, batch(), centralize_ascent=False)
    theirs = train_theirs(conv_net, batch(), use_gc=False)
    assert distance(ours, theirs) < SAME
    assert distance(ours, train_theirs(conv_net, batch(), use_gc=True)) > DIFFERENT  # its option has an effect


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.table(x))
        return scores


def one_per_row() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(72, 3))


def transposed() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(147, 3))


@pytest.mark.parametrize(
    ("build", "x"),
    [(one_per_row, batch()), (transposed, batch()), (Words, torch.tensor([0, 1, 2, 3, 4, 0]))],
    ids=["one element per row", "transposed convolution", "embedding"],
)
def test_layers_it_treats_otherwise(build: Callable[[], nn.Module], x: Tensor) -> None:
    """Fails if axes no longer go by layer type; by shape alone, one element per row would still differ."""
    ours = train_ours(build, x, steps=2, radius="published")
    assert distance(ours, train_theirs(build, x, steps=2, use_gc=True)) > DIFFERENT
    # and nothing but the centralization differs
    plain = train_ours(build, x, steps=2, centralize_ascent=False)
    assert distance(plain, train_theirs(build, x, steps=2, use_gc=False)) < SAME
