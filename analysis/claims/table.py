"""The table of a study: one row per run, one column per number, from the run files.

Right when each column is the number that the run file holds, and NaN where it holds none
(`tests/analysis/claims/test_table.py`). Costs reading a few small measurements per run; needs no torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.claims.run_numbers import CORRUPTED, IN_TRAINING, KINDS, numbers_of
from analysis.store import Measurement, Variable, list_measurements, read, write

Array = np.ndarray[Any, np.dtype[np.float64]]

# The validation accuracy whose first epoch is compared. Our choice, because on the digits every method reaches it, and
# none in its first epoch.
TARGET_ACCURACY = 0.95
TYPE = "RunTable"


@dataclass(frozen=True)
class RunTable:
    """Runs of several methods over seeds.

    Args:
        method: Of each run [run].
        seed: Of each run [run]; runs of two methods with the same seed are a pair.
        columns: One number per run [run] by name, NaN where it was not measured.

    Raises:
        ValueError: Lengths differ, or two runs have the same method and seed.

    Example:
        >>> accuracy = Variable(np.array([0.97, 0.98]), ("run",), "1")
        >>> RunTable(("sgd", "gcsam"), (0, 0), {"test_accuracy": accuracy}).by_seed("gcsam", "test_accuracy")
        {0: 0.98}
    """

    method: tuple[str, ...]
    seed: tuple[int, ...]
    columns: Mapping[str, Variable]

    def __post_init__(self) -> None:
        runs = list(zip(self.method, self.seed, strict=False))
        lengths = {"seed": len(self.seed)} | {name: variable.data.size for name, variable in self.columns.items()}
        for name, length in lengths.items():
            if length != len(self.method):
                raise ValueError(f"a table of {len(self.method)} runs cannot have {length} values of {name!r}")
        twice = sorted({run for run in runs if runs.count(run) > 1})
        if twice:
            method, seed = twice[0]
            raise ValueError(f"two runs of method {method!r} have seed {seed}; give each run a seed of its own")

    def values(self, name: str) -> Array:
        """Return a column [run], NaN throughout where there is none of that name."""
        if name not in self.columns:
            return np.full(len(self.method), np.nan)
        return self.columns[name].data.astype(np.float64)

    def by_seed(self, method: str, name: str) -> dict[int, float]:
        """Return the numbers of one method by seed."""
        rows = zip(self.method, self.seed, self.values(name).tolist(), strict=True)
        return {seed: number for row_method, seed, number in rows if row_method == method}

    def with_missing(self, runs: Iterable[tuple[str, int]]) -> RunTable:
        """Return the table with a row of NaN for each run that it lacks.

        Args:
            runs: Method and seed of the runs that there should be.

        Returns:
            The rows that were there, then those that were missing.

        Example:
            >>> RunTable(("sam",), (0,), {}).with_missing([("sam", 0), ("sam", 1)]).seed
            (0, 1)
        """
        there = set(zip(self.method, self.seed, strict=True))
        added = [run for run in dict.fromkeys(runs) if run not in there]
        nothing = np.full(len(added), np.nan)
        columns = {
            name: replace(variable, data=np.concatenate([variable.data, nothing]))
            for name, variable in self.columns.items()
        }
        methods, seeds = (tuple(run[i] for run in added) for i in (0, 1))
        return RunTable((*self.method, *methods), (*self.seed, *seeds), columns)  # type: ignore[arg-type]

    def save(self, path: str | os.PathLike[str], name: str = "runs") -> None:
        """Write the table as a measurement `/training/<name>` with the one dimension `run`.

        Args:
            path: The result file.
            name: Of the measurement.
        """
        variables = {
            "method": Variable(np.array(self.method, dtype=object), ("run",), description="training method of the run"),
            "seed": Variable(np.array(self.seed, dtype=np.int64), ("run",), description="seed that pairs the runs"),
        }
        write(path, "training", name, Measurement(TYPE, variables | dict(self.columns)))

    @classmethod
    def load(cls, path: str | os.PathLike[str], name: str = "runs") -> RunTable:
        """Read a table that `save` wrote.

        Args:
            path: The result file.
            name: Of the measurement.

        Returns:
            An equal table.
        """
        columns = dict(read(path, f"training/{name}").variables)
        method, seed = columns.pop("method").data.tolist(), columns.pop("seed").data.tolist()
        return cls(tuple(method), tuple(seed), columns)


def collect(run_paths: Iterable[str | os.PathLike[str]], *, target_accuracy: float = TARGET_ACCURACY) -> RunTable:
    """Read the numbers the claims speak about from finished runs.

    Args:
        run_paths: Run files, or run folders that hold a `run.h5`.
        target_accuracy: Validation accuracy whose first epoch is wanted, in (0, 1].

    Returns:
        A row per run in the given order. Columns are every number of `/training/summary` and those of `DERIVED`, and
        `ascent_ratio.<layer>` and `corrupted_accuracy.<corruption>`. A measurement that a run lacks is NaN there.

    Raises:
        ValueError: The target is out of range, or a run has no `/training/summary`.
        FileNotFoundError: There is no such run file.
    """
    if not 0 < target_accuracy <= 1:
        raise ValueError(f"target_accuracy must be a fraction in (0, 1], got {target_accuracy}")
    paths = [path / "run.h5" if (path := Path(given)).is_dir() else path for given in run_paths]
    summaries = [_summary(path) for path in paths]
    rows = [numbers_of(path, summary, target_accuracy) for path, summary in zip(paths, summaries, strict=True)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        name: _column(name, [row.get(name, math.nan) for row in rows], summaries, target_accuracy) for name in names
    }
    return RunTable(
        tuple(str(summary.variables["method"].data[()]) for summary in summaries),
        tuple(int(summary.variables["seed"].data) for summary in summaries),
        columns,
    )


# Unit and description of each column that is not a number of the summary as it is.
DERIVED: dict[str, tuple[str, str]] = {
    "generalization_gap": ("1", "train accuracy minus test accuracy of the selected weights"),
    "epochs_to_target": ("epoch", "first epoch whose validation accuracy reached {target}; NaN where none did"),
    "gradient_evaluations": ("1", "gradient evaluations of the whole training"),
    "step_change_variance": ("loss^2", "variance of the change of the training loss from step to step"),
    "loss_spikes": ("1", "share of the steps whose loss stands out above the 50 before it"),
    "curve_roughness": ("1", "total variation of the validation loss over its range; 1 where it only falls"),
    "ascent_ratio": ("1", "||Pg|| / ||g|| over all parameters, mean over the epochs"),
    "lambda_max": ("loss", "largest eigenvalue of the Hessian"),
    "lambda_ratio": ("1", "largest eigenvalue over the fifth, where both are positive"),
    "trace": ("loss", "trace of the Hessian"),
    "trace_centralized": ("loss", "trace of P H P, the Hessian along centralized directions"),
    "worst": ("loss", "worst-case sharpness"),
    "average": ("loss", "average-case sharpness"),
    "worst_adaptive": ("loss", "adaptive worst-case sharpness"),
    "average_adaptive": ("loss", "adaptive average-case sharpness"),
    "corrupted_accuracy": ("1", "test accuracy under corruption, mean over the kinds and the severities above 0"),
    "corruption_gap": ("1", "test accuracy on clean images minus that under corruption"),
    **{
        f"{kind}_noise_{part}": (unit, f"{what} of the {kind} per-sample gradients, all parameters")
        for kind in KINDS
        for part, unit, what in (
            ("trace", "loss^2", "trace of the covariance"),
            ("signal", "loss^2", "squared norm of the mean, unbiased,"),
            ("scale", "1", "noise scale, trace over signal,"),
        )
    },
    **{
        f"{kind}_ascent_cosine": ("1", f"mean cosine of the {kind} ascent directions of two disjoint small batches")
        for kind in KINDS
    },
    **{
        f"{kind}{IN_TRAINING}": ("1", f"noise scale of the {kind} gradients, sums over what a probe saw in training")
        for kind in KINDS
    },
}


def _summary(path: Path) -> Measurement:
    where = os.fspath(path)
    if "training/summary" not in list_measurements(path):
        raise ValueError(f"{where} has no /training/summary, so its method and seed are unknown; finish the run first")
    summary = read(path, "training/summary")
    missing = [name for name in ("method", "seed") if name not in summary.variables]
    if missing:
        raise ValueError(f"/training/summary of {where} does not say {' and '.join(missing)}; train it again")
    return summary


def _column(name: str, numbers: list[float], summaries: list[Measurement], target_accuracy: float) -> Variable:
    stored = next((summary.variables[name] for summary in summaries if name in summary.variables), None)
    if name in DERIVED:
        units, description = DERIVED[name]
        description = description.format(target=target_accuracy)
    elif stored is not None:
        units, description = stored.units, stored.description
    elif name.startswith(CORRUPTED):
        units, description = (
            "1",
            f"test accuracy under {name.removeprefix(CORRUPTED)}, mean over the severities above 0",
        )
    else:
        units, description = "1", f"||Pg|| / ||g|| of {name.removeprefix('ascent_ratio.')}, mean over the epochs"
    return Variable(np.array(numbers), ("run",), units, description)
