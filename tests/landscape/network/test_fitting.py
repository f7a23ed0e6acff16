"""Names of weights: through wrappers, prefixes and ties they find their network, and what does not fit is refused.

The oracle is the network that was saved. Blind to the formats of files: those are in `test_checkpoints.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from landscape.network.fitting import fitted, load_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def wrapped(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def assert_equal_states(model: nn.Module, other: nn.Module) -> None:
    states = model.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "net."])
def test_prefixes_of_any_trainer_are_removed(tmp_path: Path, prefix: str) -> None:
    saved, model = network(), network()
    torch.save(wrapped(saved.state_dict(), prefix), tmp_path / "final.pt")
    notes = load_weights(model, tmp_path / "final.pt")
    assert_equal_states(model, saved)
    assert len(notes) == prefix.count(".")
    assert all(re.search(r"final\.pt: removed '(module|_orig_mod|net)\.' from the names", note) for note in notes)


def test_lightning_around_a_compiled_model() -> None:
    """Both at once, as Lightning saves a compiled part: `model._orig_mod.` before every name."""
    saved, notes = fitted(network(), wrapped(network().state_dict(), "model._orig_mod."), "x")
    assert saved.keys() == network().state_dict().keys()
    assert notes == [f"removed {prefix!r} from the names of the weights" for prefix in ("_orig_mod.", "model.")]


def test_real_wrappers(tmp_path: Path) -> None:
    """Fails if torch.compile or DataParallel name weights in another way than we think."""
    saved = network()
    for wrapper in (torch.compile(saved, backend="eager"), nn.DataParallel(saved)):
        model = network()
        torch.save(wrapper.state_dict(), tmp_path / "final.pt")
        assert len(load_weights(model, tmp_path / "final.pt")) == 1
        assert_equal_states(model, saved)


def test_a_module_compiled_inside_another_is_found() -> None:
    saved = network().state_dict()
    inside = {name.replace("0.", "0._orig_mod."): tensor for name, tensor in saved.items()}
    assert fitted(network(), inside, "x")[0].keys() == saved.keys()


def test_a_network_with_a_part_called_module_keeps_it() -> None:
    """Fails if prefixes are removed from names that fit as they are."""
    model = nn.ModuleDict({"module": nn.Linear(2, 2)})
    assert fitted(model, model.state_dict(), "x")[1] == []


def test_a_prefix_that_the_network_has_is_added() -> None:
    model = nn.ModuleDict({"net": network()})
    found, notes = fitted(model, network().state_dict(), "x")
    assert found.keys() == model.state_dict().keys()
    assert notes == ["put 'net.' before the names of the weights"]


class WithHead(nn.Module):
    """As a model of transformers: it says under which name the body is kept."""

    base_model_prefix = "encoder"

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(3, 4), nn.Linear(4, 2)


def test_the_prefix_that_a_model_names_itself() -> None:
    model = WithHead()
    weights = {**model.encoder.state_dict(), **wrapped(model.head.state_dict(), "head.")}
    found, notes = fitted(model, weights, "x")
    assert found.keys() == model.state_dict().keys()
    assert torch.equal(found["encoder.weight"], model.encoder.weight)
    assert notes == ["put 'encoder.' before the names of the weights"]


def test_two_sets_of_weights_in_one_file_are_not_mixed() -> None:
    """Fails if removing a prefix lets one tensor take the place of another: here an average beside the weights."""
    both = {**network().state_dict(), **wrapped(network().state_dict(), "model.")}
    with pytest.raises(ValueError, match=r"it has beside it 9 names, 'model\.0\.weight' \(4, 3\), "):
        fitted(network(), both, "x")


class Tied(nn.Module):
    """An embedding that is the output layer too, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("positions", torch.arange(4), persistent=False)


@pytest.mark.parametrize(("left", "kept"), [("head", "embedding"), ("embedding", "head")])
def test_a_tied_weight_that_the_file_leaves_out(left: str, kept: str, tmp_path: Path) -> None:
    saved, model = Tied(), Tied()
    torch.save({f"{kept}.weight": saved.embedding.weight.detach()}, tmp_path / "net.pt")
    notes = load_weights(model, tmp_path / "net.pt")
    assert notes == [
        f"{tmp_path / 'net.pt'}: filled '{left}.weight' from '{kept}.weight', to which the network ties it"
    ]
    assert_equal_states(model, saved)
    assert model.head.weight is model.embedding.weight


def test_a_weight_that_is_tied_in_the_network_only_is_refused() -> None:
    """Fails if the last of two different tensors wins in silence."""
    weights = {"embedding.weight": torch.ones(5, 3), "head.weight": torch.zeros(5, 3)}
    with pytest.raises(
        ValueError, match=r"^x: holds different tensors as 'embedding\.weight' and 'head\.weight', which"
    ):
        fitted(Tied(), weights, "x")
    assert fitted(Tied(), {**weights, "head.weight": torch.ones(5, 3)}, "x")[1] == []
    nan = torch.full((5, 3), torch.nan)
    assert fitted(Tied(), dict.fromkeys(weights, nan), "x")[1] == []  # one in the file too, though training diverged


def test_a_buffer_that_the_network_computes_itself_is_left_out() -> None:
    found, notes = fitted(Tied(), {"embedding.weight": torch.ones(5, 3), "positions": torch.arange(4)}, "x")
    assert found.keys() == Tied().state_dict().keys()
    assert notes[0] == "left out 'positions', which the network computes itself"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    saved, model = nn.Linear(3, 2).to(dtype), nn.Linear(3, 2)
    torch.save(saved.state_dict(), tmp_path / "net.pt")
    assert load_weights(model, tmp_path / "net.pt") == []
    assert model.weight.dtype == torch.float32
    assert torch.equal(model.weight, saved.weight.float())


NINE = ", ".join([rf"'head\.{i}' \(1, {i}\)" for i in range(5)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("2.bias"),
            r"^x: does not fit the model: it lacks 1 name, '2\.bias' \(2,\); let --model build ",
        ),
        (
            lambda w: w.update({f"head.{i}": torch.ones(1, i) for i in range(9)}),
            rf"beside it 9 names, {NINE} and 4 more;",
        ),
        (
            lambda w: w.update({"2.weight": torch.ones(3, 4), "2.bias": torch.ones(3)}),
            r"it has 2 of another shape, '2\.weight' \(3, 4\), not \(2, 4\), '2\.bias' \(3,\), not \(2,\); let",
        ),
        (
            lambda w: w.update({name: torch.ones(7) for name in list(w)}),
            r"it has 9 of another shape, ('\S+' \(7,\), not \(4,( 3)?\), ){4}'1\.running_mean' \(7,\), not .* and 4 ",
        ),
        (
            lambda w: w.update({"2.bas": w.pop("2.bias")}),
            r"it lacks 1 name, '2\.bias' \(2,\); it has beside it 1 name, '2\.bas' \(2,\); let",
        ),
        (lambda w: w.clear(), r"it lacks 9 names, '0\.weight' \(4, 3\), .* and 4 more; let"),
    ],
)
def test_a_checkpoint_of_another_network(change: object, message: str) -> None:
    weights = dict(network().state_dict())
    change(weights)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        fitted(network(), weights, "x")


def test_a_prefix_does_not_hide_what_is_missing() -> None:
    """The message is about the names without the prefix, not about all of them."""
    weights = wrapped(network().state_dict(), "module.model.")
    weights.pop("module.model.2.bias")
    with pytest.raises(ValueError, match=r"^x: does not fit the model: it lacks 1 name, '2\.bias' \(2,\); let"):
        fitted(network(), weights, "x")
