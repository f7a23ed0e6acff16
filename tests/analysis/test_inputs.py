"""What users bring: batches of any form, adapters, half precision, losses that are cut off from the weights."""

from __future__ import annotations

import re
from collections import namedtuple
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from analysis import GaussNewton, Objective, hessian_eigenvalues
from tests.cases import CASES
from tests.compare import assert_close
from tests.oracles import dense


def language_model() -> Any:
    transformers = pytest.importorskip("transformers", reason="batches of transformers, of the test extra")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        return transformers.GPT2LMHeadModel(config)


def text() -> Any:
    from transformers import BatchEncoding

    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(20, (4, 6), generator=generator)
    mask = torch.ones(4, 6, dtype=torch.long)
    mask[1, 4:] = mask[3, 2:] = 0
    labels = torch.where(mask == 1, ids, -100)
    return BatchEncoding({"input_ids": ids, "attention_mask": mask, "labels": labels})


def next_token(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return loss, (labels != -100).sum()


def test_a_hugging_face_model_with_its_batches() -> None:
    """Attention, tied embeddings, padding, dropout: cut or whole, the same; and symmetric, and checked."""
    model, whole = language_model(), text()
    pieces = [type(whole)({key: value[a:b] for key, value in whole.items()}) for a, b in ((0, 1), (1, 4))]
    objective = Objective(model, batch_loss=next_token, data=whole, dtype=torch.float64)
    cut = Objective(model, batch_loss=next_token, data=pieces, dtype=torch.float64)
    v = torch.linspace(-1, 1, objective.num_parameters, dtype=torch.float64)
    assert_close(cut.hvp(v), objective.hvp(v), relative=1e-12)
    assert "lm_head.weight" not in objective.names  # tied to the embedding, and there once
    check = objective.self_check()
    assert check.passed, check.report
    model.eval()
    own = model(**whole).loss  # the model's own mean over the same tokens
    assert_close(objective.loss(), own.detach(), relative=1e-6)
    assert_close(GaussNewton(cut).hvp(v), GaussNewton(objective).hvp(v), relative=1e-12)


def test_gauss_newton_refuses_a_loss_made_inside_the_model() -> None:
    objective = Objective(language_model(), batch_loss=lambda model, batch: (model(**batch).loss, 1), data=text())
    with pytest.raises(ValueError, match=r"the model returns a loss of its own"):
        GaussNewton(objective).hvp(torch.ones(objective.num_parameters))


Pair = namedtuple("Pair", ["x", "y"])


@pytest.mark.parametrize("form", ["tuple", "list", "named", "dict", "loader"])
def test_batches_of_any_form(form: str) -> None:
    model, loss_fn, batches = CASES[1].make()
    expected = Objective(model, loss_fn, batches).hvp(torch.ones(51))
    samples = [(x, y) for xs, ys in batches for x, y in zip(xs, ys, strict=True)]
    data: Any = {
        "tuple": batches,
        "list": [list(batch) for batch in batches],
        "named": [Pair(*batch) for batch in batches],
        "dict": [{"x": x, "y": y} for x, y in batches],
        "loader": DataLoader(samples, batch_size=5),
    }[form]
    if form == "dict":

        def loss(model: Any, batch: Any) -> tuple[Tensor, int]:
            return F.cross_entropy(model(batch["x"]), batch["y"], reduction="sum"), len(batch["y"])

        found = Objective(model, batch_loss=loss, data=data).hvp(torch.ones(51))
    else:
        found = Objective(model, loss_fn, data).hvp(torch.ones(51))
    assert_close(found, expected, relative=1e-13)


class LowRank(nn.Module):
    """A frozen layer with a trainable adapter of rank 2, as LoRA adds one."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(0.1 * torch.randn(2, layer.in_features, dtype=layer.weight.dtype))
        self.b = nn.Parameter(0.1 * torch.randn(layer.out_features, 2, dtype=layer.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.a.T @ self.b.T


def test_adapters_alone_are_measured() -> None:
    model, loss_fn, batches = CASES[1].make()
    torch.manual_seed(1)
    model[0] = LowRank(model[0])
    model[3].requires_grad_(False)
    objective = Objective(model, loss_fn, batches)
    assert objective.names == ("0.a", "0.b")
    hessian = dense.hessian(model, loss_fn, batches)
    v = torch.ones(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.hvp(v), hessian @ v, absolute=1e-6)


def test_regular_expressions_and_their_misses() -> None:
    model, loss_fn, batches = CASES[1].make()
    assert Objective(model, loss_fn, batches, re.compile(r"\.bias$")).names == ("0.bias", "3.bias")
    mixed = Objective(model, loss_fn, batches, ["0.*", re.compile("^3.w")])
    assert mixed.names == ("0.weight", "0.bias", "3.weight")
    with pytest.raises(ValueError, match=r"parameters: '0\.wieght' matches no parameter; near names: 0\.weight"):
        Objective(model, loss_fn, batches, re.compile(r"0.wieght"))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_computed_with_in_float32(half: torch.dtype) -> None:
    """The Hessian at the rounded weights, right to float32; the model itself stays what it is."""
    model, loss_fn, batches = CASES[2].make(torch.float32)
    model.to(half)
    data = [(x.to(half), y) for x, y in batches]
    objective = Objective(model, loss_fn, data)
    assert objective.dtype == torch.float32
    v = torch.ones(objective.num_parameters)
    exact = Objective(model, loss_fn, data, dtype=torch.float64).hvp(v.double())
    assert_close(objective.hvp(v), exact, relative=1e-5)
    assert next(model.parameters()).dtype == half
    found = hessian_eigenvalues(objective, 1)
    honest = Objective(model, loss_fn, data, dtype=torch.float64).hvp(found.vectors[0].double())
    assert float((honest - found.values[0] * found.vectors[0]).norm()) <= 1.01 * float(found.residuals[0])


def test_a_type_to_compute_in_that_is_too_short_is_refused() -> None:
    model, loss_fn, batches = CASES[1].make()
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32, torch\.float64 or None, got torch\.bfloat16"):
        Objective(model, loss_fn, batches, dtype=torch.bfloat16)


@pytest.mark.parametrize("call", ["gradient", "hvp"])
@pytest.mark.parametrize(
    "loss_fn",
    [
        lambda output, target: F.cross_entropy(output.detach(), target),
        lambda output, target: torch.tensor(F.cross_entropy(output, target).item()),
    ],
    ids=["detach", "item"],
)
def test_a_loss_cut_off_from_the_weights_is_refused(loss_fn: Any, call: str) -> None:
    """It would be a Hessian of zeros."""
    model, _, batches = CASES[1].make()
    objective = Objective(model, loss_fn, batches)
    with pytest.raises(ValueError, match=r"the loss must depend on the model's parameters, .* look for \.detach\(\)"):
        objective.hvp(torch.ones(51)) if call == "hvp" else objective.gradient()


def test_unused_parameters_alone_are_no_mistake() -> None:
    model, loss_fn, batches = CASES[5].make()
    objective = Objective(model, loss_fn, batches, parameters="unused")
    assert torch.equal(objective.gradient(), torch.zeros(2, dtype=torch.float64))
    assert torch.equal(objective.hvp(torch.ones(2)), torch.zeros(2, dtype=torch.float64))


def test_a_loss_of_several_numbers_is_refused() -> None:
    model, _, batches = CASES[1].make()
    objective = Objective(model, lambda o, t: F.cross_entropy(o, t, reduction="none"), batches)
    with pytest.raises(ValueError, match="the loss must be one number per batch"):
        objective.hvp(torch.ones(51))


def test_tokens_weigh_alike_however_they_are_batched() -> None:
    """10 and 80 valid tokens in two batches, or 90 in one; and a third batch without any adds nothing."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)).double()
    tokens, labels = torch.randint(7, (25, 8)), torch.randint(7, (25, 8))
    labels[:5, 2:], labels[5:, 4:] = -100, -100
    loss_fn = nn.CrossEntropyLoss()

    def by_token(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
        scores = model(batch[0]).flatten(0, 1)
        return F.cross_entropy(scores, batch[1].flatten(), reduction="sum"), (batch[1] != -100).sum()

    cut = [(tokens[:5], labels[:5]), (tokens[5:], labels[5:]), (tokens[:3], torch.full((3, 8), -100))]
    assert [int((target != -100).sum()) for _, target in cut] == [10, 80, 0]
    v = torch.linspace(-1, 1, 63, dtype=torch.float64)
    whole = Objective(model, batch_loss=by_token, data=(tokens, labels))
    pieces = Objective(model, batch_loss=by_token, data=cut)
    assert_close(pieces.hvp(v), whole.hvp(v), relative=1e-12)
    flat = Objective(model, loss_fn, [(x.flatten(), y.flatten()) for x, y in cut])  # the count read off ignore_index
    assert_close(flat.hvp(v), whole.hvp(v), relative=1e-12)
    assert flat.loss() == pytest.approx(whole.loss(), rel=1e-12)


def test_a_second_objective_on_the_same_model_finds_the_same_bits() -> None:
    """Fails where a first measurement leaves gradients that a second one adds to."""
    model, loss_fn, batches = CASES[1].make()
    first, second = (hessian_eigenvalues(Objective(model, loss_fn, batches), 2) for _ in range(2))
    assert first == second


def test_passes_over_the_data_are_counted() -> None:
    """Construction reads nothing. Kept graphs read the data once, beside a check of one batch; else each product."""

    class Counted(list):
        passes = 0

        def __iter__(self) -> Any:
            self.passes += 1
            return super().__iter__()

    model, loss_fn, batches = CASES[1].make()
    for budget, expected in ((None, 1), (0, None)):
        data = Counted(batches)
        objective = Objective(model, loss_fn, data, memory_budget=budget)
        assert data.passes == 0
        found = hessian_eigenvalues(objective, 2)
        check = 1  # the first batch, twice evaluated: does the loss repeat?
        assert data.passes - check == (found.num_hvps if expected is None else expected)
