"""Run files and tables with chosen numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.claims import RunTable
from analysis.store import Measurement, Variable, write

MOMENTS = ("trace", "signal")


def scalar(number: float | int | str, units: str = "", description: str = "") -> Variable:
    """A variable without dimensions."""
    return Variable(np.asarray(number, dtype=object if isinstance(number, str) else None), (), units, description)


def rows(*values: float) -> Variable:
    """What a probe saw, a number for each time."""
    return Variable(np.array(values), ("measurement",))


def noise(**moments: tuple[float, float]) -> Measurement:
    """Totals by kind, each (trace, signal)."""

    def kind(trace: float, signal: float) -> Measurement:
        total = {"trace": scalar(trace), "signal": scalar(signal), "noise_scale": scalar(trace / signal)}
        return Measurement("LayerNoise", {}, {}, {"total": Measurement("TotalNoise", total)})

    return Measurement("GradientNoise", {}, {}, {name: kind(*pair) for name, pair in moments.items()})


def write_run(path: Path, method: str = "gcsam", seed: int = 0) -> None:
    """A run file in which every number that `collect` reads is a different one."""
    summary = {
        "method": scalar(method),
        "seed": scalar(seed),
        "rho": scalar(0.05, "1", "radius of the ascent"),
        "num_parameters": scalar(1234),
        "train_loss": scalar(0.25, "loss", "mean loss on the training split"),
        "train_accuracy": scalar(0.75),
        "test_accuracy": scalar(0.5 + seed / 8),
        "step_seconds_median": scalar(0.125, "s"),
        "step_memory_bytes": scalar(4096.0, "B"),
    }
    write(path, "training", "summary", Measurement("", summary))
    history = {
        "validation_accuracy": Variable(np.array([0.5, 0.95, 0.875, 0.99]), ("epoch",)),
        "gradient_evaluations": Variable(np.array([10, 20, 30, 40]), ("epoch",)),
        "ascent_ratio_total": Variable(np.array([np.nan, 0.75, 0.5, 0.25]), ("epoch",)),
        "ascent_ratio": Variable(np.array([[np.nan, np.nan], [1.0, 0.5], [1.0, 0.25], [1.0, 0.0]]), ("epoch", "layer")),
        "layers": Variable(np.array(["a.weight", "b.weight"], dtype=object), ("layer",)),
        "validation_loss": Variable(np.array([4.0, 2.0, 3.0, 1.0]), ("epoch",)),
        "step_loss": Variable(np.array([*[4.0, 3.0] * 29, 4.0, 12.0]), ("step",)),
    }
    write(path, "training", "history", Measurement("", history))
    eigenvalues = Variable(np.array([8.0, 6.0, 5.0, 4.0, 2.0]), ("pair",))
    write(path, "curvature", "eigenvalues", Measurement("Eigenpairs", {"values": eigenvalues}))
    write(path, "curvature", "trace", Measurement("TraceEstimate", {"value": scalar(32.0)}))
    write(path, "curvature", "trace_centralized", Measurement("TraceEstimate", {"value": scalar(24.0)}))
    for index, name in enumerate(("worst", "average", "worst_adaptive", "average_adaptive")):
        write(path, "sharpness", name, Measurement("Sharpness", {"value": scalar(2.0**-index)}))
    moments = noise(raw=(64.0, 2.0), centralized=(48.0, 1.0), control=(56.0, 0.5))
    write(path, "noise", "gradient_noise", moments)
    cosines = {"raw": [0.25, 0.5], "centralized": [0.125, 0.75], "control": [0.0625, 1.0]}
    kinds = {
        kind: Measurement("BatchNoise", {"cosine": Variable(np.array(c), ("size",))}) for kind, c in cosines.items()
    }
    seen = {
        "raw": ([6.0, 2.0], [3.0, -1.0]),
        "centralized": ([4.0, 2.0], [2.0, -1.0]),
        "control": ([5.0, 2.0], [2.0, -1.5]),
    }
    probes = {
        kind: Measurement(
            "ProbeNoise", {name: rows(math.nan, *values) for name, values in zip(MOMENTS, pair, strict=True)}
        )
        for kind, pair in seen.items()
    }
    write(path, "training", "probe", Measurement("ProbeRecord", {}, {}, probes))
    accuracy = np.array([[0.5, 0.25, 0.5], [0.5, 0.125, 0.125]])  # severity 0, which counts in no mean, then two
    robustness = {
        "corruption": Variable(np.array(["blur", "noise"], dtype=object), ("corruption",)),
        "accuracy": Variable(accuracy, ("corruption", "severity")),
    }
    write(path, "training", "robustness", Measurement("Robustness", robustness))
    write(path, "noise", "minibatch", Measurement("MinibatchNoise", {}, {}, kinds))


def table(columns: Mapping[str, Mapping[str, Sequence[float]]]) -> RunTable:
    """A table from {method: {column: numbers over seeds 0, 1, ...}}; a column that a method lacks is NaN there."""
    names = list(dict.fromkeys(name for numbers in columns.values() for name in numbers))
    method, seed = [], []
    values: dict[str, list[float]] = {name: [] for name in names}
    for key, numbers in columns.items():
        count = max(len(column) for column in numbers.values())
        method += [key] * count
        seed += list(range(count))
        for name in names:
            values[name] += list(numbers.get(name, [float("nan")] * count))
    return RunTable(
        tuple(method), tuple(seed), {name: Variable(np.array(column), ("run",)) for name, column in values.items()}
    )
