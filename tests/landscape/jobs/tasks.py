"""Tasks for worker processes: functions of a module, because a process of its own imports them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch

from analysis.batches import as_batches
from gcsam import GCSAM
from landscape.progress import Display


def work(task: tuple[str, Path], display: Display) -> str:
    """Do what the task says, and leave a file that tells that it was run."""
    kind, path = task
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {torch.get_num_threads()}\n")
    display.update("", kind, 1, 2)
    if kind == "mistake":
        as_batches([])
    if kind == "failure":
        GCSAM(torch.nn.Linear(2, 2).parameters(), torch.optim.SGD, rho=0.1, lr=0.1).descend()
    if kind == "bug":
        np.zeros(2).reshape(3)
    if kind == "die" or (kind == "die once" and len(path.read_text(encoding="utf-8").splitlines()) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "long":
        time.sleep(60)
    display.finished(kind, 1.5)
    return "done"
