"""A denoising UNet with group norm, skip connections and time steps; noise is part of the data.

Our own small UNet stands for the family: importing diffusers took 17 s on a busy machine, longer than these tests. It
has what is peculiar to the family: group norm, transposed convolution, concatenated skips, a time embedding added to
every pixel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from analysis import NotRepeatable, Objective, gradient_noise, hessian_eigenvalues
from tests.compare import assert_close
from tests.families.oracle import Oracle
from tests.landscape.conftest import Done

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "diffusion.md"
DRAWING = """

def drawing(output, noise):  # as in training
    return torch.nn.functional.mse_loss(output, torch.randn_like(noise))
"""


@pytest.fixture
def unet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the how-to, in the current folder, with weights beside it."""
    import sys

    first = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    (tmp_path / "unet.py").write_text(first + DRAWING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("unet")
    torch.manual_seed(0)
    torch.save(module.model().state_dict(), "unet.pt")
    yield module
    sys.modules.pop("unet", None)


def of_one(model: Any, sample: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, int]:
    noisy, step, noise = sample
    return (model(noisy[None].double(), step[None])[0] - noise).square().mean(), 1


def oracle_of(unet: Any, model: Any, names: Any) -> Oracle:
    samples = [one for (noisy, step), noise in unet.data() for one in zip(noisy, step, noise, strict=True)]
    return Oracle(model, of_one, samples, names)


def test_the_denoising_loss_and_its_derivatives(unet: Any) -> None:
    torch.manual_seed(1)
    model = unet.model()
    objective = Objective(model, F.mse_loss, unet.data(), dtype=torch.float64)
    oracle = oracle_of(unet, model, objective.names)
    vector = torch.randn(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.loss(), oracle.loss().item(), relative=1e-12)
    assert_close(objective.gradient(), oracle.gradient(), relative=1e-12)
    assert_close(objective.hvp(vector), oracle.difference(vector), relative=1e-6)
    found = gradient_noise(objective)
    assert_close(found.raw.total.trace, oracle.sample_gradients().var(0).sum(), relative=1e-10)


def test_the_largest_eigenvalue_is_that_of_the_dense_hessian(unet: Any) -> None:
    """Of the norm, the middle and the way up, which is where transposed convolutions are."""
    torch.manual_seed(1)
    model = unet.model()
    chosen = ["norm.*", "time.*", "up.*"]
    objective = Objective(model, F.mse_loss, unet.data(), chosen, dtype=torch.float64)
    dense = torch.linalg.eigvalsh(oracle_of(unet, model, objective.names).hessian())
    assert_close(hessian_eigenvalues(objective, k=1, tol=1e-8).values[0], dense[-1], relative=1e-8)


def test_a_loss_that_draws_noise_is_refused(unet: Any, cli: Callable[..., Done]) -> None:
    with pytest.raises(NotRepeatable, match="two passes over the same batch gave loss sums"):
        Objective(unet.model(), unet.drawing, unet.data()).loss()
    own = "--model unet:model --checkpoint unet.pt --data unet:data --loss unet:drawing --output unet.h5".split()
    done = cli("measure", *own)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "draws random numbers" in done.err
    assert "draw them once, in the data" in done.err
    assert not Path("unet.h5").exists()
