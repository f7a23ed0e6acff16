"""The steps of `noise_covariance`: the top of Sigma for each kind of noise, the Hessian, and Sigma beside the Hessian.

Proved right by the tests of `analysis.noise.covariance`. Cost: stated at `noise_covariance`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from analysis.curvature.hessian import Eigenpairs, hessian_eigenvalues
from analysis.curvature.trace import TraceEstimate, hessian_trace
from analysis.evidence import Status
from analysis.noise.deviations import Deviations
from analysis.noise.kinds import projected, rank, seen
from analysis.noise.sampled import covariance_operator
from analysis.noise.scalars import KINDS
from analysis.noise.spectrum import NoiseCovariance, NoiseSpectrum, unknown, without_noise
from analysis.noise.subspaces import cosines, overlap, principal_angles
from analysis.noise.traces import Uncertain, draw, quotient, root, squared_trace, traces_with

Progress = Callable[[int, int], None]
TRACE_HVPS = 100  # most products for tr(H), the default of `hessian_trace`
# Relative to ||mean(g)||: what deviations may be and still mean zero. A sample's gradient carries some hundred units of
# rounding, in another order than the mean.
ROUNDINGS = 1000


class Settings(NamedTuple):
    """As of `noise_covariance`."""

    k: int
    tol: float
    seed: int
    draws: int
    probes: int
    max_products: int


class Top(NamedTuple):
    """The top pairs of Sigma, and tr(Sigma^2)."""

    pairs: Eigenpairs
    square: Uncertain


class Beside(NamedTuple):
    """What Sigma is compared with."""

    pairs: Eigenpairs
    trace: TraceEstimate


class Comparison:
    """All numbers of one measurement; the steps are taken in their order.

    Args:
        deviations: Whose covariance.
        settings: Of the measurement.
        kinds: Of noise that are wanted.
        progress: Called as progress(products done, most products there can be).

    Attributes:
        noisy: The kinds that have any noise.
    """

    def __init__(
        self, deviations: Deviations, settings: Settings, kinds: Sequence[str], progress: Progress | None
    ) -> None:
        self._deviations, self._settings, self._objective = deviations, settings, deviations.objective
        self._kinds, self._progress = kinds, progress
        self.noisy = [kind for kind in kinds if self._is_noisy(kind)]
        self._tops: dict[str, Top] = {}
        self._curvatures: dict[str, Uncertain] = {}
        self._beside: Beside | None = None
        self._seeds = torch.randint(2**31, (3,), generator=torch.Generator().manual_seed(settings.seed)).tolist()
        self._method = "none"
        self._num_draws = self._num_products = self._num_hvps = 0
        self._done = self._most = 0

    def take_spectra(self, probe: Tensor) -> None:
        """Find the top pairs of Sigma and tr(Sigma^2), for each kind.

        Args:
            probe: The one of the deviations.
        """
        chosen = self._settings
        samples = min(chosen.draws, self._deviations.num_samples)
        self._most = len(self.noisy) * (chosen.max_products + chosen.probes + samples) + chosen.max_products
        self._most += TRACE_HVPS
        sigma = covariance_operator(self._deviations, probe)
        self._method, self._num_products = sigma.method, 1
        for kind in self.noisy:
            view = seen(kind, sigma, chosen.seed)
            pairs = self._eigenpairs(view)
            lengths = pairs.values.double().square() + pairs.residuals.double().square()  # ||Sigma u||^2
            tick = self._stage(chosen.probes)
            square = squared_trace(view, pairs.vectors, lengths, chosen.probes, self._seeds[0], tick)
            self._tops[kind] = Top(pairs, square)
            self._num_products += pairs.num_hvps + chosen.probes
        sigma.release()  # the Hessian needs the memory

    def take_hessian(self, pairs: Eigenpairs | None, trace: TraceEstimate | None) -> None:
        """Measure what is not given.

        Args:
            pairs: Top pairs of H, or None.
            trace: tr(H), or None.
        """
        if pairs is None:
            pairs = self._eigenpairs(self._objective)
            self._num_hvps += pairs.num_hvps
        else:
            self._num_hvps += 1  # by which they were checked
        if trace is None:
            tick = self._stage(TRACE_HVPS)
            trace = hessian_trace(
                self._objective, seed=self._seeds[1], max_hvps=TRACE_HVPS, progress=lambda done, _: tick(done)
            )
            self._num_hvps += trace.num_hvps
        self._beside = Beside(pairs, trace)

    def take_curvature(self) -> None:
        """Estimate tr(H Sigma) for each kind from the same draws."""
        deviations, chosen = self._deviations, self._settings
        squares = deviations.squares[0]
        times = draw(squares, chosen.draws, self._seeds[2])
        distinct = times.nonzero().flatten().tolist()
        operators = [seen(kind, self._objective, chosen.seed) for kind in self.noisy]
        tick = self._stage(len(operators) * len(distinct))
        estimates = traces_with(operators, deviations.chosen(distinct), times, squares, tick)
        self._curvatures = dict(zip(self.noisy, estimates, strict=True))
        self._num_draws = int(times.sum())
        self._num_hvps += len(operators) * len(distinct)
        self._report(self._most)

    def result(self) -> NoiseCovariance:
        """Return all of it."""
        deviations, chosen, objective = self._deviations, self._settings, self._objective
        sizes = (chosen.k, objective.num_parameters, objective.dtype)
        spectra = {kind: unknown(*sizes) for kind in KINDS}
        is_finite = bool(deviations.squares.isfinite().all())
        for kind in self._kinds if is_finite else ():
            spectra[kind] = self._spectrum(kind) if kind in self.noisy else without_noise(*sizes)
        beside = self._beside
        nothing = torch.full((chosen.k,), torch.nan, dtype=objective.dtype)
        return NoiseCovariance(
            **spectra,
            hessian_values=nothing if beside is None else _padded(beside.pairs.values, chosen.k),
            hessian_residuals=nothing if beside is None else _padded(beside.pairs.residuals, chosen.k),
            hessian_trace=math.nan if beside is None else beside.trace.value,
            hessian_trace_standard_error=math.nan if beside is None else beside.trace.standard_error,
            num_samples=deviations.num_samples,
            num_draws=self._num_draws,
            num_products=self._num_products,
            num_hvps=self._num_hvps,
            tol=chosen.tol,
            seed=chosen.seed,
            names=tuple(objective.names),
            method=self._method,
            status=self._status(is_finite),
        )

    def _is_noisy(self, kind: str) -> bool:
        deviations, eps = self._deviations, torch.finfo(self._objective.dtype).eps
        trace = deviations.trace(KINDS.index(kind))
        least = (ROUNDINGS * eps * float(torch.linalg.vector_norm(deviations.mean))) ** 2
        if kind != "raw":  # what is left where a projection takes all of it away
            least = max(least, 100 * eps * deviations.trace(0))
        return math.isfinite(trace) and trace > least

    def _spectrum(self, kind: str) -> NoiseSpectrum:
        assert self._beside is not None
        k, size = self._settings.k, self._objective.num_parameters
        top, curvature = self._tops[kind], self._curvatures[kind]
        trace, hessian = Uncertain(self._deviations.trace(KINDS.index(kind)), 0.0), self._beside.trace
        norms = Uncertain(hessian.frobenius, hessian.frobenius_standard_error), root(top.square)
        effective = quotient(Uncertain(trace.value**2, 0.0), top.square)
        alignment = quotient(curvature, trace, Uncertain(hessian.value, hessian.standard_error), factor=size)
        cosine = quotient(curvature, *norms)
        values, residuals = (_padded(x, k) for x in (top.pairs.values, top.pairs.residuals))
        vectors, others = (_padded(x, k) for x in (top.pairs.vectors, self._beside.pairs.vectors))
        between = torch.full((k, k), torch.nan, dtype=torch.float64)
        angles, common = between[0], math.nan
        if bool(values[-1] > residuals[-1]) and bool(others.isfinite().all()):  # else any vector would do as the last
            between, angles = cosines(vectors, others), principal_angles(vectors, others)
            common = overlap(between)
        reachable = projected(kind, self._objective, self._settings.seed, others).double().square().sum()
        return NoiseSpectrum(
            trace=trace.value,
            values=values,
            residuals=residuals,
            vectors=vectors,
            share=float(values.double().sum()) / trace.value,
            effective_rank=effective.value,
            effective_rank_standard_error=effective.standard_error,
            cosines=between,
            angles=angles,
            overlap=common,
            chance=float(reachable) / rank(kind, self._objective),
            noise_curvature=curvature.value,
            noise_curvature_standard_error=curvature.standard_error,
            alignment=alignment.value,
            alignment_standard_error=alignment.standard_error,
            cosine=cosine.value,
            cosine_standard_error=cosine.standard_error,
        )

    def _status(self, is_finite: bool) -> Status:
        if is_finite and not self.noisy:
            return Status.ZERO_NOISE
        ended = [top.pairs.status for top in self._tops.values()]
        ended += [] if self._beside is None else [self._beside.pairs.status]
        if not is_finite or not all(math.isfinite(curvature.value) for curvature in self._curvatures.values()):
            ended.append(Status.NOT_FINITE)
        order = (Status.NOT_FINITE, Status.MAX_HVPS, Status.BREAKDOWN, Status.CONVERGED)
        return next(status for status in order if status in ended)

    def _eigenpairs(self, operator: object) -> Eigenpairs:
        chosen = self._settings
        tick = self._stage(chosen.max_products)
        return hessian_eigenvalues(
            operator,
            chosen.k,
            tol=chosen.tol,
            seed=chosen.seed,
            max_hvps=chosen.max_products,
            progress=lambda done, _: tick(done),
        )

    def _stage(self, budget: int) -> Callable[..., None]:
        """Return what reports a product of the next stage: by their number, or one more where none is given."""
        start, self._done = self._done, self._done + budget
        numbers = itertools.count(1)
        return lambda done=None: self._report(start + (next(numbers) if done is None else done))

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._most)


def _padded(rows: Tensor, k: int) -> Tensor:
    """Return the first k rows, NaN where there are fewer."""
    rows = rows[:k]
    return torch.cat([rows, rows.new_full((k - len(rows), *rows.shape[1:]), torch.nan)])
