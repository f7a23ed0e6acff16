"""What is measured on each run of a study, and on its way.

Plain data, like the job it belongs to. Right when each is stored under its name with its settings, and JSON gives what
a probe is to do back equal (`tests/landscape/jobs/test_job.py`, `tests/landscape/study/test_parts.py`).
Costs nothing; needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landscape.measuring import stages
from landscape.measuring.noise_stages import minibatch
from landscape.measuring.scans import Scan, scan
from landscape.measuring.stages import Stage

# What can be measured on a trained run, in this order; the surface is last, since it can be stopped midway.
MEASURED = ("robustness", "eigenvalues", "trace", "sharpness", "noise", "surface")
# What is measured only where it is asked for by name, because it costs about as much as all of the others together.
ON_REQUEST = ("density",)
# What a probe can measure while a run is trained; `analysis.probe.quantities.QUANTITIES`, without torch.
PROBED = ("lambda_max", "trace", "noise", "sharpness")


@dataclass(frozen=True)
class Measure:
    """What is measured on each run of a study, and on its way.

    Args:
        of: Some of `MEASURED` and `ON_REQUEST`; none for a study that only trains.
        probe: When to measure while a run is trained: "every:50", as `landscape train --probe`; "" for never.
        probe_budget: Share of the training time for that, as `--probe-budget`.
        probe_samples: Training samples for that, as `--probe-samples`.
        probe_of: Some of `PROBED`, as `--probe-of`.
    """

    of: tuple[str, ...] = MEASURED
    probe: str = ""
    probe_budget: float = 0.05
    probe_samples: int = 256
    probe_of: tuple[str, ...] = PROBED

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Measure:
        """Return what JSON or TOML holds, where tuples are lists."""
        return cls(**{**values, **{name: tuple(values[name]) for name in ("of", "probe_of") if name in values}})


@dataclass(frozen=True)
class Measurements:
    """What is measured on a run once it is trained.

    Args:
        rho: Radius of the sharpness measurements.
        points: Of the surface, along both directions.
        samples: Training samples that are measured on, or None for all.
        batch_size: Of the batches whose ascent directions are compared.
        of: Some of `landscape.jobs.measurements.MEASURED` and `ON_REQUEST`.
    """

    rho: float
    points: int
    samples: int | None
    batch_size: int
    of: tuple[str, ...] = MEASURED

    def stages(self) -> list[Stage]:
        """Return the measurements of the objective, in order: the surface last, since it can be stopped midway."""
        eigenvalues, trace = stages.curvature()
        found = {
            "eigenvalues": [eigenvalues],
            "trace": [trace, stages.centralized_trace()],
            "density": [stages.density()],
            "sharpness": stages.sharpness(rho=self.rho),
            "noise": [stages.noise(), minibatch((self.batch_size,))],
            "surface": [scan(Scan(points=str(self.points), plan="given"))],  # which repeats to the last bit
        }
        return [stage for name in found if name in self.of for stage in found[name]]
