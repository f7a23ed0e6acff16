"""Checkpoints as the libraries write them, opened as a user would: GPT-2, Llama, BERT, and Lightning's Trainer.

The oracle is the network that was saved: its loss, by its own forward pass, and its weights. Tiny, with random weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from analysis import load
from landscape.network.checkpoints import read_weights
from landscape.network.fitting import load_weights
from landscape.network.opening import subjects
from landscape.options import Given
from tests.landscape.conftest import Done
from tests.landscape.recorder import Recorder

NETS = """
import torch
import transformers

SMALL = dict(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
IDS = dict(bos_token_id=0, eos_token_id=1, pad_token_id=2)

def gpt2():
    return transformers.GPT2LMHeadModel(gpt2_config())

def gpt2_config():
    return transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, **IDS)

def llama():
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=1, max_position_embeddings=8, **IDS)
    return transformers.LlamaForCausalLM(config)

def bert():
    return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, max_position_embeddings=8, pad_token_id=2))

def data():
    ids = torch.randint(3, 20, (4, 6), generator=torch.Generator().manual_seed(0))
    return [({"input_ids": ids}, ids)]

def next_token(output, ids):
    return torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
"""
LOSS = "nets:next_token"


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a scratch folder the current one, with the module `nets` in it; the module."""
    pytest.importorskip("transformers", reason="transformers is installed by the extra `test`")
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    torch.manual_seed(0)
    yield __import__("nets")
    sys.modules.pop("nets", None)


def opened(kind: str, checkpoint: str) -> tuple[Any, list[str]]:
    """Open the network as `landscape measure` does; its objective and what was said about names."""
    given = Given([], f"nets:{kind}", checkpoint, "nets:data", LOSS, Path("net.h5"))
    display = Recorder()
    (subject,) = subjects(given, display)
    return subject.objective, display.notes


def own_loss(nets: Any, model: nn.Module) -> float:
    """The oracle: transformers' own forward pass, the next-token loss by hand."""
    ((inputs, ids),) = nets.data()
    with torch.no_grad():
        logits = model.eval()(**inputs).logits[:, :-1].double()
    return float(-logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).mean())


def assert_measured(objective: Any, nets: Any, saved: nn.Module) -> None:
    """The weights bit for bit; the loss within 100 roundings of float32, for sums of logits in another order."""
    for name, tensor in objective.model.state_dict().items():
        assert torch.equal(tensor, saved.state_dict()[name]), name
    assert objective.loss() == pytest.approx(own_loss(nets, saved), rel=100 * 2**-24)


@pytest.mark.parametrize(
    ("kind", "filled"),
    [
        ("gpt2", "'lm_head.weight' from 'transformer.wte.weight'"),
        ("llama", ""),
        ("bert", "'cls.predictions.decoder.weight' from 'bert.embeddings.word_embeddings.weight'"),
    ],
)
@pytest.mark.parametrize("shards", [False, True])
def test_a_folder_of_save_pretrained(nets: Any, kind: str, filled: str, shards: bool) -> None:
    """Fails if tied weights, which safetensors drops, are not filled, or a shard is not read."""
    saved = getattr(nets, kind)()
    saved.save_pretrained("net", max_shard_size="2KB" if shards else "1GB")
    assert (len(list(Path("net").glob("*.safetensors"))) > 1) == shards
    objective, notes = opened(kind, "net")
    assert_measured(objective, nets, saved)
    assert any(f"filled {filled}, to which the network ties it" in note for note in notes) == bool(filled)


def test_a_folder_with_the_older_format(nets: Any) -> None:
    Path("net").mkdir()
    saved = nets.llama()
    torch.save(saved.state_dict(), "net/pytorch_model.bin")
    objective, notes = opened("llama", "net")
    assert_measured(objective, nets, saved)
    assert notes == []


def test_gpt2_as_it_was_published(nets: Any) -> None:
    """Without the head and its prefix, and with the causal masks that older versions saved as buffers."""
    import transformers
    from safetensors.torch import save_file

    base = transformers.GPT2Model(nets.gpt2_config())
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8).tril() for layer in range(2)}
    save_file({**base.state_dict(), **masks}, "model.safetensors")
    objective, notes = opened("gpt2", "model.safetensors")
    saved = nets.gpt2()
    saved.transformer.load_state_dict(base.state_dict())
    assert_measured(objective, nets, saved)
    assert [note.partition(": ")[2].split("'")[:2] for note in notes] == [
        ["put ", "transformer."],
        ["left out ", "transformer.h.0.attn.bias"],
        ["filled ", "lm_head.weight"],
    ]


def test_the_head_is_not_invented(nets: Any) -> None:
    """A base model without the weights of a head that is not tied: refused, not measured with a random head."""
    nets.llama().model.save_pretrained("net")
    with pytest.raises(
        ValueError, match=r"^--checkpoint net: does not fit the model: it lacks 1 name, 'lm_head\.weight' \(20"
    ):
        opened("llama", "net")


def test_a_body_is_taken_out_of_a_model_with_a_head_only_where_all_fits(nets: Any) -> None:
    saved = nets.gpt2()
    saved.save_pretrained("net")
    base = type(saved.transformer)(nets.gpt2_config())
    assert load_weights(base, "net") == ["net: removed 'transformer.' from the names of the weights"]
    assert torch.equal(base.wte.weight, saved.transformer.wte.weight)
    llama = nets.llama()
    llama.save_pretrained("net")
    body = type(llama.model)(llama.config)
    with pytest.raises(ValueError, match=r"it has beside it 1 name, 'lm_head\.weight' \(20, 8\); let --model build"):
        load_weights(body, "net")


def test_half_precision_is_measured_in_float32(nets: Any) -> None:
    saved = nets.llama().to(torch.bfloat16)
    saved.save_pretrained("net")
    objective, _ = opened("llama", "net")
    assert objective.dtype == torch.float32
    assert_measured(objective, nets, saved.float())


def test_gpt2_on_the_command_line(nets: Any, cli: Callable[..., Done]) -> None:
    nets.gpt2().save_pretrained("net")
    own = f"--model nets:gpt2 --checkpoint net --data nets:data --loss {LOSS} --output net.h5".split()
    done = cli("surface", "--dimensions", "1", "--points", "3", *own)
    assert done.status == 0, done.err
    assert "net: filled 'lm_head.weight' from 'transformer.wte.weight'" in done.out
    assert load("net.h5", "line").loss.isfinite().all()  # type: ignore[union-attr]
    weights = read_weights("net")
    torch.save({name: tensor + 1 for name, tensor in weights.items()}, "other.pt")
    refused = cli("surface", "--dimensions", "1", "--points", "3", *own, "--checkpoint", "other.pt")
    assert refused.status == 2
    assert "net.h5 belongs to the checkpoint with SHA-256" in refused.err


class Reading:
    """Notes which checkpoints are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []

        def noting(path: Any, **options: Any) -> Any:
            self.paths.append(str(path))
            return read_weights(path, **options)

        for place in ("landscape.network.checkpoints.read_weights", "landscape.network.fitting.read_weights"):
            monkeypatch.setattr(place, noting)


def test_a_direction_toward_a_folder_and_a_path_to_it(
    nets: Any, cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the names of another end are not fitted: here a folder without the head, and a file with a prefix."""
    nets.gpt2().save_pretrained("one")
    torch.save(nn.DataParallel(nets.gpt2()).state_dict(), "two.pt")
    own = f"--model nets:gpt2 --data nets:data --loss {LOSS}".split()
    line = "surface --dimensions 1 --points 3 --extent 0:1 --toward two.pt --checkpoint one".split()
    notes = ["one: filled 'lm_head.weight' from", "two.pt: removed 'module.' from the names of the weights"]
    done = cli(*line, *own, "--output", "line.h5")
    assert done.status == 0, done.err
    assert [done.out.count(note) for note in notes] == [1, 1]
    read = Reading(monkeypatch)
    both = ("--curve", "linear", "--curve", "bezier", "--steps", "2")
    done = cli("path", "one", "two.pt", "--points", "3", *both, *own, "--output", "way.h5")
    assert done.status == 0, done.err
    assert [done.out.count(note) for note in notes] == [1, 1]  # of both ends, and not once for each curve
    assert read.paths == ["one", "two.pt"]
    losses = [opened("gpt2", name)[0].loss() for name in ("one", "two.pt")]
    for file, name in (("line.h5", "line"), ("way.h5", "linear_path")):
        found = load(file, name).loss.flatten()[[0, -1]].tolist()  # type: ignore[union-attr]
        assert found == pytest.approx(losses, rel=1e-6)


class Extra:
    """An argument of the user's own that Lightning keeps."""


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning uses what torch has deprecated
@pytest.mark.filterwarnings("ignore:.*LeafSpec:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize("is_plain", [True, False])
def test_a_checkpoint_of_lightnings_trainer(tmp_path: Path, is_plain: bool) -> None:
    """With the weights under `model.` beside the optimizer's; and refused where hyper_parameters hold objects."""
    lightning = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is installed by the extra `test`")

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self, width: int, extra: Any) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = nn.Linear(width, 2)

        def training_step(self, batch: Any, _: int) -> Any:
            return self.model(batch).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

    module = Module(3, {"lr": 0.1} if is_plain else Extra())
    off = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **off)
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(4, 3), batch_size=2))
    path, model = tmp_path / "last.ckpt", nn.Linear(3, 2)
    trainer.save_checkpoint(path)
    if not is_plain:
        message = r"refused, .*, \S+\.Extra \(Lightning keeps hyper_parameters and the state of callbacks\), and unpick"
        with pytest.raises(ValueError, match=message):
            load_weights(model, path)
    assert load_weights(model, path, trust=not is_plain) == [f"{path}: removed 'model.' from the names of the weights"]
    assert torch.equal(model.weight, module.model.weight)
    whole = Module(3, SimpleNamespace())
    assert load_weights(whole, path, trust=not is_plain) == []
