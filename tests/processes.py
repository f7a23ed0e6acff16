"""Run a function in two processes that form a gloo group, and collect what each returns."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

WORLD = 2


def in_two_processes(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Return work(rank) of both ranks; an exception in one of them is raised here."""
    multiprocessing.spawn(_run, (work, str(folder)), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


def _run(rank: int, work: Callable[[int], Any], folder: str) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    try:
        torch.save(work(rank), Path(folder) / f"{rank}.pt")
        gc.collect()  # what still refers to the process group keeps its threads, which may bring Python down at its end
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()
