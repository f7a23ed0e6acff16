"""Files of a training run: the last state, from which it goes on, and the weights selected on validation.

A file is written beside its place and then moved there, so a run that is stopped at any moment leaves whole files.
Everything is tensors, numbers and text, and loads with weights_only=True, which runs no code.
Right when a run that was stopped ends bit for bit like one that was not (`tests/gcsam/training/test_resume.py`).
Cost: one write of weights and optimizer state per epoch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import torch

__all__ = ["CHECKPOINT", "SELECTED", "load_file", "save_file", "trajectory_file"]

CHECKPOINT, SELECTED = "checkpoint.pt", "selected.pt"


def save_file(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that at every moment there is the old one or the new one, whole.

    Args:
        path: Where to; folders above it are made.
        content: Tensors, numbers, text, in dicts, lists and tuples.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp")
    with beside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load_file(path: Path) -> dict[str, Any]:
    """Read a file that `save_file` wrote, onto the CPU.

    Args:
        path: Where from.

    Returns:
        What was saved.

    Raises:
        ValueError: It is no such file.
        FileNotFoundError: There is none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # bytes of another format make the unpickler raise almost anything
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: is no file of a training run ({reason}); remove it to start again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is no file of a training run (it holds a {type(content).__name__}); remove it")
    return content


def trajectory_file(directory: Path, kind: Literal["epoch", "step"], number: int) -> Path:
    """Return where the weights after so many epochs or steps are kept; 0 is the initialization.

    Args:
        directory: Of the run.
        kind: Which of the two is counted.
        number: Of those that are done.
    """
    return directory / "trajectory" / (f"epoch-{number:04d}.pt" if kind == "epoch" else f"step-{number:07d}.pt")
