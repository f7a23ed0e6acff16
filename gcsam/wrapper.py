"""An optimizer around another one: one list of parameter groups and one state, owned by both.

Because they are the same objects, learning-rate schedulers may take either, and `state_dict` has the form of any torch
optimizer: tools that store or shard optimizer states need not know the wrapper. Proved right by resumed runs compared
bit for bit (`tests/gcsam/test_optimizer_state.py`). Cost: none in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from gcsam.options import axes_of, check_base, check_group, check_rho

__all__ = ["Wrapper"]


class Wrapper(Optimizer):
    """Hold a base optimizer and the options of GCSAM for each parameter group; take no step.

    Args:
        params: Parameters or groups.
        base_class: Class of the base optimizer.
        options: Option name to default; `rho` may be a function of the number of steps done, of which
            `gcsam_steps` is the count.
        base_kwargs: Arguments of the base optimizer.
    """

    def __init__(
        self, params: Iterable[Any], base_class: type[Optimizer], options: dict[str, Any], base_kwargs: dict[str, Any]
    ) -> None:
        check_base(base_class, base_kwargs, options)
        self._option_names = tuple(options)
        self._rho_functions: list[Callable[[int], float] | None] = []
        super().__init__(params, options)
        self.base_optimizer = base_class(self.param_groups, **base_kwargs)
        self.defaults = {**self.base_optimizer.defaults, **options}
        self._share()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; it may set every option of GCSAM and of the base optimizer for itself.

        Args:
            param_group: As for any optimizer. It joins the count of steps that a function for rho is given.

        Raises:
            ValueError: An option out of range; the group is then not added.
        """
        if hasattr(self, "base_optimizer"):
            present = {"gcsam_steps": self.param_groups[0]["gcsam_steps"]}
            for name in self._option_names:
                param_group.setdefault(name, present.get(name, self.defaults[name]))
            self.base_optimizer.add_param_group(param_group)
        else:
            super().add_param_group(param_group)
        rho = param_group["rho"]
        self._rho_functions.append(rho if callable(rho) else None)
        try:
            self.update_rho()
            axes_of(param_group)
        except Exception:
            self.param_groups.pop()
            self._rho_functions.pop()
            raise

    def update_rho(self) -> None:
        """Set `group["rho"]` from its function, where it has one, and check every group's options."""
        for group, function in zip(self.param_groups, self._rho_functions, strict=True):
            if function is not None:
                group["rho"] = check_rho(function(group["gcsam_steps"]), f" at step {group['gcsam_steps']}")
            check_group(group)

    def state_dict(self) -> dict[str, Any]:
        """Return the base optimizer's state and every option, as plain numbers and tensors; no copy of the weights.

        Where a group is `friendly`, the state of a parameter has its "ascent_average" as well. A rho given as a
        function is stored as its present value; the function itself belongs to the code. The form is that of any torch
        optimizer, and loads with `torch.load(weights_only=True)`.

        Raises:
            RuntimeError: Between `ascend()` and `descend()`, because the model then holds perturbed weights.
        """
        self._refuse_between_passes("state_dict()")
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict()` returned; the run goes on bit for bit. Functions for rho stay those of this object.

        Args:
            state_dict: Of GCSAM, or of the base optimizer alone: options it does not hold keep their present values.

        Raises:
            RuntimeError: Between `ascend()` and `descend()`.
        """
        self._refuse_between_passes("load_state_dict()")
        state_dict = dict(state_dict)
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = before(self, state_dict) or state_dict
        present = [{name: group[name] for name in self._option_names} for group in self.param_groups]
        # the base loads for both, because it may keep its state in a form of its own (8 bits, for example)
        self.base_optimizer.load_state_dict(state_dict)
        self._share()
        for group, options in zip(self.param_groups, present, strict=True):
            for name, value in options.items():
                group.setdefault(name, value)
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_between_passes("copying the optimizer")
        kept = ("base_optimizer", "_option_names", "_rho_functions")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in kept}}

    def _refuse_between_passes(self, call: str) -> None:
        raise NotImplementedError

    def _share(self) -> None:
        self.param_groups, self.state = self.base_optimizer.param_groups, self.base_optimizer.state
