"""Result files with chosen numbers, as a study leaves them; no network is trained."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, Variable, write

METHODS = ("sgd", "gc", "sam", "gcsam")
WITH_CONTROLS = (*METHODS, "sgd-long", "sam-matched", "sam-gc", "fsam", "random", "gcsam-published")
LAYERS = ("features.0", "head.1")
KINDS = ("raw", "centralized", "control")


def variable(data: Any, *dims: str) -> Variable:
    is_text = isinstance(data, str) or (isinstance(data, (list, tuple)) and isinstance(data[0], str))
    return Variable(np.asarray(data, dtype=object if is_text else None), dims)


def measurement(groups: dict[str, Measurement] | None = None, of: str = "", **variables: Any) -> Measurement:
    """A measurement of type `of`; scalars as such, others as (data, dimension, ...)."""
    made = {
        name: variable(*value) if isinstance(value, tuple) else variable(value) for name, value in variables.items()
    }
    return Measurement(of, made, {}, groups or {})


def bowl(steepness: float, points: int = 9, lean: float = 0.0) -> dict[str, Any]:
    """A loss that rises along x and y by different amounts, so that swapped axes are seen."""
    x, y = np.linspace(-1, 1, points), np.linspace(-0.5, 0.5, points + 2)
    loss = 1e-3 + steepness * (x[:, None] ** 2 + 4 * y**2) + lean * (x[:, None] + 1)
    return {"x": (x, "x"), "y": (y, "y"), "loss": (loss, "x", "y")}


def curve(
    of: str, t: Any, loss: Any, error: Any = 0.1, metrics: dict[str, Any] | None = None, **others: Any
) -> Measurement:
    """A line or path; all errors are `error`, all points done, unless `others` says otherwise."""
    t, loss = np.asarray(t, dtype=float), np.asarray(loss, dtype=float)
    content: dict[str, Any] = {
        "t": (t, "t"),
        "loss": (loss, "t"),
        "standard_error": (np.full(len(t), error), "t"),
        "diverged": (~np.isfinite(loss), "t"),
        "done": (np.ones(len(t), dtype=bool), "t"),
    }
    if metrics:
        values = np.array(list(metrics.values()), dtype=float)
        content["metric_names"] = (list(metrics), "metric")
        content["metrics"] = (values, "metric", "t")
        content["metric_errors"] = (np.full(values.shape, error), "metric", "t")
    return measurement(of=of, **{**content, **others})


def noise(scale: float) -> Measurement:
    groups = {}
    for place, kind in enumerate(KINDS):
        numbers = {
            name: scale * (1 + place)
            for name in ("noise_scale", "trace", "noise_scale_standard_error", "trace_standard_error")
        }
        layers = {name: ([value, 2 * value], "layer") for name, value in numbers.items()}
        total = measurement(None, **{name: 3 * value for name, value in numbers.items()})
        groups[kind] = measurement({"total": total}, **layers)
    return measurement(groups, layers=(list(LAYERS), "layer"))


def write_run(path: Path, method: str, seed: int, without: Collection[str] = ()) -> Path:
    """One run; its numbers tell methods and seeds apart."""
    strength = 1.0 + WITH_CONTROLS.index(method) + 0.1 * seed
    epochs = np.arange(1, 6)
    history = measurement(
        train_loss=(strength / epochs, "epoch"),
        validation_accuracy=(1 - 0.5 / epochs, "epoch"),
        ascent_ratio_total=(0.8 + 0.01 * epochs, "epoch"),
    )
    content = {
        "training/history": history,
        "training/summary": measurement(method=method, seed=seed, test_accuracy=0.9 + 0.01 * strength),
        "curvature/eigenvalues": measurement(
            values=(strength * np.array([5.0, 3.0]), "pair"), residuals=(np.array([0.5, 0.25]), "pair")
        ),
        "noise/gradient_noise": noise(strength),
        "surface/plane": measurement(**bowl(strength)),
    }
    for place, kind in enumerate(("worst", "average", "worst_adaptive", "average_adaptive")):
        content[f"sharpness/{kind}"] = measurement(value=strength * 10.0**-place, standard_error=0.1, rho=0.05)
    for key, value in content.items():
        if key not in without:
            write(path, *key.split("/"), value)
    return path


def write_study(folder: Path, seeds: int = 2) -> list[Path]:
    """Runs of all methods and the study's own file, `study.h5`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        (1, "ascent_ratio", "gcsam vs 1", -50.0, -75.0, 0.0, "%", "inconclusive"),
        (3, "lambda_max", "gcsam vs sam", 400.0, -99.0, 9e3, "%", "contradicted"),
        (4, "test_accuracy", "gcsam vs sam", 1.0, 0.5, 1.5, "percentage points", "supported"),
        (9, "trace", "with gap, all runs", 0.5, -0.25, 1.0, "rank correlation", "inconclusive"),
        (6, "epochs", "gcsam vs sam", np.nan, np.nan, np.nan, "%", "inconclusive"),
    ]
    names = ("number", "quantity", "comparison", "effect", "interval_low", "interval_high", "unit", "verdict")
    columns = {name: (list(column), "claim") for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    write(folder / "study.h5", "claims", "verdicts", measurement(**columns))
    return [write_run(folder / f"{method}-{seed}.h5", method, seed) for seed in range(seeds) for method in METHODS]
