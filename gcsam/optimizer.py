"""GCSAM: sharpness-aware minimization whose ascent direction is the centralized gradient, around any base optimizer.

Every variant is an option of the one class (SAM, adaptive SAM, gradient centralization in either half, the shorter
radius of the published code), so that comparisons differ in that option alone. Needs nothing but torch.

Proved right by: a slow twin written from the formulas (`tests/gcsam/reference.py`), equal over 20 steps in parameters
and state for every switch; ||epsilon|| in float64; restored weights and resumed runs compared bit for bit.
Cost: two forward and backward passes; one copy of the weights; one norm read back to the host per pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gcsam.ascent import norm_of
from gcsam.batchnorm import hold_statistics
from gcsam.gradients import gradients_of, run_pass
from gcsam.options import with_module_dims
from gcsam.perturbation import Perturbation
from gcsam.wrapper import Wrapper

__all__ = ["GCSAM"]

Built = TypeVar("Built", bound="GCSAM")


class GCSAM(Wrapper):
    """Step downhill with the gradient at w + epsilon, where epsilon = rho * Pg / ||Pg|| points uphill from w.

    `step(closure)` runs the closure at w, moves every weight by epsilon, runs it again, puts back w bit for bit from a
    copy, and lets the base optimizer step with the second gradient. P is the centralization (`gcsam.centralize`).

    The norm is taken over all parameters of all groups, so with one rho ||epsilon|| = rho. Where groups differ in rho,
    epsilon_group = rho_group * d_group / ||d||: a group keeps its share of the direction and scales it by its own rho.
    A group with rho=0 stays where it is and still counts in the norm.

    adaptive=True is ASAM with T = |w| + eta on tensors of two or more axes and T = 1 on the others (biases, norm
    scales). P acts in the coordinates T^-1 w, where the gradient is T g: d = P(T g), epsilon = rho * T d / ||d||, so
    that ||T^-1 epsilon|| = rho. Of d = T P(g) the same could be said, but not that q <= 1, nor that with eta=0 the
    step is invariant to a rescaling of single weights, which is what ASAM is for.

    Numerical outcomes. A zero gradient: epsilon = 0, the base step. A norm of the gradient that is not finite, in
    either pass: w is put back, the base optimizer does not step, `num_skipped` counts it. All rho 0: the closure runs
    once and the step is the base optimizer's, bit for bit, random numbers and batch-norm statistics included.

    The base optimizer's weight decay acts in its own step only; its L2 term is no part of the gradient of the ascent.
    The second pass draws its own dropout masks. A parameter without a gradient in the first pass is not moved.

    Args:
        params: Parameters or groups, as for any optimizer. A group may set every option below for itself, any
            argument of the base optimizer, and `centralize_dims`: the axes P averages over, as a tuple for all
            tensors of the group with two or more axes, or as a list with one entry per parameter (None: all axes but
            the first). A weight with one element per row is left alone whatever the axes, or it would never train.
        base_class: Any torch.optim.Optimizer class whose step needs no closure.
        rho: Radius, >= 0, in units of the weights; or a function of the number of steps done, 0 at first. 0.05 is the
            default of Foret et al. `group["rho"]` holds the present value, and may be edited where rho is a number.
        adaptive: Scale the ball by the weights (ASAM). Its usual rho is ten times larger.
        centralize_ascent: False makes it SAM.
        centralize_descent: Hand P(gradient) to the base optimizer, before its weight decay. `.grad` itself keeps what
            backward left. With rho=0 this is gradient centralization (Yong et al.).
        radius: "exact": ||epsilon|| = rho. "published": rho * ||Pg|| / ||g||, as the authors' code computes it, the
            norm being taken before centralizing; it is "exact" at a radius `ascent_ratio()` times as large.
        eta: Offset of T in adaptive mode, >= 0; 0.01 as in Kwon et al.
        skip_nonfinite: False trusts every gradient to be finite: one reading less per pass, and nothing waits for the
            device; not for use with a GradScaler.
        **base_kwargs: For the base optimizer, for example lr=0.1.

    Attributes:
        base_optimizer: The wrapped optimizer. It shares `param_groups` and `state` with this one, so learning-rate
            schedulers take either.
        num_skipped: Steps not taken because a gradient was not finite, since this object was made.

    Raises:
        ValueError: An option out of range, or one that the base optimizer has under the same name (Adadelta's rho).
        TypeError: base_class is no optimizer class; an argument that neither side knows.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 0.0]]))
        >>> optimizer = GCSAM([w], torch.optim.SGD, rho=2**0.5, lr=0.25)
        >>> def closure():
        ...     loss = w.square().sum() / 2  # gradient w: [3, 0], centralized [1.5, -1.5], so epsilon = [1, -1]
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item(), w.data  # [3, 0] - 0.25 * [4, -1]
        (4.5, tensor([[2.0000, 0.2500]]))

    References:
        Hassan et al., arXiv 2501.11584 (GCSAM); Foret et al., arXiv 2010.01412 (SAM); Kwon et al., arXiv 2102.11600
        (ASAM); Yong et al., arXiv 2004.01461 (GC). We differ from the released code of GCSAM: (1) the radius is exact
        unless asked for; (2) weights come back from a copy, not by subtraction; (3) axes go by layer type.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base_class: type[Optimizer],
        rho: float | Callable[[int], float] = 0.05,
        adaptive: bool = False,
        centralize_ascent: bool = True,
        centralize_descent: bool = False,
        radius: Literal["exact", "published"] = "exact",
        *,
        eta: float = 0.01,
        skip_nonfinite: bool = True,
        **base_kwargs: Any,
    ) -> None:
        options = {
            "rho": rho,
            "adaptive": adaptive,
            "centralize_ascent": centralize_ascent,
            "centralize_descent": centralize_descent,
            "radius": radius,
            "eta": eta,
            "centralize_dims": None,
            "gcsam_steps": 0,
        }
        self.skip_nonfinite = skip_nonfinite
        self.num_skipped = 0
        self._model: nn.Module | None = None
        self._perturbation = Perturbation()
        super().__init__(params, base_class, options, base_kwargs)

    @classmethod
    def from_model(
        cls: type[Built],
        model: nn.Module,
        base_class: type[Optimizer],
        *,
        params: Iterable[Any] | None = None,
        **options: Any,
    ) -> Built:
        """Build the optimizer of a model, with the axes of P read from its module types (`gcsam.module_dims`).

        `step(closure)` then also holds the running statistics of batch norm during the second pass, so that they
        advance once a step, from the pass at w. In a hand-written loop put the second forward pass into
        `with hold_statistics(model):`.

        Args:
            model: Its parameters are optimized, frozen ones included, so that they can be thawed later.
            base_class: As for the class.
            params: Parameters or groups of this model, instead of all in one group. A group that sets
                `centralize_dims` keeps its own.
            **options: The other arguments of the class.

        Returns:
            The optimizer. It refers to the model, but its state_dict does not.
        """
        optimizer = cls(with_module_dims(model, params), base_class, **options)
        optimizer._model = model
        return optimizer

    def step(self, closure: Callable[[], Any] | None = None, *, scaler: GradScaler | None = None) -> Any:
        """Take one step: both passes, then the base optimizer.

        Args:
            closure: Runs forward and backward and returns the loss. None after `ascend()` and a second backward pass
                means `descend()`, for trainers that know `step()` only. It is called twice, with gradients enabled;
                gradients are cleared before each call. All rho 0: called once, like the base optimizer's. A first
                gradient that is not finite: once too. For gradient accumulation it runs all micro-batches.
            scaler: The GradScaler whose `scale(loss).backward()` the closure calls. Gradients are unscaled here, once
                per pass, so a ball of radius rho is meant in true units; call `scaler.update()` afterwards. It backs
                off if either pass overflowed.

        Returns:
            What the first call of the closure returned: the loss at w.

        Raises:
            RuntimeError: No closure; no gradient after a pass; `ascend()` without `descend()` before. If the closure
                raises in the second pass, w is put back first.
        """
        if closure is None and self._perturbation.is_active:
            return self._finish(scaler)
        if closure is None:
            raise RuntimeError(
                "step() needs a closure, for the gradient is taken twice: give one that runs forward and backward and "
                "returns the loss (and scaler=, if there is a GradScaler); or call ascend() and descend() by hand"
            )
        self._refuse_between_passes("step(closure)")
        self.update_rho()
        loss = run_pass(closure, self)
        if any(group["rho"] > 0 for group in self.param_groups):
            self._move(scaler)
            if self._perturbation.is_finite:
                try:
                    with nullcontext() if self._model is None else hold_statistics(self._model):
                        run_pass(closure, self)
                except BaseException:
                    self.restore()
                    raise
        self._finish(scaler)
        return loss

    def ascend(self, zero_grad: bool = False, *, scaler: GradScaler | None = None) -> None:
        """Move the weights to w + epsilon: the first half of a hand-written step.

        Call it after the backward pass at w; then clear the gradients, run forward and backward again, and call
        `descend()`. A gradient that is not finite leaves the weights at w, and `descend()` skips the step. With rho=0
        the weights stay. Under a GradScaler pass the scaler to both halves.

        Args:
            zero_grad: Clear the gradients afterwards.
            scaler: The GradScaler that scaled the loss, unless `scaler.unscale_(optimizer)` was called to clip.

        Raises:
            RuntimeError: The weights are perturbed already; no parameter has a gradient.
        """
        self._refuse_between_passes("ascend()")
        self.update_rho()
        self._move(scaler)
        if zero_grad:
            self.zero_grad()

    def descend(self, zero_grad: bool = False, *, scaler: GradScaler | None = None) -> None:
        """Put w back and let the base optimizer step with the present gradients: the second half.

        A parameter with a gradient in this pass only steps from where it is. Gradients are used as they are found, so
        clipping just before clips what the base optimizer sees. Hooks on `step` and learning-rate schedulers take one
        `descend()` for one step.

        Args:
            zero_grad: Clear the gradients afterwards.
            scaler: The one that scaled the second loss, unless `scaler.unscale_(optimizer.base_optimizer)` was called.

        Raises:
            RuntimeError: `ascend()` was not called; no parameter has a gradient (w is put back first).
        """
        if not self._perturbation.is_active:
            raise RuntimeError(
                "descend() without ascend(): the weights are not perturbed. Call backward, ascend(), backward, "
                "descend(); or give step() a closure"
            )
        self.step(scaler=scaler)
        if zero_grad:
            self.zero_grad()

    first_step = ascend
    second_step = descend

    def restore(self) -> None:
        """Put w back bit for bit and give the step up; without perturbed weights there is nothing to do."""
        self._perturbation.restore()

    def ascent_ratio(self) -> float:
        """Return q = ||Pg|| / ||g|| of the last ascent, over all parameters: to first order, gain over SAM's gain.

        Adaptive groups count with T g. NaN before the first ascent, and where the gradient was 0. Waits for the device.
        """
        norms = self._perturbation.norms
        return float("nan") if norms is None else norms.ratio()

    def ascent_ratios(self) -> dict[Tensor, float]:
        """Return q of the last ascent for each parameter that had a gradient; NaN where that was 0."""
        norms = self._perturbation.norms
        return {} if norms is None else norms.ratios()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("skip_nonfinite", "num_skipped", "_model")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._perturbation = Perturbation()
        super().__setstate__(state)

    def _refuse_between_passes(self, call: str) -> None:
        self._perturbation.refuse_active(call)

    def _move(self, scaler: GradScaler | None) -> None:
        if scaler is not None:
            scaler.unscale_(self)
        if not gradients_of(self):
            raise RuntimeError("ascend() needs gradients, and no parameter has one; call backward() first")
        self._perturbation.move(self.param_groups, check_finite=self.skip_nonfinite)

    @torch.no_grad()
    def _finish(self, scaler: GradScaler | None) -> None:
        is_finite = self._perturbation.is_finite
        self.restore()
        gradients = gradients_of(self)
        if not gradients:
            raise RuntimeError("descend() needs gradients, and no parameter has one; call backward() after ascend()")
        if is_finite and scaler is not None:
            scaler.unscale_(self.base_optimizer)  # its own entry: a scaler unscales once per optimizer and update
        if is_finite and self.skip_nonfinite:
            is_finite = bool(norm_of(gradients).isfinite())
        if is_finite:
            with self._perturbation.centralized_gradients(self.param_groups):
                self.base_optimizer.step()
        self.num_skipped += not is_finite
        for group in self.param_groups:
            group["gcsam_steps"] += 1
