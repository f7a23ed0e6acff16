"""Fit the names of saved weights to those of a network: prefixes of trainers, tied weights that a file leaves out.

Names are changed only where all of them then fit, each change is told in one line, and what does not fit is refused
with its names and shapes. Right when networks saved through wrappers and by other libraries come back with equal
weights, and a name too many is an error (`tests/landscape/network/test_fitting.py`). Cost: none worth telling.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from landscape.network.adapters import is_adapter, saved_names, with_base
from landscape.network.checkpoints import read_weights

# Put before every name by torch.compile and by DataParallel, also of a part inside the network.
WRAPPERS = ("_orig_mod.", "module.")
# Under which models of Hugging Face with a head keep the one without: GPT-2, Llama and most others, BERT; a model that
# says its own name for that, as all of theirs do, is asked too.
BASES = ("transformer.", "model.", "bert.")
# Names told in a message, of each kind.
TOLD = 5

Weights = Mapping[str, Tensor]


def load_weights(model: nn.Module, path: str | os.PathLike[str], *, trust: bool = False) -> list[str]:
    """Put the weights of a checkpoint into a network, all of them and nothing else.

    Args:
        model: Is changed; it keeps its own dtype.
        path: As for `landscape.network.checkpoints.read_weights`.
        trust: The same.

    Returns:
        What was done to the names, a line each; empty where they fitted as they were.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No checkpoint, or of another network; the message names the weights that differ.
    """
    where = os.fspath(path)
    weights, notes = fitted(
        model, read_weights(path, trust=trust, what=f"--checkpoint {where}"), f"--checkpoint {where}"
    )
    model.load_state_dict(weights)
    return [f"{where}: {note}" for note in notes]


def fitted_with_notes(
    model: nn.Module, weights: Weights, path: str | os.PathLike[str], note: Callable[[str], None]
) -> dict[str, Tensor]:
    """Return the weights of a checkpoint under the names of a network, and say what was done to them.

    Args:
        model: Is not changed.
        weights: As they were saved.
        path: Where they were read; begins the notes, and the message of an error.
        note: Called with each note.

    Returns:
        As from `fitted`.

    Raises:
        ValueError: As `fitted`.
    """
    found, notes = fitted(model, weights, os.fspath(path))
    for text in notes:
        note(f"{os.fspath(path)}: {text}")
    return found


def fitted(model: nn.Module, weights: Weights, what: str) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights under the names of a network.

    Args:
        model: Is not changed.
        weights: As they were saved.
        what: Begins the message.

    Returns:
        The weights, as `model.load_state_dict` takes them, and what was done to the names, a line each.

    Raises:
        ValueError: They are of another network, or differ where the network has one tensor under two names.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> fitted(model, {"module.weight": torch.ones(1, 2)}, "net.pt")
        ({'weight': tensor([[1., 1.]])}, ["removed 'module.' from the names of the weights"])
    """
    expected = model.state_dict()
    adapter = saved_names(model)
    if adapter.keys() & weights.keys():
        found, note = with_base(model, weights, adapter)
        _check_fit(found, expected, what)
        return found, [note]
    nearest: tuple[dict[str, Tensor], list[str]] | None = None
    for renamed, notes in _renamings(model, weights, expected):
        if len(renamed) < len(weights):  # two names became one: which of the two is wanted, nobody knows
            continue
        found, more = _completed(model, renamed, expected)
        if nearest is None or len(found.keys() ^ expected.keys()) < len(nearest[0].keys() ^ expected.keys()):
            nearest = found, [*notes, *more]
        if found.keys() == expected.keys():
            break
    assert nearest is not None  # the names as they are come first
    _check_fit(nearest[0], expected, what)
    _check_ties(model, nearest[0], what)
    return nearest


def _renamings(model: nn.Module, weights: Weights, expected: Weights) -> Iterator[tuple[dict[str, Tensor], list[str]]]:
    """Yield the weights as they are, without the names of wrappers, and with one prefix less or more."""
    bare, notes = dict(weights), list[str]()
    yield bare, notes
    for prefix in WRAPPERS:
        if any(prefix in f".{name}" for name in bare):
            bare = {f".{name}".replace(f".{prefix}", ".")[1:]: tensor for name, tensor in bare.items()}
            notes = [*notes, f"removed {prefix!r} from the names of the weights"]
            yield bare, notes
    own = getattr(model, "base_model_prefix", "")
    bases = (*BASES, f"{own}.") if own and isinstance(own, str) else BASES
    for start, told in dict.fromkeys([(tuple(weights), 0), (tuple(bare), len(notes))]):
        named = dict(zip(start, weights.values(), strict=True))
        for prefix in dict.fromkeys([*_common(start), *bases]):
            shorter = {
                name.removeprefix(prefix) if name not in expected else name: tensor for name, tensor in named.items()
            }
            yield shorter, [*notes[:told], f"removed {prefix!r} from the names of the weights"]
        for prefix in dict.fromkeys([*_common(tuple(expected)), *bases]):
            longer = {name if name in expected else f"{prefix}{name}": tensor for name, tensor in named.items()}
            yield longer, [*notes[:told], f"put {prefix!r} before the names of the weights"]


def _common(names: Sequence[str]) -> list[str]:
    """Return the first part of the names with its dot, where all have the same."""
    first = {name.partition(".")[0] for name in names if "." in name}
    return [f"{first.pop()}."] if len(first) == 1 and all("." in name for name in names) else []


def _completed(model: nn.Module, weights: Weights, expected: Weights) -> tuple[dict[str, Tensor], list[str]]:
    """Fill what the file leaves out because it is tied, and leave out what the network computes itself."""
    buffers = {name for name, _ in model.named_buffers()}
    # transformers keeps here what older versions saved: the causal mask of GPT-2, for example
    former = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    unused = [
        name
        for name in weights
        if name not in expected and (name in buffers or any(re.search(pattern, name) for pattern in former))
    ]
    found = {name: tensor for name, tensor in weights.items() if name not in unused}
    notes = [f"left out {_names(unused)}, which the network computes itself"] if unused else []
    for group in _ties(model):
        source = next((name for name in group if name in found), None)
        lacking = [name for name in group if name not in found and name in expected]
        if source is not None and lacking:
            found |= dict.fromkeys(lacking, found[source])
            notes.append(f"filled {_names(lacking)} from {source!r}, to which the network ties it")
    return found, notes


def _ties(model: nn.Module) -> list[list[str]]:
    """Return the names of each tensor that has several."""
    groups: dict[int, list[str]] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in tensors:
        groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _check_ties(model: nn.Module, weights: Weights, what: str) -> None:
    for first, *others in _ties(model):
        for other in (name for name in others if first in weights and name in weights):
            # a NaN equals itself here: that training diverged is told when the loss is measured
            if not torch.allclose(weights[first], weights[other], rtol=0, atol=0, equal_nan=True):
                raise ValueError(
                    f"{what}: holds different tensors as {first!r} and {other!r}, which are one in the model; "
                    "let --model build the network without that tie"
                )


def _check_fit(weights: Weights, expected: Weights, what: str) -> None:
    problems = []
    for told, names, of in (
        ("lacks", [name for name in expected if name not in weights], expected),
        ("has beside it", [name for name in weights if name not in expected], weights),
    ):
        if names:
            shaped = [f"{name!r} {tuple(of[name].shape)}" for name in names]
            problems.append(f"{told} {len(names)} {'name' if len(names) == 1 else 'names'}, {_listed(shaped)}")
    wrong = [
        f"{name!r} {tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if wrong:
        problems.append(f"has {len(wrong)} of another shape, {_listed(wrong)}")
    whole = [
        f"{name!r} {weights[name].dtype}, not {tensor.dtype}"
        for name, tensor in expected.items()
        if name in weights and tensor.is_floating_point() and not weights[name].is_floating_point()
    ]
    if whole:  # load_state_dict would convert the codes of a quantized weight as if they were its values
        problems.append(f"has {len(whole)} of integers, {_listed(whole)}")
    if problems:
        remedy = "let --model build the network that was saved"
        if is_adapter(weights) and not is_adapter(expected):
            remedy = "it is an adapter of peft: let --model put one on its base, by PeftModel.from_pretrained"
        raise ValueError(f"{what}: does not fit the model: it {'; it '.join(problems)}; {remedy}")


def _names(names: Sequence[str]) -> str:
    return _listed([repr(name) for name in names])


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
    return f"{', '.join(texts[:TOLD])}{more}"
