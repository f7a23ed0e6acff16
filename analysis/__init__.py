"""Numbers with evidence about a trained network: curvature, surfaces, sharpness, gradient noise, claims.

The public names load on first use, so that `analysis.store` and `figures` read result files without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.claims.ab import SuccessVerdict, judge_success
    from analysis.claims.results import Verdicts, verify
    from analysis.curvature.density import SpectralDensity, spectral_density
    from analysis.curvature.effective import EffectiveDimension, effective_dimension
    from analysis.curvature.hessian import Eigenpairs, hessian_eigenvalues
    from analysis.curvature.layers import LayerCurvature, layer_curvature
    from analysis.curvature.trace import TraceEstimate, hessian_trace
    from analysis.evidence import Result, Status
    from analysis.files import load
    from analysis.flatness.critical import CriticalSharpness, critical_sharpness
    from analysis.flatness.curve import SharpnessCurve, sharpness_curve
    from analysis.flatness.difference import SharpnessDifference, sharpness_difference
    from analysis.flatness.fisher_rao import FisherRaoNorm, fisher_rao_norm
    from analysis.flatness.pac_bayes import PACBayesSigma, pac_bayes_sigma
    from analysis.flatness.relative import RelativeFlatness, relative_flatness
    from analysis.flatness.sharpness import Sharpness, sharpness
    from analysis.flatness.weight_norm import WeightNorm, weight_norm
    from analysis.logits import normalized_logits
    from analysis.noise.covariance import NoiseCovariance, NoiseSpectrum, noise_covariance
    from analysis.noise.gradient_noise import gradient_noise
    from analysis.noise.minibatch import AgreementGain, BatchNoise, MinibatchNoise, minibatch_noise
    from analysis.noise.results import GradientNoise, LayerNoise, NoiseComparison, TotalComparison, TotalNoise
    from analysis.noise.sample_norms import PerSampleNorms, per_sample_norms
    from analysis.noise.snr import GradientSNR, LayerSNR, TotalSNR, gradient_snr
    from analysis.noise.tail_index import TailIndex, tail_index
    from analysis.noise.tail_layers import LayerTails, TailIndices, TotalTails
    from analysis.noise.tails import GradientTails, gradient_tails
    from analysis.noise.two_batch import TwoBatchAverage, TwoBatchNoise, two_batch_noise
    from analysis.objective import NotRepeatable, Objective
    from analysis.operators.products import EmpiricalFisher, GaussNewton, GradientCovariance
    from analysis.operators.restricted import Centralized, Preconditioned, RandomlyProjected
    from analysis.probe.probe import Probe
    from analysis.probe.record import ProbeNoise, ProbeRecord
    from analysis.probe.schedule import Schedule, at_steps, every, every_epoch, log_spaced
    from analysis.report.magnitudes import Magnitudes, magnitudes
    from analysis.report.plan import SharpnessPlan, sharpness_plan
    from analysis.report.rows import SharpnessReport
    from analysis.report.sharpness_report import sharpness_report
    from analysis.self_check import SelfCheck
    from analysis.surface.bezier import bezier_path
    from analysis.surface.fields import curvature_map, gradient_field
    from analysis.surface.path import linear_path
    from analysis.surface.plan import Plan
    from analysis.surface.results import BezierPath, Block, CurvatureMap, GradientField, Line, LinearPath, Surface
    from analysis.surface.scan import loss_block, loss_line, loss_surface
    from analysis.surface.trajectory import Trajectory, trajectory

__all__ = [
    "AgreementGain",
    "BatchNoise",
    "BezierPath",
    "Block",
    "Centralized",
    "CriticalSharpness",
    "CurvatureMap",
    "EffectiveDimension",
    "Eigenpairs",
    "EmpiricalFisher",
    "FisherRaoNorm",
    "GaussNewton",
    "GradientCovariance",
    "GradientField",
    "GradientNoise",
    "GradientSNR",
    "GradientTails",
    "LayerCurvature",
    "LayerNoise",
    "LayerSNR",
    "LayerTails",
    "Line",
    "LinearPath",
    "Magnitudes",
    "MinibatchNoise",
    "NoiseComparison",
    "NoiseCovariance",
    "NoiseSpectrum",
    "NotRepeatable",
    "Objective",
    "PACBayesSigma",
    "PerSampleNorms",
    "Plan",
    "Preconditioned",
    "Probe",
    "ProbeNoise",
    "ProbeRecord",
    "RandomlyProjected",
    "RelativeFlatness",
    "Result",
    "Schedule",
    "SelfCheck",
    "Sharpness",
    "SharpnessCurve",
    "SharpnessDifference",
    "SharpnessPlan",
    "SharpnessReport",
    "SpectralDensity",
    "Status",
    "SuccessVerdict",
    "Surface",
    "TailIndex",
    "TailIndices",
    "TotalComparison",
    "TotalNoise",
    "TotalSNR",
    "TotalTails",
    "TraceEstimate",
    "Trajectory",
    "TwoBatchAverage",
    "TwoBatchNoise",
    "Verdicts",
    "WeightNorm",
    "at_steps",
    "bezier_path",
    "critical_sharpness",
    "curvature_map",
    "effective_dimension",
    "every",
    "every_epoch",
    "fisher_rao_norm",
    "gradient_field",
    "gradient_noise",
    "gradient_snr",
    "gradient_tails",
    "hessian_eigenvalues",
    "hessian_trace",
    "judge_success",
    "layer_curvature",
    "linear_path",
    "load",
    "log_spaced",
    "loss_block",
    "loss_line",
    "loss_surface",
    "magnitudes",
    "minibatch_noise",
    "noise_covariance",
    "normalized_logits",
    "pac_bayes_sigma",
    "per_sample_norms",
    "relative_flatness",
    "sharpness",
    "sharpness_curve",
    "sharpness_difference",
    "sharpness_plan",
    "sharpness_report",
    "spectral_density",
    "tail_index",
    "trajectory",
    "two_batch_noise",
    "verify",
    "weight_norm",
]

_HOMES = {
    "analysis.claims.ab": ("SuccessVerdict", "judge_success"),
    "analysis.claims.results": ("Verdicts", "verify"),
    "analysis.curvature.density": ("SpectralDensity", "spectral_density"),
    "analysis.curvature.effective": ("EffectiveDimension", "effective_dimension"),
    "analysis.curvature.hessian": ("Eigenpairs", "hessian_eigenvalues"),
    "analysis.curvature.layers": ("LayerCurvature", "layer_curvature"),
    "analysis.curvature.trace": ("TraceEstimate", "hessian_trace"),
    "analysis.evidence": ("Result", "Status"),
    "analysis.files": ("load",),
    "analysis.flatness.critical": ("CriticalSharpness", "critical_sharpness"),
    "analysis.flatness.curve": ("SharpnessCurve", "sharpness_curve"),
    "analysis.flatness.difference": ("SharpnessDifference", "sharpness_difference"),
    "analysis.flatness.fisher_rao": ("FisherRaoNorm", "fisher_rao_norm"),
    "analysis.flatness.pac_bayes": ("PACBayesSigma", "pac_bayes_sigma"),
    "analysis.flatness.relative": ("RelativeFlatness", "relative_flatness"),
    "analysis.flatness.sharpness": ("Sharpness", "sharpness"),
    "analysis.flatness.weight_norm": ("WeightNorm", "weight_norm"),
    "analysis.logits": ("normalized_logits",),
    "analysis.noise.covariance": ("NoiseCovariance", "NoiseSpectrum", "noise_covariance"),
    "analysis.noise.gradient_noise": ("gradient_noise",),
    "analysis.noise.minibatch": ("AgreementGain", "BatchNoise", "MinibatchNoise", "minibatch_noise"),
    "analysis.noise.results": ("GradientNoise", "LayerNoise", "NoiseComparison", "TotalComparison", "TotalNoise"),
    "analysis.noise.sample_norms": ("PerSampleNorms", "per_sample_norms"),
    "analysis.noise.snr": ("GradientSNR", "LayerSNR", "TotalSNR", "gradient_snr"),
    "analysis.noise.tail_index": ("TailIndex", "tail_index"),
    "analysis.noise.tail_layers": ("LayerTails", "TailIndices", "TotalTails"),
    "analysis.noise.tails": ("GradientTails", "gradient_tails"),
    "analysis.noise.two_batch": ("TwoBatchAverage", "TwoBatchNoise", "two_batch_noise"),
    "analysis.objective": ("NotRepeatable", "Objective"),
    "analysis.operators.products": ("EmpiricalFisher", "GaussNewton", "GradientCovariance"),
    "analysis.operators.restricted": ("Centralized", "Preconditioned", "RandomlyProjected"),
    "analysis.probe.probe": ("Probe",),
    "analysis.probe.record": ("ProbeNoise", "ProbeRecord"),
    "analysis.probe.schedule": ("Schedule", "at_steps", "every", "every_epoch", "log_spaced"),
    "analysis.report.magnitudes": ("Magnitudes", "magnitudes"),
    "analysis.report.plan": ("SharpnessPlan", "sharpness_plan"),
    "analysis.report.rows": ("SharpnessReport",),
    "analysis.report.sharpness_report": ("sharpness_report",),
    "analysis.self_check": ("SelfCheck",),
    "analysis.surface.bezier": ("bezier_path",),
    "analysis.surface.fields": ("curvature_map", "gradient_field"),
    "analysis.surface.path": ("linear_path",),
    "analysis.surface.plan": ("Plan",),
    "analysis.surface.results": (
        "BezierPath",
        "Block",
        "CurvatureMap",
        "GradientField",
        "Line",
        "LinearPath",
        "Surface",
    ),
    "analysis.surface.scan": ("loss_block", "loss_line", "loss_surface"),
    "analysis.surface.trajectory": ("Trajectory", "trajectory"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
