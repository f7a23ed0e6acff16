"""A report in a file, and the results beside it: what a report that goes on can take from there.

The report is in the file from the start, with the checksums of weights and data, and written anew after each result; so
a result that it lists is of these weights and these data.

Right when a report stopped after any measure goes on with the next, and other weights, data or settings take nothing
(`tests/analysis/report/test_resume.py`). Cost: a checksum of the weights; a write copies the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from analysis.evidence import Result, from_measurement
from analysis.objective import Objective
from analysis.report.measure import Measure, Setup
from analysis.report.rows import SharpnessReport
from analysis.store import create, list_measurements, provenance, read

NAME = "report"
KEY = f"sharpness/{NAME}"
ENDED_EARLY = ("CONVERGED", "BREAKDOWN")


class Stored:
    """A result file, or none.

    Args:
        path: The file; it need not exist. None stores nothing.
        measures: Of the report that is to be made.
        weights_sha256: Of the objective.
        data_fingerprint: Of the objective.

    Raises:
        ValueError: The file holds a report of other weights or other data, or a measurement of unknown ones.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        measures: Iterable[Measure],
        weights_sha256: str,
        data_fingerprint: str,
    ) -> None:
        self._path = path
        self._before: SharpnessReport | None = None
        if path is None or not Path(path).is_file():
            return
        there = list_measurements(path)
        if KEY not in there:
            taken = [measure.key for measure in measures if measure.key in there]
            if taken:
                raise ValueError(
                    f"path: {os.fspath(path)} holds {taken[0]} of unknown weights and no report; give another file"
                )
            return
        found = from_measurement(read(path, KEY))
        if not isinstance(found, SharpnessReport):
            raise ValueError(
                f"path: {os.fspath(path)} holds a {type(found).__name__} as {KEY}, no report; give another file"
            )
        for what, stored, given in (
            ("weights", found.weights_sha256, weights_sha256),
            ("data", found.data_fingerprint, data_fingerprint),
        ):
            if stored != given:
                raise ValueError(f"path: {os.fspath(path)} holds a report of other {what}; give another file")
        self._before = found

    def begin(self, objective: Objective, weights_sha256: str, report: SharpnessReport) -> None:
        """Put a report into the file that has nothing new yet, making the file where there is none.

        Args:
            objective: Has made a pass over its data.
            weights_sha256: Of it.
            report: To be written.
        """
        if self._path is None:
            return
        if not Path(self._path).exists():
            given = {"data_fingerprint": report.data_fingerprint, "device": str(objective.device)}
            create(self._path, provenance(checkpoint_sha256=weights_sha256, **given))
        if self._before is None:
            report.save(self._path, NAME)

    def take(self, measure: Measure, setup: Setup, units: int) -> tuple[Result, int] | None:
        """Return a finished result and the units it was allowed; None where it has to be made.

        Args:
            measure: Which one.
            setup: Wanted.
            units: Wanted; a result that was allowed fewer counts where it ended before.
        """
        if self._path is None or self._before is None:
            return None
        listed = [line for line in self._before.lines if line.measure == measure.name and line.allowed]
        if not listed or measure.key not in list_measurements(self._path):
            return None
        found = read(self._path, measure.key)
        if any(found.setting(name) != value for name, value in measure.settings(setup).items()):
            return None
        allowed = listed[0].allowed
        ended_early = measure.effort(setup).stops and found.attributes.get("status") in ENDED_EARLY
        return (from_measurement(found), allowed) if allowed >= units or ended_early else None

    def put(self, measure: Measure, result: Result, report: SharpnessReport) -> None:
        """Write a result, then the report that lists it.

        Args:
            measure: Which one.
            result: Of it.
            report: With its lines.
        """
        if self._path is not None:
            result.save(self._path, measure.stored)
            report.save(self._path, NAME)

    def end(self, report: SharpnessReport) -> None:
        """Write the report as it is in the end.

        Args:
            report: It.
        """
        if self._path is not None:
            report.save(self._path, NAME)
