"""What further quantities, another precision, cells computed together and a second process do to the time of a cell.

"extras": a metric, a second split of as many samples, and bfloat16, each beside the plain grid on the plan of the
trial. "stacked": cells together beside one at a time and beside bare passes, data as one batch. "processes": a grid
shared by two processes beside one, each with one thread; whole grids take turns in one launch, so that the machine's
other work hits both, and the second process waits where the first is alone.
Right when ratios are those of the raw seconds, and two processes end with one row (`tests/benchmarks/test_surface.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from analysis import Plan
from benchmarks.surface_contest import ours, side_for, take_turns, trial
from benchmarks.surface_subject import Scale, Subject, bare, best_bare, prepare
from benchmarks.timing import now, paired, ratio_of

__all__ = ["beside", "extras", "processes", "stacked"]

ROOT = Path(__file__).resolve().parents[1]
# Of "processes", our choice: near the best batch of every network at hand on one thread, and turns that come out even.
BATCH, SIDE = 64, 4


def beside(cells: dict[str, list[float]], *references: str) -> dict[str, Any]:
    """Return the ratios of all others to each reference, and the raw seconds.

    Args:
        cells: Seconds by contestant, in turns.
        *references: Names among them; the first is compared with nothing itself.
    """
    ratios = [
        {"of": "cell", "ours": name, "theirs": reference, **ratio_of(taken, cells[reference])._asdict()}
        for reference in references
        for name, taken in cells.items()
        if name not in {reference, references[0]}
    ]
    return {"ratios": ratios, "seconds": cells}


def extras(subject: Subject, scale: Scale, rounds: int, folder: Path | None, device: torch.device) -> dict[str, Any]:
    """Compare a plain grid with one that measures more, and with one of low precision.

    Args:
        subject: Network and data.
        scale: Sizes.
        rounds: Of all; turns are a multiple.
        folder: Of CIFAR-10.
        device: Where.

    Returns:
        The row: ratios and raw seconds.
    """
    setup = prepare(subject, folder, device)
    plan, _ = trial(setup, scale.grid**2)
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "accuracy": {"metrics": "accuracy"},
        "second split": {"splits": {"second": [(setup.images, setup.labels)]}},
        "bfloat16": {"precision": "bfloat16"},
    }
    turns, cells = rounds * subject.turns, max(plan.stacked, subject.cells)
    works = {name: (ours(setup, plan, side_for(cells, turns), **given), cells) for name, given in options.items()}
    times = take_turns(works, turns, lambda: now(device))
    found = beside({name: one.cell for name, one in times.items()}, "plain")
    return {"part": "extras", "label": subject.label, "data": setup.about, "plan": vars(plan), **found}


def stacked(subject: Subject, scale: Scale, rounds: int, folder: Path | None, device: torch.device) -> dict[str, Any]:
    """Compare cells together with one at a time, and both with the fastest bare passes.

    Args:
        subject: Network and data.
        scale: Sizes.
        rounds: Of all; turns are a multiple.
        folder: Of CIFAR-10.
        device: Where.

    Returns:
        The row: ratios and raw seconds.
    """
    setup = prepare(subject, folder, device)
    best, _ = best_bare(setup, scale.search_turns)
    turns = rounds * subject.turns
    works = {"bare": (bare(setup, best), subject.cells)}
    for count in scale.stacks:
        cells = max(count, subject.cells)
        works[str(count)] = (ours(setup, Plan(stacked=count), side_for(cells, turns)), cells)
    times = take_turns(works, turns, lambda: now(device))
    return {
        "part": "stacked",
        "label": subject.label,
        "bare": best._asdict(),
        **beside({name: one.cell for name, one in times.items()}, "bare", "1"),
    }


def processes(subject: Subject, rounds: int, folder: Path | None, device: torch.device) -> dict[str, Any]:
    """Compare two processes under torchrun with one, by the clock of the first of them.

    Args:
        subject: Network and data.
        rounds: Of both.
        folder: Of CIFAR-10.
        device: Where; on CUDA each process takes the next GPU.

    Returns:
        The row: ratios and raw seconds, or the failure.
    """
    given = {"subject": subject, "rounds": rounds, "folder": folder and str(folder.resolve()), "device": device.type}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "benchmarks.surface_parts", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    row: dict[str, Any] = {"part": "processes", "label": subject.label}
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if "Error" in line]
        return {**row, "failure": f"exit status {done.returncode}: {(reasons or [''])[0].strip()}"}
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def processes_child() -> None:
    """Read what to do from the command line, do it with the other process, and print one line of JSON."""
    given = json.loads(sys.argv[-1])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    device = (
        torch.device("cuda", rank % torch.cuda.device_count()) if given["device"] == "cuda" else torch.device("cpu")
    )
    subject = Subject(*given["subject"])
    setup = prepare(subject, given["folder"] and Path(given["folder"]), device)
    plan = Plan(min(BATCH, subject.samples))

    def cell(number: int) -> float:
        stamps: list[float] = []
        if number > 1 or rank == 0:
            ours(setup, plan, SIDE, distributed=number > 1)(lambda: stamps.append(now(device)))
        distributed.barrier()
        return (stamps[-1] - stamps[number - 1]) / (SIDE**2 - number) if stamps else 1.0

    seconds = paired({"one": lambda: cell(1), "two": lambda: cell(2)}, given["rounds"])  # the same order on both
    distributed.destroy_process_group()
    if rank == 0:
        settings = {"data": setup.about, "threads_of_each": 1, "batch_size": plan.batch_size}
        print(json.dumps({**settings, **beside(seconds, "one")}))


if __name__ == "__main__":
    processes_child()
