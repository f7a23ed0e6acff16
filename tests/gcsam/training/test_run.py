"""A run as its files tell it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gcsam.training import load_run, train
from gcsam.training.checkpoint import load_file, save_file
from tests.gcsam.training.small import NETS, small


def test_read_back_equal(tmp_path: Path) -> None:
    run = train(small(), tmp_path)
    found = load_run(str(tmp_path))
    assert (found.config, found.layers, found.summary) == (run.config, run.layers, run.summary)
    assert found.history.keys() == run.history.keys()
    assert all(np.array_equal(found.history[name], run.history[name]) for name in run.history)
    assert found.layers == ("layers.1.weight", "layers.3.weight", "layers.5.weight")


def test_the_network_has_the_selected_weights_in_eval_mode(tmp_path: Path) -> None:
    train(small(model=f"{NETS}:dropped"), tmp_path)
    before = torch.get_rng_state()
    model = load_run(tmp_path).model()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())
    stored = load_file(tmp_path / "selected.pt")["model"]
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


def test_data_are_the_runs_own(tmp_path: Path) -> None:
    run = train(small(train_limit=20), tmp_path)
    assert len(run.splits("cpu").train) == 20


def test_no_run_or_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no training run, checkpoint.pt is missing; train one there first"):
        load_run(tmp_path)
    save_file(tmp_path / "checkpoint.pt", {"model": {}})
    with pytest.raises(ValueError, match=r"is no file of a training run \(it lacks 'config'\); remove it"):
        load_run(tmp_path)
