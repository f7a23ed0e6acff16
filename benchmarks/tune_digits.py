"""Choose learning rate and radius for the digits study: every method over the same grid, judged on validation alone.

Writes benchmarks/results/tune_digits.json: for each method, lr and rho the mean validation accuracy and the mean
training loss over the seeds. The test split is never looked at. Cost: 96 runs of 30 epochs, a few minutes on 2 cores.

    python benchmarks/tune_digits.py
"""

from __future__ import annotations

import datetime
import itertools
import json
import platform
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from gcsam.training import METHODS, TrainConfig, train

RATES, RADII, SEEDS = (0.02, 0.05, 0.1, 0.2), (0.02, 0.05, 0.1), (100, 101, 102)  # not the seeds of the study
TARGET = Path(__file__).parent / "results" / "tune_digits.json"


def settings() -> list[TrainConfig]:
    """Return one configuration per run; a method without an ascent has no radius to choose."""
    return [
        TrainConfig(method=method, lr=rate, rho=radius, seed=seed, device="cpu")
        for method, switches in METHODS.items()
        for rate, radius, seed in itertools.product(RATES, RADII if switches["ascends"] else RADII[:1], SEEDS)
    ]


def run(config: TrainConfig) -> tuple[float, float]:
    """Train once; return validation accuracy and training loss of the selected weights."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        summary = train(config, folder).summary
    return float(summary["validation_accuracy"]), float(summary["train_loss"])


def main() -> None:
    """Run the grid and write the table."""
    configs = settings()
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(run, configs))
    rows = []
    for start in range(0, len(configs), len(SEEDS)):
        config, found = configs[start], results[start : start + len(SEEDS)]
        rows.append({
            "method": config.method,
            "lr": config.lr,
            "rho": config.rho if METHODS[config.method]["ascends"] else 0.0,
            "validation_accuracy": statistics.mean(accuracy for accuracy, _ in found),
            "train_loss": statistics.mean(loss for _, loss in found),
        })
        print(*(f"{value:.4g}" if isinstance(value, float) else value for value in rows[-1].values()))
    about = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.processor()}
    about["date"] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    TARGET.write_text(json.dumps({"about": about, "config": configs[0].model_dump(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
