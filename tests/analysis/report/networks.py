"""Networks whose report takes a second, and an objective that counts what is asked of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis import Objective


def relu_network(factor: float = 1.0, *, samples: int = 20) -> Objective:
    """Return a trained ReLU network in float64; its layers scaled by a factor and its inverse, the function kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
        x, y = torch.randn(samples, 4, dtype=torch.float64), torch.randint(3, (samples,))
    for _ in range(60):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.5 * parameter.grad
    model.zero_grad()
    with torch.no_grad():
        model[0].weight *= factor
        model[0].bias *= factor
        model[2].weight /= factor
    return Objective(model, nn.CrossEntropyLoss(), [(x[:13], y[:13]), (x[13:], y[13:])] if samples > 13 else (x, y))


class Counting(Objective):
    """Counts losses, gradients and Hessian products, each by the share of the samples it ran over."""

    def __init__(self, objective: Objective) -> None:
        self.seen = {"losses": 0.0, "gradients": 0.0, "hvps": 0.0}
        total = sum(len(x) for x, _ in objective.data)

        def loss_fn(output: Tensor, target: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                self.seen["losses"] += len(target) / total
            return F.cross_entropy(output, target)

        super().__init__(objective.model, loss_fn, objective.data)
        self._total = total

    def gradient(self, at: Tensor | None = None) -> Tensor:
        self.seen["gradients"] += sum(len(x) for x, _ in self.data) / self._total
        return super().gradient(at)

    def hvp(self, vector: Tensor, at: Tensor | None = None) -> Tensor:
        self.seen["hvps"] += sum(len(x) for x, _ in self.data) / self._total
        return super().hvp(vector, at)
