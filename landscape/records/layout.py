"""Where things lie in the folders of runs and studies, what is finished among them, and how a small file is written.

Right when a run counts as finished once its training is, and every other folder is told in one line
(`tests/landscape/study/test_results.py`). Costs a look into the folders and the lists of their files; needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from analysis.store import list_measurements

STUDY_FILE, RUN_FILE, SELECTED, FIGURES = "study.h5", "run.h5", "selected.pt", "figures"
# In the folder of a run that diverged where that is an answer: a trial of a search, a point of a sweep.
DIVERGED_FILE = "diverged.txt"
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
