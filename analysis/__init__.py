"""Numbers with evidence about a trained network: curvature, surfaces, sharpness, gradient noise, claims.

The public names load on first use, so that `analysis.store` and `figures` read result files without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.claims.results import Verdicts, verify
    from analysis.curvature.density import SpectralDensity, spectral_density
    from analysis.curvature.hessian import Eigenpairs, hessian_eigenvalues
    from analysis.curvature.layers import LayerCurvature, layer_curvature
    from analysis.curvature.trace import TraceEstimate, hessian_trace
    from analysis.evidence import Result, Status
    from analysis.files import load
    from analysis.flatness.sharpness import Sharpness, sharpness
    from analysis.noise.gradient_noise import GradientNoise, LayerNoise, TotalNoise, gradient_noise
    from analysis.noise.sample_norms import PerSampleNorms, per_sample_norms
    from analysis.objective import NotRepeatable, Objective
    from analysis.operators.products import EmpiricalFisher, GaussNewton, GradientCovariance
    from analysis.operators.restricted import Centralized, Preconditioned
    from analysis.probe.probe import Probe
    from analysis.probe.record import ProbeNoise, ProbeRecord
    from analysis.probe.schedule import Schedule, at_steps, every, every_epoch, log_spaced
    from analysis.self_check import SelfCheck
    from analysis.surface.bezier import bezier_path
    from analysis.surface.fields import curvature_map, gradient_field
    from analysis.surface.path import linear_path
    from analysis.surface.plan import Plan
    from analysis.surface.results import BezierPath, Block, CurvatureMap, GradientField, Line, LinearPath, Surface
    from analysis.surface.scan import loss_block, loss_line, loss_surface
    from analysis.surface.trajectory import Trajectory, trajectory

__all__ = [
    "BezierPath",
    "Block",
    "Centralized",
    "CurvatureMap",
    "Eigenpairs",
    "EmpiricalFisher",
    "GaussNewton",
    "GradientCovariance",
    "GradientField",
    "GradientNoise",
    "LayerCurvature",
    "LayerNoise",
    "Line",
    "LinearPath",
    "NotRepeatable",
    "Objective",
    "PerSampleNorms",
    "Plan",
    "Preconditioned",
    "Probe",
    "ProbeNoise",
    "ProbeRecord",
    "Result",
    "Schedule",
    "SelfCheck",
    "Sharpness",
    "SpectralDensity",
    "Status",
    "Surface",
    "TotalNoise",
    "TraceEstimate",
    "Trajectory",
    "Verdicts",
    "at_steps",
    "bezier_path",
    "curvature_map",
    "every",
    "every_epoch",
    "gradient_field",
    "gradient_noise",
    "hessian_eigenvalues",
    "hessian_trace",
    "layer_curvature",
    "linear_path",
    "load",
    "log_spaced",
    "loss_block",
    "loss_line",
    "loss_surface",
    "per_sample_norms",
    "sharpness",
    "spectral_density",
    "trajectory",
    "verify",
]

_HOMES = {
    "analysis.claims.results": ("Verdicts", "verify"),
    "analysis.curvature.density": ("SpectralDensity", "spectral_density"),
    "analysis.curvature.hessian": ("Eigenpairs", "hessian_eigenvalues"),
    "analysis.curvature.layers": ("LayerCurvature", "layer_curvature"),
    "analysis.curvature.trace": ("TraceEstimate", "hessian_trace"),
    "analysis.evidence": ("Result", "Status"),
    "analysis.files": ("load",),
    "analysis.flatness.sharpness": ("Sharpness", "sharpness"),
    "analysis.noise.gradient_noise": ("GradientNoise", "LayerNoise", "TotalNoise", "gradient_noise"),
    "analysis.noise.sample_norms": ("PerSampleNorms", "per_sample_norms"),
    "analysis.objective": ("NotRepeatable", "Objective"),
    "analysis.operators.products": ("EmpiricalFisher", "GaussNewton", "GradientCovariance"),
    "analysis.operators.restricted": ("Centralized", "Preconditioned"),
    "analysis.probe.probe": ("Probe",),
    "analysis.probe.record": ("ProbeNoise", "ProbeRecord"),
    "analysis.probe.schedule": ("Schedule", "at_steps", "every", "every_epoch", "log_spaced"),
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
