"""The way up on a CPU: w + epsilon is written in a second place, which then changes places with w.

On a CPU a step waits for memory. Written into the room for the copy of w, w + epsilon costs one pass over w and g; w
is not copied, and comes back by changing places again, bit for bit and at the address it had. Between the passes a
parameter has another address, so this is not done where that could be seen: where anything else looks at the memory of
the parameter (a view, `parameter.data`, a state_dict somebody keeps), in a compiled step, and on accelerators, whose
captured graphs rely on addresses.

Proved right by the tests of the optimizer, which hold for both ways, and by aliases that must see w + epsilon
(`tests/gcsam/test_exchange.py`). Cost: reads the gradient twice and the weights once, writes one copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from gcsam.ascent import STRETCH, Norms, Piece, chosen_norms, norms_of, released, stretched
from gcsam.rows import Rows

__all__ = ["Exchange", "is_exchangeable"]

# Pythagoras loses digits where P keeps little: at a quarter of the square the norm is still right to 2e-7 in float32.
_LEAST_KEPT = 0.25
_BLOCK = 2**18  # numbers of a block, 1 MB of float32: of 2**16 to 2**20 the fastest
_EVEN = 16  # where rows and their lengths are multiples of it, blocks are whole numbers of stretches
_USERS_OF_ITS_OWN = 2  # the parameter, and the Python object that is asked


def is_exchangeable(piece: Piece) -> bool:
    """Return whether the parameter may change places: plain, on a CPU, and seen by nobody else.

    Args:
        piece: Of which the parameter, its rows, eta and average are looked at.
    """
    parameter, rows = piece.parameter, piece.rows
    if parameter.device.type != "cpu" or parameter.dtype not in {torch.float32, torch.float64}:
        return False
    if piece.owner is not parameter or torch.compiler.is_compiling():
        return False
    if piece.eta is not None or piece.average is not None or (rows is not None and rows.directions is not None):
        return False
    count = getattr(torch._C, "_storage_Use_Count", None)
    storage = parameter.untyped_storage()
    return count is not None and count(storage._cdata) == _USERS_OF_ITS_OWN and not storage.is_shared()


class Exchange:
    """Some parameters that climb by changing places.

    Args:
        pieces: Each exchangeable; `saved` is room, not yet a copy.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces: Sequence[Piece] = pieces
        self._means: list[Tensor | None] = []
        self._homes: list[Tensor] = []

    def measure(self) -> Norms:
        """Return the norms of d, of g and of P g, in float64."""
        reduced, means, lengths, projected = [], [], [], []
        for place, piece in enumerate(self.pieces):
            shorter, mean = _read(piece.gradient, piece.rows)
            reduced.append(shorter)
            self._means.append(mean)
            if mean is not None and piece.rows is not None:
                means.append(mean)
                lengths.append(piece.rows.length)
                projected.append(place)
        norms = torch.stack(norms_of(reduced + means))
        gradient, mean_norms = norms[: len(reduced)], norms[len(reduced) :]
        square = gradient.square()
        square[projected] -= mean_norms.square() * torch.tensor(lengths, dtype=torch.float64)
        kept = square.clamp(min=0).sqrt()
        is_lost = square < _LEAST_KEPT * gradient.square()
        for place, mean in zip(projected, means, strict=True):
            if is_lost[place]:
                piece = self.pieces[place]
                kept[place] = norms_of([torch.sub(piece.gradient, mean, out=piece.saved)])[0]
        return chosen_norms(self.pieces, kept=kept, gradient=gradient)

    def climb(self, scales: Sequence[Tensor]) -> None:
        """Write w + scale * d beside every weight, and let the two change places.

        Args:
            scales: 0-d, one for each group.
        """
        numbers = [scale.item() for scale in scales]
        for piece, mean in zip(self.pieces, self._means, strict=True):
            d = piece.gradient
            if mean is not None and piece.projects:
                d = torch.sub(piece.gradient, mean, out=piece.saved)
            torch.add(piece.parameter, d, alpha=numbers[piece.group], out=piece.saved)
        for piece in self.pieces:
            self._homes.append(piece.parameter.data)
            piece.parameter.data = piece.saved
            # a graph of the first pass must not be used with other weights in silence
            increment_version(piece.parameter)
        self.pieces = released(self.pieces)

    def restore(self) -> None:
        """Let those that changed places change back."""
        for piece, home in zip(self.pieces, self._homes, strict=False):
            piece.parameter.data = home
            increment_version(piece.parameter)
        self._homes = []


def _read(gradient: Tensor, rows: Rows | None) -> tuple[Tensor, Tensor | None]:
    """Return a shorter tensor of the same norm, and the mean of each row; a gradient larger than a cache is read once.

    Rows that lie one after the other are taken by blocks, so that the second reading of a block finds it in the cache.
    """
    if rows is None:
        return stretched(gradient), None
    count = gradient.shape[0]
    step = _BLOCK // rows.length // _EVEN * _EVEN  # rows of a block
    is_in_order = rows.axes == tuple(range(1, gradient.ndim)) and gradient.is_contiguous()
    if not is_in_order or rows.length % _EVEN or count % _EVEN or not 0 < step < count:
        return stretched(gradient), gradient.mean(rows.axes, keepdim=True)
    norms, sums = [], []
    for block in gradient.view(count, rows.length).split(step):  # type: ignore[no-untyped-call]
        norms.append(torch.linalg.vector_norm(block.view(-1, STRETCH), dim=1))
        sums.append(block.sum(1))
    means = torch.cat(sums).div_(rows.length)
    return torch.cat(norms), means.view(count, *[1] * (gradient.ndim - 1))
