"""A user's mistakes, as a user makes them: each is one line that says what to do, with status 2, and no traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gcsam.training import load_run
from tests.landscape.conftest import Done

MISTAKES = [
    ("study digit", r"study 'digit' is unknown; choose one of cifar10, .*; did you mean 'digits'\?"),
    ("study cifar10", r"study 'cifar10' needs its data: give --root DIR, the folder that holds cifar-10-batches-py"),
    ("train --output run --model resnet-20", r"model 'resnet-20' is unknown; .*; did you mean 'resnet20'\?"),
    ("train --output run --data cifar", r"data 'cifar' is unknown; .*; did you mean 'cifar10'\?"),
    ("train --output run --method gcsma", r"method 'gcsma' is unknown; .*; did you mean 'gcsam'\?"),
    ("train --output run --optimizer Adan", r"optimizer 'Adan' is unknown; .*; did you mean 'Adam'\?"),
    ("train --output run --data npz:none.npz", r"data npz:.*none\.npz: there is no such file; check the path"),
    ("train --output run --data npz:text.npz", r"data npz:.*text\.npz: is no \.npz file"),
    ("train --output run --data folder:empty", r"data folder:.*empty: no images found; expected .*CLASS/\*\.png"),
    ("train --output run --data folder:none", r"data folder:.*none: .*"),
    ("train --output run --data cifar10 --root none", r"root .*none: data_batch_1 is missing in .*none; give the fold"),
    ("train --output run --data cifar10", r"data 'cifar10' needs root, the folder that holds cifar-10-batches-py"),
    ("train --output run --data nowhere:data", r"data nowhere:data: no module 'nowhere' in "),
    ("train --output run --model nowhere:net", r"model nowhere:net: no module 'nowhere' in "),
    ("train --output run --rho -1", r"rho must be greater than or equal to 0, got -1\.0"),
    ("train --output run --lr nan", r"lr must be a finite number, got nan"),
    ("train --output run --schedule step", r"schedule must be 'constant', 'cosine' or 'onecycle', got 'step'"),
    ("train --output run --epochs 0", r"epochs must be greater than or equal to 1, got 0"),
    ("train --output text.npz", r"text\.npz: .*; check the path"),
    ("measure none", r"none: no such folder; give one that landscape train wrote"),
    ("measure empty", r"empty: holds no training run, checkpoint\.pt is missing; train one there first"),
    ("measure", r"give run folders, or your own network by --model, --checkpoint, --data, --loss and --output"),
    ("measure empty --rho nan", r"rho must be a finite number > 0, got nan; 0\.05 is the usual one"),
    ("noise empty --samples 1", r"--samples must be all or a number of at least 2, got '1'"),
    ("surface --model net:net --checkpoint net.pt --output net.h5", r"your own network needs --data, --loss too; --he"),
    (
        "surface --model nowhere:net --checkpoint a.pt --data a:b --loss a:c --output a.h5",
        r"--model nowhere:net: no module 'nowhere' in ",
    ),
    (
        "noise --model torch.nn:Identity --checkpoint none.pt --data a:b --loss a:c --output a.h5",
        r"--checkpoint none\.pt: no such file; give the one that torch\.save wrote",
    ),
    (
        "measure --model torch.nn:Identity --checkpoint empty --data a:b --loss a:c --output a.h5",
        r"--checkpoint empty: no weights in this folder, none of selected\.pt, model\.safetensors, .*; give the file",
    ),
    (
        "measure --model torch.nn:Identity --checkpoint text.npz --data a:b --loss a:c --output a.h5",
        r"--checkpoint text\.npz: is no file that torch\.save or safetensors wrote \(\w+\); check the path",
    ),
    ("figures none", r"none: no such folder; give one that holds runs, for example runs/digits"),
    ("figures empty", r"empty: no finished run in it, no \*/run\.h5; train first, or give its parent"),
    ("figures text.npz", r".*text\.npz.* cannot be read as HDF5"),
    ("export none.h5", r"no result file at none\.h5; check the path, or measure first"),
    ("export empty", r"empty: no run\.h5 in it; give a run's folder or a result file"),
    ("export text.npz", r".*text\.npz.* cannot be read as HDF5"),
    ("verify none", r"none: no such folder; give one that holds runs, for example runs/digits"),
    ("inspect none.h5", r"no result file at none\.h5; check the path, or measure first"),
    ("inspect text.npz", r".*text\.npz.* cannot be read as HDF5"),
]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "empty" / "class").mkdir(parents=True)
    (tmp_path / "text.npz").write_text("hello", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("command", "line"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_one_line(command: str, line: str, cli: Callable[..., Done], scratch: Path) -> None:
    done = cli(*command.split())
    assert done.status == 2, done.err
    assert done.out == ""
    assert re.match(rf"landscape {command.split()[0]}: {line}", done.err), done.err
    assert done.err.count("\n") == 1
    assert not (scratch / "run").exists()


def test_no_cuda_device_is_said(cli: Callable[..., Done], scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = cli("train", "--output", "run", "--device", "cuda")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("landscape train: --device cuda: this machine, or this build of torch, has no CUDA dev")


@pytest.fixture
def diverging(scratch: Path) -> list[str]:
    """Write a few images, and return a command whose learning rate is far too large for them."""
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 255, (24, 8, 8)).astype(np.uint8), np.arange(24) % 2
    np.savez(scratch / "data.npz", train_images=images, train_labels=labels)
    options = "--data npz:data.npz --model mlp --method sgd --lr 1e12 --epochs 9 --output run --device cpu"
    return ["train", *options.split()]


def test_a_loss_that_is_not_finite_is_1_and_keeps_the_last_good_checkpoint(
    cli: Callable[..., Done], diverging: list[str], scratch: Path
) -> None:
    done = cli(*diverging)
    assert done.status == 1
    line = (
        r"landscape train: training diverged: the (loss is \w+|gradient is not finite) in epoch (\d+), step (\d+); "
        r"try a lower lr \(it is 1e\+12\)\. The checkpoint after epoch (\d+) is kept in run\n"
    )
    found = re.fullmatch(line, done.err)
    assert found, done.err
    kept = load_run(scratch / "run")  # it is whole, and of the last epoch that was good
    assert len(kept.history["epoch"]) == int(found[4]) == int(found[2]) - 1
    assert np.isfinite(kept.history["train_loss"]).all()
