"""The memory of a step: counts by hand for one large weight, and that looking changes nothing.

The counts cannot see allocations that do not go through torch; the CUDA half is met where there is a GPU.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gcsam import GCSAM
from gcsam.training import load_run, train
from gcsam.training.checkpoint import load_file
from gcsam.training.step_memory import StepMemory
from tests.gcsam.training.small import NETS, small

SIDE = 512
WEIGHT = 4 * SIDE**2  # bytes
SMALL = 0.02 * WEIGHT  # inputs, outputs, norms and means: a few rows of the weight
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def measured(device: str = "cpu", **options: Any) -> float:
    """Bytes of the second step of a linear layer on one sample."""
    model = nn.Linear(SIDE, SIDE, bias=False).to(device)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1, **options)

    def closure() -> None:
        model(torch.ones(1, SIDE, device=device)).sum().backward()

    optimizer.step(closure)
    memory = StepMemory(model, optimizer, torch.device(device))
    with memory:
        optimizer.step(closure)
    return memory.bytes


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
@pytest.mark.parametrize(
    ("options", "copies"),
    [
        ({"rho": 0.0, "momentum": 0.9}, 1),
        ({"rho": 0.1}, 1),  # of w
        ({"rho": 0.1, "centralize_ascent": False}, 1),
        ({"rho": 0.1, "momentum": 0.9}, 2),
        ({"rho": 0.1, "projection": "random"}, 3),  # of w, the directions, and g along them
        ({"rho": 0.1, "friendly": 1.0}, 3),  # of w, m, and what is left of g
    ],
)
def test_what_a_method_keeps_is_counted(options: dict[str, Any], copies: int, device: str) -> None:
    """Weight and gradient are there in any case. Fails if the first gradient is held during the second pass."""
    base = measured(device, rho=0.0)
    assert base == pytest.approx(2 * WEIGHT, abs=SMALL)
    assert measured(device, **options) - base == pytest.approx(copies * WEIGHT, abs=SMALL)


def test_what_the_process_holds_beside_is_not_counted() -> None:
    """Fails if the memory of the process is read in the place of the step's."""
    before = measured(rho=0.1)
    ballast = torch.ones(100 * WEIGHT // 4)
    assert measured(rho=0.1) == pytest.approx(before, abs=SMALL)
    assert ballast.numel() > 0


def test_weights_that_are_tied_count_once() -> None:
    model = nn.Sequential(nn.Linear(SIDE, SIDE, bias=False), nn.Linear(SIDE, SIDE, bias=False))
    model[1].weight = model[0].weight
    memory = StepMemory(model, GCSAM.from_model(model, torch.optim.SGD, lr=0.1), torch.device("cpu"))
    with memory:
        pass
    assert memory.bytes == WEIGHT


def test_nothing_is_written_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Fails if memory from before the step is given back in it: torch's allocator then complains."""
    measured(rho=0.1, friendly=1.0)
    assert capfd.readouterr() == ("", "")


def test_another_profiler_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.autograd, "_profiler_enabled", lambda: True)
    assert math.isnan(measured(rho=0.1))


def test_a_step_that_fails_leaves_no_profiler_behind() -> None:
    model = nn.Linear(2, 2)
    optimizer = GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
    with pytest.raises(ZeroDivisionError), StepMemory(model, optimizer, torch.device("cpu")):
        optimizer.step(lambda: 1 / 0)
    assert not torch.autograd._profiler_enabled()  # type: ignore[attr-defined]


class Blind:
    """In the place of StepMemory: looks at nothing."""

    bytes = math.nan

    def __init__(self, *_: object) -> None:
        """Take what StepMemory takes."""

    def __enter__(self) -> Blind:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize("model", [f"{NETS}:dropped", "resnet20"])
def test_a_run_that_is_measured_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Weights, batch-norm statistics, momentum and random numbers, bit for bit."""
    config = small(model=model, epochs=1, method="fsam")
    run = train(config, tmp_path / "measured")
    monkeypatch.setattr("gcsam.training.trainer.StepMemory", Blind)
    train(config, tmp_path / "not")
    ours, others = (load_file(tmp_path / name / "checkpoint.pt") for name in ("measured", "not"))
    for name, value in ours["model"].items():
        assert torch.equal(value, others["model"][name])
    for number, entry in ours["optimizer"]["state"].items():
        for name, value in entry.items():
            assert torch.equal(value, others["optimizer"]["state"][number][name])
    assert torch.equal(ours["noise"][0]["cpu"], others["noise"][0]["cpu"])
    assert torch.equal(ours["history"]["step_loss"], others["history"]["step_loss"])
    assert (
        run.summary["step_memory_bytes"] > 4 * run.summary["num_parameters"] * 5
    )  # weight, copy, m, momentum, gradient
    assert math.isnan(others["summary"]["step_memory_bytes"])


def test_a_resumed_run_keeps_the_number_of_its_second_step(tmp_path: Path) -> None:
    config = small(epochs=2)
    whole = train(config, tmp_path / "whole").summary["step_memory_bytes"]

    def stop(done: int, *_: object) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", progress=stop)
    assert train(config, tmp_path / "stopped").summary["step_memory_bytes"] == whole


def test_a_run_of_one_step_has_none(tmp_path: Path) -> None:
    train(small(epochs=1, batch_size=60), tmp_path)
    assert math.isnan(load_run(tmp_path).summary["step_memory_bytes"])  # type: ignore[arg-type]
