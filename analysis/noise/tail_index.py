"""How heavy tails are: Hill's exponent and McCulloch's alpha, with intervals, beside Gaussian numbers of the same size.

Proved right by draws whose alpha is known (Gaussian 2, Cauchy 1, and 1.5), Pareto numbers, and intervals that hold the
truth as often as they say over hundreds of resamplings (`tests/analysis/noise/test_tail_index.py`).
Cost: stated at `tail_index`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.special import gammaincinv, ndtri
from torch import Tensor

from analysis.checks import check_whole
from analysis.evidence import Result, Status, measured
from analysis.noise.stable import alpha_of_log_ratio

Array = np.ndarray[Any, Any]

METHODS = ("hill", "mcculloch")
# The 5 % quantile of fewer numbers is their smallest; Hill's k is then 4.
MIN_VALUES = 20
BLOCK_NUMBERS = 2**21  # of resampled or Gaussian numbers held at once, 16 MiB; our choice
HILL = "Hill (1975)"
STABLE = "McCulloch (1986)"


@dataclasses.dataclass(frozen=True, eq=False)
class TailIndex(Result):
    """The tail exponent of some numbers, its interval, and what Gaussian numbers in their place would give."""

    group: ClassVar[str] = "noise"
    value: float = measured(units="1", description="Tail exponent alpha; NaN where the numbers do not vary")
    interval_low: float = measured(units="1", description="Lower end of the interval of the value")
    interval_high: float = measured(units="1", description="Upper end; at most 2 for mcculloch")
    gaussian: float = measured(units="1", description="Mean of the same estimate over draws of Gaussian numbers")
    gaussian_low: float = measured(units="1", description="Lower end of the range that holds the level of the draws")
    gaussian_high: float = measured(units="1", description="Upper end of that range")
    range_low: float = measured(units="1", description="hill: least value for k between half and twice its own")
    range_high: float = measured(units="1", description="hill: largest value for such k; NaN for mcculloch")
    num_values: int = measured(units="1", description="n, independent rows of numbers")
    num_columns: int = measured(units="1", description="Columns given")
    num_left_out: int = measured(units="1", description="Columns left out because their numbers do not vary enough")
    num_upper: int = measured(units="1", description="hill: k, upper order statistics of each column; else 0")
    level: float = measured(units="1", description="Of the intervals")
    method: str = measured(description="hill or mcculloch")
    seed: int = measured(units="1", description="Of the resampling and of the Gaussian draws")
    status: Status = measured(description="How the estimation ended")


def tail_index(
    values: Any,
    method: str = "hill",
    *,
    num_upper: int | None = None,
    rank: float | None = None,
    level: float = 0.95,
    num_resamples: int = 200,
    num_gaussian: int = 200,
    seed: int = 0,
) -> TailIndex:
    """Estimate the tail exponent alpha of numbers, P(|x| > t) ~ t^-alpha for large t.

    "hill": from the k largest |x| of n, 1 / alpha is the mean logarithm of their ratio to the next one. It assumes a
    power law beyond that point and nothing below. For alpha-stable numbers it estimates alpha, with a bias upward that
    grows as alpha nears 2 (at n = 2,000, 1.5 reads 1.6 and 1.8 reads 2.3) and that no interval knows of. For Gaussian
    numbers it is not 2 but larger, and grows with n: their tails are lighter than any power. Read it against
    `gaussian`.

    "mcculloch": the alpha of the symmetric stable law whose (x95 - x05) / (x75 - x25) is that of the numbers. It looks
    at the middle of the distribution, takes any location and scale, and is capped at 2, so that Gaussian numbers give
    2 and numbers with lighter tails as well. It assumes a stable law: of others it says which one has such quantiles,
    not how their tails fall off.

    Rows of `values` are independent, columns need not be: projections of one gradient on several directions. Each
    column is estimated by itself, in its own scale, and 1 / alpha (hill) or log nu (mcculloch) averaged.

    Args:
        values: [n] or [n, columns], n >= 20; numbers, an array or a tensor.
        method: "hill" or "mcculloch".
        num_upper: k, for hill, 2 <= k < n. None is the square root of n: our choice, because the error of a stable
            law's exponent is then that of chance and not of bias up to alpha of about 1.5. `range_low` and `range_high`
            say what other k would give.
        rank: For numbers that are norms of vectors, the effective rank tr(S)^2 / tr(S^2) of their covariance S: the
            Gaussian numbers are then norms of Gaussian vectors of that rank. None: they are Gaussian themselves.
        level: Of the intervals, in (0, 1).
        num_resamples: Of the rows, for the interval of mcculloch, >= 20. 200 is our choice: its width is then right
            within 5 %.
        num_gaussian: Draws of Gaussian numbers, >= 2. 200 is our choice: 5 of them lie beyond either end of a range at
            level 0.95.
        seed: Of both, >= 0.

    Returns:
        TailIndex (frozen). value and its interval: hill by the law of the mean of k exponential numbers, widened where
        columns move together; mcculloch by the standard error of log nu over resampled rows. Gaussian numbers have its
        truth, 2, at the end of what is possible, so that its interval holds it in 97.5 % of cases, not 95 %.
        gaussian, gaussian_low, gaussian_high: mean and range of the estimate over Gaussian numbers of the same n,
        columns, and covariance between columns. num_left_out: columns without what the method needs: a quartile range
        above 0; for hill 2 k + 1 numbers that are not 0, the largest of them not all equal.
        status: NO_SPREAD where every column was left out, NOT_FINITE where a number is; all values are then NaN.

    Raises:
        ValueError: Fewer than 20 rows, or an argument out of range.

    Side effects: none.

    Cost: sorts (num_resamples + num_gaussian) * n * columns numbers: 0.1 (hill) to 0.4 s for 1,000 rows
    of 10 columns.

    Example:
        >>> pareto = [(j + 0.5) ** (-1 / 3) for j in range(1000)]  # quantiles of t^-3
        >>> found = tail_index(pareto)
        >>> round(found.value, 1), found.interval_low < 3 < found.interval_high, found.num_upper
        (3.0, True, 31)

    References:
        Hill, A simple general approach to inference about the tail of a distribution (1975).
        McCulloch, Simple consistent estimators of stable distribution parameters (1986). We differ: symmetric laws
        alone, nu(alpha) computed instead of tabulated, an interval by resampling.
    """
    columns = _checked(values)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}; 0.95 is usual")
    if rank is not None and not (method == "hill" and 1 <= rank < math.inf and len(columns) == 1):
        raise ValueError(f"rank must be a finite number >= 1, for method='hill' and one column of norms, got {rank!r}")
    check_whole("num_resamples", num_resamples, 20, "a standard error is taken over them")
    check_whole("num_gaussian", num_gaussian, 2, "a range is taken over them")
    check_whole("seed", seed, 0, "it seeds resampling and Gaussian draws")
    n = columns.shape[1]
    k = math.isqrt(n) if num_upper is None else num_upper
    if not (isinstance(k, int) and not isinstance(k, bool) and 2 <= k < n):
        raise ValueError(
            f"num_upper must be a whole number from 2 to {n - 1}, got {num_upper!r}; None is {math.isqrt(n)}"
        )
    rng = np.random.default_rng(seed)
    is_finite = bool(np.isfinite(columns).all())
    varied = columns[_varied(columns, method, k)] if is_finite else columns[:0]
    value, interval, reach, gaussian = math.nan, (math.nan,) * 2, (math.nan,) * 2, np.full(1, math.nan)
    if len(varied):
        draws = _gaussian(varied, num_gaussian, rank, rng)
        if method == "hill":
            value, interval, reach = _hill_interval(varied, k, level)
            gaussian = np.concatenate([_hill(draw, k)[..., -1] for draw in draws])
        else:
            value, interval = _mcculloch_interval(varied, level, num_resamples, rng)
            gaussian = np.concatenate([alpha_of_log_ratio(_log_ratio(draw)) for draw in draws])
    tail = (1 - level) / 2
    return TailIndex(
        value=value,
        interval_low=interval[0],
        interval_high=interval[1],
        gaussian=float(gaussian.mean()),
        gaussian_low=float(np.quantile(gaussian, tail)),
        gaussian_high=float(np.quantile(gaussian, 1 - tail)),
        range_low=reach[0],
        range_high=reach[1],
        num_values=n,
        num_columns=len(columns),
        num_left_out=len(columns) - len(varied) if is_finite else 0,
        num_upper=k if method == "hill" else 0,
        level=level,
        method=method,
        seed=seed,
        status=Status.NOT_FINITE if not is_finite else Status.COMPLETE if len(varied) else Status.NO_SPREAD,
    )


def _checked(values: Any) -> Array:
    """Return [columns, n] in float64."""
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
    if array.ndim not in {1, 2} or array.shape[0] < MIN_VALUES or array.size == 0:
        raise ValueError(
            f"values must be at least {MIN_VALUES} numbers, [n] or [n, columns], got shape {array.shape}; "
            "tails of fewer cannot be told"
        )
    return np.ascontiguousarray(array.reshape(len(array), -1).T)


def _varied(columns: Array, method: str, k: int) -> Array:
    """Return which columns have what the method needs."""
    if method == "mcculloch":
        low, high = _quantiles(np.sort(columns), (0.25, 0.75))
        return np.asarray(high > low)
    upper = -np.sort(-np.abs(columns))
    return np.asarray((upper[:, min(2 * k, upper.shape[1] - 1)] > 0) & (upper[:, 0] > upper[:, k]))


def _hill(columns: Array, k: int, most: int | None = None) -> Array:
    """Return alpha from the upper 1, ..., `most` numbers (None: k), [..., most], for [..., columns, n]."""
    most = most or k
    upper = np.partition(np.abs(columns), -most - 1)[..., -most - 1 :]
    logs = np.log(np.sort(upper)[..., ::-1])
    means = np.cumsum(logs[..., :-1], -1) / np.arange(1, most + 1)
    with np.errstate(divide="ignore"):  # equal upper numbers: an exponent of infinity
        return np.asarray(1 / (means - logs[..., 1:]).mean(-2))


def _hill_interval(columns: Array, k: int, level: float) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Return alpha, its interval, and its range over other k."""
    n = columns.shape[1]
    path = _hill(columns, k, min(2 * k, n - 1))
    value, around = float(path[k - 1]), path[(k + 1) // 2 - 1 :]
    logs = np.log(np.maximum(np.abs(columns), np.finfo(np.float64).tiny))
    excess = logs - np.sort(logs)[:, n - k - 1, None]
    gamma = np.maximum(excess, 0).sum(1, keepdims=True) / k  # 1 / alpha of each column
    influence = np.where(excess > 0, excess - gamma, 0.0)
    # how much wider than for independent columns, and never narrower: the variance of row sums over that of numbers
    single = float(np.square(influence).sum())
    together = max(1.0, float(np.square(influence.sum(0)).sum()) / single) if single > 0 else 1.0
    unevenness = float(np.square(gamma).mean() / gamma.mean() ** 2)
    shape = k * len(columns) / (together * unevenness)
    tail = (1 - level) / 2
    low, high = (float(value * gammaincinv(shape, p) / shape) for p in (tail, 1 - tail))
    return value, (low, high), (float(around.min()), float(around.max()))


def _mcculloch_interval(
    columns: Array, level: float, num_resamples: int, rng: np.random.Generator
) -> tuple[float, tuple[float, float]]:
    """Return alpha and its interval."""
    n = columns.shape[1]
    ratio = float(_log_ratio(columns))
    found = []
    for size in _blocks(num_resamples, columns.size):
        rows = rng.integers(n, size=(size, n))
        found.append(_log_ratio(columns[:, rows].transpose(1, 0, 2)))
    error = float(np.nanstd(np.concatenate(found), ddof=1))
    reach = float(ndtri((1 + level) / 2)) * error
    low, value, high = alpha_of_log_ratio(np.array([ratio + reach, ratio, ratio - reach])).tolist()
    return value, (low, high)


def _log_ratio(columns: Array) -> Array:
    """Return the mean over columns of log nu, [...], for [..., columns, n]; columns without spread do not count."""
    low, inner_low, inner_high, high = _quantiles(np.sort(columns), (0.05, 0.25, 0.75, 0.95))
    is_wide = inner_high > inner_low
    inner = np.where(is_wide, inner_high - inner_low, 1.0)
    outer = np.where(is_wide, high - low, 1.0)
    count = is_wide.sum(-1)
    total = np.log(outer / inner).sum(-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _quantiles(ordered: Array, probabilities: tuple[float, ...]) -> list[Array]:
    """Return quantiles of numbers in order; the i-th of n is that of (i - 1/2) / n, as McCulloch has it."""
    n = ordered.shape[-1]
    found = []
    for probability in probabilities:
        place = min(max(probability * n - 0.5, 0.0), n - 1.0)
        below = min(int(place), n - 2)
        share = place - below
        found.append((1 - share) * ordered[..., below] + share * ordered[..., below + 1])
    return found


def _gaussian(columns: Array, num_draws: int, rank: float | None, rng: np.random.Generator) -> Iterator[Array]:
    """Yield [draws, columns, n] of Gaussian numbers with the covariance of the columns, or of norms of such a rank."""
    count, n = columns.shape
    deviations = columns - columns.mean(1, keepdims=True)
    norms = np.linalg.norm(deviations, axis=1, keepdims=True)
    scaled = deviations / np.where(norms > 0, norms, 1.0)
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    root = vectors * np.sqrt(np.maximum(values, 0))
    for size in _blocks(num_draws, columns.size):
        if rank is not None:
            # the squared norm of a Gaussian vector is close to a Gamma variable with its mean and variance
            yield np.sqrt(rng.standard_gamma(rank / 2, size=(size, 1, n)))
        else:
            yield root @ rng.standard_normal((size, count, n))


def _blocks(times: int, numbers: int) -> Iterator[int]:
    """Yield how many of so many repetitions to make at once."""
    most = max(1, BLOCK_NUMBERS // numbers)
    for start in range(0, times, most):
        yield min(most, times - start)
