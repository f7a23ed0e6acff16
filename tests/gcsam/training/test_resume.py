"""A run that was stopped ends bit for bit like one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gcsam.training import load_run, train
from gcsam.training.checkpoint import load_file
from tests.gcsam.training.small import NETS, small


class Stop(Exception):
    """What a test raises in the place of Ctrl-C."""


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def without_times(state: dict[str, Any]) -> dict[str, Any]:
    history = {name: value for name, value in state["history"].items() if "seconds" not in name}
    summary = {name: value for name, value in state["summary"].items() if "seconds" not in name}
    return {**state, "history": history, "summary": summary}


@pytest.mark.parametrize("method", ["sgd", "gcsam", "fsam"])
@pytest.mark.parametrize("model", ["mlp", f"{NETS}:dropped", "resnet20"])
def test_stopped_after_any_epoch(tmp_path: Path, method: str, model: str) -> None:
    """Dropout and augmentation need their random states, batch norm its buffers, momentum the optimizer's state."""
    config = small(method=method, model=model, epochs=3, lr=0.02, augment="crop-flip", trajectory_every_steps=3)
    train(config, tmp_path / "whole")
    for _ in range(2):

        def stop(done: int, total: int, metrics: dict[str, float]) -> None:
            raise Stop

        with pytest.raises(Stop):
            train(config, tmp_path / "parts", progress=stop)
    assert len(load_run(tmp_path / "parts").history["epoch"]) == 2
    train(config, tmp_path / "parts")
    for name in ("checkpoint.pt", "selected.pt"):
        whole, parts = (load_file(tmp_path / folder / name) for folder in ("whole", "parts"))
        if name == "checkpoint.pt":
            whole, parts = without_times(whole), without_times(parts)
        assert same(whole, parts)
    kept = [sorted((tmp_path / folder / "trajectory").iterdir()) for folder in ("whole", "parts")]
    assert [path.name for path in kept[0]] == [path.name for path in kept[1]]
    assert all(same(load_file(a), load_file(b)) for a, b in zip(*kept, strict=True))


def test_stopped_within_an_epoch_it_goes_on_from_the_last_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(epochs=3)
    train(config, tmp_path / "whole")
    from gcsam.training.trainer import Trainer

    original, steps = Trainer._step, iter(range(100))

    def stopping(self: Any, *arguments: Any, **named: Any) -> Any:
        if next(steps) == 6:
            raise KeyboardInterrupt
        return original(self, *arguments, **named)

    monkeypatch.setattr(Trainer, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts")
    monkeypatch.undo()
    train(config, tmp_path / "parts")
    whole, parts = (load_file(tmp_path / folder / "selected.pt") for folder in ("whole", "parts"))
    assert same(whole, parts)


def test_a_finished_run_is_returned_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(small(), tmp_path)
    monkeypatch.setattr("gcsam.training.loop.load_data", lambda *_: pytest.fail("data were read"))
    again = train(small(), tmp_path)
    assert again.summary == first.summary
    assert all(np.array_equal(again.history[name], first.history[name]) for name in first.history)


def test_stopped_before_the_summary_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gcsam.training.trainer import Trainer

    def killed(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        train(small(), tmp_path)
    assert not load_run(tmp_path).is_finished
    monkeypatch.undo()
    assert train(small(), tmp_path).is_finished
