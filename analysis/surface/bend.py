"""Train the bend of a quadratic Bezier curve between two weight vectors, so that the loss along the curve is low.

Right when the gradient of a step is that of a finite difference, and a stopped training goes on to the same bend bit
for bit (`tests/analysis/surface/test_bezier.py`). Cost: one gradient of a batch for each step; in a file three vectors
[D] are written to it every `KEPT_EVERY` steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.batchnorm import batch_statistics
from analysis.checks import positive
from analysis.objective import Objective
from analysis.store import Measurement, Variable, list_measurements, read, write
from analysis.surface.evaluate import held
from analysis.surface.identity import rounded_fingerprint, tensors_sha256

KEPT_EVERY = 50
KIND = "surface"


def on_curve(start: Tensor, bend: Tensor, end: Tensor, t: float) -> Tensor:
    """Return the point of the curve at t; both ends come out exactly.

    Args:
        start: [D].
        bend: [D].
        end: [D].
        t: In [0, 1].
    """
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end


class Training:
    """The bend, as far as it has been trained.

    Args:
        objective: Whose loss.
        start: [D].
        end: [D].
        between: From t to every parameter and buffer on the straight line, for what does not bend.
        steps: In all.
        lr: Of Adam at the first step; it falls to 0 linearly.
        seed: Of the t of each step.

    Attributes:
        bend: [D], the middle of the ends before the first step.
        losses: [steps], float64, NaN for steps not made.
    """

    def __init__(
        self,
        objective: Objective,
        start: Tensor,
        end: Tensor,
        between: Callable[[float], Mapping[str, Tensor]],
        steps: int,
        lr: float,
        seed: int,
    ) -> None:
        self._objective, self._start, self._end, self._between = objective, start, end, between
        self._lr, self._seed = lr, seed
        # all at once, so that a step's t does not depend on where the training was stopped
        self._ts = torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
        self.bend = (start + end) / 2
        self.losses = torch.full((steps,), float("nan"), dtype=torch.float64)
        self._adam = torch.optim.Adam([self.bend], lr=lr)
        self._done = 0

    def run(self, path: str | os.PathLike[str] | None, name: str, tell: Callable[[int], None]) -> None:
        """Make the steps that are missing.

        Args:
            path: Result file that keeps the training on its way, or None.
            name: Of the measurement it is kept under.
            tell: Called with the number of steps made.

        Raises:
            ValueError: The file keeps a training of other ends, data or settings.
        """
        local = held(self._objective)
        local.loss(self._start)  # before the fingerprint: it takes a pass over the data to know them
        settings = self._settings(local)
        if path is not None:
            self._go_on(path, name, settings)
        statistics = batch_statistics(local.model) if local.batchnorm == "recalibrate" else nullcontext()
        with local.measuring(with_grad=True), statistics:
            for step, batch in islice(enumerate(_endless(local)), self._done, len(self._ts)):
                self.losses[step] = self.step(local, batch, self._ts[step], 1 - step / len(self._ts))
                self._done = step + 1
                if path is not None and (self._done % KEPT_EVERY == 0 or self._done == len(self._ts)):
                    write(path, KIND, name, self._measurement(settings))
                tell(self._done)

    def step(self, objective: Objective, batch: Any, t: float, share: float) -> float:
        """Move the bend by one step of Adam.

        Args:
            objective: Is measuring.
            batch: One of its batches.
            t: Place on the curve.
            share: Of the learning rate.

        Returns:
            The loss of the batch before it.
        """
        loss, self.bend.grad = self.gradient(objective, batch, t)
        self._adam.param_groups[0]["lr"] = self._lr * share
        self._adam.step()
        self.bend.grad = None
        return loss

    def gradient(self, objective: Objective, batch: Any, t: float) -> tuple[float, Tensor]:
        """Return the mean loss of a batch on the curve at t, and its gradient by the bend [D].

        Args:
            objective: Is measuring.
            batch: One of its batches.
            t: Place on the curve.
        """
        at = on_curve(self._start, self.bend, self._end, t).requires_grad_()
        pieces = objective.layout.split(at)
        tensors = {key: tensor.clone() for key, tensor in self._between(t).items()}
        loss_sum, count = objective.evaluate({**tensors, **pieces}, batch)
        loss = loss_sum / positive(count)
        (gradient,) = torch.autograd.grad(loss, at)
        return float(loss.detach()), 2 * t * (1 - t) * gradient

    def _settings(self, local: Objective) -> dict[str, str]:
        return {
            "ends": tensors_sha256({"start": self._start, "end": self._end}),
            "data": rounded_fingerprint(local),
            "steps": str(len(self._ts)),
            "lr": repr(self._lr),
            "seed": str(self._seed),
            "batchnorm": local.batchnorm,
        }

    def _go_on(self, path: str | os.PathLike[str], name: str, settings: Mapping[str, str]) -> None:
        if not Path(path).is_file() or f"{KIND}/{name}" not in list_measurements(path):
            return
        kept = read(path, f"{KIND}/{name}")
        different = [key for key, text in settings.items() if kept.attributes.get(key) != text]
        if different:
            key = different[0]
            raise ValueError(
                f"{KIND}/{name} in {os.fspath(path)} was begun with another configuration ({key}: given "
                f"{settings[key]}, stored {kept.attributes.get(key)}); choose another name or file, or delete it"
            )
        data = {key: torch.from_numpy(np.array(variable.data)) for key, variable in kept.variables.items()}
        self.bend.copy_(data["bend"])
        self.losses = data["losses"]
        self._done = int(data["done"])
        moments = {key: data[key].to(self.bend) for key in ("exp_avg", "exp_avg_sq")}
        self._adam.state[self.bend] = {"step": torch.tensor(float(self._done)), **moments}

    def _measurement(self, settings: Mapping[str, str]) -> Measurement:
        moments = self._adam.state[self.bend]
        vectors = {"bend": self.bend, **{key: moments[key] for key in ("exp_avg", "exp_avg_sq")}}
        variables = {
            key: Variable(vector.cpu().numpy(), ("parameter",), "weight", "Of the training of a Bezier curve")
            for key, vector in vectors.items()
        }
        variables["losses"] = Variable(self.losses.numpy(), ("step",), "loss", "Of each step, on its batch")
        variables["done"] = Variable(np.array(self._done), units="1", description="Steps made")
        return Measurement("BezierTraining", variables, dict(settings))


def _endless(objective: Objective) -> Iterator[Any]:
    while True:
        yield from objective.batches()
