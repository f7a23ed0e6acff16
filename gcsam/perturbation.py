"""Weights moved to w + epsilon, and put back bit for bit.

They never come back by subtraction, because (w + epsilon) - epsilon is not w in floating point; and a parameter has the
same address after a step as before, because averages, tied weights and captured graphs rely on it. Between the two
there are two ways: in place (`gcsam.in_place`), and where nobody can see the difference by changing places
(`gcsam.exchange`). Proved right by bitwise comparison (`tests/gcsam/test_perturbation.py`). Cost: that of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gcsam.ascent import Norms, Piece, joined
from gcsam.averages import average_of
from gcsam.exchange import Exchange, is_exchangeable
from gcsam.guard import keep_if
from gcsam.in_place import InPlace
from gcsam.shards import holders, local
from gcsam.workspace import Workspace

__all__ = ["Perturbation"]


class Perturbation:
    """Move the parameters of some groups by epsilon, and restore them.

    Args:
        workspace: Room for the copy of w, and the rows.
        averages: Those of Friendly-SAM by parameter; every move whose gradient is finite writes them on.

    Attributes:
        is_active: Between `move` and `restore`.
        is_finite: 0-d, boolean: whether the norm of the gradient is; None before `move`, and where nobody looked.
        norms: Of the last move; None before the first.
    """

    def __init__(self, workspace: Workspace, averages: dict[Tensor, Tensor]) -> None:
        self.is_active = False
        self.is_finite: Tensor | None = None
        self.norms: Norms | None = None
        self._workspace = workspace
        self._averages = averages
        self._ways: list[Exchange | InPlace] = []

    @torch.no_grad()
    def move(
        self,
        groups: Sequence[Mapping[str, Any]],
        *,
        check_finite: bool,
        may_wait: bool,
        agree: Callable[[Tensor], Tensor],
    ) -> None:
        """Add epsilon to every parameter that has a gradient; where every rho is 0, to none.

        Args:
            groups: Parameter groups with the options of GCSAM.
            check_finite: Leave the weights at w where the norm of the gradient is not finite.
            may_wait: Whether to read that from the device; otherwise epsilon is made zero without reading it.
            agree: Turns `is_finite` of this process into that of all.

        Side effects: if anything is raised on the way, the caller must `restore()`. It is not done here, because a
        block that catches it would keep `torch.compile` from reading `is_finite` in the middle.
        """
        self.is_active = True
        if all(group["rho"] == 0 for group in groups):
            return
        pieces = list(self._pieces(groups))
        apart = [piece for piece in pieces if may_wait and is_exchangeable(piece)]
        changing = {id(piece) for piece in apart}
        within = [piece for piece in pieces if id(piece) not in changing]
        if apart:
            self._ways.append(Exchange(apart))
        if within:
            self._ways.append(InPlace(within))
        self.norms = joined([way.measure() for way in self._ways])
        direction, gradient, kept = (torch.linalg.vector_norm(norms) for norms in self.norms.by_kind)
        if check_finite:
            self.is_finite = agree(gradient.isfinite())
            if not may_wait:
                keep_if(self.is_finite, [piece.parameter for piece in within])
            elif not self.is_finite:
                self._put_back()
                return
        for piece in pieces:
            if piece.average is not None:
                piece.average.follow(piece.gradient, None if may_wait else self.is_finite)
        lengths = {"exact": direction, "published": gradient, "matched": direction * (gradient / kept)}
        norms = [lengths[group["radius"]] for group in groups]
        scales = [torch.where(norm > 0, group["rho"] / norm, 0.0) for group, norm in zip(groups, norms, strict=True)]
        for way in self._ways:
            way.climb(scales)

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
        self._put_back()
        self.is_active, self.is_finite = False, None

    def _put_back(self) -> None:
        for way in self._ways:
            way.restore()
        self._ways = []

    def _pieces(self, groups: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
        for number, (group, rows) in enumerate(zip(groups, self._rows(groups), strict=True)):
            for parameter, members in zip(group["params"], rows, strict=True):
                if parameter.grad is not None:
                    yield Piece(
                        parameter,
                        local(parameter),
                        local(parameter.grad, parameter),
                        self._workspace.buffer(parameter),
                        members if _looks_at_rows(group) else None,
                        group["eta"] if group["adaptive"] and parameter.ndim > 1 else None,
                        number,
                        holders(parameter),
                        group["centralize_ascent"],
                        average_of(parameter, group, self._averages),
                    )

    def _rows(self, groups: Sequence[Mapping[str, Any]]) -> Iterator[list[Any]]:
        if any(_looks_at_rows(group) for group in groups):
            return self._workspace.rows(groups)
        return iter([[None] * len(group["params"]) for group in groups])


def _looks_at_rows(group: Mapping[str, Any]) -> bool:
    return bool(group["centralize_ascent"]) or group["radius"] == "matched"
