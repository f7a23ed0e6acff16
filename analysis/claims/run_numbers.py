"""The numbers of one run that the claims speak about, from its file.

Right when each is the number that the file holds, and NaN where it holds none (`tests/analysis/claims/test_table.py`).
Costs reading a few small measurements; needs no torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from analysis.claims.smoothness import curve_roughness, loss_spikes
from analysis.store import Measurement, list_measurements, read

Array = np.ndarray[Any, np.dtype[np.float64]]

KINDS = ("raw", "centralized", "control")  # of gradients
IN_TRAINING = "_training_noise_scale"  # ends the columns that a probe gives
CORRUPTED = "corrupted_accuracy."  # begins the column of one kind of corruption


def numbers_of(path: Path, summary: Measurement, target_accuracy: float) -> dict[str, float]:
    """Return every number of a run by the name of its column.

    Args:
        path: The run's file.
        summary: Its `/training/summary`.
        target_accuracy: Validation accuracy whose first epoch is wanted, in (0, 1].

    Returns:
        NaN for a measurement that the run lacks; no entry for what only special runs have.
    """
    there = list_measurements(path)

    def get(key: str) -> Measurement:
        return read(path, key) if key in there else Measurement("")

    row = {
        name: float(variable.data)
        for name, variable in summary.variables.items()
        if name != "seed" and variable.data.ndim == 0 and variable.data.dtype != object
    }
    row["generalization_gap"] = row.get("train_accuracy", math.nan) - row.get("test_accuracy", math.nan)
    row |= _from_history(get("training/history"), target_accuracy)
    row |= _from_probe(get("training/probe"))
    row |= _from_robustness(get("training/robustness"))
    row |= _from_eigenvalues(_numbers(get("curvature/eigenvalues"), "values"))
    for name in ("trace", "trace_centralized"):
        row[name] = _scalar(get(f"curvature/{name}"), "value")
    for name in ("worst", "average", "worst_adaptive", "average_adaptive"):
        row[name] = _scalar(get(f"sharpness/{name}"), "value")
    noise, batches = get("noise/gradient_noise"), get("noise/minibatch")
    for kind in KINDS:
        cosines = _numbers(batches.groups.get(kind, Measurement("")), "cosine")
        row[f"{kind}_ascent_cosine"] = float(cosines[0]) if cosines.size else math.nan  # of the smallest batches
        total = noise.groups.get(kind, Measurement("")).groups.get("total", Measurement(""))
        for part in ("trace", "signal", "scale"):
            row[f"{kind}_noise_{part}"] = _scalar(total, "noise_scale" if part == "scale" else part)
    return row


def _from_history(history: Measurement, target_accuracy: float) -> dict[str, float]:
    reached = np.flatnonzero(_numbers(history, "validation_accuracy") >= target_accuracy)
    evaluations, losses = _numbers(history, "gradient_evaluations"), _numbers(history, "step_loss")
    changes = np.diff(losses)
    row = {
        "epochs_to_target": float(reached[0] + 1) if reached.size else math.nan,
        "gradient_evaluations": float(evaluations[-1]) if evaluations.size else math.nan,
        "step_change_variance": float(changes.var(ddof=1)) if changes.size > 1 else math.nan,
        "loss_spikes": loss_spikes(losses),
        "curve_roughness": curve_roughness(_numbers(history, "validation_loss")),
        "ascent_ratio": _finite_mean(_numbers(history, "ascent_ratio_total")),
    }
    if {"ascent_ratio", "layers"} <= history.variables.keys():
        per_layer = history.variables["ascent_ratio"].data.astype(np.float64)  # [epoch, layer]
        names = history.variables["layers"].data.tolist()
        row |= {f"ascent_ratio.{name}": _finite_mean(per_layer[:, i]) for i, name in enumerate(names)}
    return row


def _from_probe(probe: Measurement) -> dict[str, float]:
    """Return the noise scale of the whole training: the sum of all traces over that of all signals.

    At a minimum the mean gradient is not told from 0, and no ratio to it means anything; on the way there it is. Sums,
    not a mean of ratios, because both are unbiased and their ratio is not.
    """
    row = {}
    for kind in KINDS:
        found = probe.groups.get(kind, Measurement(""))
        trace, signal = _numbers(found, "trace"), _numbers(found, "signal")
        seen = np.isfinite(trace) & np.isfinite(signal)
        if seen.any():
            total = float(signal[seen].sum())
            row[f"{kind}{IN_TRAINING}"] = float(trace[seen].sum()) / total if total > 0 else math.inf
    return row


def _from_robustness(robustness: Measurement) -> dict[str, float]:
    """Return the mean accuracy under corruption, of all kinds and of each; the clean images are severity 0."""
    if not {"accuracy", "corruption"} <= robustness.variables.keys():
        return {}
    accuracy = robustness.variables["accuracy"].data.astype(np.float64)  # [corruption, severity]
    mean = float(accuracy[:, 1:].mean())
    row = {"corrupted_accuracy": mean, "corruption_gap": float(accuracy[0, 0]) - mean}
    names = robustness.variables["corruption"].data.tolist()
    return row | {f"{CORRUPTED}{name}": float(own[1:].mean()) for name, own in zip(names, accuracy, strict=True)}


def _from_eigenvalues(values: Array) -> dict[str, float]:
    """Return the largest value and its ratio to the fifth; a ratio of other than positive values says nothing."""
    has_ratio = values.size >= 5 and values[4] > 0
    return {
        "lambda_max": float(values[0]) if values.size else math.nan,
        "lambda_ratio": float(values[0] / values[4]) if has_ratio else math.nan,
    }


def _numbers(measurement: Measurement, name: str) -> Array:
    variable = measurement.variables.get(name)
    return np.empty(0) if variable is None else variable.data.astype(np.float64)


def _scalar(measurement: Measurement, name: str) -> float:
    variable = measurement.variables.get(name)
    return math.nan if variable is None else float(variable.data)


def _finite_mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
