"""The examples for several processes: their commands run, and their loops are the slow twin's."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from tests.examples import parallel
from tests.examples.twins import ATOL, FOLDER, MOMENTUM, twin
from tests.processes import in_two_processes

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize(
    "arguments", [["ddp", "--perturbation", "global"], ["ddp", "--perturbation", "local"], ["fsdp2"]]
)
def test_the_command_for_several_processes_runs(arguments):
    name, *rest = arguments
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, str(FOLDER / f"{name}.py"), *rest],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line.partition("loss ")[2].split()[0]) for line in done.stdout.splitlines() if "loss " in line]
    assert losses
    assert losses[-1] < math.log(10) - 0.5  # half a nat below what guessing gives


def test_ddp(tmp_path):
    found = in_two_processes(parallel.ddp, tmp_path)
    for way, split in (("global", 1), ("local", 2)):
        parameters, _ = twin(torch.optim.SGD, MOMENTUM, split=split)
        for run in found:
            for a, b in zip(run[way], parameters, strict=True):
                torch.testing.assert_close(a, b.detach(), rtol=0, atol=ATOL)


def test_fsdp2(tmp_path):
    found = in_two_processes(partial(parallel.fsdp2, folder=str(tmp_path / "saved")), tmp_path)
    parameters, _ = twin(torch.optim.AdamW, {"lr": 1e-3})
    for run in found:
        for a, b in zip(run["trained"], parameters, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=0, atol=1e-4)  # a tenth of one step of Adam
        assert all(torch.equal(a, b) for a, b in zip(run["trained"], run["loaded"], strict=True))
        assert run["steps"] == 8
