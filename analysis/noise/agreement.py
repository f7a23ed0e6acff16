"""From inner products between batches to variance, signal, cosines and sign agreement, and the differences of kinds.

Proved right by resampled Gaussian gradients of known moments (`tests/analysis/noise/test_agreement.py`) and by loops
over pairs (`test_minibatch.py`). Cost: none beside the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from analysis.noise.batch_products import Products
from analysis.noise.pairs import PairMean, pair_mean

# The kind that each difference is of, and the one it is to: places in `scalars.KINDS`.
GAINS = {"centralized_gain": (1, 0), "control_gain": (2, 0), "gain_beyond_control": (1, 2)}


def estimates(cuts: Sequence[Products], size: int) -> dict[str, PairMean]:
    """Average over all pairs of one batch size.

    Args:
        cuts: Products between the batches of each cut.
        size: B.

    Returns:
        By name: variance, signal, cosine, sign_agreement, descent_cosine, noise_scale, each [kind]; layer_cosine
        [kind, L]; cosine_gain and descent_cosine_gain, each [gain] in the order of `GAINS`.
    """
    by_layer, signs, descent = (
        torch.stack([getattr(cut, name) for cut in cuts]) for name in ("gradient", "signs", "descent")
    )
    is_pair = cuts[0].is_pair
    gradient = by_layer.sum(2)  # [C, kind, M, M]
    squares = torch.diagonal(gradient, dim1=-2, dim2=-1)
    distance = (squares.unsqueeze(-1) + squares.unsqueeze(-2)) / 2 - gradient
    cosine, descent_cosine = _cosines(gradient), _cosines(descent)
    values = {
        "variance": distance,
        "signal": gradient,
        "cosine": cosine,
        "layer_cosine": _cosines(by_layer),
        "sign_agreement": (1 + _shares(signs[:, 0], signs[:, 1])) / 2,
        "descent_cosine": descent_cosine,
        "cosine_gain": _gains(cosine),
        "descent_cosine_gain": _gains(descent_cosine),
    }
    found = {name: pair_mean(value, is_pair) for name, value in values.items()}
    trace, signal = size * found["variance"].value, found["signal"].value
    scale = trace / signal
    # the mean of this function is 0, and its error that of the ratio times the denominator
    left = pair_mean(size * distance - scale[:, None, None] * gradient, is_pair)
    is_open = signal <= 0
    found["noise_scale"] = PairMean(
        torch.where(is_open, torch.inf, scale), torch.where(is_open, torch.nan, left.standard_error / signal)
    )
    return found


def _cosines(products: Tensor) -> Tensor:
    norms = torch.diagonal(products, dim1=-2, dim2=-1).sqrt()
    return _shares(products, norms.unsqueeze(-1) * norms.unsqueeze(-2))


def _shares(parts: Tensor, wholes: Tensor) -> Tensor:
    """Return quotients, [C, ..., M, M]: 0 where there is nothing to share, NaN where there never is."""
    is_empty = wholes == 0
    shares = torch.where(is_empty, 0.0, parts / wholes)
    return torch.where(is_empty.all(-1, keepdim=True).all(-2, keepdim=True).all(0, keepdim=True), torch.nan, shares)


def _gains(values: Tensor) -> Tensor:
    """Return the differences of kinds, [C, gain, M, M]."""
    return torch.stack([values[:, more] - values[:, less] for more, less in GAINS.values()], 1)
