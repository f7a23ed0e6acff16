"""LoRA with peft: the adapter alone is measured, and comes from a file with peft's own names.

The oracle knows nothing of peft: a plain float64 Llama whose weights are W + s B A, and autograd by A and B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import load
from landscape.network.adapters import saved_names
from landscape.network.fitting import load_weights
from tests.compare import assert_close
from tests.landscape.conftest import Done

peft = pytest.importorskip("peft", reason="peft is installed by the extra `test`")
transformers = pytest.importorskip("transformers", reason="transformers is installed by the extra `test`")

# peft 0.21 asks transformers 5 for a property that it has renamed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

NETS = """
import peft, torch, transformers

SMALL = dict(vocab_size=11, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6)
IDS = dict(bos_token_id=0, eos_token_id=1, pad_token_id=0)
ADAPTER = peft.LoraConfig(r=1, lora_alpha=3, target_modules=["q_proj", "v_proj"], init_lora_weights=False)

def base():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, num_key_value_heads=1, **IDS))

def model():  # its adapter is drawn at random, and no two are alike
    built = base()
    torch.seed()
    return peft.get_peft_model(built, ADAPTER)

def frozen():
    return peft.PeftModel.from_pretrained(base(), "adapter")

def data():
    ids = torch.randint(2, 11, (4, 6), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": ids[:1], "labels": ids[:1]}, {"input_ids": ids[1:], "labels": ids[1:]}]
"""
OWN = "--checkpoint adapter --data lora_nets:data --loss landscape.huggingface:model_loss --output net.h5".split()
Q, V = (f"model.layers.0.self_attn.{kind}_proj" for kind in "qv")


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make a scratch folder the current one, with the module `lora_nets` and a saved adapter in it; the module."""
    import sys

    (tmp_path / "lora_nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("lora_nets")
    model = module.model()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data *= 3  # far from zero, where the Hessian by A and B is nearly that of their product
    model.save_pretrained("adapter")
    yield module
    sys.modules.pop("lora_nets", None)


def dense_hessian(nets: Any, adapter: dict[str, Tensor]) -> Tensor:
    """[D, D] by A and B of the query, then of the value, with s = lora_alpha / r = 3."""
    base = nets.base().double().eval()
    base.set_attn_implementation("eager")
    own = dict(base.named_parameters())
    pieces = [adapter[f"base_model.model.{name}.lora_{half}.weight"].double() for name in (Q, V) for half in "AB"]
    shapes = [piece.shape for piece in pieces]

    def loss(flat: Tensor) -> Tensor:
        a, b, c, d = (p.view(s) for p, s in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True))
        changed = {f"{Q}.weight": own[f"{Q}.weight"] + 3 * b @ a, f"{V}.weight": own[f"{V}.weight"] + 3 * d @ c}
        ids = torch.cat([batch["input_ids"] for batch in nets.data()])
        logits = torch.func.functional_call(base, changed, kwargs={"input_ids": ids}).logits[:, :-1]
        return -logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).mean()

    flat = torch.cat([piece.flatten() for piece in pieces])
    return torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call, no-any-return]


def test_the_adapter_of_a_file_is_measured_alone(nets: Any, cli: Callable[..., Done]) -> None:
    """In a network that came with another adapter at random; float32 against float64, a few hundred roundings."""
    done = cli("measure", "--model", "lora_nets:model", *OWN, "--top", 3)
    assert done.status == 0, done.err
    assert "adapter: took 4 tensors as the adapter; what is under it is as --model built it" in done.out
    from landscape.network.checkpoints import read_weights

    dense = torch.linalg.eigvalsh(dense_hessian(nets, read_weights("adapter")))
    found = load("net.h5", "eigenvalues")
    assert found.vectors.shape == (3, 14)  # type: ignore[union-attr]
    top = dense.flip(0)[:3]
    # the residual bounds the error of an eigenvalue
    bound = float(found.residuals.max()) + 1e-5 * float(dense.abs().max())  # type: ignore[union-attr]
    assert_close(found.values, top, absolute=bound)  # type: ignore[union-attr]


def test_parameters_are_chosen_on_the_command_line(nets: Any, cli: Callable[..., Done]) -> None:
    """An adapter as `from_pretrained` gives it is frozen, and nothing is left to measure without a choice."""
    done = cli("measure", "--model", "lora_nets:frozen", *OWN)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "every parameter is frozen (requires_grad=False); name those to measure" in done.err
    chosen = ["--parameters", "*lora_A*", "--parameters", "*q_proj*lora_B*"]
    for command, more in (("surface", ["--points", 3]), ("noise", [])):
        done = cli(command, "--model", "lora_nets:frozen", *OWN, *chosen, *more)
        assert done.status == 0, done.err
    assert load("net.h5", "plane").directions.shape[-1] == 12  # type: ignore[union-attr]  # 4 + 4 of A, 4 of B
    done = cli("measure", "--model", "lora_nets:frozen", *OWN, "--parameters", "*lora_*")
    assert done.status == 2
    assert (
        "net.h5 holds measurements of --parameters *lora_A* *q_proj*lora_B*, given is --parameters *lora_*;" in done.err
    )
    done = cli("measure", "--model", "lora_nets:frozen", *OWN, "--parameters", "*lora_C*")
    assert done.status == 2
    assert "parameters: '*lora_C*' matches no parameter; near names: base_model." in done.err


def test_runs_are_measured_as_a_whole(nets: Any, cli: Callable[..., Done]) -> None:
    done = cli("measure", "run", "--parameters", "*")
    assert done.err == "landscape measure: --parameters *: is of your own network; a run is measured as a whole\n"


def classifier(nets: Any, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(**nets.SMALL, pad_token_id=0, num_labels=3)
    base = transformers.BertForSequenceClassification(config)
    torch.seed()
    return peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS", init_lora_weights=False, r=2, **options))


@pytest.mark.parametrize("options", [{"target_modules": ["query"]}, {"target_modules": ["word_embeddings"]}])
@pytest.mark.parametrize("use_dora", [False, True])
def test_heads_saved_whole_embeddings_and_magnitudes_come_back(nets: Any, options: Any, use_dora: bool) -> None:
    saved, other = (classifier(nets, **options, use_dora=use_dora).eval() for _ in range(2))
    saved.classifier.weight.data.mul_(2)
    saved.save_pretrained("head")
    ids = torch.arange(2, 8)[None]
    with torch.no_grad():
        assert not torch.allclose(saved(input_ids=ids).logits, other(input_ids=ids).logits)
        assert len(load_weights(other, "head")) == 1
        assert torch.equal(saved(input_ids=ids).logits, other(input_ids=ids).logits)


def test_what_does_not_fit_is_named(nets: Any) -> None:
    model = nets.model()
    from safetensors.torch import load_file, save_file

    weights = load_file("adapter/adapter_model.safetensors")
    assert weights.keys() == saved_names(model).keys()
    save_file({name: tensor for name, tensor in weights.items() if "q_proj" in name}, "half.safetensors")
    with pytest.raises(
        ValueError, match=r"it lacks 2 names, 'base_model\S+v_proj\.lora_A\.default\.weight' \(1, 4\), "
    ):
        load_weights(model, "half.safetensors")
    save_file({**weights, "base_model.model.more.lora_A.weight": torch.ones(1)}, "more.safetensors")
    with pytest.raises(
        ValueError, match=r"it has beside it 1 name, 'base_model\.model\.more\.lora_A\.weight' \(1,\); l"
    ):
        load_weights(model, "more.safetensors")
    with pytest.raises(
        ValueError, match=r"; it is an adapter of peft: let --model put one on its base, by PeftModel\.f"
    ):
        load_weights(nets.base(), "adapter")


def test_a_network_without_an_adapter_has_no_names_of_one(nets: Any) -> None:
    assert saved_names(nets.base()) == {}
    merged = nets.frozen().merge_and_unload()
    merged.save_pretrained("merged")
    assert load_weights(nets.base(), "merged") == []
