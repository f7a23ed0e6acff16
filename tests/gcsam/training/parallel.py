"""Training in two processes; `test_team.py` says what must come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gcsam.training import train
from gcsam.training.checkpoint import load_file
from gcsam.training.team import Team
from tests.gcsam.training.small import NETS, small

# 60 images in batches of 15: shares of 8 and 7, so that equal weights would be wrong
RUNS: dict[str, dict[str, Any]] = {
    "global": {"augment": "crop-flip", "label_smoothing": 0.1},
    "local": {"perturbation": "local", "trajectory_every_steps": 3},
    "dropout": {"model": f"{NETS}:dropped", "epochs": 3},
}


class Stop(Exception):
    """What a test raises in the place of Ctrl-C."""


def work(rank: int, folder: str) -> dict[str, Any]:
    """Train each run in one go; one of them also stopped after its first epoch."""
    found: dict[str, Any] = {}
    for name, settings in RUNS.items():
        calls: list[int] = []
        run = train(small(**settings), Path(folder, name), progress=lambda done, *_, calls=calls: calls.append(done))
        found[name] = {"history": run.history, "summary": run.summary, "calls": calls}
    torch.distributed.barrier()
    stop_after_an_epoch(small(**RUNS["dropout"]), Path(folder, "stopped"))
    torch.distributed.barrier()
    train(small(**RUNS["dropout"]), Path(folder, "stopped"))
    team = Team(torch.device("cpu"))
    try:
        team.share(torch.zeros(1, 2), torch.zeros(1))
    except ValueError as error:
        found["too few"] = str(error)
    return found


def stop_after_an_epoch(config: Any, directory: Path) -> None:
    """Stop both processes at the end of the first epoch."""
    from gcsam.training.trainer import Trainer

    original = Trainer.save

    def stopping(self: Trainer) -> None:
        original(self)
        if self.epoch == 1:
            torch.distributed.barrier()
            raise Stop

    Trainer.save = stopping  # type: ignore[method-assign]
    try:
        train(config, directory)
    except Stop:
        pass
    finally:
        Trainer.save = original  # type: ignore[method-assign]
    if len(load_file(directory / "checkpoint.pt")["history"]["epoch"]) != 1:
        raise AssertionError("it was not stopped")
