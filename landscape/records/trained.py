"""What a run remembers, in its result file, with the checkpoint's hash and the data's.

Right when the file holds the history and summary of the run, number by number
(`tests/landscape/measuring/test_training.py`). Cost: hashing the training images.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, Variable, create, list_measurements, provenance, read, sha256_file, write
from gcsam.training import Split, Splits, TrainRun
from gcsam.training.config import resolve_device
from landscape.records.identity import check_checkpoint
from landscape.records.layout import PROBE, PROBE_FILE, SELECTED

Text = tuple[str, str]

# Dimension, unit and description of what a run remembers.
HISTORY: dict[str, tuple[tuple[str, ...], str, str]] = {
    "epoch": (("epoch",), "1", "number of the epoch, from 1"),
    "train_loss": (("epoch",), "loss", "mean over the epoch's batches, each at the weights before its step"),
    "train_accuracy": (("epoch",), "1", "likewise, as a fraction"),
    "validation_loss": (("epoch",), "loss", "after the epoch"),
    "validation_accuracy": (("epoch",), "1", "after the epoch, as a fraction"),
    "learning_rate": (("epoch",), "1", "of the epoch's first step"),
    "gradient_norm": (("epoch",), "loss/weight", "||g|| of the epoch's batches, root mean square"),
    "seconds": (("epoch",), "s", "wall-clock time of the epoch's steps"),
    "gradient_evaluations": (("epoch",), "1", "batch gradients since the start"),
    "severity": (("epoch",), "1", "of the drift's corruption, up to 5; 0 before it begins"),
    "online_accuracy": (("epoch",), "1", "train_accuracy of an hour of the stream; NaN before it begins"),
    "current_accuracy": (("epoch",), "1", "after the hour, on validation images corrupted as it was; NaN before"),
    "ascent_ratio_total": (("epoch",), "1", "||Pg|| / ||g|| of the epoch's first batch"),
    "ascent_ratio": (("epoch", "layer"), "1", "the same for each weight that P acts on"),
    "step_loss": (("step",), "loss", "of each batch, before its step"),
    "step_seconds": (("step",), "s", "wall-clock time of each step"),
}
SUMMARY: dict[str, Text] = {
    "selected_epoch": ("1", "whose weights were selected, and are measured"),
    "train_loss": ("loss", "of the selected weights"),
    "train_accuracy": ("1", "of the selected weights, as a fraction"),
    "validation_loss": ("loss", "of the selected weights"),
    "validation_accuracy": ("1", "of the selected weights, as a fraction"),
    "test_loss": ("loss", "of the selected weights"),
    "test_accuracy": ("1", "of the selected weights, as a fraction; never used to select"),
    "online_accuracy": ("1", "mean over the drifting stream, as a fraction; only where there is one"),
    "seconds": ("s", "wall-clock time of all steps"),
    "step_seconds_median": ("s", "wall-clock time of a step"),
    "step_memory_bytes": ("B", "memory of a step at its peak: weights, states, gradients, activations"),
    "num_parameters": ("1", "trained numbers"),
    "method": ("", "of gcsam.training.METHODS, or the name a study gives it"),
    "seed": ("1", "of initialization and data order"),
    "rho": ("weight", "radius of the ascent; 0 without one"),
}


def write_training(run: TrainRun, splits: Splits, path: Path, name: str = "") -> None:
    """Write what a run remembers into a result file that does not hold it yet.

    Args:
        run: Finished.
        splits: Its data, on the CPU.
        path: The result file; made where it is not.
        name: Of the method in a study, where it has one of its own.

    Raises:
        ValueError: The file belongs to other weights.
    """
    sha256 = sha256_file(run.directory / SELECTED)
    if path.exists():
        check_checkpoint(path, sha256)
    else:
        given = {
            "config": run.config.to_json(),
            "checkpoint_sha256": sha256,
            "data_fingerprint": fingerprint(splits.train),
            "device": str(resolve_device(run.config.device)),
        }
        create(path, provenance(**given))
    there = list_measurements(path)
    for kind, content in (("history", history_of(run)), ("summary", summary_of(run, name))):
        if f"training/{kind}" not in there:
            write(path, "training", kind, content)
    seen = run.directory / PROBE_FILE
    if seen.is_file() and PROBE not in there:
        write(path, "training", "probe", read(seen, PROBE))


def history_of(run: TrainRun) -> Measurement:
    """Return the history as it is stored.

    Args:
        run: A finished run.
    """
    variables = {
        name: Variable(np.asarray(run.history[name]), dims, units, description)
        for name, (dims, units, description) in HISTORY.items()
        if name in run.history
    }
    variables["layers"] = Variable(_texts(run.layers), ("layer",), description="weights that P acts on")
    return Measurement("TrainingHistory", variables)


def summary_of(run: TrainRun, name: str = "") -> Measurement:
    """Return the summary as it is stored.

    Args:
        run: A finished run.
        name: That stands for the method, in a study that has several of one method.
    """
    summary = {**run.summary, "method": name or run.summary["method"]}
    variables = {}
    for key, (units, description) in SUMMARY.items():
        if key == "online_accuracy" and key not in summary:
            continue  # without a drift there is no stream
        value = summary.get(key, math.nan)  # a run finished by an earlier version lacks some
        data = _texts(value) if isinstance(value, str) else np.asarray(value)
        variables[key] = Variable(data, (), units, description)
    return Measurement("TrainingSummary", variables)


def fingerprint(split: Split) -> str:
    """Return the SHA-256 of the images and labels of a split, in their order.

    Args:
        split: On the CPU.
    """
    digest = hashlib.sha256()
    for tensor in (split.images, split.labels):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _texts(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value, dtype=object)
