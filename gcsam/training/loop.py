"""The training loop: any method, one code path, resumable bit for bit after every epoch.

Every method runs through `gcsam.GCSAM`, so that two runs differ in its switches alone: with equal seeds they have the
same initial weights and see the same batches. Right when a stopped run ends like one that was not stopped, bit for bit
on a CPU, and when selection never sees the test split (`tests/gcsam/training/test_loop.py`, `test_resume.py`).
Cost: per step one forward and backward pass, two with an ascent; on CUDA in bfloat16 (autocast). Evaluation is float32.
On CUDA a resumed run repeats the other up to the order in which kernels add.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcsam.training.checkpoint import CHECKPOINT, SELECTED, load_file, save_file, trajectory_file
from gcsam.training.config import TrainConfig, resolve_device
from gcsam.training.data import load_data
from gcsam.training.evaluation import evaluate
from gcsam.training.history import History, ascent_ratios, centralized_layers
from gcsam.training.models import build_model
from gcsam.training.optimizers import build_optimizer, learning_rate, set_learning_rate
from gcsam.training.run import TrainRun, load_run, run_of
from gcsam.training.splits import Splits

__all__ = ["TrainingDiverged", "initial_model", "lowest_selectable", "train"]

Progress = Callable[[int, int, dict[str, float]], None]

# Streams drawn from one seed, so that more dropout in one method cannot change the order of the data.
_INITIALIZATION, _ORDER, _NOISE = 0, 1, 2
_EVALUATION_BATCH = 512


class TrainingDiverged(RuntimeError):
    """The loss or the gradient stopped being finite; the checkpoint of the last good epoch is kept."""


def train(
    config: TrainConfig,
    directory: str | os.PathLike[str],
    *,
    splits: Splits | None = None,
    progress: Progress | None = None,
) -> TrainRun:
    """Train a network, or go on where a stopped run was; a finished run is returned at once.

    The caller's random state is left as it was.

    Args:
        config: What to do.
        directory: Gets `checkpoint.pt` after every epoch (from which a run goes on), `selected.pt` (the weights
            selected so far: {"model": state_dict, "config": JSON, "epoch": int}) and, if asked for, `trajectory/`.
        splits: `load_data(config)`, where many runs share it. None reads the data.
        progress: Called after each epoch as progress(epochs done, epochs, metrics), metrics being the epoch's row of
            the history.

    Returns:
        The finished run.

    Raises:
        ValueError: The directory holds a run with other settings; the data, network or device is not there.
        TrainingDiverged: The loss or gradient is not finite.
    """
    directory = Path(directory)
    path = directory / CHECKPOINT
    state = load_file(path) if path.is_file() else None
    if state is not None:
        run = run_of(state, directory)
        differences = run.config.differences(config)
        if differences:
            raise ValueError(
                f"{directory} holds a run with {'; '.join(differences)} as asked for; give the same settings or "
                "another directory"
            )
        if run.is_finished:
            return run
    device = resolve_device(config.device)
    data = load_data(config, device) if splits is None else splits.to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer = _Trainer(config, directory, data, device)
        if state is None:
            trainer.save()
            trainer.save_trajectory()
        else:
            trainer.load(state)
        while trainer.epoch < config.epochs:
            trainer.run_epoch()
            trainer.save()
            if progress is not None:
                progress(trainer.epoch, config.epochs, trainer.history.last())
        trainer.finish()
    return load_run(directory)


def initial_model(config: TrainConfig, data: Splits) -> nn.Module:
    """Build the network as a run with this configuration starts; the caller's random state is left as it was.

    Args:
        config: Its fields model and seed count.
        data: Gives channels, classes and image size.

    Returns:
        The network, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_stream(config.seed, _INITIALIZATION))
        return build_model(config.model, **data.shape)


def lowest_selectable(best: float, num_images: int) -> float:
    """Return the validation accuracy one binomial standard error below the best.

    Args:
        best: Accuracy as a fraction.
        num_images: It was measured on.

    Example:
        >>> lowest_selectable(0.9, 100)
        0.87
    """
    return best - math.sqrt(best * (1 - best) / num_images)


class _Trainer:
    """The moving parts of a run between two checkpoints."""

    def __init__(self, config: TrainConfig, directory: Path, data: Splits, device: torch.device) -> None:
        self.config, self.directory, self.data, self.device = config, directory, data, device
        self.model = initial_model(config, data).to(device)
        self.optimizer = build_optimizer(self.model, config)
        self.total_steps = config.epochs * data.train.num_batches(config.batch_size)
        self.order = torch.Generator().manual_seed(_stream(config.seed, _ORDER))
        torch.manual_seed(_stream(config.seed, _NOISE))
        self.layers = centralized_layers(self.model)
        self.history = History(len(self.layers))
        self.epoch = self.step = self.evaluations = 0
        self.best = 0.0  # validation accuracy
        self.summary: dict[str, float | int | str] = {}

    def run_epoch(self) -> None:
        """Train for one epoch, validate, and keep the weights if they are as good as the best so far."""
        config, data = self.config, self.data
        self.model.train()
        rate = learning_rate(config, self.step, self.total_steps)
        began = time.perf_counter()
        loss = torch.zeros((), dtype=torch.float64)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        ratios: tuple[float, list[float]] = (math.nan, [])
        for number, (inputs, labels) in enumerate(data.train.batches(config.batch_size, self.order)):
            set_learning_rate(self.optimizer, learning_rate(config, self.step, self.total_steps))
            found = self._step(inputs, labels, with_ratios=number == 0)
            loss += found["loss"] * len(labels)
            correct += found["correct"]
            ratios = found.get("ratios", ratios)
        seconds = time.perf_counter() - began
        self.epoch += 1
        validation = evaluate(self.model, data.validation.all_batches(_EVALUATION_BATCH))
        self.history.add_epoch(
            epoch=self.epoch,
            train_loss=float(loss) / len(data.train),
            train_accuracy=int(correct) / len(data.train),
            validation_loss=validation[0],
            validation_accuracy=validation[1],
            learning_rate=rate,
            seconds=seconds,
            gradient_evaluations=self.evaluations,
            ascent_ratio_total=ratios[0],
            ascent_ratio=ratios[1],
        )
        self.best = max(self.best, validation[1])
        if config.select == "last" or validation[1] >= lowest_selectable(self.best, len(data.validation)):
            save_file(self.directory / SELECTED, self._weights())
        self.save_trajectory()

    def finish(self) -> None:
        """Evaluate the selected weights, on the test split for the first and only time, and write the summary."""
        selected = load_file(self.directory / SELECTED)
        self.model.load_state_dict(selected["model"])
        summary: dict[str, float | int | str] = {"selected_epoch": selected["epoch"]}
        for name in ("train", "validation", "test"):
            batches = getattr(self.data, name).all_batches(_EVALUATION_BATCH)
            summary[f"{name}_loss"], summary[f"{name}_accuracy"] = evaluate(self.model, batches)
        summary |= {
            "seconds": self.history.total("seconds"),
            "step_seconds_median": self.history.median("step_seconds"),
            "num_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "method": self.config.method,
            "seed": self.config.seed,
            "rho": self.config.optimizer_arguments()["rho"],
        }
        # the rest of the file stays the state after the last epoch
        path = self.directory / CHECKPOINT
        save_file(path, {**load_file(path), "summary": summary})

    def save(self) -> None:
        """Write everything the run needs to go on."""
        noise = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            noise["cuda"] = torch.cuda.get_rng_state(self.device)
        content = {
            **self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "noise": noise,
            "order": self.order.get_state(),
            "step": self.step,
            "gradient_evaluations": self.evaluations,
            "best": self.best,
            "history": self.history.tensors(),
            "layers": list(self.layers),
            "summary": self.summary,
            "data_shape": self.data.shape,
            "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
        }
        save_file(self.directory / CHECKPOINT, content)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        torch.set_rng_state(state["noise"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["noise"]:
            torch.cuda.set_rng_state(state["noise"]["cuda"], self.device)
        self.epoch, self.step, self.evaluations = state["epoch"], state["step"], state["gradient_evaluations"]
        self.best = state["best"]
        self.history = History(len(self.layers), state["history"])

    def save_trajectory(self) -> None:
        """Keep the present weights, if this is an epoch whose weights are kept."""
        every = self.config.trajectory_every
        if every and self.epoch % every == 0:
            save_file(trajectory_file(self.directory, self.epoch), self._weights())

    def _weights(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "config": self.config.to_json(), "epoch": self.epoch}

    def _step(self, inputs: Tensor, labels: Tensor, *, with_ratios: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def closure() -> Tensor:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
                output = self.model(inputs)
            loss = F.cross_entropy(output.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.evaluations += 1
            if "correct" not in found:  # the first of the two passes, at the weights themselves
                found["correct"] = (output.argmax(1) == labels).sum()
                if with_ratios:
                    found["ratios"] = ascent_ratios(self.model)
            return loss

        began = time.perf_counter()
        skipped = self.optimizer.num_skipped
        found["loss"] = self.optimizer.step(closure).item()
        if not math.isfinite(found["loss"]) or self.optimizer.num_skipped > skipped:
            raise TrainingDiverged(self._advice(found["loss"]))
        self.history.add_step(found["loss"], time.perf_counter() - began)
        self.step += 1
        return found

    def _advice(self, loss: float) -> str:
        what = "the gradient is not finite" if math.isfinite(loss) else f"the loss is {loss}"
        rho = self.config.optimizer_arguments()["rho"]
        smaller = f"a lower lr (it is {self.config.lr:g})" + (f" or rho (it is {rho:g})" if rho else "")
        return (
            f"training diverged: {what} in epoch {self.epoch + 1}, step {self.step + 1}; try {smaller}. "
            f"The checkpoint after epoch {self.epoch} is kept in {self.directory}"
        )


def _stream(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
