"""The moving parts of a run between two checkpoints: network, optimizer, streams of random numbers, history.

Every method runs through `gcsam.GCSAM`, so that two runs differ in its switches alone: with equal seeds they have the
same initial weights and see the same batches. Right when each method equals a loop by hand, and when a stopped run ends
like one that was not stopped, bit for bit on a CPU (`tests/gcsam/training/test_loop.py`, `test_resume.py`).
Cost: per step one forward and backward pass, two with an ascent, and a pass over the gradients for their norm; on CUDA
in bfloat16 (autocast). Evaluation is float32.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcsam.training.augment import crop_flip
from gcsam.training.checkpoint import CHECKPOINT, SELECTED, load_file, save_file, trajectory_file
from gcsam.training.config import TrainConfig
from gcsam.training.drift import Stream
from gcsam.training.evaluation import EVALUATION_BATCH, evaluate
from gcsam.training.history import History, ascent_ratios, centralized_layers
from gcsam.training.models import build_model
from gcsam.training.observer import Moment, Observer
from gcsam.training.optimizers import build_optimizer, set_learning_rate
from gcsam.training.schedules import learning_rate
from gcsam.training.seeds import AUGMENTATION, INITIALIZATION, NOISE, ORDER, stream_seed
from gcsam.training.splits import Splits
from gcsam.training.step_memory import StepMemory
from gcsam.training.team import Team

__all__ = ["Trainer", "TrainingDiverged", "initial_model", "lowest_selectable"]


class TrainingDiverged(RuntimeError):
    """The loss or the gradient stopped being finite; the checkpoint of the last good epoch is kept."""


def initial_model(config: TrainConfig, data: Splits) -> nn.Module:
    """Build the network as a run with this configuration starts; the caller's random state is left as it was.

    Args:
        config: Its fields model and seed count.
        data: Gives channels, classes and image size.

    Returns:
        The network, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, INITIALIZATION))
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


class Trainer:
    """Train epoch by epoch, save, and load.

    Args:
        config: Of the run.
        directory: Where its files go.
        data: On the device of the team.
        team: The processes that train it; this one of them.
        observer: Shown the training between its steps, in the first process.
    """

    def __init__(
        self, config: TrainConfig, directory: Path, data: Splits, team: Team, observer: Observer | None = None
    ) -> None:
        self.config, self.directory, self.data, self.team, self.device = config, directory, data, team, team.device
        self.model = initial_model(config, data).to(self.device)
        network = team.parallel(self.model)
        self.optimizer = build_optimizer(network, config)
        self.forward = torch.compile(network) if config.compile else network
        self.stream = Stream(config, data)
        self.total_steps = self.stream.num_steps
        self.order = torch.Generator().manual_seed(stream_seed(config.seed, ORDER))
        self.augmentation = torch.Generator().manual_seed(stream_seed(config.seed, AUGMENTATION))
        torch.manual_seed(stream_seed(config.seed, NOISE, team.rank))
        self.layers = centralized_layers(self.model)
        self.history = History(len(self.layers), drifts=self.stream.drifts)
        self.epoch = self.step = self.evaluations = 0
        self.best = 0.0  # validation accuracy
        self.summary: dict[str, float | int | str] = {}
        self.observer = observer if team.is_first else None
        self.watched_seconds = 0.0
        self.memory = StepMemory(self.model, self.optimizer, self.device)

    def run_epoch(self) -> None:
        """Train for one epoch, validate, and keep the weights if they are as good as the best so far."""
        config, data, train = self.config, self.data, self.stream.train(self.epoch + 1)
        self.model.train()
        rate = self._learning_rate()
        began = time.perf_counter() - self.watched_seconds
        loss, correct, squares = 0.0, 0, torch.zeros((), dtype=torch.float64, device=self.device)
        ratios: tuple[float, list[float]] = (math.nan, [])
        for number, (inputs, labels) in enumerate(train.batches(config.batch_size, self.order)):
            set_learning_rate(self.optimizer, self._learning_rate())
            augmented = crop_flip(inputs, self.augmentation) if config.augment == "crop-flip" else inputs
            found = self._step(augmented, labels, with_ratios=number == 0)
            loss += found["loss"] * len(labels)
            correct += found["correct"]
            squares += found["norm"].double().square()
            ratios = found.get("ratios", ratios)
            self.show(ends_epoch=number + 1 == train.num_batches(config.batch_size))
        seconds = time.perf_counter() - self.watched_seconds - began
        self.epoch += 1
        validation = evaluate(self.model, data.validation.all_batches(EVALUATION_BATCH))
        self.history.add_epoch(
            epoch=self.epoch,
            train_loss=loss / len(train),
            train_accuracy=correct / len(train),
            validation_loss=validation[0],
            validation_accuracy=validation[1],
            learning_rate=rate,
            gradient_norm=math.sqrt(float(squares) / (number + 1)),
            seconds=seconds,
            gradient_evaluations=self.evaluations,
            **self.stream.columns(self.model, self.epoch, correct / len(train)),
            ascent_ratio_total=ratios[0],
            ascent_ratio=ratios[1],
        )
        self.best = max(self.best, validation[1])
        if config.select == "last" or validation[1] >= lowest_selectable(self.best, len(data.validation)):
            self._save_file(self.directory / SELECTED, self._weights())
        self.keep_weights("epoch")

    def finish(self) -> None:
        """Evaluate the selected weights, on the test split for the first and only time, and write the summary."""
        selected = load_file(self.directory / SELECTED)
        self.model.load_state_dict(selected["model"])
        summary: dict[str, float | int | str] = {"selected_epoch": selected["epoch"]}
        for name in ("train", "validation", "test"):
            batches = getattr(self.data, name).all_batches(EVALUATION_BATCH)
            summary[f"{name}_loss"], summary[f"{name}_accuracy"] = evaluate(self.model, batches)
        summary |= self.stream.summary(self.history.tensors())
        summary |= {
            "seconds": self.history.total("seconds"),
            "step_seconds_median": self.history.median("step_seconds"),
            "step_memory_bytes": self.memory.bytes,
            "num_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "method": self.config.method,
            "seed": self.config.seed,
            "rho": self.config.optimizer_arguments()["rho"],
        }
        # the rest of the file stays the state after the last epoch
        path = self.directory / CHECKPOINT
        self._save_file(path, {**load_file(path), "summary": summary})

    def save(self) -> None:
        """Write everything the run needs to go on."""
        noise = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            noise["cuda"] = torch.cuda.get_rng_state(self.device)
        content = {
            **self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "noise": self.team.gathered(noise),
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "step": self.step,
            "gradient_evaluations": self.evaluations,
            "best": self.best,
            "step_memory_bytes": self.memory.bytes,
            "history": self.history.tensors(),
            "layers": list(self.layers),
            "summary": self.summary,
            "data_shape": self.data.shape,
            "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
        }
        self._save_file(self.directory / CHECKPOINT, content)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote.

        Raises:
            ValueError: It was written by another number of processes.
        """
        if len(state["noise"]) != self.team.size:
            raise ValueError(
                f"{self.directory} holds a run of {len(state['noise'])} processes, got {self.team.size}; go on with as "
                "many, because each has random numbers of its own"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        noise = state["noise"][self.team.rank]
        torch.set_rng_state(noise["cpu"])
        if self.device.type == "cuda" and "cuda" in noise:
            torch.cuda.set_rng_state(noise["cuda"], self.device)
        self.epoch, self.step, self.evaluations = state["epoch"], state["step"], state["gradient_evaluations"]
        self.best = state["best"]
        self.memory.bytes = state.get("step_memory_bytes", math.nan)  # runs of earlier versions have none
        self.history = History(len(self.layers), state["history"], drifts=self.stream.drifts)

    def keep_weights(self, kind: Literal["epoch", "step"]) -> None:
        """Write the present weights into the trajectory, if the number of epochs or steps done is one that is kept.

        Args:
            kind: What was just done, or is about to begin.
        """
        number, every = {
            "epoch": (self.epoch, self.config.trajectory_every),
            "step": (self.step, self.config.trajectory_every_steps),
        }[kind]
        if every and number % every == 0:
            self._save_file(trajectory_file(self.directory, kind, number), self._weights())

    def show(self, *, ends_epoch: bool) -> None:
        """Let the observer see the training as it is now.

        Args:
            ends_epoch: Whether the step just done was the last of its epoch.
        """
        if self.observer is None:
            return
        if self.step == 0:
            set_learning_rate(self.optimizer, self._learning_rate())
        began = time.perf_counter()
        self.observer(Moment(self.step, self.epoch + ends_epoch, ends_epoch, self.model, self.optimizer))
        self.watched_seconds += time.perf_counter() - began

    def _weights(self) -> dict[str, Any]:
        config = self.config.to_json()
        return {"model": self.model.state_dict(), "config": config, "epoch": self.epoch, "step": self.step}

    def _save_file(self, path: Path, content: dict[str, Any]) -> None:
        if self.team.is_first:
            save_file(path, content)

    def _learning_rate(self) -> float:
        return learning_rate(self.config.schedule, self.config.lr, self.step, self.total_steps)

    def _step(self, inputs: Tensor, labels: Tensor, *, with_ratios: bool) -> dict[str, Any]:
        """Take a step on a batch that is the same in all processes; return its loss and what was seen at its start."""
        found: dict[str, Any] = {}
        inputs, labels, weight = self.team.share(inputs, labels)

        def closure() -> Tensor:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
                output = self.forward(inputs)
            loss = F.cross_entropy(output.float(), labels, label_smoothing=self.config.label_smoothing)
            loss = loss if self.team.size == 1 else loss * weight
            loss.backward()  # type: ignore[no-untyped-call]
            self.evaluations += 1
            if "norm" not in found:  # the first of the two passes, at the weights themselves
                found["correct"] = (output.argmax(1) == labels).sum()
                gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
                found["norm"] = nn.utils.get_total_norm(gradients)
                if with_ratios:
                    found["ratios"] = ascent_ratios(self.model)
            return loss

        began = time.perf_counter()
        skipped = self.optimizer.num_skipped
        with self.memory if self.step == 1 else nullcontext():  # the first one makes states and room
            loss = self.optimizer.step(closure).detach().double() / self.team.size
        seen = self.team.total(torch.stack([loss, found["correct"].double()]))
        found["loss"], found["correct"] = seen[0].item(), int(seen[1])
        if not math.isfinite(found["loss"]) or self.optimizer.num_skipped > skipped:
            raise TrainingDiverged(self._advice(found["loss"]))
        self.history.add_step(found["loss"], time.perf_counter() - began)
        self.step += 1
        self.keep_weights("step")
        return found

    def _advice(self, loss: float) -> str:
        what = "the gradient is not finite" if math.isfinite(loss) else f"the loss is {loss}"
        rho = self.config.optimizer_arguments()["rho"]
        smaller = f"a lower lr (it is {self.config.lr:g})" + (f" or rho (it is {rho:g})" if rho else "")
        return (
            f"training diverged: {what} in epoch {self.epoch + 1}, step {self.step + 1}; try {smaller}. "
            f"The checkpoint after epoch {self.epoch} is kept in {self.directory}"
        )
