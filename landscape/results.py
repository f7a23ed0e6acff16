"""From finished runs to the study's own file: the table of runs and the verdicts.

Right when the file says what `analysis.claims` says about the runs found (`tests/landscape/test_results.py`).
Costs a second or two; judging needs torch, finding the runs does not.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.store import Measurement, create, list_measurements, provenance, read, read_attributes, write

if TYPE_CHECKING:
    from analysis import Result
    from analysis.claims import RunTable
    from landscape.phases import Grids

STUDY_FILE, RUN_FILE, SELECTED, FIGURES = "study.h5", "run.h5", "selected.pt", "figures"
VERDICTS = "claims/verdicts"
# In the folder of a run that diverged where that is an answer: a trial of a search, a point of a sweep.
DIVERGED_FILE = "diverged.txt"
# What a comparison of two methods came to; it also remembers how often somebody has looked.
AB = "claims/ab"
# What a probe sees while a run is trained; in the run's file once the run is finished.
PROBE_FILE, PROBE = "probe.h5", "training/probe"
# The stage that the measurements wait for.
TRAINING = "training"
OVER_TRAINING = "over-training"  # folder of a run for what is measured at these weights, a file for each
TRAJECTORY = "trajectory"  # folder of a run where training keeps the weights


def find_runs(directory: Path) -> list[Path]:
    """Return the run files of a study, those with a finished training.

    Args:
        directory: With runs in `runs/*/` as `landscape study` lays them out, or in `*/`.

    Returns:
        In alphabetical order.

    Raises:
        FileNotFoundError: There is no such directory, or no finished run in it.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such folder; give one that holds runs, for example runs/digits")
    found = sorted(directory.glob(f"runs/*/{RUN_FILE}")) or sorted(directory.glob(f"*/{RUN_FILE}"))
    finished = [path for path in found if is_trained(path.parent)]
    if not finished:
        raise FileNotFoundError(f"{directory}: no finished run in it, no */{RUN_FILE}; train first, or give its parent")
    return finished


def is_trained(folder: Path) -> bool:
    """Return whether the training in a run's folder is finished.

    Args:
        folder: It need not exist.
    """
    path = folder / RUN_FILE
    return path.is_file() and "training/summary" in list_measurements(path)


def kept_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints of a run in the order of training: by epoch, or by step where only these were kept.

    Args:
        run: Folder that `landscape train` wrote.

    Returns:
        Two or more files.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It keeps fewer.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such folder; give one that landscape train wrote")
    found = sorted((run / TRAJECTORY).glob("epoch-*.pt")) or sorted((run / TRAJECTORY).glob("step-*.pt"))
    if len(found) < 2:
        raise ValueError(
            f"{run}: keeps {len(found)} checkpoints of its training, a trajectory needs 2; "
            "train with --trajectory-every 1"
        )
    return found


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the result files of several checkpoints, as `landscape measure` lays them out.

    Args:
        folder: It need not exist.

    Returns:
        In alphabetical order; none in the folder of a run or of a study.
    """
    return sorted(path for path in folder.glob("*.h5") if path.name not in {RUN_FILE, STUDY_FILE})


def judge(
    runs: Sequence[Path],
    target: Path,
    config: str = "",
    *,
    grids: Grids | None = None,
    missing: Iterable[tuple[str, int]] = (),
) -> Measurement:
    """Judge the claims by the runs, and write the table of runs and the verdicts.

    Args:
        runs: Run files.
        target: The study's file.
        config: Its settings as JSON. Empty keeps those in the file.
        grids: What was searched and swept beside the runs.
        missing: Method and seed of runs that count as not measured where they are not among the runs: leaving out one
            that failed would favor its method.

    Returns:
        The verdicts as stored.
    """
    from analysis import verify
    from analysis.claims import collect, with_sweeps
    from analysis.evidence import from_measurement

    table = with_sweeps(collect(runs).with_missing(missing), [] if grids is None else grids.sweeps)
    found: dict[str, Result] = {VERDICTS: verify(table)}
    if target.exists() and AB in list_measurements(target):
        found[AB] = from_measurement(read(target, AB))  # or the looks would be forgotten
    _store(runs, target, table, found, config, grids)
    return read(target, VERDICTS)


def judge_ab(
    runs: Sequence[Path], target: Path, baseline: str, candidate: str, success: str, config: str
) -> Measurement:
    """Judge whether one method meets criteria beside another, and write the table of runs and the answers.

    The looks at fewer seeds that the file remembers count, whatever was asked then. Where nothing is new, nothing is
    written.

    Args:
        runs: Run files of both methods.
        target: The study's file.
        baseline: Method that the bounds are taken from.
        candidate: Method that is to meet them.
        success: Criteria, see `analysis.claims.success`.
        config: Settings of the study as JSON.

    Returns:
        The answers as stored.

    Raises:
        ValueError: As `analysis.judge_success`.
    """
    from analysis import judge_success
    from analysis.claims import collect
    from analysis.evidence import from_measurement

    table, before = collect(runs), None
    if target.exists() and AB in list_measurements(target):
        before = read(target, AB)
    looks = [] if before is None else before.variables["looks"].data.tolist()
    found = judge_success(table, baseline, candidate, success, looks=looks)
    if before is None or not is_current(target, runs) or from_measurement(before) != found:
        _store(runs, target, table, {AB: found}, config)
    return read(target, AB)


def _store(
    runs: Sequence[Path],
    target: Path,
    table: RunTable,
    found: Mapping[str, Result],
    config: str,
    grids: Grids | None = None,
) -> None:
    """Make the study's file anew: all in it comes from the runs."""
    if not config:
        config = read_attributes(target)["config"] if target.exists() else "{}"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".judging-") as folder:
        whole = Path(folder) / target.name
        create(whole, provenance(config=config, **_origin(runs)))
        table.save(whole)
        for sweep in [] if grids is None else grids.sweeps:
            sweep.save(whole)
        if grids is not None and grids.tuning is not None:
            write(whole, "training", "tuning", grids.tuning)
        for key, result in found.items():
            result.save(whole, key.split("/")[1])
        os.replace(whole, target)


def _origin(runs: Sequence[Path]) -> dict[str, str]:
    """Return what the runs were made from: their devices and data, and one hash over their checkpoints' hashes."""
    found = [read_attributes(path) for path in runs]
    hashes = "".join(attributes["checkpoint_sha256"] for attributes in found)
    each = {name: dict.fromkeys(attributes[name] for attributes in found) for name in ("data_fingerprint", "device")}
    return {"checkpoint_sha256": hashlib.sha256(hashes.encode()).hexdigest()} | {
        name: " ".join(values) for name, values in each.items()
    }


def is_current(target: Path, sources: Sequence[Path]) -> bool:
    """Return whether a file or folder was written after all those it is made from.

    Args:
        target: It need not exist.
        sources: That do exist.
    """
    if target.is_dir():
        written = [path.stat().st_mtime_ns for path in target.iterdir()]
        return bool(written) and min(written) >= max(path.stat().st_mtime_ns for path in sources)
    return target.is_file() and target.stat().st_mtime_ns >= max(os.stat(path).st_mtime_ns for path in sources)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Args:
        path: Its folder is made where it is not.
        text: All of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
