"""The user's own network, from files in a scratch folder: each mistake gives its one line.

Blind to what comes after: that the network is measured rightly is tested in `tests/analysis`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from landscape.network.sources import own_data, own_loss, own_model, takes_model

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

def whole(model, batch):
    return model(batch).sum(), len(batch)

def single(output):
    return output.sum()

def wants(width, depth, bias=True):
    return torch.nn.Linear(width, depth)

def empty():
    return torch.nn.Linear(2, 1, device="meta")
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


def test_a_loss_says_by_the_name_of_its_first_argument_how_it_is_called(nets: Path) -> None:
    assert not takes_model(own_loss("nets:loss"))
    assert not takes_model(own_loss("torch.nn:MSELoss"))
    assert not takes_model(torch.add)  # written in C, without a signature
    assert takes_model(own_loss("nets:whole"))
    with pytest.raises(
        ValueError, match=r"^--loss nets:single: must be called as loss\(output, target\), or as loss\(mo"
    ):
        own_loss("nets:single")


def test_a_function_that_wants_arguments_is_told_before_it_is_called(nets: Path) -> None:
    message = (
        r"^--model nets:wants: is called without arguments, but wants width, depth; give them defaults, or name a f"
    )
    with pytest.raises(ValueError, match=message):
        own_model("nets:wants")


def test_a_network_without_numbers_is_refused(nets: Path) -> None:
    """Loading weights into it would leave it as it is."""
    with pytest.raises(
        ValueError, match=r"^--model nets:empty: 2 parameters are on the device meta, .* first 'weight'"
    ):
        own_model("nets:empty")
