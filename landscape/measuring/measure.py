"""Measure one network into one file: skip what is finished, go on with what was begun, refuse to mix networks or data.

Every number in a file is of the same weights and the same data, or figures and verdicts made from it would compare
unlike things. Right when a second call computes nothing, and another checkpoint or other data are refused
(`tests/landscape/measuring/test_measure.py`). Cost: one pass over the data beside the measurements themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from analysis.store import Measurement, Variable, create, list_measurements, provenance, read, read_attributes, write
from gcsam.training.team import Team
from landscape.measuring.stages import NotAvailable, Stage, is_finished
from landscape.network.subject import Subject
from landscape.progress import Display
from landscape.records.identity import DATA_KEY, DATA_NAME, check_checkpoint, is_same_data


def measure(
    subject: Subject, stages: Sequence[Stage], display: Display, *, again: bool = False, team: Team | None = None
) -> None:
    """Make the measurements that the file does not hold yet.

    Args:
        subject: What is measured, and into which file.
        stages: Which measurements.
        display: Shows how far each is.
        again: Make them anew where the file holds them.
        team: The processes that share the work; the first one writes. None is this one alone.

    Raises:
        ValueError: The file belongs to another checkpoint or other data, or holds a measurement with other settings.
    """
    finished = [not again and is_finished(stage, subject.path) for stage in stages]
    is_first = team is None or team.is_first
    if team is not None:
        team.wait()  # nobody writes before all have read what is there
    if is_first:
        _claim_file(subject)
    for stage, is_done in zip(stages, finished, strict=True):
        if is_done:
            display.note(f"{stage.title}: finished before, skipped (--again makes it anew)")
            continue
        try:
            with display.stage(stage.title) as advance:
                # what is made anew replaces the old numbers at its end, and not cell by cell
                path = None if again or not stage.is_grid else subject.path
                result = stage.compute(subject.objective, path, advance)
                if path is None and is_first:
                    result.save(subject.path, stage.name)
        except NotAvailable as error:
            display.note(f"{stage.title}: not available, {error}")


def _claim_file(subject: Subject) -> None:
    """Make the file, or check that it is of this network and these data; note the data where nobody has."""
    objective = subject.objective
    loss = objective.loss()  # reads the data, and says what is wrong with them before anything is written
    total, squares = (float.fromhex(number) for number in objective.data_fingerprint.split("/"))
    if not np.isfinite(loss):
        where = "check the weights" if np.isfinite(squares) else "the data hold NaN or infinity, leave such samples out"
        raise ValueError(f"{subject.title}: the loss is {loss}, so there is nothing to measure; {where}")
    if not subject.path.exists():
        given = {
            "config": subject.config,
            "checkpoint_sha256": subject.checkpoint_sha256,
            "data_fingerprint": f"{total:.9g} {squares:.9g}",
            "device": str(objective.device),
        }
        create(subject.path, provenance(**given))
    check_checkpoint(subject.path, subject.checkpoint_sha256)
    _check_parameters(subject)
    if DATA_KEY in list_measurements(subject.path):
        _check_data(subject, total, squares)
    else:
        write(subject.path, "training", DATA_NAME, _data_record(subject, total, squares))


def _check_parameters(subject: Subject) -> None:
    """Refuse to put numbers of some weights beside those of others."""
    stored, given = (_parameters(text) for text in (read_attributes(subject.path)["config"], subject.config))
    if stored != given:
        was, now = (f"--parameters {' '.join(names)}" if names else "all weights" for names in (stored, given))
        raise ValueError(
            f"{subject.path} holds measurements of {was}, given is {now}; give the same, or another file by --output"
        )


def _parameters(config: str) -> list[str]:
    found = json.loads(config) if config.startswith("{") else {}
    return sorted(found.get("parameters", []))


def _data_record(subject: Subject, total: float, squares: float) -> Measurement:
    data = np.array(subject.data, dtype=object)
    variables = {
        "data": Variable(data, description="what every measurement in this file was made on"),
        "num_samples": Variable(
            np.array(subject.num_samples), units="1", description="training images; 0 for own data"
        ),
        "sum": Variable(np.array(total), description="of all numbers in the data"),
        "sum_of_squares": Variable(np.array(squares), description="of all numbers in the data"),
    }
    return Measurement("MeasuredData", variables)


def _check_data(subject: Subject, total: float, squares: float) -> None:
    stored = read(subject.path, DATA_KEY).variables
    if not is_same_data(stored, total, squares):
        raise ValueError(
            f"{subject.path} holds measurements on {stored['data'].data}, given are other data ({subject.data}); "
            "give the same data, or another file by --output"
        )
