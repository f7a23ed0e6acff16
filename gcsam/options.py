"""What a user may ask of GCSAM, checked at the border: the base class, and the options of a parameter group.

Each mistake is one line: what was given, what is allowed, what to do (every text is met in
`tests/gcsam/test_options.py`). Cost: a few comparisons per group and step.
"""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gcsam.centralize import module_dims, tensor_dims
from gcsam.processes import PERTURBATIONS

__all__ = [
    "PROJECTIONS",
    "RADII",
    "axes_of",
    "check_base",
    "check_group",
    "check_perturbation",
    "check_rho",
    "with_module_dims",
]

RADII = ("exact", "published", "matched")
PROJECTIONS = ("mean", "random")
_FLAGS = ("adaptive", "centralize_ascent", "centralize_descent")


def check_base(base_class: Any, arguments: Iterable[str], options: Iterable[str]) -> None:
    """Refuse a base that is no optimizer class, that needs a closure, or that does not know an argument.

    Args:
        base_class: As given by the user.
        arguments: Names of the arguments meant for it.
        options: Names of GCSAM's own options, which share the parameter groups with the base's.

    Raises:
        TypeError: No optimizer class, or an argument neither side knows.
        ValueError: A class that cannot be wrapped.
    """
    if not (isinstance(base_class, type) and issubclass(base_class, Optimizer)):
        given = f"an instance of {type(base_class).__name__}" if isinstance(base_class, Optimizer) else repr(base_class)
        raise TypeError(
            f"base_class must be an optimizer class such as torch.optim.SGD, got {given}; give the class itself and "
            "its arguments by name, for example lr=0.1"
        )
    name = base_class.__name__
    closure = inspect.signature(base_class.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(f"base_class must step without a closure, and {name} needs one; use SGD or an Adam")
    known = inspect.signature(base_class).parameters
    shared = sorted(set(known) & set(options))
    if shared:
        raise ValueError(
            f"base_class {name} has an argument {shared[0]!r} of its own, and a parameter group cannot hold both; "
            "choose another base optimizer"
        )
    unknown = sorted(set(arguments) - set(known))
    if unknown and all(argument.kind is not argument.VAR_KEYWORD for argument in known.values()):
        near = difflib.get_close_matches(unknown[0], [*options, *known], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"{name} takes {', '.join(list(known)[1:])}"
        raise TypeError(f"neither GCSAM nor {name} has an argument {unknown[0]!r}; {hint}")


def check_rho(rho: Any, where: str = "") -> float:
    """Return a radius as a float.

    Args:
        rho: As given by the user, or returned by their function of the step.
        where: Ends the name in the message.

    Returns:
        The radius.

    Raises:
        ValueError: Negative, not finite, or no number.
    """
    if not _is_nonnegative(rho):
        raise ValueError(
            f"rho{where} must be a finite number >= 0, got {rho!r}; 0 is the base optimizer alone, 0.05 the usual start"
        )
    return float(rho)


def check_group(group: Mapping[str, Any]) -> None:
    """Refuse a parameter group with an option out of range.

    Args:
        group: With every option of GCSAM set, rho to a number.

    Raises:
        ValueError: The first option found wrong.
    """
    check_rho(group["rho"])
    if not _is_nonnegative(group["eta"]):
        raise ValueError(f"eta must be a finite number >= 0, got {group['eta']!r}; 0.01 is the usual offset")
    if group["radius"] not in RADII:
        raise ValueError(
            "radius must be 'exact' (||epsilon|| = rho), 'published' or 'matched' (rho * ||Pg|| / ||g||), "
            f"got {group['radius']!r}"
        )
    if not _is_nonnegative(group["friendly"]):
        raise ValueError(
            f"friendly must be a finite number >= 0, got {group['friendly']!r}; 0 removes nothing, 1 is Friendly-SAM"
        )
    if not (_is_nonnegative(group["friendly_decay"]) and group["friendly_decay"] < 1):
        raise ValueError(
            f"friendly_decay must be a number >= 0 and < 1, got {group['friendly_decay']!r}; 0.9 is the usual one"
        )
    if group["projection"] not in PROJECTIONS:
        raise ValueError(
            f"projection must be 'mean' (centralization) or 'random' (its control), got {group['projection']!r}"
        )
    seed = group["projection_seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"projection_seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")
    for flag in _FLAGS:
        if not isinstance(group[flag], bool):
            raise ValueError(f"{flag} must be True or False, got {group[flag]!r}")


def check_perturbation(perturbation: Any) -> None:
    """Refuse an unknown way for several processes to climb.

    Args:
        perturbation: As given by the user.

    Raises:
        ValueError: Unknown.
    """
    if perturbation not in PERTURBATIONS:
        raise ValueError(
            "perturbation must be 'global' (one epsilon, that of the joint batch) or 'local' (each process its own), "
            f"got {perturbation!r}"
        )


def axes_of(group: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Resolve `centralize_dims` of a group to the axes P averages over, one entry per parameter.

    Args:
        group: Holds `params` and `centralize_dims`: None, axes for all, or a list with axes or None for each.

    Returns:
        Axes; () for a parameter of fewer than two axes, and where a row would be a single element.

    Raises:
        ValueError: Axes a parameter does not have, or a list of another length.
    """
    dims, parameters = group["centralize_dims"], group["params"]
    if dims is None or all(isinstance(axis, int) for axis in dims):
        return [_axes(parameter, dims) for parameter in parameters]
    if len(dims) != len(parameters):
        raise ValueError(
            f"centralize_dims must have one entry for each of the group's {len(parameters)} parameters, got {len(dims)}"
        )
    return [_axes(parameter, entry) for parameter, entry in zip(parameters, dims, strict=True)]


def with_module_dims(model: nn.Module, params: Iterable[Any] | None) -> list[dict[str, Any]]:
    """Set `centralize_dims` of each parameter group by the types of the modules that hold its parameters.

    Args:
        model: Whose parameters they are.
        params: Parameters or groups; None for all parameters in one group.

    Returns:
        Groups; one that had `centralize_dims` keeps its own.
    """
    dims = module_dims(model)
    axes = {parameter: dims[name] for name, parameter in model.named_parameters()}
    groups = list(model.parameters() if params is None else params)
    if groups and not isinstance(groups[0], dict):
        groups = [{"params": groups}]
    for group in groups:
        group["params"] = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in group["params"]]
        group.setdefault("centralize_dims", [axes.get(tensor) for tensor in tensors])
    return groups


def _axes(parameter: Tensor, dims: Any) -> tuple[int, ...]:
    if dims is None:
        return tensor_dims(parameter.shape)
    if parameter.ndim < 2:
        return ()
    axes = tuple(dims)
    if len(set(axes)) != len(axes) or not all(isinstance(axis, int) and 0 <= axis < parameter.ndim for axis in axes):
        raise ValueError(
            f"centralize_dims must be different axes from 0 to {parameter.ndim - 1} for a parameter of shape "
            f"{tuple(parameter.shape)}, got {dims!r}; where the shapes in a group differ, give a list of tuples"
        )
    return axes if math.prod([parameter.shape[axis] for axis in axes]) > 1 else ()


def _is_nonnegative(value: Any) -> bool:
    return isinstance(value, numbers.Real) and 0 <= float(value) < math.inf  # NaN fails both comparisons
