"""Whether an objective's Hessian products can be trusted: four checks that share no path with the products.

A product is compared with a difference of gradients, <u, Hv> with <v, Hu>, a product with itself, and the model before
with the model after. Proved right by objectives that are wrong in each of these ways, and by all test networks passing
in float32 and float64 (`tests/analysis/test_self_check.py`). Cost: 3 products and 19 gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from analysis.difference import LADDER, CentralDifference
from analysis.evidence import Result, measured

ROUNDING = 100  # units of rounding that a product may carry, as the Lanczos residuals allow


@dataclass(frozen=True, eq=False)
class SelfCheck(Result):
    """What was found, beside what rounding allows; each relative to the norm of the product."""

    group: ClassVar[str] = "curvature"

    difference: float = measured(units="1", description="|Hv - central difference of the gradient| / |Hv|")
    difference_allowed: float = measured(units="1", description="what rounding and the estimated error explain")
    asymmetry: float = measured(units="1", description="|<u, Hv> - <v, Hu>| / |Hv| for unit vectors u and v")
    asymmetry_allowed: float = measured(units="1", description="what rounding explains")
    repeatability: float = measured(units="1", description="|Hv - Hv again| / |Hv|")
    repeatability_allowed: float = measured(units="1", description="what adding in another order explains")
    is_model_unchanged: bool = measured(description="weights, buffers, gradients and modes are as before")
    num_hvps: int = measured(units="Hessian products", description="cost")
    num_gradients: int = measured(units="gradients", description="cost")
    seed: int = measured(description="of the random directions")

    @property
    def passed(self) -> bool:
        """Whether all four hold."""
        return all(ok for _, ok, _ in self._lines())

    @property
    def report(self) -> str:
        """The checks as text, one line each; one more says what a failure means."""
        lines = []
        for text, ok, advice in self._lines():
            lines.append(f"{'passed' if ok else 'FAILED'}  {text}")
            lines += [] if ok else [f"        {advice}"]
        return "\n".join(lines)

    def _lines(self) -> list[tuple[str, bool, str]]:
        numbers = [
            (
                "difference of gradients",
                self.difference,
                self.difference_allowed,
                "the product is not the derivative of the gradient: an operation of the model has a wrong or a missing "
                "second derivative; try hvp_method='finite_difference'",
            ),
            (
                "symmetry",
                self.asymmetry,
                self.asymmetry_allowed,
                "a Hessian is symmetric: look for a custom backward, or for .detach() in the model",
            ),
            (
                "repeatability",
                self.repeatability,
                self.repeatability_allowed,
                "two equal products differ: look for random numbers or for state in the model's forward",
            ),
        ]
        lines = [
            (f"{name}: {value:.1e}, allowed {allowed:.1e}", value <= allowed, advice)
            for name, value, allowed, advice in numbers
        ]
        text = f"model is {'' if self.is_model_unchanged else 'not '}as it was"
        return [*lines, (text, self.is_model_unchanged, "the model's forward writes to its own weights or buffers")]


def self_check(objective: Any, *, seed: int = 0) -> SelfCheck:
    """Check an objective's Hessian products at the present weights, along random directions.

    Args:
        objective: An `Objective`.
        seed: Of the directions, drawn on the CPU.

    Returns:
        The numbers; `.passed` and `.report` say what they mean. NaN in a product passes nothing.

    Side effects: none but graphs kept for further products.

    Example:
        >>> from analysis import Objective
        >>> model = torch.nn.Linear(3, 1)
        >>> check = Objective(model, torch.nn.MSELoss(), (torch.ones(4, 3), torch.zeros(4, 1))).self_check()
        >>> check.passed, check.num_hvps
        (True, 3)
    """
    before = _snapshot(objective.model)
    generator = torch.Generator().manual_seed(seed)
    weights = objective.weights()
    u, v = torch.randn(2, len(weights), generator=generator).to(weights)
    u, v = u / u.norm(), v / v.norm()
    product, again, other = objective.hvp(v), objective.hvp(v), objective.hvp(u)
    slope = CentralDifference(objective.gradient, weights)
    expected = slope.product(v)
    # what the gradient's own rounding makes of a difference over that step
    noise = 10 * torch.finfo(weights.dtype).eps * float(objective.gradient().norm()) / slope.step
    scale = max(float(product.norm()), float(expected.norm())) or 1.0
    rounding = ROUNDING * torch.finfo(weights.dtype).eps
    own = 3 * objective.product_error / scale  # an estimated error may be a little short
    return SelfCheck(
        difference=float((product - expected).norm()) / scale,
        difference_allowed=rounding + own + (3 * slope.error + noise) / scale,
        asymmetry=abs(float(u @ product) - float(v @ other)) / scale,
        asymmetry_allowed=rounding * max(1.0, float(other.norm()) / scale) + own,
        repeatability=float((product - again).norm()) / scale,
        repeatability_allowed=rounding,
        is_model_unchanged=_is_same(before, _snapshot(objective.model)),
        num_hvps=3,
        num_gradients=2 * len(LADDER) + 1,
        seed=seed,
    )


def _snapshot(model: nn.Module) -> dict[str, Any]:
    parameters = dict(model.named_parameters())
    return {
        "values": {name: tensor.detach().clone() for name, tensor in [*parameters.items(), *model.named_buffers()]},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in parameters.items()},
        "flags": [(p.requires_grad, p.data_ptr()) for p in parameters.values()],
        "modes": [module.training for module in model.modules()],
    }


def _is_same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    def equal(a: Tensor | None, b: Tensor | None) -> bool:
        return a is b or (a is not None and b is not None and bool(torch.equal(a, b)))

    tensors = all(
        equal(tensor, after[kind].get(name))
        for kind in ("values", "gradients")
        for name, tensor in before[kind].items()
    )
    return tensors and before["flags"] == after["flags"] and before["modes"] == after["modes"]
