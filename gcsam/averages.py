"""The moving average of past gradients that Friendly-SAM takes away on the way up.

m_t = decay * m_{t-1} + (1 - decay) * g_t, from m = 0, of the first gradient of each step; the way up then starts from
g_t - sigma * m_t in the place of g_t: what is special to this batch remains. m is written after the gradient was found
finite, so one bad batch does not stay in it. From a parameter's first step on m is part of its state. Right when the
slow twin has the same averages (`tests/oracles/gcsam_twin.py`) and a resumed run goes on bit for bit
(`tests/gcsam/test_friendly.py`). Cost: one more copy of the weights, kept between steps; reads the gradient and m
twice, writes m once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcsam.shards import local

__all__ = ["AVERAGE", "Average", "average_of", "show_averages", "shown_averages"]

AVERAGE = "ascent_average"
"""Name of m in the state of a parameter."""


class Average(NamedTuple):
    """m_{t-1} of one parameter, as this process holds it, and the settings of its group."""

    tensor: Tensor
    sigma: float
    decay: float

    def removed_from(self, gradient: Tensor) -> Tensor:
        """Return g_t - sigma * m_t, without writing m_t.

        Args:
            gradient: g_t; is not changed.
        """
        kept = 1 - self.sigma * (1 - self.decay)
        return torch.mul(gradient, kept).sub_(self.tensor, alpha=self.sigma * self.decay)

    def follow(self, gradient: Tensor, is_finite: Tensor | None) -> None:
        """Turn m_{t-1} into m_t; nothing waits for a device.

        Args:
            gradient: g_t.
            is_finite: 0-d, boolean: m stays where it is false. None: g_t is known to be, or nobody looked.
        """
        if is_finite is None:
            self.tensor.lerp_(gradient, 1 - self.decay)
        else:
            following = torch.lerp(self.tensor, gradient, 1 - self.decay)
            self.tensor.copy_(torch.where(is_finite.to(following.device), following, self.tensor))


def average_of(parameter: Tensor, group: Mapping[str, Any], averages: dict[Tensor, Tensor]) -> Average | None:
    """Return m of a parameter, made of zeros where there is none yet; None where its group removes nothing.

    Args:
        parameter: Sharded or not.
        group: Its group.
        averages: All of them by parameter; gets a new one, and one of another dtype or device in the parameter's.
    """
    if group["friendly"] == 0:
        return None
    average = averages.get(parameter)
    if average is None:
        average = torch.zeros_like(parameter, requires_grad=False)
    averages[parameter] = average = average.to(parameter.device, parameter.dtype)
    return Average(local(average), float(group["friendly"]), float(group["friendly_decay"]))


def show_averages(
    groups: Iterable[Mapping[str, Any]], state: Mapping[Tensor, Any], averages: dict[Tensor, Tensor]
) -> None:
    """Enter every m into the state of its parameter, where checkpoints look for it.

    Only after a step of the base optimizer: many a base takes a parameter with an entry for one it has made a state of.

    Args:
        groups: Those whose parameters have just stepped.
        state: Of the base optimizer, by parameter.
        averages: All of them.
    """
    for group in groups:
        for parameter in group["params"]:
            shown = state.get(parameter, {}).get(AVERAGE)
            # what is there is left: a look at a gradient of each step would have a compiler trace each anew
            if shown is not None and shown is averages.get(parameter):
                continue
            if parameter.grad is not None and average_of(parameter, group, averages) is not None:
                state[parameter][AVERAGE] = averages[parameter]


def shown_averages(state: Mapping[Tensor, Any]) -> dict[Tensor, Tensor]:
    """Return every m that a state holds, by parameter.

    Args:
        state: As it was loaded.
    """
    return {parameter: entry[AVERAGE] for parameter, entry in state.items() if AVERAGE in entry}
