"""The optimizers that are compared: ours, those of other libraries, and the base alone, each built the same way.

`PlainSAM` is the algorithm of davda54/sam, the most used SAM for PyTorch, written anew: one tensor at a time, a fresh
copy of the weights in every step, and the copy itself put in the place of the weights afterwards. What that code does
beyond the algorithm, it does not: multiply by 1 where it is not adaptive. So it is, if anything, the faster of the two.
Right when its steps are those of our SAM (`tests/benchmarks/test_timing.py`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from gcsam import GCSAM

__all__ = ["BASE", "RHO", "PlainSAM", "Step", "contestants", "pytorch_optimizer_sam", "version_of"]

RHO = 0.05
BASE: dict[str, Any] = {"lr": 1e-3, "momentum": 0.9}  # a small rate: one gradient is taken hundreds of times

Step = Callable[[Callable[[], Any]], Any]


def contestants() -> dict[str, Callable[[nn.Module], Step]]:
    """Return name to a function that builds an optimizer and gives its step; without libraries not installed."""
    sgd = torch.optim.SGD

    def ours(model: nn.Module, *, centralize: bool) -> Step:
        return GCSAM.from_model(model, sgd, rho=RHO, centralize_ascent=centralize, **BASE).step

    def theirs(model: nn.Module, *, centralize: bool) -> Step:
        return pytorch_optimizer_sam(model.parameters(), sgd, rho=RHO, use_gc=centralize, **BASE)

    found: dict[str, Callable[[nn.Module], Step]] = {
        "gcsam": lambda model: ours(model, centralize=True),
        "sam": lambda model: ours(model, centralize=False),
        "plain sam": lambda model: PlainSAM(model.parameters(), sgd, RHO, **BASE).step,
        "sgd": lambda model: sgd(model.parameters(), **BASE).step,
    }
    if version_of("pytorch_optimizer") is not None:
        found["pytorch_optimizer sam with gc"] = lambda model: theirs(model, centralize=True)
        found["pytorch_optimizer sam"] = lambda model: theirs(model, centralize=False)
    return found


class PlainSAM:
    """SAM around a base optimizer, one tensor at a time.

    Args:
        params: Parameters, in one group.
        base_class: Class of the base optimizer.
        rho: Radius.
        **base_kwargs: For the base optimizer.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], base_class: type[torch.optim.Optimizer], rho: float, **base_kwargs: Any
    ) -> None:
        self.parameters = list(params)
        self.base_optimizer = base_class(self.parameters, **base_kwargs)
        self.rho = rho

    def step(self, closure: Callable[[], Any]) -> Any:
        """Take one step.

        Args:
            closure: Clears the gradients, runs forward and backward, returns the loss.

        Returns:
            The loss of the first pass.
        """
        loss = closure()
        weights = self._ascend()
        closure()
        for parameter, weight in weights:
            parameter.data = weight
        self.base_optimizer.step()
        return loss

    @torch.no_grad()
    def _ascend(self) -> list[tuple[nn.Parameter, torch.Tensor]]:
        moving = [(parameter, parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        norm = torch.stack([gradient.norm() for _, gradient in moving]).norm()
        scale = self.rho / (norm + 1e-12)
        weights = []
        for parameter, gradient in moving:
            weights.append((parameter, parameter.detach().clone()))
            parameter.add_(gradient * scale)
        return weights


def pytorch_optimizer_sam(
    params: Iterable[nn.Parameter], base_class: type[torch.optim.Optimizer], **options: Any
) -> Callable[[Callable[[], Any]], Any]:
    """Return the step of pytorch_optimizer's SAM, which wants the first pass done before it.

    Args:
        params: Parameters.
        base_class: Class of the base optimizer.
        **options: `rho`, `use_gc`, and those of the base optimizer.

    Returns:
        A function of the closure, as `step` of the others.
    """
    from pytorch_optimizer import SAM  # it may not be installed, and the rest must run without it

    optimizer = SAM(params, base_class, **options)

    def step(closure: Callable[[], Any]) -> Any:
        loss = closure()
        optimizer.step(closure)
        return loss

    return step


def version_of(library: str) -> str | None:
    """Return the version of an installed library, None where it is not."""
    return importlib.metadata.version(library) if importlib.util.find_spec(library) is not None else None
