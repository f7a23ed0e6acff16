"""Watch curvature, gradient noise and sharpness while a network is trained; the training does not notice.

Proved right by: two trainings, with and without a probe, that end in the same bits (weights, buffers, optimizer state,
gradients, modes, random states); rows equal to direct measurements at those weights; a file that is whole after every
measurement and goes on after a stop (`tests/analysis/probe/test_probe.py`, `test_invariant.py`, `test_resume.py`).
Cost: stated at `Probe`.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from analysis.checks import check_whole
from analysis.objective import Objective
from analysis.probe.budget import Budget
from analysis.probe.quantities import QUANTITIES, Settings, check_quantities, measure
from analysis.probe.record import ProbeRecord, Row, record_of
from analysis.probe.resuming import rows_until
from analysis.probe.schedule import Schedule, every
from analysis.probe.threshold import threshold_of

EVERY_100 = every(100)


class Probe:
    """Measure a network at some steps of its training, within a share of its time, into a file that is always whole.

    Make it before the loop, and call `step()` after every optimizer step. Step 0, if the schedule holds it, is measured
    when the probe is made. What training does stays the same bit for bit: weights, buffers, gradients, optimizer state,
    train and eval modes and random states are as found after every call.

    Numbers are of the objective's data, in eval mode: a small fixed set, not the batches of the training. Batches of
    the same training data follow the loss that is descended; held-out data are right for noise near a minimum
    (`gradient_noise`). Their error is one of the sample: a threshold crossed by a few percent is not crossed.

    A number that cannot be had does not end the training: where the loss is NaN or inf, or a measurement raises, the
    row holds NaN and the status says why; an error is shown once as a warning. While the probe is made it is raised.

    Args:
        objective: The network that is trained, its loss, and the data of the probe.
        path: Result file, made if it is not there; the record is written whole after every measurement.
        optimizer: Read for learning rate and momentum; None records none, or the rate that `step` is given.
        schedule: When to measure: `every`, `every_epoch`, `log_spaced` or `at_steps`. Every 100 steps is our choice.
        budget: Largest share of the training time to be spent on measuring, > 0. A measurement that would go beyond is
            left out and counted; the first one never is, see `analysis.probe.budget`. 0.05 is our choice, because
            5 % is less than one training differs from the next. math.inf sets no limit.
        quantities: Some of "lambda_max", "trace", "noise" and "sharpness"; q comes with the noise. The budget is for
            all together, so that a row is of one network; give an expensive one a probe of its own.
        name: Of the measurement in the file, under "training".
        seed: Of start vector, probe vectors of the trace and the control of the noise; the same at every measurement,
            so that rows differ by the training alone. >= 0.
        rho: Radius of the sharpness, L(w + rho g / ||g||) - L(w): SAM's single step. 0.05 as in Foret et al.
        num_probes: Probe vectors of the trace, >= 2. 10 is our choice: the standard error is then 10 to 20 % of the
            trace on the digits once training is under way, and known within a quarter.
        start: Optimizer steps done before, where a training goes on: rows up to it are kept, later ones dropped, and
            only further steps are measured. 0 begins a new record in the place of one of the same name.
        clock: Returns seconds.

    Raises:
        ValueError: An argument out of range, a record in the file that was made in another way, or whatever is wrong
            with model, loss or data.
        FileNotFoundError: The folder of the file does not exist.

    Cost: nothing between measurements. Each takes one forward pass for the loss, Hessian products for lambda_max, which
    starts from the eigenvector before (on the digits 14 products at first and then 2 to 10), `num_probes` products for
    the trace, `gradient_noise`, two gradients and two losses for the sharpness, and a write of the file, about 50 ms.
    The eigenvector is not in the file: after a stop lambda_max starts anew. Graphs are freed after each.

    Example:
        >>> import math, tempfile
        >>> from analysis import Objective, Probe, every, load
        >>> from torch.nn.functional import mse_loss
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> x, y = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)  # H = (2/3) X^T X = diag(6, 8/3, 2/3)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> file = tempfile.mkdtemp() + "/run.h5"
        >>> objective = Objective(model, mse_loss, (x, y))
        >>> probe = Probe(objective, file, optimizer=optimizer, schedule=every(5), budget=math.inf)  # line 1
        >>> for _ in range(10):
        ...     optimizer.zero_grad()
        ...     mse_loss(model(x), y).backward()
        ...     optimizer.step()
        ...     probe.step()  # line 2
        >>> probe.close()  # line 3; `with Probe(...) as probe:` does the same
        >>> record = load(file)
        >>> record.step.tolist(), round(record.lambda_max[2].item(), 4), record.threshold[2].item()
        ([0, 5, 10], 6.0, 20.0)

    References:
        Cohen et al., Gradient descent on neural networks typically occurs at the edge of stability, arXiv 2103.00065.
        McCandlish et al., An empirical model of large-batch training, arXiv 1812.06162.
    """

    def __init__(
        self,
        objective: Objective,
        path: str | os.PathLike[str],
        *,
        optimizer: Any = None,
        schedule: Schedule = EVERY_100,
        budget: float = 0.05,
        quantities: Sequence[str] = tuple(QUANTITIES),
        name: str = "probe",
        seed: int = 0,
        rho: float = 0.05,
        num_probes: int = 10,
        start: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        _check(objective, schedule, rho)
        check_whole("seed", seed, 0, "it seeds whatever is drawn at random")
        check_whole("num_probes", num_probes, 2, "one vector has no standard error")
        check_whole("start", start, 0, "it counts the optimizer steps done before")
        self._objective, self._path, self._name = objective, Path(path), name
        self._optimizer, self._schedule, self._quantities = optimizer, schedule, check_quantities(quantities)
        self._settings = Settings(float(rho), num_probes, seed)
        self._rows: list[Row] = []
        self._step, self._epoch, self._since = start, math.nan, 0
        self._warned: set[str] = set()
        self._budget = Budget(budget, clock)
        self._refuse_perturbed("a probe")
        self._objective.loss()  # says what is wrong with model, loss and data, before training
        self._rows, self._settings.layers = rows_until(self._path, name, start, self.record)
        with self._budget.spending("file"):
            self._write()  # and what is wrong with the file
        self._budget = self._continued(clock)  # making the probe is no part of the training, nor of measuring
        if start == 0 and schedule.at_step(0):
            self._row(None, epoch=0.0, is_raised=True)
            with self._budget.spending("file"):
                self._write()

    @property
    def record(self) -> ProbeRecord:
        """What was measured so far."""
        settings = self._settings
        return record_of(
            self._rows,
            layers=settings.layers,
            quantities=self._quantities,
            skipped=self._since + sum(row["num_skipped"] for row in self._rows),
            training_seconds=self._budget.trained(),
            measuring_seconds=self._budget.spent,
            schedule=self._schedule.text,
            budget=self._budget.share,
            rho=settings.rho,
            num_probes=settings.num_probes,
            seed=settings.seed,
            num_parameters=self._objective.num_parameters,
            data_fingerprint=self._objective.data_fingerprint,
        )

    def step(
        self,
        learning_rate: float | Sequence[float] | None = None,
        *,
        step: int | None = None,
        epoch: float | None = None,
    ) -> None:
        """Say that the optimizer has taken a step; measure if the schedule wants it and the budget allows it.

        Args:
            learning_rate: Of that step, to be recorded: one for all, or one for each group of the optimizer, where a
                scheduler has changed theirs since. None reads them.
            step: How many steps are done; None counts the calls.
            epoch: How many epochs are done, or which part of one, to be recorded; None leaves what was told last.

        Raises:
            ValueError: `step` is not after the last one.
            RuntimeError: The weights are perturbed, between `ascend()` and `descend()` of GCSAM.
        """
        self._refuse_perturbed("probe.step()")
        if step is None:
            step = self._step + 1
        check_whole("step", step, self._step + 1, "steps are told in order, each once")
        self._step = step
        self._epoch = self._epoch if epoch is None else float(epoch)
        if self._schedule.at_step(step):
            self._measure(learning_rate)

    def end_epoch(self, epoch: int, learning_rate: float | Sequence[float] | None = None) -> None:
        """Say that an epoch has ended, after its last `step()`; measure if the schedule goes by epochs and wants it.

        Args:
            epoch: How many are done, to be recorded.
            learning_rate: As for `step`.

        Raises:
            RuntimeError: The weights are perturbed.
        """
        self._refuse_perturbed("probe.end_epoch()")
        self._epoch = float(epoch)
        is_new = not self._rows or self._rows[-1]["step"] < self._step
        if is_new and self._schedule.at_epoch(epoch):
            self._measure(learning_rate)

    def close(self) -> None:
        """Write the record with what was left out since the last measurement. The probe can still be used."""
        self._write()

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _measure(self, learning_rate: float | Sequence[float] | None) -> None:
        """Measure if the budget allows it; nothing that goes wrong comes out of here but an interruption."""
        if not self._budget.allows(("loss", *self._quantities, "file")):
            self._since += 1
            return
        self._row(learning_rate, epoch=self._epoch, is_raised=False)
        with self._budget.spending("file"):
            try:
                self._write()
            except (OSError, RuntimeError, ValueError) as error:  # a full disk, say; the next write holds this row too
                self._warn("the record could not be written", error)

    def _row(self, learning_rate: float | Sequence[float] | None, *, epoch: float, is_raised: bool) -> None:
        """Measure everything and add the row."""

        def on_error(name: str, error: Exception) -> None:
            if is_raised:
                raise error
            self._warn(f"{name} could not be measured", error)

        if self._objective.device.type == "cuda":
            torch.cuda.synchronize(self._objective.device)  # what training has queued is not ours to pay
        threshold = threshold_of(getattr(self._optimizer, "param_groups", ()), learning_rate)
        row: Row = {
            "step": self._step,
            "epoch": epoch,
            "num_skipped": self._since,
            "learning_rate": threshold.learning_rate,
            "threshold": threshold.plain,
            "threshold_with_momentum": threshold.with_momentum,
        }
        row |= measure(self._objective, self._quantities, self._settings, self._budget, on_error)
        row |= {"elapsed_seconds": self._budget.elapsed(), "spent_seconds": self._budget.spent}
        self._rows.append(row)
        self._since = 0

    def _warn(self, what: str, error: Exception) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(
                f"probe at step {self._step}: {what}: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2
            )

    def _write(self) -> None:
        self.record.save(self._path, self._name)

    def _continued(self, clock: Callable[[], float]) -> Budget:
        """Return the account of the time, with what the rows taken over cost."""
        expected = {"file": self._budget.last("file")}
        if not self._rows:
            return Budget(self._budget.share, clock, expected=expected)
        last = self._rows[-1]
        self._epoch = last["epoch"]
        return Budget(
            self._budget.share,
            clock,
            trained=last["elapsed_seconds"] - last["spent_seconds"],
            spent=last["spent_seconds"],
            expected=expected | {name: last[f"{name}_seconds"] for name in ("loss", *self._quantities)},
        )

    def _refuse_perturbed(self, call: str) -> None:
        optimizer = self._optimizer
        while optimizer is not None and not hasattr(optimizer, "is_perturbed"):
            optimizer = getattr(optimizer, "optimizer", None)  # the wrappers of Lightning and Accelerate
        if optimizer is not None and optimizer.is_perturbed:
            raise RuntimeError(
                f"{call} between ascend() and descend(): the weights are perturbed, and what is measured there is of "
                "no step; call it after descend()"
            )


def _check(objective: Any, schedule: Any, rho: Any) -> None:
    if not isinstance(objective, Objective):
        raise ValueError(
            f"objective must be an analysis.Objective, got {type(objective).__name__}; Objective(model, loss, batches) "
            "makes one"
        )
    if not isinstance(schedule, Schedule):
        raise ValueError(f"schedule must be a Schedule, got {schedule!r}; every(100) measures every 100 steps")
    if isinstance(rho, bool) or not (isinstance(rho, (int, float)) and math.isfinite(rho) and rho > 0):
        raise ValueError(f"rho must be a finite number > 0, got {rho!r}; 0.05 is the usual start")
