"""From three numbers per sample to tr(Sigma), ||G||^2 and their ratio, each with its standard error.

Write e_i = g_i - mean(g) for the deviation of sample i. Everything follows from s_i = ||e_i||^2, t_i = <e_i, mean(g)>
and p_i = <e_{i-1}, e_i>, which are added up while the samples pass by, so that memory does not depend on N.

Proved right by: a brute-force jackknife that leaves out one sample at a time; unbiasedness and z-scores with standard
deviation 1 over resamplings of data with known Sigma (`tests/analysis/noise/test_moments.py`). Costs nothing beside
the gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Estimates(NamedTuple):
    """Noise and signal of some groups of weights, all of shape [..., rows] in float64."""

    trace: Tensor
    trace_standard_error: Tensor
    signal: Tensor
    signal_standard_error: Tensor
    noise_scale: Tensor
    noise_scale_standard_error: Tensor


class Moments:
    """Running mean and covariance of (s_i, t_i), and second moment of p_i, in float64.

    Chunks are merged by the update of Chan, Golub and LeVeque (1983), which does not cancel where the naive sum of
    squares does.
    """

    def __init__(self) -> None:
        self.num_samples = 0
        self._mean: Tensor | float = 0.0  # [..., 2]
        self._scatter: Tensor | float = 0.0  # [..., 2, 2]
        self._neighbors: Tensor | float = 0.0  # [..., 2]: sums of p and p^2

    def update(self, squares: Tensor, along_mean: Tensor, neighbors: Tensor) -> None:
        """Take a chunk of C samples into account.

        Args:
            squares: s_i, [..., C].
            along_mean: t_i, [..., C].
            neighbors: p_i, [..., C]; 0 for the very first sample, which has no predecessor.
        """
        values = torch.stack([squares, along_mean], -1).double()  # [..., C, 2]
        size, before = values.shape[-2], self.num_samples
        mean = values.mean(-2)
        centered = values - mean.unsqueeze(-2)
        shift = mean - self._mean
        self.num_samples = before + size
        self._mean = self._mean + shift * (size / self.num_samples)
        between = shift.unsqueeze(-1) * shift.unsqueeze(-2) * (before * size / self.num_samples)
        self._scatter = self._scatter + centered.mT @ centered + between
        pairs = neighbors.double()
        self._neighbors = self._neighbors + torch.stack([pairs.sum(-1), pairs.square().sum(-1)], -1)

    def estimates(self, mean_square: Tensor) -> Estimates:
        """Return noise, signal and their ratio, with standard errors for the data as a sample of their distribution.

        trace = sum_i s_i / (N - 1) and signal = ||mean(g)||^2 - trace / N are unbiased. Leaving out sample i changes
        them by amounts linear in (s_i, t_i), so the jackknife is exact without repeating anything. For the signal, a
        quadratic in the mean, the variance is 4 G'Sigma G / N + 2 tr(Sigma^2) / N^2. The jackknife counts the second
        part twice, which matters where G is small, near a minimum; tr(Sigma^2) = E p_i^2 corrects that. The variance
        is never taken below that second part, its least value, so where G = 0 it is about twice too large. Where
        neighbors in the data resemble each other (sorted by class), the correction can only make the error larger.
        The ratio's error is by the delta method, right while signal is several of its standard errors.

        Args:
            mean_square: ||mean(g)||^2, [..., rows].

        Returns:
            Estimates. noise_scale is inf with error NaN where signal <= 0; errors are NaN for N = 2.

        References:
            Efron and Stein, The jackknife estimate of variance (1981): it counts a term of degree k about k times.
        """
        n = self.num_samples
        mean, scatter, neighbors = (torch.as_tensor(x) for x in (self._mean, self._scatter, self._neighbors))
        trace = mean[..., 0] * n / (n - 1)
        signal = mean_square.double() - trace / n
        if n < 3:
            variance_trace = variance_signal = covariance = torch.full_like(trace, torch.nan)
        else:
            change = mean.new_tensor([[n / (n - 2), 0.0], [-2 / (n - 2), 2.0]])  # of (trace, signal) by (s_i, t_i)
            jackknife = change @ (scatter / (n - 1)) @ change.T / n  # [..., rows, 2, 2]
            variance_trace, first, covariance = (
                jackknife[..., 0, 0],
                jackknife[..., 1, 1].clamp(min=0),
                jackknife[..., 0, 1],
            )
            # <e_i, e_j> has mean -tr(Sigma)/N, since the deviations sum to zero
            squares = neighbors[..., 1] + 2 * neighbors[..., 0] * trace / n + (n - 1) * (trace / n).square()
            second = 2 * squares.clamp(min=0) / (n - 1) / (n * (n - 1))
            variance_signal = torch.maximum(first - second, second)
            covariance = covariance * torch.where(first > 0, (variance_signal / first).sqrt(), 0.0)
        ratio = trace / signal
        variance = (variance_trace - 2 * ratio * covariance + ratio.square() * variance_signal) / signal.square()
        is_open = signal <= 0
        return Estimates(
            trace=trace,
            trace_standard_error=variance_trace.sqrt(),
            signal=signal,
            signal_standard_error=variance_signal.sqrt(),
            noise_scale=torch.where(is_open, torch.inf, ratio),
            noise_scale_standard_error=torch.where(is_open, torch.nan, variance.clamp(min=0).sqrt()),
        )
