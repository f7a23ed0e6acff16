"""The way up in place: w is copied, its memory becomes d and then w + epsilon, and w is copied back.

Addresses stay the same throughout, so views, captured graphs and shards see every change. Proved right by the tests of
the optimizer; cost: that of `gcsam.ascent`, and two copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gcsam.ascent import Norms, Piece, perturb, released, write_directions

__all__ = ["InPlace"]


class InPlace:
    """Some parameters that climb where they are.

    Args:
        pieces: At least one; `saved` is room, not yet a copy.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces: Sequence[Piece] = pieces
        self._has_copies = False

    def measure(self) -> Norms:
        """Copy every w, turn its memory into d, and return the norms."""
        # all copies come first, so that an interruption at any later moment can be undone
        torch._foreach_copy_([piece.saved for piece in self.pieces], [piece.parameter for piece in self.pieces])
        self._has_copies = True
        return write_directions(self.pieces)

    def climb(self, scales: Sequence[Tensor]) -> None:
        """Turn d into w + scale * T d.

        Args:
            scales: 0-d, one for each group.
        """
        for group, scale in enumerate(scales):
            perturb([piece for piece in self.pieces if piece.group == group], scale)
        self.pieces = released(self.pieces)

    def restore(self) -> None:
        """Copy every w back."""
        if self._has_copies:
            torch._foreach_copy_([piece.parameter for piece in self.pieces], [piece.saved for piece in self.pieces])
        self._has_copies = False
