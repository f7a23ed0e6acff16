"""Names given by a user: the nearest known one, and functions of their own written as "package.module:function".

Whatever the user's code raises comes back as one line that names the setting, the file and the line of code, because
the mistake is there and not here. Right when each mistake gives its line (`tests/gcsam/training/test_functions.py`).
Cost: the import of the user's module.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["call_with_accepted", "check_name", "find_function", "is_function_name", "nearest"]


def nearest(given: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean 'X'?" for the nearest allowed name, or nothing where none is near.

    Args:
        given: What was given.
        allowed: What it could have been.

    Returns:
        Text to put behind the list of what is allowed.

    Example:
        >>> nearest("gcsma", ["sgd", "gcsam"])
        "; did you mean 'gcsam'?"
    """
    found = difflib.get_close_matches(given, list(allowed), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def is_function_name(text: str) -> bool:
    """Return whether a text has the form "package.module:function".

    Args:
        text: As given by the user.
    """
    module, _, name = text.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def check_name(given: str, allowed: Iterable[str], what: str, *, functions: bool = False) -> str:
    """Return a name, if it is one of those allowed.

    Args:
        given: By the user.
        allowed: Names to choose from.
        what: Begins the message, for example "model".
        functions: Whether "package.module:function" will do too.

    Returns:
        The name as given.

    Raises:
        ValueError: Anything else; the message holds all names and the nearest.

    Example:
        >>> check_name("resnet-20", ["cnn", "resnet20"], "model")
        Traceback (most recent call last):
        ValueError: model 'resnet-20' is unknown; choose one of cnn, resnet20; did you mean 'resnet20'?
    """
    allowed = list(allowed)
    if given in allowed or (functions and is_function_name(given)):
        return given
    also = ", or give package.module:function" if functions else ""
    raise ValueError(f"{what} {given!r} is unknown; choose one of {', '.join(allowed)}{also}{nearest(given, allowed)}")


def find_function(text: str, setting: str) -> Callable[..., Any]:
    """Import what "package.module:function" names; the current folder is searched first, and stays on the path.

    Args:
        text: As given by the user.
        setting: For the message, for example "model".

    Returns:
        The function, or any other object that can be called.

    Raises:
        ValueError: Not of that form, no such module or function, or the module fails on import.
    """
    if not is_function_name(text):
        raise ValueError(f"{setting} {text}: must be package.module:function, for example nets:build for nets.py")
    module_name, _, name = text.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)  # it stays there: the function may import its neighbors when it is called
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            near = nearest(module_name, [path.stem for path in Path(here).glob("*.py")])
            reason = f"no module {error.name!r} in {here} or installed{near}"
        else:
            reason = f"importing {module_name!r} failed: {_told(error)}"
        raise ValueError(f"{setting} {text}: {reason}") from None
    found = getattr(module, name, None)
    if not callable(found):
        there = [entry for entry, value in vars(module).items() if callable(value) and not entry.startswith("_")]
        raise ValueError(f"{setting} {text}: module {module_name!r} has no function {name!r}{nearest(name, there)}")
    return found  # type: ignore[no-any-return]


def call_with_accepted(function: Callable[..., Any], available: Mapping[str, Any], what: str) -> Any:
    """Call a user's function with those of the available arguments that it takes by name.

    Args:
        function: May take any of them, or all as `**kwargs`.
        available: Name to value.
        what: For the message, for example "model nets:build".

    Returns:
        What it returned.

    Raises:
        ValueError: It wants other arguments, or it failed; with the place in the user's code.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have no signature
        parameters = ()  # type: ignore[assignment]
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    by_name = {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}
    try:
        return function(**{name: value for name, value in available.items() if takes_all or name in by_name})
    except Exception as error:
        offered = ", ".join(available) or "nothing"
        raise ValueError(f"{what}: calling it failed: {_told(error)}; it is offered {offered}") from None


def _told(error: Exception) -> str:
    """Return type, text and place of an exception from the user's code, on one line."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, SyntaxError):
        return text  # it names file and line itself
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    theirs = [frame for frame in frames if frame.filename.startswith(os.getcwd())] or frames
    return f"{text} ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else text
