"""The user's own network, from files in a scratch folder: each mistake gives its one line.

Blind to what comes after: that the network is measured rightly is tested in `tests/analysis`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from landscape.sources import load_weights, own_data, own_loss, own_model

NETS = """
import torch

NUMBER = 3

def model():
    return torch.nn.Linear(2, 1)

def data():
    return [(torch.ones(3, 2), torch.zeros(3, 1))]

def loss(output, target):
    return (output - target).square().mean()

def broken():
    return torch.ones(2) @ torch.ones(3)

def text():
    return "a"

def nothing():
    return []
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a scratch folder the current one, with the module `nets` in it, and forget the module afterwards."""
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    return tmp_path


def test_functions_of_the_current_folder_are_found(nets: Path) -> None:
    assert isinstance(own_model("nets:model"), nn.Linear)
    assert len(list(own_data("nets:data"))) == 1
    assert float(own_loss("nets:loss")(torch.ones(2), torch.zeros(2))) == 1.0


def test_losses_of_torch_are_found_as_functions_and_as_classes() -> None:
    assert own_loss("torch.nn.functional:cross_entropy") is nn.functional.cross_entropy
    assert isinstance(own_loss("torch.nn:MSELoss"), nn.MSELoss)


def test_a_function_that_cannot_be_found_is_named_with_its_option(nets: Path) -> None:
    with pytest.raises(ValueError, match=r"^--loss nets: must be package\.module:function"):
        own_loss("nets")
    with pytest.raises(ValueError, match=r"^--loss nets:los: module 'nets' has no .*'los'; did you mean .*loss"):
        own_loss("nets:los")
    with pytest.raises(ValueError, match=r"^--model netz:model: no module 'netz' in .*; did you mean 'nets'\?"):
        own_model("netz:model")
    with pytest.raises(ValueError, match=r"^--data nets:NUMBER: module 'nets' has no function 'NUMBER'"):
        own_data("nets:NUMBER")


def test_a_function_that_fails_or_gives_the_wrong_thing(nets: Path) -> None:
    with pytest.raises(ValueError, match=r"--model nets:broken: calling it failed: RuntimeError: .*nets\.py, line 16"):
        own_model("nets:broken")
    with pytest.raises(ValueError, match=r"--model nets:text: must return a torch\.nn\.Module, but returned str"):
        own_model("nets:text")
    with pytest.raises(ValueError, match=r"--data nets:nothing: data must hold at least one batch"):
        own_data("nets:nothing")
    with pytest.raises(ValueError, match=r"--data nets:broken: calling it failed"):
        own_data("nets:broken")
    with pytest.raises(ValueError, match=r"--loss torch\.nn:Linear: calling it failed: TypeError"):
        own_loss("torch.nn:Linear")


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def wrapped(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


@pytest.mark.parametrize("key", [None, "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_weights_of_any_trainer_are_found(tmp_path: Path, key: str | None, prefix: str) -> None:
    torch.manual_seed(0)
    saved = wrapped(network().state_dict(), prefix)
    torch.save({key: saved, "epoch": 3} if key else saved, tmp_path / "final.pt")
    model = network()
    notes = load_weights(model, tmp_path / "final.pt")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved[f"{prefix}{name}"])
    assert len(notes) == prefix.count(".")
    assert all(re.search(r"removed '(module|_orig_mod)\.'", note) for note in notes)


def test_a_module_compiled_inside_another_is_found(tmp_path: Path) -> None:
    saved = {name.replace("0.", "0._orig_mod."): tensor for name, tensor in network().state_dict().items()}
    torch.save(saved, tmp_path / "final.pt")
    assert len(load_weights(network(), tmp_path / "final.pt")) == 1


def test_a_network_with_a_part_called_module_keeps_it(tmp_path: Path) -> None:
    """Fails if prefixes are removed from names that fit as they are."""
    model = nn.ModuleDict({"module": nn.Linear(2, 2)})
    torch.save(model.state_dict(), tmp_path / "final.pt")
    assert load_weights(model, tmp_path / "final.pt") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("2.bias"),
            r"final\.pt: does not fit the model: it lacks 1 name, first '2\.bias'; let --model",
        ),
        (lambda w: w.update(head=torch.ones(1)), r"it has beside it 1 name, first 'head'"),
        (lambda w: w.update({"2.weight": torch.ones(3, 4)}), r"has '2\.weight' of shape \(3, 4\), not \(2, 4\)"),
        (
            lambda w: w.update(epoch=3),
            r"must be a state_dict or hold one under model, state_dict, .*it holds 0\.weight",
        ),
    ],
)
def test_a_checkpoint_of_another_network(tmp_path: Path, change: object, message: str) -> None:
    weights = network().state_dict()
    change(weights)  # type: ignore[operator]
    torch.save(dict(weights), tmp_path / "final.pt")
    with pytest.raises(ValueError, match=message):
        load_weights(network(), tmp_path / "final.pt")


class Anything:
    """Not a tensor."""


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "final.pt"
    with pytest.raises(FileNotFoundError, match=r"final\.pt: no such file; give the one that torch\.save wrote"):
        load_weights(network(), path)
    for content in (b"", b"hello world", b"\x80\x02garbage"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"final\.pt: is no file that torch\.save wrote"):
            load_weights(network(), path)
    torch.save({"model": Anything()}, path)
    with pytest.raises(ValueError, match=r"holds Python objects beside tensors, which could run code"):
        load_weights(network(), path)
    torch.save(3.0, path)
    with pytest.raises(ValueError, match=r"it holds float"):
        load_weights(network(), path)
