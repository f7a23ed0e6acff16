"""The covariance Sigma of per-sample gradients: its spectrum, and how it lies beside the Hessian.

Noise drives SGD out of a minimum only along directions that are sharp. How far it points there is said three ways: how
much of Sigma's top eigenspace lies within the Hessian's, tr(H Sigma), and the latter relative to noise that is as
strong and the same in all directions. Each raw, under centralization P, and under a random projection of its rank.

Proved right by: explicit per-sample gradients and a dense Hessian in float64, for every kind of layer; linear
regression, where Sigma is proportional to H (`tests/analysis/noise/test_covariance.py`). Its parts have tests of their
own. Cost: stated at `noise_covariance`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from analysis.checks import check_whole
from analysis.curvature.hessian import Eigenpairs
from analysis.curvature.lanczos import gaussian
from analysis.curvature.trace import TraceEstimate
from analysis.noise.beside import check_pairs, check_trace
from analysis.noise.comparison import Comparison, Progress, Settings
from analysis.noise.deviations import Deviations
from analysis.noise.kinds import checked_kinds
from analysis.noise.scalars import KINDS
from analysis.noise.spectrum import NoiseCovariance, NoiseSpectrum
from analysis.objective import Objective

__all__ = ["NoiseCovariance", "NoiseSpectrum", "noise_covariance"]


def noise_covariance(
    objective: Objective,
    k: int = 5,
    *,
    tol: float = 1e-2,
    seed: int = 0,
    hessian: Eigenpairs | None = None,
    trace: TraceEstimate | None = None,
    kinds: Sequence[str] = KINDS,
    draws: int = 32,
    probes: int = 10,
    max_products: int = 200,
    progress: Progress | None = None,
) -> NoiseCovariance:
    """Measure the top of the spectrum of the gradient noise, and how the noise lies beside the curvature.

    Sigma is the covariance of the N per-sample gradients g_i at hand, as in `gradient_noise`; it is never formed, and
    no more than a chunk of gradients is held. "centralized" is P Sigma P, "control" the same under a random projection
    of the rank of P; both are compared with the same H as the raw one, so that their numbers can be compared.

    One step of SGD with learning rate eta on B samples, B much smaller than N, raises the loss by
    eta^2 / (2 B) * tr(H Sigma) to second order, beyond what the step along the mean gradient does.

    Where the k-th and the next eigenvalue are close or equal, the top-k space is not well defined, and neither is its
    overlap: ask for one pair more to see the gap.

    Args:
        objective: Whose per-sample gradients. Its loss must be a sum over samples, its batches tensors with the
            samples along their first axis, in the same order in every pass.
        k: Pairs of Sigma and of H, 1 <= k <= min(D, N - 1), the most that Sigma can have. 5 as in
            `hessian_eigenvalues`.
        tol: Of the eigenpairs, as in `hessian_eigenvalues`.
        seed: Of start vectors, probes and draws, each in a generator of its own, and of the control's directions; >= 0.
        hessian: At least k pairs from `hessian_eigenvalues(objective)`; None measures them. Checked with one product.
        trace: tr(H) from `hessian_trace(objective)`; None measures it with its defaults, at most 100 products.
        kinds: Which of "raw", "centralized" and "control" to measure; "raw" always is.
        draws: Samples drawn for tr(H Sigma), >= 2, in proportion to ||e_i||^2, e_i = g_i - mean(g); with draws >= N
            every sample is taken and the value is exact. 32 is our choice, because it gave standard errors of 4 to 5 %
            on trained networks of 38,000 weights, where 32 samples drawn with equal chances give 180 to 500 %.
        probes: Random signs for tr(Sigma^2), beyond the top pairs, >= 2. 10 is our choice: its error then is right
            within about 25 %, and small, for little is left.
        max_products: Budget of products for the k pairs of each kind, and of H; >= k. As in `hessian_eigenvalues`.
        progress: Called as progress(products done, most products there can be).

    Returns:
        NoiseCovariance (frozen), with raw, centralized and control, each a NoiseSpectrum: trace, values [k] (squared
        loss per squared weight, largest first), vectors [k, D], residuals [k], share, effective_rank; cosines [k, k],
        angles [k], overlap and chance, NaN where the k-th value does not exceed its residual; noise_curvature
        tr(H Sigma), alignment (NaN unless tr(H) > 0), cosine, with standard errors. NaN in kinds that were not asked
        for. The standard errors are those of probes and draws, given these N samples.
        status: ZERO_NOISE where all g_i are equal, to rounding; NOT_FINITE, with NaN, where a gradient or a product is;
        MAX_HVPS where the budget ran out before all pairs met tol; else CONVERGED or BREAKDOWN.

    Raises:
        ValueError: Fewer than two samples, a loss that is not a sum over samples, samples in another order in each
            pass, `hessian` of another objective, or an argument out of range.

    Side effects: none; weights, buffers, grads, train/eval modes and random state are as found. The objective keeps
    graphs for further Hessian products until its `release()`.

    Cost: three passes over the data, about 5 gradients; of each kind 10 to 20 products with Sigma for the top 5 and
    `probes` more, each 1.0 to 1.2 gradients where graphs are kept (CPU); of each kind one Hessian product for every
    distinct sample drawn; those of H. Memory: that of `hessian_eigenvalues`.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> x = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> y = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])  # g_i = -2 y_i x_i: (-4, 0), (4, 0), (0, -2), (0, 2)
        >>> found = noise_covariance(Objective(model, torch.nn.MSELoss(), (x, y)), k=1)
        >>> found.raw.values, found.hessian_values  # Sigma = diag(32, 8) / 3, H = diag(4, 1)
        (tensor([10.6667]), tensor([4.0000]))
        >>> round(found.raw.overlap, 4), round(found.raw.noise_curvature, 4), round(found.raw.alignment, 4)
        (1.0, 45.3333, 1.36)

    References:
        Zhu et al., The anisotropic noise in stochastic gradient descent, arXiv 1803.00195: tr(H Sigma) beside
        isotropic noise. Gur-Ari et al., Gradient descent happens in a tiny subspace, arXiv 1812.04754: overlaps.
        Hansen and Hurwitz, On the theory of sampling from finite populations (1943).
    """
    wanted = checked_kinds(kinds)
    _check(k, seed, draws, probes, max_products)
    if hessian is not None:
        check_pairs(objective, hessian, k)
    if trace is not None:
        check_trace(trace)
    probe = gaussian(objective, torch.Generator().manual_seed(seed))
    deviations = Deviations(objective, seed, probe)
    most = min(objective.num_parameters, deviations.num_samples - 1)
    if k > most:
        raise ValueError(
            f"k must be at most min(D, N - 1) = {most}, got {k}: the covariance of {deviations.num_samples} gradients "
            f"of {objective.num_parameters} weights has no more directions"
        )
    settings = Settings(k, tol, seed, draws, probes, max_products)
    found = Comparison(deviations, settings, wanted, progress)
    if found.noisy:
        found.take_spectra(probe)
        found.take_hessian(hessian, trace)
        found.take_curvature()
    return found.result()


def _check(k: int, seed: int, draws: int, probes: int, max_products: int) -> None:
    check_whole("k", k, 1, "5 is usual")
    check_whole("seed", seed, 0, "it seeds start vectors, probes, draws and the control's directions")
    check_whole("draws", draws, 2, "a standard error takes two")
    check_whole("probes", probes, 2, "a standard error takes two")
    check_whole("max_products", max_products, k, "each pair takes one")
