"""The symmetric alpha-stable laws: how far their outer quantiles lie from their inner ones, and what alpha says so.

nu(alpha) = (x95 - x05) / (x75 - x25) depends neither on location nor on scale and falls from infinity at alpha = 0 to
2.439 at alpha = 2, the Gaussian, so that it can be inverted. The quantiles come from the law's distribution function,
an integral of a bounded function over a finite range, by Gauss-Legendre quadrature. Symmetric laws only: for skewed
ones nu depends on the skewness too.

Proved right by scipy's own numerical inversion, the closed forms of alpha = 1 and 2, and the limit alpha -> 0
(`tests/analysis/noise/test_stable.py`). Cost: a table in about 50 ms at the first call, then nothing.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

Array = np.ndarray[Any, Any]

LEAST_ALPHA = 0.1
STEP = 0.025  # between the table's entries; a cubic spline through them is right to 1e-6
# Near alpha = 1 the integrand is a step of relative width |alpha - 1|. 600 nodes resolve that of the nearest entries of
# the table to 1e-8; halfway to 1 they are right to 1e-5.
NODES = 600


def upper_tail(alpha: float, log_x: float) -> float:
    """Return P(X > x) of the symmetric stable law with characteristic function exp(-|t|^alpha).

    Args:
        alpha: In (0, 2].
        log_x: log(x), for x > 0; a logarithm, because quantiles at small alpha leave the range of a float.

    Returns:
        The probability, at most 1/2.

    Example:
        >>> round(upper_tail(1.0, 0.0), 4)  # Cauchy
        0.25

    References:
        Nolan, Numerical calculation of stable densities and distribution functions (1997), theorem 1.
    """
    if alpha == 1:
        return math.atan(math.exp(-log_x)) / math.pi
    theta, weights = _quadrature()
    cos = np.log(np.cos(theta))
    exponent = alpha / (alpha - 1) * (log_x + cos - np.log(np.sin(alpha * theta)))
    exponent += np.log(np.cos((alpha - 1) * theta)) - cos
    integral = float(weights @ np.exp(-np.exp(np.minimum(exponent, 700.0)))) / math.pi  # exp(-exp(700)) is 0 already
    return integral if alpha > 1 else 0.5 - integral


def log_quantile(alpha: float, probability: float) -> float:
    """Return the logarithm of a quantile above the median.

    Args:
        alpha: In [0.1, 2].
        probability: In (0.5, 1), and not close to either.
    """
    return float(brentq(lambda y: upper_tail(alpha, y) - (1 - probability), -5.0, 5 + 3 / alpha, xtol=1e-13))


def log_quantile_ratio(alpha: float) -> float:
    """Return log nu(alpha) by quadrature.

    Args:
        alpha: In [0.1, 2].

    Example:
        >>> round(math.exp(log_quantile_ratio(2.0)), 4)  # 1.6449 / 0.6745
        2.4387
    """
    return log_quantile(alpha, 0.95) - log_quantile(alpha, 0.75)


def alpha_of_log_ratio(log_ratio: Array | float) -> Array:
    """Return the alpha of the symmetric stable law whose nu is the one given.

    Args:
        log_ratio: log nu, any shape. Below that of the Gaussian alpha is 2: no stable law has lighter tails.

    Returns:
        alpha in (0, 2], of the same shape; NaN stays NaN.

    References:
        McCulloch, Simple consistent estimators of stable distribution parameters (1986), whose table III this replaces.
    """
    spline, low, high = _inverse()
    given = np.asarray(log_ratio, dtype=np.float64)
    # beyond the table the limit law holds: |X|^alpha tends to 1 / E, E exponential, so that log nu ~ 1 / alpha
    inverse = spline(np.clip(given, low, high)) * np.maximum(given / high, 1.0)
    return np.asarray(1 / inverse)


@functools.cache
def _quadrature() -> tuple[Array, Array]:
    """Return nodes and weights on (0, pi/2)."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) * math.pi / 4, weights * math.pi / 4


@functools.cache
def _inverse() -> tuple[CubicSpline, float, float]:
    """Return 1 / alpha as a function of log nu, and the ends of the table."""
    alphas = np.arange(2.0, LEAST_ALPHA - STEP / 2, -STEP).round(3)
    ratios = np.array([log_quantile_ratio(float(alpha)) for alpha in alphas])
    return CubicSpline(ratios, 1 / alphas), float(ratios[0]), float(ratios[-1])
