"""The arithmetic of the ascent: tensors in, w + epsilon in place, no optimizer in sight.

With T the scale of adaptive SAM (1 without it) and P the projection of the rows, the direction is d = P(T g), or T g
where P only measures, and epsilon = scale * T d. The parameter itself is the scratch space for d, so that a step needs
one copy of the weights and no more. For Friendly-SAM g - sigma m stands in the place of g throughout. Proved right by a
slow twin written from the formulas (`tests/oracles/gcsam_twin.py`). Cost: reads the gradient twice and writes each
weight three times. On a CPU one tensor is carried through all operations while it is in the cache; on an accelerator
many tensors go through one operation at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gcsam.averages import Average
from gcsam.rows import Removed, Rows, project
from gcsam.shards import Processes, holders, local, whole_norms

__all__ = [
    "STRETCH",
    "Norms",
    "Piece",
    "are_finite",
    "chosen_norms",
    "joined",
    "norm_of",
    "norms_of",
    "perturb",
    "released",
    "stretched",
    "write_directions",
]

_CHUNK_ELEMENTS = 2**24  # bounds the temporary memory on an accelerator to 64 MiB of float32, our choice
_WIDE = {torch.float32, torch.float64}
_SMALL = 2**14  # numbers, or stretches, whose squares are added in float64, many tensors in one call
STRETCH = 256  # numbers added in a row; 64 takes half as long again, 1024 has ten times the error


class Piece(NamedTuple):
    """One parameter, or the part of it that is here, on its way up.

    Attributes:
        owner: The parameter as the model has it, sharded or not.
        parameter: w at first, d after `write_directions`, w + epsilon after `perturb`.
        gradient: g, only read; after the climb, when nobody needs it, any tensor.
        saved: A copy of w.
        rows: Of which P removes a direction; None where P leaves the tensor alone.
        eta: T = |w| + eta; None for T = 1.
        group: Number of its parameter group.
        holders: The processes that hold the other parts.
        projects: Whether d = P(T g); otherwise d = T g, and P is there to be measured.
        average: What Friendly-SAM takes away from g; None for nothing.
    """

    owner: Tensor
    parameter: Tensor
    gradient: Tensor
    saved: Tensor
    rows: Rows | None
    eta: float | None
    group: int = 0
    holders: Processes = ()
    projects: bool = True
    average: Average | None = None


class Norms(NamedTuple):
    """Norms of each tensor's direction d, of T g and of P(T g), [number of tensors] each, and the tensors in order."""

    parameters: list[Tensor]
    direction: Tensor
    gradient: Tensor
    kept: Tensor

    @property
    def by_kind(self) -> tuple[Tensor, Tensor, Tensor]:
        """The norms of d, of T g and of P(T g)."""
        return self.direction, self.gradient, self.kept

    def ratio(self) -> float:
        """Return q = ||P(T g)|| / ||T g|| over all tensors, NaN where T g is 0; waits for the device."""
        return float(torch.linalg.vector_norm(self.kept) / torch.linalg.vector_norm(self.gradient))

    def ratios(self) -> dict[Tensor, float]:
        """Return q of each tensor, NaN where its T g is 0; waits for the device."""
        return dict(zip(self.parameters, (self.kept / self.gradient).tolist(), strict=True))


def released(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces that no longer hold gradients, so that the second pass has their memory.

    Args:
        pieces: That have climbed.
    """
    return [piece._replace(gradient=piece.saved, average=None) for piece in pieces]


def joined(parts: Sequence[Norms]) -> Norms:
    """Return the norms of several lists of tensors as one, on the device of the first.

    Args:
        parts: At least one.
    """
    device = parts[0].direction.device
    direction, gradient, kept = (
        torch.cat([norms.to(device) for norms in column])
        for column in zip(*(part.by_kind for part in parts), strict=True)
    )
    return Norms([parameter for part in parts for parameter in part.parameters], direction, gradient, kept)


def write_directions(pieces: Sequence[Piece]) -> Norms:
    """Overwrite every parameter with its direction d.

    Args:
        pieces: At least one; `saved` must hold the weights already.

    Returns:
        Norms in at least float32, on the first parameter's device; nothing waits for that device.
    """
    done: list[Piece] = []
    kept: list[Tensor] = []
    gradient: list[Tensor] = []
    for chunk in _chunks(pieces):
        removed = _project(chunk)
        for piece, norm in zip(chunk, norms_of([piece.parameter for piece in chunk]), strict=True):
            done.append(piece)
            kept.append(norm)
            # Pythagoras: P is orthogonal, so the gradient need not be read again, and nothing cancels
            gradient.append(torch.hypot(norm, removed[id(piece)]) if piece.rows else norm)
        if measured := [piece._replace(rows=None) for piece in chunk if not piece.projects and piece.rows]:
            torch._foreach_copy_([piece.parameter for piece in measured], [piece.saved for piece in measured])
            _project(measured)
    norms = whole_norms(torch.stack([_stack(kept), _stack(gradient)]), [piece.holders for piece in done])
    return chosen_norms(done, kept=norms[0], gradient=norms[1])


def chosen_norms(pieces: Sequence[Piece], *, kept: Tensor, gradient: Tensor) -> Norms:
    """Return the norms of pieces: that of the direction is one of the others, as the piece says.

    Args:
        pieces: In the order of the norms.
        kept: Norms of P(T g).
        gradient: Norms of T g.
    """
    direction = kept
    if not all(piece.projects for piece in pieces):
        pairs = zip(pieces, kept.unbind(), gradient.unbind(), strict=True)
        direction = torch.stack([projected if piece.projects else whole for piece, projected, whole in pairs])
    return Norms([piece.owner for piece in pieces], direction, gradient, kept)


def perturb(pieces: Sequence[Piece], scale: Tensor) -> None:
    """Turn the directions into perturbed weights: w + scale * T d.

    Args:
        pieces: As after `write_directions`.
        scale: 0-d, on any device.
    """
    for chunk in _chunks(pieces):
        parameters = [piece.parameter for piece in chunk]
        eta = chunk[0].eta
        if eta is not None:
            torch._foreach_mul_(parameters, _scales([piece.saved for piece in chunk], eta))
        # one pass over memory counts on a CPU, but addcmul would round the scale to half precision, even to zero
        if len(chunk) == 1 and parameters[0].dtype in {torch.float32, torch.float64}:
            torch.addcmul(chunk[0].saved, parameters[0], scale.to(parameters[0].device), out=parameters[0])
        else:
            torch._foreach_mul_(parameters, scale.to(parameters[0].device))
            torch._foreach_add_(parameters, [piece.saved for piece in chunk])


def norm_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all tensors together, 0-d, in at least float32; nothing waits for a device.

    Args:
        tensors: At least one; of sharded ones all parts count.
    """
    alike: dict[tuple[torch.device, torch.dtype, Processes], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.device, tensor.dtype, holders(tensor)), []).append(local(tensor))
    norms = _stack([_stack(norms_of(group)).square().sum().sqrt() for group in alike.values()])
    return whole_norms(norms, [processes for _, _, processes in alike]).square().sum().sqrt()


def are_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Return whether every number is finite, 0-d, boolean; nothing waits for a device.

    Where the norm of the numbers, or on a CPU their sum, overflows, they count as not finite.

    Args:
        tensors: At least one; of sharded ones all parts count.
    """
    if not all(tensor.device.type == "cpu" and tensor.dtype in _WIDE and not holders(tensor) for tensor in tensors):
        return norm_of(tensors).isfinite()
    short = [tensor for tensor in tensors if tensor.numel() < _SMALL]
    sums = [tensor.sum() for tensor in tensors if tensor.numel() >= _SMALL]  # half the time of a norm
    return _stack([*sums, *(torch._foreach_norm(short) if short else ())]).sum().isfinite()


def norms_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the norm of each tensor, 0-d, in at least float32; on a CPU in float64. Nothing waits for a device.

    torch's own CPU norm adds along one running sum: it was measured off by 8e-3 on ten million equal float32 numbers.
    Here long tensors are cut into stretches, whose norms are then added in float64: off by 4e-8, in the same time.

    Args:
        tensors: Plain, on one device; on an accelerator also of one dtype.
    """
    if not tensors:
        return []
    if not _is_one_by_one(tensors[0].device):
        return list(torch._foreach_norm(list(tensors), 2, torch.promote_types(tensors[0].dtype, torch.float32)))
    return list(torch._foreach_norm([stretched(tensor) for tensor in tensors], 2, torch.float64))


def stretched(tensor: Tensor) -> Tensor:
    """Return a shorter tensor of the same norm: the norms of stretches of it; a short one as it is.

    Args:
        tensor: Plain, on a CPU.
    """
    if tensor.numel() < _SMALL:
        return tensor
    tensor = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    in_memory_order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    flat = tensor.permute(in_memory_order).reshape(-1)
    whole = flat.numel() // STRETCH * STRETCH
    stretches = torch.linalg.vector_norm(flat[:whole].view(-1, STRETCH), dim=1)
    return torch.cat([stretches, flat[whole:]]) if whole < flat.numel() else stretches


def _project(chunk: list[Piece]) -> dict[int, Tensor]:
    """Turn w into P(T g) and return the norm of what P removed, by the id of its piece."""
    eta = chunk[0].eta
    gradients = {
        id(piece): piece.average.removed_from(piece.gradient) if piece.average else piece.gradient for piece in chunk
    }
    if eta is not None:
        parameters = [piece.parameter for piece in chunk]
        torch._foreach_abs_(parameters)
        torch._foreach_add_(parameters, eta)
        torch._foreach_mul_(parameters, list(gradients.values()))
    elif unprojected := [piece for piece in chunk if piece.rows is None]:
        sources = [gradients[id(piece)] for piece in unprojected]
        torch._foreach_copy_([piece.parameter for piece in unprojected], sources)
    removed: list[Removed] = []
    projected: list[Piece] = []
    for piece in chunk:
        if piece.rows is not None:
            projected.append(piece)
            source = gradients[id(piece)] if eta is None else piece.parameter
            removed.append(project(source, piece.rows, piece.parameter))
    norms = norms_of([part.tensor for part in removed])
    return {id(piece): norm * part.factor for piece, part, norm in zip(projected, removed, norms, strict=True)}


def _scales(weights: list[Tensor], eta: float) -> list[Tensor]:
    scales = list(torch._foreach_abs(weights))
    torch._foreach_add_(scales, eta)
    return scales


def _chunks(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces of the same device, dtype and eta together, no more at a time than temporary memory allows."""
    open_chunks: dict[tuple[torch.device, torch.dtype, float | None], list[Piece]] = {}
    for piece in pieces:
        if _is_one_by_one(piece.parameter.device):
            yield [piece]
            continue
        key = (piece.parameter.device, piece.parameter.dtype, piece.eta)
        chunk = open_chunks.setdefault(key, [])
        chunk.append(piece)
        if sum(member.parameter.numel() for member in chunk) >= _CHUNK_ELEMENTS:
            yield open_chunks.pop(key)
    yield from open_chunks.values()


def _is_one_by_one(device: torch.device) -> bool:
    return device.type == "cpu"


def _stack(norms: Sequence[Tensor]) -> Tensor:
    dtype = torch.float64 if any(norm.dtype == torch.float64 for norm in norms) else torch.float32
    return torch.stack([norm.to(norms[0].device, dtype) for norm in norms])
