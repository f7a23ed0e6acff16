"""Jobs of a second, and how their files are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.store import Measurement, list_measurements, read
from landscape.jobs.job import Job
from landscape.jobs.measurements import Measurements

TIMES = {"seconds", "step_seconds", "step_seconds_median", "peak_memory"}  # what the machine decides
SETTINGS = {"data": "digits", "model": "mlp", "epochs": 1, "train_limit": 60, "test_limit": 20}


def tiny(method: str, seed: int = 0, *, measured: bool = False, **changes: Any) -> Job:
    """Return a small job; trained alone unless it is to be measured, by what draws starts, batches and directions."""
    of = ("eigenvalues", "noise", "surface")
    measurements = Measurements(rho=0.05, points=2, samples=30, batch_size=8, of=of) if measured else None
    return Job(method, seed, {"method": method, **SETTINGS, **changes, "seed": seed}, measurements)


def numbers(measurement: Measurement) -> dict[str, np.ndarray[Any, Any]]:
    found = {name: variable.data for name, variable in measurement.variables.items() if name not in TIMES}
    for name, nested in measurement.groups.items():
        found |= {f"{name}/{inner}": data for inner, data in numbers(nested).items()}
    return found


def assert_same_numbers(folder: Path, expected: Path) -> None:
    """Bit for bit, in every number but the times."""
    mine, theirs = folder / "run.h5", expected / "run.h5"
    assert list_measurements(mine) == list_measurements(theirs)
    for key in list_measurements(theirs):
        found, wanted = numbers(read(mine, key)), numbers(read(theirs, key))
        assert found.keys() == wanted.keys()
        for name, data in wanted.items():
            np.testing.assert_array_equal(found[name], data, err_msg=f"{folder} {key} {name}")
