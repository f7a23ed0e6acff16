"""Which parameters are measured, and where each lies in the flat vector [D]."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Selection = None | str | re.Pattern[str] | Iterable["str | re.Pattern[str]"] | Callable[[str, nn.Parameter], bool]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the measured parameters, in the order in which they make up the flat vector.

    Attributes:
        names: Parameter names, as in `model.named_parameters()`.
        shapes: Their shapes.
        dtype: Of the flat vector: the widest of theirs, and at least float32.
        device: Of the flat vector.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def sizes(self) -> list[int]:
        """Number of elements of each parameter."""
        return [shape.numel() for shape in self.shapes]

    @property
    def num_parameters(self) -> int:
        """D."""
        return sum(self.sizes)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """View a flat vector as named tensors.

        Args:
            vector: [D].

        Returns:
            Parameter name to a view of its shape.
        """
        pieces = torch.split(vector, self.sizes)
        return {name: piece.view(shape) for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)}

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Copy named tensors into a flat vector [D].

        Args:
            tensors: Parameter name to tensor; every measured name must be there.

        Returns:
            The vector, in this layout's dtype and on its device.
        """
        return torch.cat([tensors[name].detach().reshape(-1).to(self.device, self.dtype) for name in self.names])

    def checked(self, vector: Tensor, what: str) -> Tensor:
        """Return a vector the user gave, on this layout's device and dtype; the one given is not changed.

        Args:
            vector: Should be [D].
            what: Its name in the error message.

        Returns:
            The vector.

        Raises:
            ValueError: Another shape.
        """
        if tuple(vector.shape) != (self.num_parameters,):
            raise ValueError(
                f"{what} must be a flat vector of shape ({self.num_parameters},), one number per measured weight in "
                f"the order of objective.names, got {tuple(vector.shape)}"
            )
        return vector.detach().to(self.device, self.dtype)


def select(model: nn.Module, selection: Selection) -> tuple[str, ...]:
    """Resolve the user's choice of parameters to names, in the model's own order.

    Args:
        model: The network.
        selection: None for every parameter that requires a gradient; names, glob patterns ("encoder.*") or compiled
            regular expressions (searched for anywhere in a name); or a predicate (name, parameter) -> bool. A named
            parameter is taken even if it is frozen.

    Returns:
        Names of the chosen parameters; a tied one appears once, under its first name.

    Raises:
        ValueError: Nothing was chosen, or a pattern matches nothing; the message lists near names.
    """
    parameters = dict(model.named_parameters())
    if not parameters:
        raise ValueError(f"the model must have parameters, got a {type(model).__name__} without any")
    if selection is None:
        chosen = {name for name, parameter in parameters.items() if parameter.requires_grad}
        if not chosen:
            raise ValueError('every parameter is frozen (requires_grad=False); name those to measure: parameters=["*"]')
    elif callable(selection):
        chosen = {name for name, parameter in parameters.items() if selection(name, parameter)}
        if not chosen:
            raise ValueError(f"the predicate given as `parameters` chose none of {len(parameters)} parameters")
    else:
        chosen = set()
        for pattern in [selection] if isinstance(selection, (str, re.Pattern)) else selection:
            text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
            if isinstance(pattern, re.Pattern):
                matches = [name for name in parameters if pattern.search(name)]
            else:
                matches = fnmatch.filter(parameters, pattern)
            if not matches:
                near = difflib.get_close_matches(text, parameters, n=3, cutoff=0.3) or list(parameters)[:3]
                raise ValueError(f"parameters: {text!r} matches no parameter; near names: {', '.join(near)}")
            chosen.update(matches)
    return tuple(name for name in parameters if name in chosen)


def check_fits(given: Mapping[str, Tensor], own: Mapping[str, Tensor], needed: Sequence[str]) -> None:
    """Refuse a checkpoint of another network.

    Args:
        given: Its tensors by name.
        own: Parameters and buffers of the model, by name.
        needed: Names the checkpoint cannot do without.

    Raises:
        ValueError: A needed name is missing, or a shape differs; the message lists the first of them, and what the
            checkpoint has beside.
    """
    missing = [name for name in needed if name not in given]
    shapes = [name for name in own if name in given and given[name].shape != own[name].shape]
    if not missing and not shapes:
        return
    parts = [f"{name!r} is {tuple(given[name].shape)}, not {tuple(own[name].shape)}" for name in shapes[:3]]
    parts += [f"{name!r} {tuple(own[name].shape)} is missing" for name in missing[:3]]
    others = [name for name in given if name not in own]
    parts += [f"it has {len(others)} names the model has not, first {others[0]!r}"] if others else []
    raise ValueError(f"the checkpoint must be of this model: {'; '.join(parts)}; build the network that was saved")


def owner_of(name: str) -> str:
    """Return the path of the module a weight belongs to; for a parametrized one that of the module that uses it.

    Args:
        name: Of the parameter; the model's own have the path "".
    """
    path = name.rpartition(".")[0]
    outer, is_parametrized, _ = path.partition("parametrizations.")
    return outer.rstrip(".") if is_parametrized else path


def layout_of(
    model: nn.Module, names: tuple[str, ...], device: str | torch.device | None, dtype: torch.dtype | None
) -> Layout:
    """Return how parameters lie in the flat vector.

    Args:
        model: Holds them.
        names: Of the parameters, in order.
        device: Of the vector; None is where the model is.
        dtype: Of the vector; None is the widest of the parameters', at least float32.

    Returns:
        The layout.

    Raises:
        ValueError: The model lies on several devices, and none was given; or a parameter of integers.
    """
    parameters = dict(model.named_parameters())
    devices = {parameter.device for parameter in parameters.values()}
    if device is None and len(devices) > 1:
        raise ValueError(f"parameters lie on several devices, {sorted(map(str, devices))}; choose one with device=")
    widest = torch.float32
    for name in names:
        if not parameters[name].is_floating_point():
            raise ValueError(
                f"parameters: {name!r} is of {parameters[name].dtype}, which has no derivatives; leave it out, or "
                "measure the network before it was quantized"
            )
        widest = torch.promote_types(widest, dtype or parameters[name].dtype)
    where = torch.device(device) if device is not None else next(iter(devices))
    return Layout(names, tuple(parameters[name].shape for name in names), widest, where)
