"""The order of a step: up from w to w + epsilon, back to w, and the base optimizer's step with the second gradient.

Right when wrong orders are told, weights come back whatever happens in between, and both ways of calling give the same
bits (`tests/gcsam/test_optimizer_step.py`, `test_perturbation.py`). Cost: two passes; `gcsam.ascent` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gcsam.ascent import are_finite
from gcsam.averages import show_averages, shown_averages
from gcsam.batchnorm import hold_statistics
from gcsam.gradients import asks_for_state, gradients_of, run_pass, unscale
from gcsam.guard import may_wait_for, step_if
from gcsam.perturbation import Perturbation
from gcsam.processes import check_local, first_pass, on_all, share_overflow
from gcsam.workspace import Workspace
from gcsam.wrapper import Wrapper

__all__ = ["TwoPass"]


class TwoPass(Wrapper):
    """Hold a base optimizer and take steps of two passes; `gcsam.GCSAM` says what is computed.

    Args:
        params: Parameters or groups.
        base_class: Class of the base optimizer.
        options: Of each group, as for `Wrapper`.
        base_kwargs: Arguments of the base optimizer.
        perturbation: "global" or "local".
        skip_nonfinite: Whether gradients are looked at.
    """

    # a GradScaler then leaves unscaling and skipping to `step()`, which has to restore the weights in any case
    _step_supports_amp_scaling = True

    def __init__(
        self,
        params: Iterable[Any],
        base_class: type[Optimizer],
        options: dict[str, Any],
        base_kwargs: dict[str, Any],
        *,
        perturbation: str,
        skip_nonfinite: bool,
    ) -> None:
        self.perturbation = perturbation
        self.skip_nonfinite = skip_nonfinite
        self._skipped: Tensor | None = None
        self._model: nn.Module | None = None
        self._averages: dict[Tensor, Tensor] = {}
        self._make_room()
        super().__init__(params, base_class, options, base_kwargs)

    def step(self, closure: Callable[[], Any] | None = None, *, scaler: GradScaler | None = None) -> Any:
        """Take one step: both passes, then the base optimizer.

        Args:
            closure: Runs forward and backward and returns the loss. It is called twice, with gradients enabled;
                gradients are cleared before each call. All rho 0: called once, like the base optimizer's. For gradient
                accumulation it runs all micro-batches. None after `ascend()` and a second backward pass means
                `descend()`, for trainers that know `step()` only, `scaler.step(optimizer)` among them.
            scaler: The GradScaler whose `scale(loss).backward()` the closure calls. Gradients are unscaled here, once
                per pass, so a ball of radius rho is meant in true units; call `scaler.update()` afterwards. It backs
                off if either pass overflowed.

        Returns:
            What the first call of the closure returned: the loss at w.

        Raises:
            RuntimeError: No closure; no gradient after a pass; `ascend()` without `descend()` before. If the closure
                raises in the second pass, w is put back first.
        """
        if closure is None:
            return self._step_without_closure(scaler)
        self._refuse_between_passes("step(closure)")
        self.update_rho()
        ascends = any(group["rho"] > 0 for group in self.param_groups)
        with first_pass(self._model) if ascends and self.perturbation == "local" else nullcontext():
            loss = run_pass(closure, self)
        if ascends:
            self._move(scaler)
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
        the weights stay.

        Args:
            zero_grad: Clear the gradients afterwards.
            scaler: The GradScaler that scaled the loss, unless `scaler.unscale_(optimizer.base_optimizer)` was called
                to clip. The second half is then `scaler.step(optimizer)`, or `descend(scaler=scaler)`.

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
            scaler: The one that scaled the second loss, unless `scaler.unscale_(optimizer)` was called to clip.

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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict()` returned; the run goes on bit for bit. Functions for rho stay those of this object.

        Args:
            state_dict: Of GCSAM, or of the base optimizer alone: options it does not hold keep their present values.

        Raises:
            RuntimeError: Between `ascend()` and `descend()`.
        """
        super().load_state_dict(state_dict)
        self._averages.clear()
        self._averages.update(shown_averages(self.state))

    def restore(self) -> None:
        """Put w back bit for bit and give the step up; without perturbed weights there is nothing to do."""
        self._perturbation.restore()

    @property
    def is_perturbed(self) -> bool:
        """Whether the weights are at w + epsilon, between `ascend()` and `descend()`."""
        return self._perturbation.is_active

    @property
    def num_skipped(self) -> int:
        """Steps not taken because a gradient was not finite, since this object was made; waits for the device."""
        return 0 if self._skipped is None else int(self._skipped)

    def kept_tensors(self) -> list[Tensor]:
        """Return every tensor kept between steps beside parameters and gradients.

        They are the state of the base optimizer, the room for the copy of w, the directions of a random projection, the
        averages of Friendly-SAM, and the norms of the last ascent.
        """
        states = [value for state in self.state.values() for value in state.values()]
        norms = self._perturbation.norms
        found = [*states, *self._workspace.tensors(), *self._averages.values(), *(norms.by_kind if norms else ())]
        return list({id(value): value for value in found if isinstance(value, Tensor)}.values())

    def __getstate__(self) -> dict[str, Any]:
        kept = ("perturbation", "skip_nonfinite", "_skipped", "_model", "_averages")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._averages = state.setdefault("_averages", {})  # copies made by earlier versions have none
        self._make_room()
        super().__setstate__(state)

    def _make_room(self) -> None:
        self._workspace = Workspace()
        self._perturbation = Perturbation(self._workspace, self._averages)

    def _refuse_between_passes(self, call: str) -> None:
        self._perturbation.refuse_active(call)

    def _step_without_closure(self, scaler: GradScaler | None) -> None:
        if self._perturbation.is_active:
            self._finish(scaler)
        elif asks_for_state(self):
            self._step_base()
        else:
            raise RuntimeError(
                "step() needs a closure, for the gradient is taken twice: give one that runs forward and backward and "
                "returns the loss (and scaler=, if there is a GradScaler); or call ascend() and descend() by hand"
            )

    def _move(self, scaler: GradScaler | None) -> None:
        gradients = gradients_of(self)
        if not gradients:
            raise RuntimeError("ascend() needs gradients, and no parameter has one; call backward() first")
        is_local = self.perturbation == "local"
        if is_local:
            check_local(self)
        if scaler is not None:
            scaler.unscale_(self.base_optimizer)  # a key of its own: a scaler unscales once per optimizer and update
            if is_local:
                share_overflow(scaler, self.base_optimizer, self._model)
        try:
            self._perturbation.move(
                self.param_groups,
                check_finite=self.skip_nonfinite,
                may_wait=scaler is not None or may_wait_for(gradients[0].device),
                agree=partial(on_all, model=self._model) if is_local else lambda flag: flag,
            )
        except BaseException:
            self.restore()
            raise

    @torch.no_grad()
    def _finish(self, scaler: GradScaler | None) -> None:
        was_finite = self._perturbation.is_finite
        self.restore()
        gradients = gradients_of(self)
        if not gradients:
            raise RuntimeError("descend() needs gradients, and no parameter has one; call backward() after ascend()")
        is_scaled = unscale(self, scaler, gradients)
        if self.skip_nonfinite:
            is_finite = are_finite(gradients)
            is_finite = is_finite if was_finite is None else is_finite & was_finite.to(is_finite.device)
            may_wait = is_scaled or may_wait_for(gradients[0].device)
            step_if(is_finite, self.base_optimizer, gradients, may_wait=may_wait, step=self._base_step)
            if self._skipped is None:
                self._skipped = torch.zeros((), dtype=torch.int64, device=is_finite.device)
            self._skipped += ~is_finite
        else:
            self._base_step()
        for group in self.param_groups:
            group["gcsam_steps"] += 1

    def _step_base(self) -> None:
        self.base_optimizer.step()
        show_averages(self.param_groups, self.state, self._averages)

    def _base_step(self) -> None:
        replaced: list[tuple[Tensor, Tensor | None]] = []
        try:
            if any(group["centralize_descent"] for group in self.param_groups):
                self._workspace.project_gradients(self.param_groups, replaced)
            self._step_base()
        finally:
            for parameter, gradient in replaced:
                parameter.grad = gradient
