"""The user's own network: functions named on the command line, and weights from a checkpoint of any trainer.

Right when each mistake gives one line that names the option (`tests/landscape/test_sources.py`), and weights saved by
any trainer are found whatever stands around them. Cost: reading the checkpoint once.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis.batches import as_batches
from analysis.surface.quantities import METRICS
from gcsam.training.functions import call_with_accepted, find_function
from landscape.results import SELECTED

# Where trainers keep the weights, beside the optimizer and the epoch; gcsam.training uses the first.
WEIGHT_KEYS = ("model", "state_dict", "model_state_dict")
# Put before every name by torch.compile and by DataParallel.
PREFIXES = ("_orig_mod.", "module.")


def own_model(text: str) -> nn.Module:
    """Call the user's function without arguments and return the network it builds.

    Args:
        text: "package.module:function".

    Returns:
        The network.

    Raises:
        ValueError: It cannot be found, fails, or returns something else.
    """
    model = call_with_accepted(find_function(text, "--model"), {}, f"--model {text}")
    if not isinstance(model, nn.Module):
        raise ValueError(f"--model {text}: must return a torch.nn.Module, but returned {type(model).__name__}")
    return model


def own_data(text: str, option: str = "--data") -> Any:
    """Call the user's function without arguments and return the batches it gives.

    Args:
        text: "package.module:function".
        option: It was given by.

    Returns:
        The batches.

    Raises:
        ValueError: It cannot be found, fails, or returns no batches.
    """
    given = call_with_accepted(find_function(text, option), {}, f"{option} {text}")
    try:
        return as_batches(given)
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}") from None


def own_loss(text: str) -> Callable[..., Tensor]:
    """Return the user's loss function, called as loss(output, target).

    Args:
        text: "package.module:function"; a class such as torch.nn:CrossEntropyLoss is made into an object first.

    Raises:
        ValueError: It cannot be found, or the class wants arguments.
    """
    found = find_function(text, "--loss")
    return call_with_accepted(found, {}, f"--loss {text}") if isinstance(found, type) else found


def named_metric(text: str) -> tuple[str, Callable[..., Tensor]]:
    """Return a metric and its name.

    Args:
        text: "accuracy", or "package.module:function", which is called as function(output, target).

    Returns:
        The name, for a function that of the function, and the metric.

    Raises:
        ValueError: It cannot be found.
    """
    if text in METRICS:
        return text, METRICS[text]
    if ":" not in text:
        raise ValueError(f"--metric must be {', '.join(METRICS)} or package.module:function, got {text!r}")
    return text.rpartition(":")[2], find_function(text, "--metric")


def weights_at(path: Path) -> dict[str, Tensor]:
    """Return the weights of a run, those it selected, or of a checkpoint, by name.

    Args:
        path: A folder of `landscape train`, or a file as for `load_weights`.

    Raises:
        FileNotFoundError: Neither is there.
        ValueError: No checkpoint.
    """
    file = path / SELECTED if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint, nor a folder that landscape train wrote")
    return _weights_of(_read(str(file)), str(file))


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Put the weights of a checkpoint into a network, all of them and nothing else.

    Args:
        model: Is changed.
        path: A state_dict, or a dictionary that holds one under one of `WEIGHT_KEYS`, saved with `torch.save`.

    Returns:
        What was done to the names, a line each; empty where they fitted as they were.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No checkpoint, or of another network; the message names the first weight that differs.
    """
    where = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"--checkpoint {where}: no such file; give the one that torch.save wrote")
    weights, notes = _weights_of(_read(where), where), []
    expected = model.state_dict()
    for prefix in PREFIXES:
        if weights.keys() != expected.keys() and any(prefix in f".{name}" for name in weights):
            weights = {_without(prefix, name): tensor for name, tensor in weights.items()}
            notes.append(f"{where}: removed {prefix!r} from the names of the weights")
    _check_fit(weights, expected, where)
    model.load_state_dict(weights)
    return notes


def _read(where: str) -> Any:
    try:
        return torch.load(where, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # bytes of another format make the unpickler raise almost anything
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            text = "holds Python objects beside tensors, which could run code; save model.state_dict() alone"
        else:
            text = f"is no file that torch.save wrote ({type(error).__name__}); check the path"
        raise ValueError(f"--checkpoint {where}: {text}") from None


def _weights_of(found: Any, where: str) -> dict[str, Tensor]:
    for key in WEIGHT_KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        keys = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(
            f"--checkpoint {where}: must be a state_dict or hold one under {', '.join(WEIGHT_KEYS)}; it holds {keys}"
        )
    return dict(found)


def _without(prefix: str, name: str) -> str:
    """Remove a prefix before the name and before each part of it: compiled modules may lie inside others."""
    return f".{name}".replace(f".{prefix}", ".")[1:]


def _check_fit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    problems = []
    for what, names in (
        ("lacks", [name for name in expected if name not in weights]),
        ("has beside it", [name for name in weights if name not in expected]),
    ):
        if names:
            problems.append(f"{what} {len(names)} {'name' if len(names) == 1 else 'names'}, first {names[0]!r}")
    shapes = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    if shapes:
        name = shapes[0]
        problems.append(f"has {name!r} of shape {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}")
    if problems:
        raise ValueError(
            f"--checkpoint {where}: does not fit the model: it {', '.join(problems)}; "
            "let --model build the network that was saved"
        )
