"""Measure several checkpoints of one architecture on the same data, each into a result file of its own.

The network is built once and the data are read once; the weights are put in, one checkpoint after the other. All see
the same samples and the same random numbers, so that their differences are paired (`landscape compare`). Right when
each file holds what measuring its checkpoint alone gives, and a checkpoint that cannot be measured costs no other
(`tests/landscape/measuring/test_series.py`). Cost: that of the measurements, and a pass over the data for each
checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis import Objective
from analysis.store import Measurement, Variable, list_measurements, read, write
from analysis.surface.evaluate import held
from landscape.errors import exit_status, one_line
from landscape.measuring.measure import measure
from landscape.measuring.stages import Stage, is_finished
from landscape.network.checkpoint_list import natural, result_names
from landscape.network.checkpoints import hash_of_weights, weight_files
from landscape.network.fitting import load_weights
from landscape.network.opening import SAMPLES, check_samples, folder_of, limit_of, open_run, run_subject
from landscape.network.own import check_one_kind, own_config, own_objective, own_options
from landscape.network.sources import own_model
from landscape.network.subject import Subject
from landscape.options import Given
from landscape.progress import Display
from landscape.records.identity import samples_before
from landscape.records.layout import OVER_TRAINING, RUN_FILE, kept_checkpoints

PLACE_NAME = "checkpoint"
PLACE_KEY = f"training/{PLACE_NAME}"


@dataclass(frozen=True)
class Series:
    """Checkpoints that are measured one after the other.

    Args:
        objective: Network, loss and data; the weights in it are replaced.
        files: Checkpoint to result file, in order.
        configs: Checkpoint to how it was made, as JSON.
        data: What the data are, for the reader.
        num_samples: As for `Subject`.
        trust: Whether checkpoints may run code when they are read.
    """

    objective: Objective
    files: Mapping[Path, Path]
    configs: Mapping[Path, str]
    data: str
    num_samples: int = 0
    trust: bool = False


def own_series(given: Given, checkpoints: Sequence[Path]) -> Series:
    """Open the user's own network for several checkpoints; every mistake but that of one checkpoint is found here.

    Args:
        given: From the command line; its checkpoint is not looked at.
        checkpoints: Files or folders.

    Returns:
        The series. Data of up to 2 GiB stay on the device, whatever order a loader gives them in.

    Raises:
        ValueError: An option is missing or wrong, or the output is no folder.
        FileNotFoundError: A checkpoint is not there.
        NotRepeatable: The data change between two passes.
    """
    first = dataclasses.replace(given, checkpoint=str(checkpoints[0]))
    check_one_kind(first)
    own_options(first)
    assert given.output is not None  # or it would be missing there
    folder = _folder(given.output, len(checkpoints))
    for path in checkpoints:
        weight_files(path, f"--checkpoint {path}")
    model = own_model(given.model).to(given.device.resolve())
    objective = own_objective(model, first)
    objective.loss()  # the first pass; the second, in `held`, refuses data that have changed
    configs = (own_config(dataclasses.replace(given, checkpoint=str(path))) for path in checkpoints)
    return Series(
        held(objective),
        _result_files(folder, checkpoints),
        dict(zip(checkpoints, configs, strict=True)),
        given.data,
        trust=given.trust_checkpoint,
    )


def run_series(given: Given) -> Series:
    """Open a run at all weights that its training kept.

    Args:
        given: With one run.

    Returns:
        The series, on as many images as were measured before: in its own files, or in the run's.

    Raises:
        ValueError: Not one run, or one that keeps fewer than two checkpoints.
        FileNotFoundError: No such folder.
    """
    if len(given.runs) != 1 or any((given.model, given.checkpoint, given.data, given.loss)):
        raise ValueError(
            f"--over-training needs one run folder and nothing else to measure, got {len(given.runs)} run folders; "
            'for your own network give --checkpoint "FOLDER/*.pt"'
        )
    check_one_kind(given)
    check_samples(given.samples)
    run = open_run(folder_of(given.runs[0]))
    checkpoints = sorted(kept_checkpoints(run.directory), key=natural)
    folder = run.directory / OVER_TRAINING if given.output is None else _folder(given.output, len(checkpoints))
    files = _result_files(folder, checkpoints)
    before = next(filter(None, map(samples_before, (*files.values(), run.directory / RUN_FILE))), SAMPLES)
    limit = limit_of(given.samples, before)
    subject = run_subject(run, given.device.resolve(), limit=limit, writes=False)
    configs = dict.fromkeys(checkpoints, subject.config)
    return Series(subject.objective, files, configs, subject.data, subject.num_samples)


def measure_series(
    series: Series, stages: Sequence[Stage], display: Display, *, again: bool = False
) -> dict[Path, str]:
    """Make the measurements that the files do not hold yet.

    Args:
        series: What is measured, and into which files.
        stages: Which measurements, the same ones of every checkpoint.
        display: Shows how far each is.
        again: Make them anew where a file holds them.

    Returns:
        Checkpoint to what is wrong with it, a line each, for those that could not be measured.

    Raises:
        ValueError: A file holds a measurement with other settings; nothing was measured.
    """
    missing = {
        path: [stage for stage in stages if again or not is_finished(stage, file)]
        for path, file in series.files.items()
    }
    failed: dict[Path, str] = {}
    for position, (path, file) in enumerate(series.files.items()):
        ends = "" if missing[path] else ": finished before, skipped (--again makes it anew)"
        display.note(f"{position + 1} of {len(series.files)}, {path}{ends}")
        try:
            for note in load_weights(series.objective.model, path, trust=series.trust):
                display.note(note)
            file.parent.mkdir(parents=True, exist_ok=True)
            measure(_subject(series, path), missing[path], display, again=again)
            _note_place(file, path, position)
        except (ValueError, RuntimeError, ArithmeticError, FileNotFoundError) as error:
            if exit_status(error) is None:
                raise
            failed[path] = one_line(error)
            display.note(f"{path}: could not be measured; the line about it comes at the end")
    return failed


def failure(failed: Mapping[Path, str], total: int) -> str:
    """Say in one line which checkpoints could not be measured, and why.

    Args:
        failed: As from `measure_series`.
        total: How many there were.

    Returns:
        The line.
    """
    told = [text if str(path) in text else f"{path}: {text}" for path, text in failed.items()]
    others = "none was" if len(failed) == total else "all others are, and kept"
    return f"{len(failed)} of {total} checkpoints could not be measured, {others}: {' | '.join(told)}"


def _subject(series: Series, path: Path) -> Subject:
    return Subject(
        title=str(path),
        path=series.files[path],
        objective=series.objective,
        checkpoint_sha256=hash_of_weights(path),
        config=series.configs[path],
        data=series.data,
        num_samples=series.num_samples,
    )


def _folder(output: Path, count: int) -> Path:
    if output.suffix == ".h5" or output.is_file():
        raise ValueError(
            f"--output {output}: {count} checkpoints need a folder, with one result file for each; give a folder, not "
            "a file"
        )
    return output


def _result_files(folder: Path, checkpoints: Sequence[Path]) -> dict[Path, Path]:
    names = result_names(checkpoints)
    return {path: folder / f"{name}.h5" for path, name in zip(checkpoints, names, strict=True)}


def _note_place(file: Path, path: Path, position: int) -> None:
    """Store which of the checkpoints a file is of: a folder keeps no order, and figures follow the order given."""
    if PLACE_KEY in list_measurements(file):
        found = read(file, PLACE_KEY).variables
        if int(found["position"].data) == position and str(found["path"].data) == str(path):
            return
    variables = {
        "position": Variable(np.array(position), units="1", description="of the checkpoint among those given, from 0"),
        "path": Variable(np.array(str(path), dtype=object), description="of the checkpoint, as given"),
    }
    write(file, "training", PLACE_NAME, Measurement("Checkpoint", variables))
