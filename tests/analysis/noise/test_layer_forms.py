"""Every weight with a form against plain autograd, one sample at a time, in float64; and what has none.

Blind to whether a call was recorded rightly: calls are made by hand here. Geometries: `test_factored.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from analysis.noise.layer_forms import Call, answer, has_form, is_batched, last_gradient
from analysis.noise.scalars import KINDS, Target, of_gradients
from gcsam.centralize import module_dims, random_directions
from tests.compare import assert_close


def words(*shape: int) -> Tensor:
    return torch.randint(6, shape, generator=torch.Generator().manual_seed(4))


def images(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def batch_norm(kind: type[nn.Module]) -> nn.Module:
    module = kind(3)
    module.running_mean.uniform_(-0.5, 0.5)
    module.running_var.uniform_(0.5, 2.0)
    return module


LAYERS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear": (lambda: nn.Linear(4, 3), images(5, 2, 4)),
    "convolution": (lambda: nn.Conv2d(2, 3, 3), images(5, 2, 5, 5)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(2, 3, 3), images(5, 2, 3, 3)),
    "embedding, one word": (lambda: nn.Embedding(6, 3), words(5)),
    "embedding": (lambda: nn.Embedding(6, 3), words(5, 7)),
    "embedding with padding": (lambda: nn.Embedding(6, 3, padding_idx=2), words(5, 7)),
    "layer norm": (lambda: nn.LayerNorm(4), images(5, 4)),
    "layer norm of tokens, two axes": (lambda: nn.LayerNorm((3, 4)), images(5, 2, 3, 4)),
    "rms norm": (lambda: nn.RMSNorm(4), images(5, 3, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), images(5, 4, 3, 2)),
    "batch norm 1d": (lambda: batch_norm(nn.BatchNorm1d), images(5, 3)),
    "batch norm 2d": (lambda: batch_norm(nn.BatchNorm2d), images(5, 3, 4, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_weight_is_that_of_its_sample_alone(name: str) -> None:
    build, inputs = LAYERS[name]
    torch.manual_seed(1)
    module = build().double().eval()
    slopes = torch.randn_like(module(inputs)).detach()
    statistics = (module.running_mean, module.running_var) if "batch norm" in name else ()
    for own_name, weight in module.named_parameters():
        nn.init.normal_(weight)
        rows = []
        for i in range(5):
            loss = (module(inputs[i : i + 1]) * slopes[i : i + 1]).sum()
            rows.append(torch.autograd.grad(loss, weight)[0])
        dims = module_dims(module)[own_name]
        control = random_directions(weight.shape, dims, torch.Generator().manual_seed(3)) if dims else None
        target = Target(weight.shape, dims, KINDS, control, torch.randn_like(weight).detach())
        assert has_form(module, own_name, dims)
        assert is_batched(module, inputs)
        found, way = answer(Call(module, inputs, statistics, slopes), own_name, target)
        assert_close(found, of_gradients(torch.stack(rows), target), relative=1e-12)  # sums of a hundred products
        assert way in {"gram", "product", "grouped", "sum"}
        rest = target._replace(previous=torch.randn_like(weight).detach(), is_centered=True)
        deviating, _ = answer(Call(module, inputs, statistics, slopes), own_name, rest)
        # differences of numbers of the size of the raw ones, up to a few hundred
        assert_close(deviating, of_gradients(torch.stack(rows), rest), absolute=1e-10)
        last = last_gradient(Call(module, inputs, statistics, slopes), own_name, rest)
        assert_close(last, rows[-1] - rest.along, absolute=1e-12)


class Doubled(nn.Linear):
    """Not what its class says."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Renamed(nn.Linear):
    """What its class says, and no more."""


def replaced() -> nn.Module:
    module = nn.Linear(2, 2)
    module.forward = lambda x: x @ module.weight  # type: ignore[method-assign]
    return module


def test_only_layers_with_torchs_own_forward_have_a_form() -> None:
    assert has_form(Renamed(2, 2), "weight", (1,))
    modules = [Doubled(2, 2), replaced(), nn.LSTM(2, 2), nn.Bilinear(2, 2, 2), nn.InstanceNorm1d(2, affine=True)]
    assert not [module for module in modules if has_form(module, "weight", (1,))]


def test_only_weight_and_bias_have_a_form() -> None:
    module = nn.Linear(2, 2)
    module.register_parameter("scale", nn.Parameter(torch.ones(2)))
    assert not has_form(module, "scale", ())


@pytest.mark.parametrize(
    "option", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}], ids=lambda option: next(iter(option))
)
def test_embeddings_that_do_more_than_look_up_have_no_form(option: dict[str, object]) -> None:
    assert has_form(nn.Embedding(3, 2), "weight", ())
    assert not has_form(nn.Embedding(3, 2, **option), "weight", ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(4, 3), (4,)),
        (nn.Conv2d(2, 3, 3), (2, 5, 5)),
        (nn.ConvTranspose1d(2, 3, 3), (2, 5)),
        (nn.LayerNorm((3, 4)), (3, 4)),
        (nn.RMSNorm(4), (4,)),
        (nn.Embedding(6, 3), ()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_input_without_an_axis_for_samples_is_seen(module: nn.Module, shape: tuple[int, ...]) -> None:
    assert not is_batched(module, torch.zeros(shape))
    assert is_batched(module, torch.zeros(1, *shape))


def test_the_input_is_not_written_to() -> None:
    build, inputs = LAYERS["batch norm 2d"]
    module = build().double()
    before = copy.deepcopy((inputs, module.state_dict()))
    call = Call(module, inputs, (module.running_mean, module.running_var), images(5, 3, 4, 2))
    answer(call, "weight", Target(torch.Size((3,)), ()))
    assert torch.equal(before[0], inputs)
    assert all(torch.equal(value, before[1][name]) for name, value in module.state_dict().items())
