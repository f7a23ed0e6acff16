"""(loss_sum, count) of every supported loss against torch's own mean over the union of the batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.losses import summed
from tests.compare import assert_close


def targets(kind: str) -> Tensor:
    if kind == "tokens":
        y = torch.randint(3, (6, 5))
        y[0, 2:] = -100
        y[4] = -100
        return y
    if kind == "other index":
        return torch.randint(3, (6, 5))
    if kind == "probabilities":
        return torch.rand(6, 3, dtype=torch.float64).softmax(-1)
    return torch.randn(6, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss_fn", "kind"),
    [
        (F.cross_entropy, "tokens"),
        (nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]), label_smoothing=0.1), "tokens"),
        (nn.NLLLoss(), "tokens"),
        (nn.CrossEntropyLoss(ignore_index=1), "other index"),
        (F.cross_entropy, "probabilities"),
        (nn.MSELoss(), "numbers"),
        (nn.HuberLoss(), "numbers"),
    ],
)
def test_sums_over_uneven_cuts_give_the_mean_over_all(loss_fn: Any, kind: str) -> None:
    torch.manual_seed(7)
    loss_fn = loss_fn.double() if isinstance(loss_fn, nn.Module) else loss_fn
    target = targets(kind)
    output = torch.randn(6, 3, 5 if kind in ("tokens", "other index") else 1, dtype=torch.float64).squeeze(-1)
    total, count = torch.zeros((), dtype=torch.float64), 0.0
    for part in (slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 6)):
        loss_sum, batch_count = summed(loss_fn)(output[part], target[part])
        total, count = total + loss_sum, count + float(batch_count)
    assert_close(total / count, loss_fn(output, target), relative=1e-12)


def test_targets_that_are_not_tensors_are_counted() -> None:
    ones = torch.ones(4)

    def loss(output: Tensor, target: Any) -> Tensor:
        return output.mean()

    assert summed(loss)(ones, {"y": torch.zeros(4)})[1] == 4
    assert summed(loss)(ones, [torch.zeros(4), torch.zeros(4)])[1] == 4
    assert summed(loss)(ones, ["a", "b", "c"])[1] == 3
    assert summed(loss)(ones, torch.tensor(1.0))[1] == 1
    with pytest.raises(ValueError, match=r"a tensor of one element, got float; return it without \.item"):
        summed(lambda output, target: 1.0)(ones, ones)  # type: ignore[arg-type, return-value]
