"""The whole measurement against the definition: each sample alone, by plain autograd, on a float64 copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import analysis
from analysis import Objective, per_sample_norms
from analysis.evidence import Status
from analysis.noise import answers
from tests.analysis.noise import oracle
from tests.analysis.noise.test_per_sample import ALL, ALL_IDS
from tests.cases import CASES, Case
from tests.compare import assert_close


class Block(nn.Module):
    """A transformer layer after LayerNorm, on the default attention, with a head for every token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(7, 8, padding_idx=0), nn.Embedding(5, 8)
        self.norm1, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8, bias=False)
        self.norm2, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (6, 4)).transpose(1, 2).chunk(3, dim=1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.head(x + self.down(F.gelu(self.up(self.norm2(x))))).mT  # [B, classes, T]


def _cnn() -> nn.Module:
    layers = [
        *(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 8, 3, stride=2, groups=2, padding=1, padding_mode="circular"), nn.GroupNorm(2, 8), nn.GELU()),
        *(nn.Conv2d(8, 6, 2, dilation=2, padding="same"), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1), nn.Tanh(), nn.ConvTranspose2d(4, 4, 2, groups=4)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    ]
    model = nn.Sequential(*layers)
    model[1].running_mean.uniform_(-0.5, 0.5)
    model[1].running_var.uniform_(0.5, 2.0)
    return model


class Looped(nn.Module):
    """A layer called twice, a weight read by a function, a parametrized layer, and a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.read, self.plain = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.normed = parametrizations.weight_norm(nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.tanh(self.twice(x)))
        return self.plain(self.normed(F.linear(x, self.read.weight, self.read.bias).tanh()))


class Turned(nn.Module):
    """A layer that sees the samples in another order, one that sees tokens first, and one that sees them in pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.flipped, self.tokens_first, self.paired = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, 3]
        x = self.flipped(x.flip(0)).flip(0).tanh()
        x = self.tokens_first(x.transpose(0, 1)).transpose(0, 1).tanh()
        return self.paired(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)


class Tokens(nn.Module):
    """A class token before the tokens, positions added to all, and weights of shape [1, n] that count on it."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Parameter(torch.randn(1, 1, 3)), nn.Parameter(torch.randn(1, 6, 3))
        self.mix, self.head = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:  # [B, 5, 3]
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(torch.tanh(self.mix(x)).mean(1))


class Squeezed(Tokens):
    """Its token has no room for samples: an error if it is spread."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.token.reshape(3))


class First(Tokens):
    """It looks at the first row alone: a wrong gradient, and no error, if its token is spread."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(x * self.token[0, 0] + self.place[:, 1:])).mean(1))


NETWORKS = (
    *ALL,
    Case("cnn of every kind", _cnn, lambda: torch.randn(12, 2, 6, 6)),
    Case("turned", Turned, lambda: torch.randn(12, 5, 3)),
    *(Case(kind.__name__, kind, lambda: torch.randn(12, 5, 3)) for kind in (Tokens, Squeezed, First)),
)
NETWORK_IDS = [*ALL_IDS, "every kind", "turned", "tokens", "squeezed", "first"]
CNN, TURNED, TOKENS, SQUEEZED, FIRST = NETWORKS[-5:]
LOOPED = Case("looped", Looped, lambda: torch.randn(12, 3))


def tokens(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Callable[..., Tensor], list]:
    """Return a transformer and its mean loss over valid tokens; sample 3 has none of them."""
    torch.manual_seed(2)
    x, y = torch.randint(7, (9, 5)), torch.randint(3, (9, 5))
    y[torch.rand(9, 5) < 0.3] = -100
    y[3] = -100
    loss = nn.CrossEntropyLoss(ignore_index=-100)
    return Block().to(dtype), loss, [(x[:5], y[:5]), (x[5:], y[5:])]  # 5 samples of 5 tokens: which axis is which?


def check(found: Any, model: nn.Module, gradients: dict[str, Tensor], along: dict[str, Tensor], seed: int) -> None:
    """Compare every number; squares are differences of numbers of the size of the raw one."""
    kinds = oracle.projected(model, gradients, seed)
    raw = oracle.by_layer(gradients)
    assert found.layers == tuple(path or type(model).__name__ for path in raw)
    for kind in oracle.KINDS:
        for column, (path, rows) in enumerate(oracle.by_layer(kinds[kind]).items()):
            size = float(raw[path].square().sum(1).max())
            got = getattr(found, kind)[:, column]
            assert_close(got, rows.square().sum(1), absolute=1e-12 * size)
            parts = [g.flatten(1) @ along[name].flatten() for name, g in kinds[kind].items() if _owner(name) == path]
            # a product is as large as the two norms together, at most
            allowed = 1e-12 * size**0.5 * max(float(piece.norm()) for piece in along.values())
            assert_close(getattr(found, f"{kind}_along")[:, column], sum(parts), absolute=10 * allowed)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def random_along(objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    vector = torch.randn(objective.num_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    return vector, objective.layout.split(vector)


@pytest.mark.parametrize("case", NETWORKS, ids=NETWORK_IDS)
def test_every_number_is_that_of_the_definition(case: Case) -> None:
    model, loss_fn, batches = case.make()
    objective = Objective(model, loss_fn, batches)
    vector, along = random_along(objective)
    found = per_sample_norms(objective, along=vector, seed=5)
    gradients = oracle.per_sample(model, loss_fn, batches)
    check(found, model, gradients, along, seed=5)
    assert found.num_samples == 12
    assert found.status is Status.COMPLETE


def test_weights_used_twice_outside_their_layer_or_parametrized() -> None:
    model, loss_fn, batches = LOOPED.make()
    found = per_sample_norms(Objective(model, loss_fn, batches))
    gradients = oracle.per_sample(model, loss_fn, batches)
    # the oracle knows no parametrization; in ours its tensors belong to the layer that uses them
    joined = {name.replace("parametrizations.weight.", ""): g for name, g in gradients.items()}
    for path, rows in oracle.by_layer(joined).items():
        assert_close(found.raw[:, found.layers.index(path)], rows.square().sum(1), relative=1e-12)


def test_means_over_tokens_with_ignored_ones() -> None:
    """g_i is the gradient of the sum over sample i's valid tokens; sample 3 has none, so it cannot vouch for layers."""
    model, loss_fn, batches = tokens()
    objective = Objective(model, loss_fn, batches)
    vector, along = random_along(objective)
    found = per_sample_norms(objective, along=vector)
    summed = nn.CrossEntropyLoss(ignore_index=-100, reduction="sum")
    check(found, model, oracle.per_sample(model, summed, batches), along, seed=0)
    assert float(found.raw[3].abs().max()) == 0.0
    ways = dict(zip(found.parameters, found.ways, strict=True))
    assert ways.pop("place.weight") == "vmap"  # its input has no axis for samples, though 5 places look like 5 samples
    assert set(ways.values()) <= {"gram", "product", "grouped", "sum"}


def test_what_has_a_form_goes_by_it_and_the_rest_by_gradients() -> None:
    """Fails if weights with a form silently take the slow way, or others the wrong one."""
    ways = {}
    for case in (CNN, LOOPED, TURNED):
        found = per_sample_norms(Objective(*case.make()))
        ways[case.name] = dict(zip(found.parameters, found.ways, strict=True))
    assert "vmap" not in ways["cnn of every kind"].values()
    slow = {name for name, way in ways["looped"].items() if way == "vmap"}
    assert {name.split(".")[0] for name in slow} == {"twice", "read", "normed"}
    assert ways["looped"]["normed.bias"] == "sum"
    assert {name for name, way in ways["turned"].items() if way == "vmap"} == set(ways["turned"])


def test_tokens_and_positions_are_spread_unless_the_model_counts_on_their_shape() -> None:
    """Fails if they go through vmap, which takes a pass of its own, or if a wrong gradient is believed."""
    expected = {TOKENS: ("spread", "spread"), SQUEEZED: ("vmap", "vmap"), FIRST: ("vmap", "spread")}
    for case, ways in expected.items():
        found = per_sample_norms(Objective(*case.make()))
        assert (
            dict(zip(found.parameters, found.ways, strict=True)).items()
            >= dict(zip(("token", "place"), ways, strict=True)).items()
        )


@pytest.mark.parametrize("chosen", [["3.*"], ["*.weight"], ["4.bias", "13.weight"]], ids=str)
def test_only_the_chosen_weights(chosen: list[str]) -> None:
    model, loss_fn, batches = CNN.make()
    objective = Objective(model, loss_fn, batches, parameters=chosen)
    _, along = random_along(objective)
    found = per_sample_norms(objective, along=random_along(objective)[0])
    gradients = oracle.per_sample(model, loss_fn, batches)
    # the control draws for the chosen weights alone, in their order
    check(found, model, {name: gradients[name] for name in objective.names}, along, seed=0)


def test_frozen_layers_on_both_sides_change_nothing() -> None:
    model, loss_fn, batches = CASES[1].make()
    whole = per_sample_norms(Objective(model, loss_fn, batches))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    part = per_sample_norms(Objective(model, loss_fn, batches))
    assert part.layers == ("3",)
    assert_close(part.raw[:, 0], whole.raw[:, 1], relative=1e-14)


def test_other_weights_are_those_given() -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    at = objective.weights() + 0.1
    there = per_sample_norms(objective, at)
    with torch.no_grad():
        for parameter, piece in zip(model.parameters(), objective.layout.split(at).values(), strict=True):
            parameter.copy_(piece)
    assert_close(there.raw, per_sample_norms(objective).raw, relative=1e-12)


def test_single_precision_is_near_double() -> None:
    model, loss_fn, batches = CNN.make(torch.float32)
    found = per_sample_norms(Objective(model, loss_fn, batches))
    twin, _, _ = CNN.make(torch.float32)
    exact = per_sample_norms(Objective(twin, loss_fn, batches, dtype=torch.float64))
    for kind in oracle.KINDS:
        assert_close(getattr(found, kind), getattr(exact, kind), relative=1e-4)  # a thousand roundings of float32
    assert "vmap" not in found.ways


def _contrast(output: Tensor, target: Tensor) -> Tensor:
    return (output[:, None] - output[None]).square().mean()


def _hardest(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="none").topk(len(output) // 2 or 1).values.mean()


@pytest.mark.parametrize("loss_fn", [_contrast, _hardest])
def test_a_loss_that_compares_samples_is_refused(loss_fn: Callable[..., Tensor]) -> None:
    """Fails if only the sample with the largest gradient is looked at: it is in the hardest half of its batch."""
    torch.manual_seed(0)
    objective = Objective(nn.Linear(3, 2), loss_fn, [(torch.randn(8, 3), torch.randint(2, (8,)))])
    with pytest.raises(ValueError, match=r"the loss must be a sum over samples, got loss [^\n]* has no per-sample"):
        per_sample_norms(objective)


def test_a_model_that_compares_samples_is_refused() -> None:
    class Centered(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean(0))

    model = nn.Sequential(nn.Linear(3, 3), Centered(3, 2))
    objective = Objective(model, nn.MSELoss(), [(torch.randn(8, 3), torch.randn(8, 2))])
    with pytest.raises(ValueError, match="the loss must be a sum over samples"):
        per_sample_norms(objective)


def test_forms_that_would_be_wrong_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails without the check on two samples: here a form lies, and the other way has to take over."""
    model, loss_fn, batches = CASES[1].make()
    expected = per_sample_norms(Objective(model, loss_fn, batches))
    true = answers.answer

    def lying(call: Any, own_name: str, target: Any) -> tuple[Tensor, str]:
        piece, way = true(call, own_name, target)
        return (1.1 * piece if own_name == "weight" else piece), way

    monkeypatch.setattr(answers, "answer", lying)
    found = per_sample_norms(Objective(model, loss_fn, batches))
    assert found.ways == ("vmap", "sum", "vmap", "sum")
    assert_close(found.raw, expected.raw, relative=1e-12)


def test_large_inputs_are_taken_in_equal_pieces_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a batch is cut unevenly, or its pieces are put together wrongly: batches of 5 and 7 samples."""
    objective = Objective(*CASES[1].make())
    expected = per_sample_norms(objective)
    sizes: list[int] = []
    true = answers.record
    monkeypatch.setattr(answers, "record", lambda *given: (sizes.append(given[3]), true(*given))[1])
    inputs = next(iter(objective.batches()))[0][0].numel()
    monkeypatch.setattr(answers, "PIECE_INPUTS", 4 * inputs)
    found = per_sample_norms(objective)
    assert sizes == [3, 2, 4, 3]
    assert_close(found.raw, expected.raw, relative=1e-12)
    assert_close(found.centralized, expected.centralized, relative=1e-12)


def test_kinds_left_out_are_nan() -> None:
    found = per_sample_norms(Objective(*CASES[1].make()), kinds=("centralized",))
    assert bool(found.raw.isfinite().all())
    assert bool(found.centralized.isfinite().all())
    assert bool(found.control.isnan().all())
    assert bool(found.raw_along.isnan().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"seed must be [^\n]* got -1"),
        ({"kinds": ("raw", "squared")}, r"kinds must be some of raw, centralized, control, got 'squared'"),
        ({"along": torch.zeros(3)}, r"along must be a flat vector of shape \(51,\)[^\n]* got \(3,\)"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        per_sample_norms(Objective(*CASES[1].make()), **arguments)


@pytest.mark.parametrize("index", [1, 4], ids=["forms", "loop"])
def test_gradients_that_are_not_finite_are_told(index: int) -> None:
    model, loss_fn, batches = CASES[index].make()
    batches[0][0].view(-1)[0] = torch.inf
    found = per_sample_norms(Objective(model, loss_fn, batches))
    assert found.status is Status.NOT_FINITE
    assert bool(found.raw[1:].isfinite().all())


@pytest.mark.parametrize("index", [2, 4, 5], ids=["forms", "loop", "vmap"])
def test_everything_is_left_as_found(index: int) -> None:
    model, loss_fn, batches = CASES[index].make()
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    per_sample_norms(Objective(model, loss_fn, batches))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) and p.requires_grad for p in model.parameters())
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_same_seed_same_bits_and_saved_is_loaded(tmp_path: Path) -> None:
    objective = Objective(*CASES[2].make())
    first, again, other = (per_sample_norms(objective, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert torch.equal(first.raw, other.raw)
    assert not torch.equal(first.control, other.control)
    first.save(tmp_path / "run.h5", "norms")
    assert analysis.load(tmp_path / "run.h5", "noise/norms") == first
