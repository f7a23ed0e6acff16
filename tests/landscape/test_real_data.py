"""Real images through every stage: chest X-rays and CIFAR-10, where the files lie beside the repository.

Numbers mean nothing at this size; what is tested is that each stage takes what the one before left.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.store import list_measurements, read
from tests.landscape.conftest import Done

DATA = Path(__file__).parents[3] / "shared" / "data"
MEASURED = {"curvature/eigenvalues", "curvature/trace", "surface/plane", "noise/gradient_noise", "sharpness/worst"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not part of the repository"),
]


def through_all_stages(cli: Callable[..., Done], run: Path, *training: object) -> None:
    for command in (
        ("train", *training, "--method", "gcsam", "--train-limit", 64, "--test-limit", 32, "--output", run),
        ("measure", run, "--samples", 16, "--top", 2),
        ("surface", run, "--points", 3),
        ("noise", run),
        ("figures", run),
    ):
        done = cli(*command)
        assert (done.status, done.err) == (0, ""), command
    path = run / "run.h5"
    assert set(list_measurements(path)) >= MEASURED
    assert int(read(path, "training/measured_data").variables["num_samples"].data) == 16
    assert {"training.png", "surfaces.pdf", "eigenvalues.png", "noise.png"} <= {
        file.name for file in (run / "figures").iterdir()
    }


def test_a_convolutional_network_on_chest_x_rays(cli: Callable[..., Done], tmp_path: Path) -> None:
    data = f"npz:{DATA / 'pneumoniamnist.npz'}"
    through_all_stages(cli, tmp_path / "xray", "--data", data, "--model", "cnn", "--epochs", 5)


def test_resnet20_on_cifar10(cli: Callable[..., Done], tmp_path: Path) -> None:
    unpack = [sys.executable, str(DATA / "unpack_cifar10.py"), str(tmp_path)]
    subprocess.run(unpack, check=True, capture_output=True)
    through_all_stages(
        cli, tmp_path / "resnet", "--data", "cifar10", "--root", tmp_path, "--model", "resnet20", "--epochs", 2
    )
