"""Weights moved to w + epsilon, and put back bit for bit.

The copy of w is the one large thing GCSAM keeps. It is a copy and not a subtraction, because (w + epsilon) - epsilon
is not w in floating point; and it is copied back in place, because averages, tied weights and captured graphs rely on
the address of a parameter. Proved right by bitwise comparison (`tests/gcsam/test_perturbation.py`).
Cost: one copy of the weights in memory, kept between steps, because fresh memory costs a CPU six times the copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gcsam.ascent import Norms, Piece, perturb, write_directions
from gcsam.options import axes_of

__all__ = ["Perturbation"]


class Perturbation:
    """Move the parameters of some groups by epsilon, and restore them.

    Attributes:
        is_active: Between `begin` or `move` and `restore`.
        is_finite: False once a gradient was found not to be, until `restore`.
        norms: Of the last move; None before the first.
    """

    def __init__(self) -> None:
        self.is_active = False
        self.is_finite = True
        self.norms: Norms | None = None
        self._moved: list[Piece] = []
        self._buffers: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def move(self, groups: Sequence[Mapping[str, Any]], *, check_finite: bool) -> None:
        """Add epsilon to every parameter that has a gradient; where every rho is 0, to none.

        Args:
            groups: Parameter groups with the options of GCSAM.
            check_finite: Leave the weights alone where the norm of the gradient is not finite. Waits for the device.
        """
        self.is_active = True
        if all(group["rho"] == 0 for group in groups):
            return
        try:
            pieces = [list(self._pieces(group)) for group in groups]
            together = [piece for members in pieces for piece in members]
            # all copies come first, so that an interruption at any later moment can be undone
            torch._foreach_copy_([piece.saved for piece in together], [piece.parameter for piece in together])
            self._moved = together
            self.norms = write_directions(together)
            radius_norm = {
                "exact": torch.linalg.vector_norm(self.norms.direction),
                "published": torch.linalg.vector_norm(self.norms.gradient),
            }
            if check_finite and not radius_norm["published"].isfinite():
                self.restore()
                self.is_active, self.is_finite = True, False
                return
            for group, members in zip(groups, pieces, strict=True):
                norm = radius_norm[group["radius"]]
                perturb(members, torch.where(norm > 0, group["rho"] / norm, 0.0))
        except BaseException:
            self.restore()
            raise

    def refuse_active(self, call: str) -> None:
        """Raise RuntimeError where the weights are perturbed.

        Args:
            call: What was called, for the message.
        """
        if self.is_active:
            raise RuntimeError(
                f"{call} between ascend() and descend(): the weights are perturbed. Run backward and descend() first, "
                "or restore() to give the step up"
            )

    @torch.no_grad()
    def restore(self) -> None:
        """Put back every weight that was moved, whatever happened in between."""
        if self._moved:
            torch._foreach_copy_([piece.parameter for piece in self._moved], [piece.saved for piece in self._moved])
        self._moved, self.is_active, self.is_finite = [], False, True

    @contextmanager
    def centralized_gradients(self, groups: Iterable[Mapping[str, Any]]) -> Iterator[None]:
        """Put P(gradient) in the place of each `.grad`, in the memory that held the copy of w.

        Args:
            groups: Those with `centralize_descent` are concerned.

        Yields:
            Nothing; afterwards each `.grad` is the tensor it was, unchanged.
        """
        replaced = []
        try:
            for group in groups:
                for parameter, dims in zip(group["params"], axes_of(group), strict=True):
                    gradient = parameter.grad
                    if group["centralize_descent"] and dims and gradient is not None:
                        replaced.append((parameter, gradient))
                        mean = gradient.mean(dims, keepdim=True)
                        parameter.grad = torch.sub(gradient, mean, out=self._buffer(parameter))
            yield
        finally:
            for parameter, gradient in replaced:
                parameter.grad = gradient

    def _pieces(self, group: Mapping[str, Any]) -> Iterator[Piece]:
        for parameter, dims in zip(group["params"], axes_of(group), strict=True):
            if parameter.grad is not None:
                eta = group["eta"] if group["adaptive"] and parameter.ndim > 1 else None
                axes = dims if group["centralize_ascent"] else ()
                yield Piece(parameter, parameter.grad, self._buffer(parameter), axes, eta)

    def _buffer(self, parameter: Tensor) -> Tensor:
        buffer = self._buffers.get(parameter)
        if buffer is None or _form(buffer) != _form(parameter):  # the model was moved or cast since
            buffer = self._buffers[parameter] = torch.empty_like(parameter)
        return buffer


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return tensor.shape, tensor.dtype, tensor.device
