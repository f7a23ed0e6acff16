"""From three numbers per sample to tr(Sigma), ||G||^2 and their ratios, each with its standard error.

Write e_i = g_i - mean(g) for the deviation of sample i. Everything follows from s_i = ||e_i||^2, t_i = <e_i, mean(g)>
and p_i = <e_{i-1}, e_i>, which are added up while the samples pass by, so that memory does not depend on N. Of several
kinds (the gradient, and projections of it) they are added up jointly: what P changes is known far better than the
noise itself, because both are measured on the same samples.

Proved right by: a brute-force jackknife that leaves out one sample at a time; unbiasedness, z-scores with standard
deviation 1 and coverage of the intervals over resamplings of data with known Sigma
(`tests/analysis/noise/test_moments.py`). Costs nothing beside the gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Z95 = 1.959964  # of a normal distribution


class Estimates(NamedTuple):
    """Noise and signal of some groups of weights, all of shape [..., kind] in float64."""

    trace: Tensor
    trace_standard_error: Tensor
    signal: Tensor
    signal_standard_error: Tensor
    noise_scale: Tensor
    noise_scale_standard_error: Tensor


class Moments:
    """Running mean and covariance of (s_i, t_i) of all kinds, and second moments of p_i, in float64.

    Chunks are merged by the update of Chan, Golub and LeVeque (1983), which does not cancel where the naive sum of
    squares does.
    """

    def __init__(self) -> None:
        self.num_samples = 0
        self._mean: Tensor | float = 0.0  # [..., 2 * kinds]: s of every kind, then t
        self._scatter: Tensor | float = 0.0  # [..., 2 * kinds, 2 * kinds]
        self._neighbors: Tensor | float = 0.0  # [..., kinds]
        self._neighbor_products: Tensor | float = 0.0  # [..., kinds, kinds]

    def update(self, squares: Tensor, along_mean: Tensor, neighbors: Tensor) -> None:
        """Take a chunk of C samples into account.

        Args:
            squares: s_i, [..., kinds, C].
            along_mean: t_i, [..., kinds, C].
            neighbors: p_i, [..., kinds, C]; 0 for the very first sample, which has no predecessor.
        """
        values = torch.cat([squares, along_mean], -2).double()  # [..., 2 * kinds, C]
        size, before = values.shape[-1], self.num_samples
        mean = values.mean(-1)
        centered = values - mean.unsqueeze(-1)
        shift = mean - self._mean
        self.num_samples = before + size
        self._mean = self._mean + shift * (size / self.num_samples)
        between = shift.unsqueeze(-1) * shift.unsqueeze(-2) * (before * size / self.num_samples)
        self._scatter = self._scatter + centered @ centered.mT + between
        pairs = neighbors.double()
        self._neighbors = self._neighbors + pairs.sum(-1)
        self._neighbor_products = self._neighbor_products + pairs @ pairs.mT

    def joint(self, mean_square: Tensor) -> Joint:
        """Return noise and signal of every kind with their joint uncertainty.

        Args:
            mean_square: ||mean(g)||^2, [..., kinds].
        """
        n, kinds = self.num_samples, mean_square.shape[-1]
        mean, scatter, pairs, products = (
            torch.as_tensor(x) for x in (self._mean, self._scatter, self._neighbors, self._neighbor_products)
        )
        trace = mean[..., :kinds] * n / (n - 1)
        signal = mean_square.double() - trace / n
        if n < 3:
            unknown = torch.full((*trace.shape, kinds), torch.nan, dtype=torch.float64)
            return Joint(trace, signal, torch.cat([torch.cat([unknown] * 2, -1)] * 2, -2), unknown)
        one = torch.eye(kinds, dtype=torch.float64)
        change = torch.cat([  # of (trace, signal) by (s_i, t_i), where sample i is left out
            torch.cat([n / (n - 2) * one, 0 * one], 1),
            torch.cat([-2 / (n - 2) * one, 2 * one], 1),
        ])
        jackknife = change @ (scatter / (n - 1)) @ change.T / n
        # <e_i, e_j> has mean -tr(Sigma)/N, since the deviations sum to zero
        off = trace / n
        crossed = pairs.unsqueeze(-1) * off.unsqueeze(-2)
        squares = products + crossed + crossed.mT + (n - 1) * off.unsqueeze(-1) * off.unsqueeze(-2)
        return Joint(trace, signal, jackknife, 2 * squares / (n - 1) / (n * (n - 1)))


class Joint(NamedTuple):
    """Noise and signal of every kind, unbiased, and what is known of their errors.

    Leaving out sample i changes trace = sum_i s_i / (N - 1) and signal = ||mean(g)||^2 - trace / N by amounts linear in
    (s_i, t_i), so the jackknife is exact without repeating anything. For the signal, a quadratic in the mean, the
    variance is 4 G'Sigma G / N + 2 tr(Sigma^2) / N^2. The jackknife counts the second part twice (Efron and Stein, The
    jackknife estimate of variance, 1981: a term of degree k about k times), which matters where G is small, near a
    minimum; tr(Sigma^2) = E p_i^2 corrects that. A variance is never taken below that second part, its least value, so
    where G = 0 it is about twice too large. Where neighbors in the data resemble each other (sorted by class), the
    correction can only make the error larger.

    Attributes:
        trace: [..., kinds].
        signal: [..., kinds].
        jackknife: Covariance of (traces, signals), [..., 2 * kinds, 2 * kinds].
        second: What the jackknife counts twice in the covariance of the signals, [..., kinds, kinds].
    """

    trace: Tensor
    signal: Tensor
    jackknife: Tensor
    second: Tensor

    def variance(self, by_trace: Tensor, by_signal: Tensor) -> Tensor:
        """Return the variance of a function of traces and signals, [...], by the delta method.

        Args:
            by_trace: Its derivative by each trace, [..., kinds].
            by_signal: By each signal, [..., kinds].
        """
        kinds = self.trace.shape[-1]
        covariance = self.jackknife
        of_trace = _form(covariance[..., :kinds, :kinds], by_trace, by_trace)
        first = _form(covariance[..., kinds:, kinds:], by_signal, by_signal).clamp(min=0)
        second = _form(self.second, by_signal, by_signal).clamp(min=0)
        of_signal = torch.maximum(first - second, second)
        mixed = _form(covariance[..., :kinds, kinds:], by_trace, by_signal)
        mixed = mixed * torch.where(first > 0, (of_signal / first).sqrt(), 0.0)
        return (of_trace + 2 * mixed + of_signal).clamp(min=0)

    def estimates(self) -> Estimates:
        """Return each kind by itself.

        Returns:
            Estimates. noise_scale is inf with error NaN where signal <= 0; errors are NaN for N = 2. The ratio's error
            is by the delta method, right while signal is several of its standard errors.
        """
        one = torch.eye(self.trace.shape[-1], dtype=torch.float64)
        none = torch.zeros_like(one)
        ratio = self.trace / self.signal
        by_trace = one / self.signal.unsqueeze(-1)  # [..., kind, kinds]
        by_signal = -one * (ratio / self.signal).unsqueeze(-1)
        each = Joint(
            self.trace.unsqueeze(-2), self.signal.unsqueeze(-2), self.jackknife.unsqueeze(-3), self.second.unsqueeze(-3)
        )
        is_open = self.signal <= 0
        return Estimates(
            trace=self.trace,
            trace_standard_error=each.variance(one, none).sqrt(),
            signal=self.signal,
            signal_standard_error=each.variance(none, one).sqrt(),
            noise_scale=torch.where(is_open, torch.inf, ratio),
            noise_scale_standard_error=torch.where(is_open, torch.nan, each.variance(by_trace, by_signal).sqrt()),
        )

    def relative(self, kind: int, other: int, z: float = Z95) -> tuple[Tensor, Tensor, Tensor]:
        """Compare the noise scales of two kinds: trace_a / signal_a in units of trace_b / signal_b.

        The interval is Fieller's, of the ratio of trace_a * signal_b to trace_b * signal_a: it does not take the signal
        for certain, and is the whole half-line where the data do not tell it from zero.

        Args:
            kind: a.
            other: b.
            z: Half the width of the interval, in standard errors.

        Returns:
            (ratio, low, high), [...] each; the ratio is NaN where a signal is not positive.

        References:
            Fieller, Some problems in interval estimation, JRSS B 16 (1954).
        """
        one = torch.eye(self.trace.shape[-1], dtype=torch.float64)
        a, b = one[kind], one[other]
        trace_a, trace_b = self.trace[..., kind, None], self.trace[..., other, None]
        signal_a, signal_b = self.signal[..., kind, None], self.signal[..., other, None]
        above, below = (trace_a * signal_b)[..., 0], (trace_b * signal_a)[..., 0]
        of_above, of_below = (a * signal_b, b * trace_a), (b * signal_a, a * trace_b)
        variance_above, variance_below = self.variance(*of_above), self.variance(*of_below)
        of_difference = self.variance(of_above[0] - of_below[0], of_above[1] - of_below[1])
        covariance = (variance_above + variance_below - of_difference) / 2
        square = below.square() - z**2 * variance_below
        half = above * below - z**2 * covariance
        constant = above.square() - z**2 * variance_above
        root = (half.square() - square * constant).clamp(min=0).sqrt()
        is_positive = (self.signal[..., kind] > 0) & (self.signal[..., other] > 0)
        is_known = is_positive & (square > 0)
        ratio = torch.where(is_positive, above / below, torch.nan)
        low = torch.where(is_known, ((half - root) / square).clamp(min=0), 0.0)
        high = torch.where(is_known, (half + root) / square, torch.inf)
        return ratio, low, high


def _form(matrix: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return left' matrix right, [...]."""
    found: Tensor = (left.unsqueeze(-2) @ matrix @ right.unsqueeze(-1)).squeeze(-1).squeeze(-1)
    return found
