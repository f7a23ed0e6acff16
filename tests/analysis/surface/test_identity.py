"""Checksums and fingerprints: what must change them does, and what must not does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from analysis import Objective
from analysis.surface.identity import rounded_fingerprint, state_sha256
from tests.cases import CASES


def test_the_checksum_sees_every_parameter_and_buffer() -> None:
    def checksum(change: Any = None, dtype: torch.dtype = torch.float32) -> str:
        model, loss_fn, batches = CASES[2].make(dtype)  # batch norm has a buffer without dimensions
        if change is not None:
            change(model)
        return state_sha256(Objective(model, loss_fn, batches))

    found = [
        checksum(),
        checksum(lambda model: model[0].weight.data[0, 0, 0, 0].add_(1e-3)),
        checksum(lambda model: model[1].running_mean[0].add_(1e-3)),
        checksum(lambda model: model[1].num_batches_tracked.add_(1)),
        checksum(dtype=torch.bfloat16),
    ]
    assert checksum() == found[0]
    assert len(set(found)) == len(found)


def test_the_fingerprint_does_not_depend_on_the_order_but_on_every_number() -> None:
    """Fails if it keeps the last digits of a sum, or rounds away a sample."""
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x -= x.mean()  # the sum is 0 but for rounding
    changed = x.clone()
    changed[5, 1] += 1e-3

    def fingerprint(inputs: torch.Tensor, order: torch.Tensor) -> str:
        data = [(inputs[part], x[part, :1]) for part in order.split(10)]
        objective = Objective(nn.Linear(3, 1, dtype=torch.float64), nn.MSELoss(), data)
        objective.loss()
        return rounded_fingerprint(objective)

    orders = [torch.randperm(64, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    assert len({fingerprint(x, order) for order in orders}) == 1
    assert fingerprint(changed, orders[0]) != fingerprint(x, orders[0])
