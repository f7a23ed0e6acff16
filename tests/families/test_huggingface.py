"""Hugging Face models with padded batches and labels of their own, against rows without padding, one at a time.

The oracle computes the cross-entropy itself, in float64, with eager attention and without a mask or a label of -100.
Blind to left padding, where positions move and the model's own result changes.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Objective, gradient_noise, hessian_eigenvalues
from landscape.huggingface import model_loss
from tests.compare import assert_close
from tests.families.oracle import Oracle

transformers = pytest.importorskip("transformers", reason="transformers is installed by the extra `test`")

VOCABULARY, LENGTHS = 11, (7, 3, 5, 2, 7)
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 12,
}
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
# logits are rounded to float32 by the models' own loss: some 2^-24 = 6e-8 of each, a few dozen of them in a number
ROUNDED = 5e-6


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=12, n_embd=4, n_layer=1, n_head=2, **IDS)
    return transformers.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=1, tie_word_embeddings=True, **IDS)
    return transformers.LlamaForCausalLM(config)


def masked() -> nn.Module:
    return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, pad_token_id=0))


def classifier() -> nn.Module:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, pad_token_id=0, num_labels=3))


def rows() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, VOCABULARY, (length,), generator=generator) for length in LENGTHS]


def answers(kind: Any) -> list[Tensor]:
    """The labels of each row, as the model wants them."""
    if kind is classifier:
        return [row.sum() % 3 for row in rows()]
    if kind is masked:  # every other token is asked for, the last row not at all
        odd = [torch.where(torch.arange(len(row)) % 2 == 1, row, -100) for row in rows()]
        return [*odd[:-1], torch.full_like(odd[-1], -100)]
    return rows()


def padded(kind: Any, cuts: tuple[int, ...], length: int = 7) -> list[dict[str, Tensor]]:
    """The rows as a collator gives them."""

    def pad(row: Tensor, value: int) -> Tensor:
        return nn.functional.pad(row, (0, length - len(row)), value=value)

    given = answers(kind)
    labels = torch.stack(given if kind is classifier else [pad(row, -100) for row in given])
    batch = {
        "input_ids": torch.stack([pad(row, 0) for row in rows()]),
        "attention_mask": torch.stack([pad(torch.ones_like(row), 0) for row in rows()]),
        "labels": labels,
    }
    pieces = {key: value.split(list(cuts)) for key, value in batch.items()}
    return [{key: pieces[key][i] for key in batch} for i in range(len(cuts))]


def by_hand(kind: Any) -> Any:
    """The loss of one row without padding, from the logits."""

    def loss(model: Any, sample: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        row, label = sample
        logits = model(input_ids=row[None]).logits[0]
        if kind is classifier:
            return -logits.log_softmax(-1)[label], 1
        logits, label = (logits, label) if kind is masked else (logits[:-1], label[1:])
        asked = [i for i in range(len(label)) if label[i] != -100]
        return -sum((logits[i].log_softmax(-1)[label[i]] for i in asked), 0 * logits.sum()), len(asked)

    return loss


@pytest.fixture(params=[gpt2, llama, masked, classifier], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def made(kind: Any) -> nn.Module:
    """The network at random weights ten times those of its initialization, so that attention is not uniform."""
    torch.manual_seed(0)
    model = kind().double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 10
    return model


def oracle_of(model: nn.Module, kind: Any, names: Any) -> Oracle:
    return Oracle(model, by_hand(kind), list(zip(rows(), answers(kind), strict=True)), names)


def test_loss_gradient_and_product_are_those_of_rows_without_padding(kind: Any) -> None:
    model = made(kind)
    objective = Objective(model, batch_loss=model_loss, data=padded(kind, (2, 3)))
    oracle = oracle_of(model, kind, objective.names)
    vector = torch.randn(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.loss(), oracle.loss().item(), relative=ROUNDED)
    assert_close(objective.gradient(), oracle.gradient(), relative=ROUNDED)
    # Llama's norm computes in float32, which a difference of two gradients would see as noise of 1e-7 / step
    expected = oracle.product(vector) if kind is llama else oracle.difference(vector)
    # cancellation in a second derivative loses another digit
    assert_close(objective.hvp(vector), expected, relative=10 * ROUNDED)
    assert objective.method == "double_backward"


def test_no_number_depends_on_how_rows_are_cut_and_padded(kind: Any) -> None:
    """The last cut is a batch without any label in the case of the masked model: a mean over nothing."""
    model = made(kind)
    objectives = [
        Objective(model, batch_loss=model_loss, data=padded(kind, cuts, length))
        for cuts, length in (((5,), 7), ((1, 3, 1), 12))
    ]
    vector = torch.ones(objectives[0].num_parameters, dtype=torch.float64)
    losses, gradients, products = zip(*((o.loss(), o.gradient(), o.hvp(vector)) for o in objectives), strict=True)
    assert_close(losses[0], losses[1], relative=ROUNDED)
    assert_close(gradients[0], gradients[1], relative=ROUNDED)
    assert_close(products[0], products[1], relative=10 * ROUNDED)


@pytest.mark.parametrize(
    ("of", "parameters"), [(gpt2, ["*.wte.*", "*.c_attn.weight"]), (llama, ["*.embed_tokens.*", "*.[qk]_proj.*"])]
)
def test_the_top_of_the_spectrum_is_that_of_the_dense_hessian(of: Any, parameters: list[str]) -> None:
    """Of the tied embeddings, which are one weight, and attention; of these alone, so that it is soon there."""
    model = made(of)
    objective = Objective(model, batch_loss=model_loss, data=padded(of, (2, 3)), parameters=parameters)
    dense = torch.linalg.eigvalsh(oracle_of(model, of, objective.names).hessian()).flip(0)
    found = hessian_eigenvalues(objective, k=3, tol=1e-6)
    assert found.status.name == "CONVERGED"
    assert_close(found.values, dense[:3], relative=10 * ROUNDED)


def test_the_noise_is_that_of_whole_rows(kind: Any) -> None:
    """The scale of a row's gradient is that of the mean: N / count of its loss sum."""
    model = made(kind)
    objective = Objective(model, batch_loss=model_loss, data=padded(kind, (2, 3)))
    oracle = oracle_of(model, kind, objective.names)
    count = sum(by_hand(kind)(oracle.model, sample)[1] for sample in zip(rows(), answers(kind), strict=True))
    single = oracle.sample_gradients() * len(LENGTHS) / count
    found = gradient_noise(objective)
    assert_close(found.raw.total.trace, single.var(0).sum(), relative=10 * ROUNDED)


def test_a_model_is_left_as_found() -> None:
    model = made(gpt2).train()
    before, mode = copy.deepcopy(model.state_dict()), model.training
    Objective(model, batch_loss=model_loss, data=padded(gpt2, (5,))).hvp(torch.ones(344, dtype=torch.float64))
    assert model.training == mode
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_other_kinds_of_labels_are_counted() -> None:
    """Regression counts samples; an encoder-decoder does not shift its labels."""

    class Regression(nn.Module):
        loss_type = "ForSequenceClassification"

        def forward(self, labels: Tensor) -> tuple[Tensor]:
            return (labels.mean(),)

    assert model_loss(Regression(), {"labels": torch.ones(3)}) == (3.0, 3)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    labels = torch.tensor([[3, 4, 5], [6, -100, -100]])
    loss_sum, count = model_loss(model, {"input_ids": rows()[0][None].expand(2, -1), "labels": labels})
    assert int(count) == 4
    logits = model(input_ids=rows()[0][None].expand(2, -1), labels=labels).logits.log_softmax(-1)
    picked = [logits[0, 0, 3], logits[0, 1, 4], logits[0, 2, 5], logits[1, 0, 6]]
    assert_close(loss_sum.item(), -sum(picked).item(), relative=ROUNDED)


def test_what_cannot_be_weighted_is_refused() -> None:
    model = made(classifier)
    with pytest.raises(ValueError, match=r"^model_loss needs batches that are mappings with a tensor 'labels', got tu"):
        model_loss(model, (rows()[0], rows()[0]))
    with pytest.raises(ValueError, match=r"with a tensor 'labels', got a mapping of input_ids$"):
        model_loss(model, {"input_ids": rows()[0]})
    with pytest.raises(
        ValueError, match=r"what the loss of Linear is a mean over \(loss_type None\); write a function"
    ):
        model_loss(nn.Linear(1, 1), {"labels": torch.ones(1)})


def test_a_result_is_stored_and_read_equal(tmp_path: Path) -> None:
    from analysis import load

    objective = Objective(made(llama), batch_loss=model_loss, data=padded(llama, (5,)))
    found = hessian_eigenvalues(objective, k=1)
    found.save(tmp_path / "net.h5", "top")
    assert_close(load(tmp_path / "net.h5", "top").values, found.values)
