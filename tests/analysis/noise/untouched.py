"""What every measurement owes the model: it is left as found, also where the measurement is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.analysis.test_objective import assert_same, everything


def check_left_as_found(model: nn.Module, measure: Callable[..., Any], *, does_raise: bool, after: int = 0) -> None:
    """Call measure(progress) on a model in mixed modes, with some gradients, and compare everything afterwards."""
    model.train()
    model[0].eval()  # type: ignore[index]
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    before = everything(model)

    def stop(done: int, total: int) -> None:
        if does_raise and done > after:
            raise KeyboardInterrupt

    if does_raise:
        with pytest.raises(KeyboardInterrupt):
            measure(stop)
    else:
        measure(stop)
    assert_same(before, everything(model))
