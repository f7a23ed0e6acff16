"""The mean of a function of two batches over pairs of disjoint batches, with a standard error that knows they overlap.

Batches 1..M of one cut of the data share no samples, but the pairs (1, 2) and (1, 3) share batch 1. With k_ij for the
function, U for its mean over pairs, and ^ for "unbiased": Var U = U^2 - (theta^2)^, where (theta^2)^ is the mean of
k_ij k_kl over pairs of pairs that have no batch in common. This is exact for every M >= 4; the jackknife would count
the part of k_ij that is owed to both batches together twice, which in noisy gradients is nearly all of it.

Proved right by a loop over all pairs of pairs, and by the spread over resampled data
(`tests/analysis/noise/test_pairs.py`). Cost: none beside the gradients; M^2 numbers for each function.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class PairMean(NamedTuple):
    """Mean over pairs, and its standard error, of the same shape."""

    value: Tensor
    standard_error: Tensor


def pair_mean(values: Tensor, is_pair: Tensor) -> PairMean:
    """Average over pairs of batches, and over cuts.

    Args:
        values: k_ij, [C, ..., M, M] for C cuts of the data, symmetric; what is no pair is not read.
        is_pair: [M, M], symmetric, False on the diagonal: whether two batches were compared. At least one was.

    Returns:
        The mean [...]. Its standard error: of one cut, for the data as a sample of their distribution; NaN where no two
        pairs are disjoint; never below that of independent pairs, so that without any signal it is up to a quarter too
        large. Of several cuts, which share samples, by the differences between cuts: for the data as they
        are.
    """
    pairs = is_pair.to(values.dtype)
    num_pairs = float(pairs.sum())
    by_cut = torch.where(is_pair, values, 0.0).sum((-1, -2)) / num_pairs  # [C, ...]
    value = by_cut.mean(0)
    if len(by_cut) > 1:
        return PairMean(value, by_cut.std(0) / math.sqrt(len(by_cut)))
    # shifted by the mean: the variance is that of k - constant, and does not cancel there
    around = torch.where(is_pair, values[0] - value[..., None, None], 0.0)
    rows, squares = around.sum(-1).square().sum(-1), around.square().sum((-1, -2))
    num_disjoint = num_pairs**2 - 4 * float(pairs.sum(-1).square().sum()) + 2 * num_pairs
    if num_disjoint == 0:
        return PairMean(value, torch.full_like(value, torch.nan))
    variance = (4 * rows - 2 * squares) / num_disjoint  # the sum over all pairs of pairs is 0
    # as if all pairs were independent: less there cannot be, and an estimate of it must not claim it
    least = 2 * squares / num_pairs**2
    return PairMean(value, torch.maximum(variance, least).sqrt())
