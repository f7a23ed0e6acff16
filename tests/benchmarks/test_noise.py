"""Benchmark of per-sample norms: contestants that agree, targets as data, and the file of a tiny run.

No assertion looks at a clock.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from analysis import Objective
from benchmarks import noise as benchmark
from tests.analysis.noise import oracle
from tests.cases import CASES
from tests.compare import assert_close

CPU = torch.device("cpu")


@pytest.mark.parametrize("chunk", [3, 100])
@pytest.mark.parametrize("index", [1, 2, 3], ids=["mlp", "cnn", "attention"])
def test_vmap_takes_the_same_numbers(index: int, chunk: int) -> None:
    """Fails if the peer is timed on an easier task: raw alone, or without the weights that P leaves alone."""
    model, loss_fn, batches = CASES[index].make()
    kinds = oracle.projected(model, oracle.per_sample(model, loss_fn, batches), seed=0)
    expected = [sum(g.flatten(1).square().sum(1) for g in kinds[kind].values()) for kind in benchmark.KINDS]
    found = benchmark.by_vmap(Objective(model, loss_fn, batches), chunk)
    assert_close(found, torch.stack(expected), relative=1e-5)  # added up in float32


@pytest.mark.peers
def test_backpack_takes_the_same_norms() -> None:
    """Fails if it is timed on an easier task, or on another network."""
    runs = benchmark.contestants(benchmark.QUICK[1], CPU)
    assert_close(runs["backpack"](), runs["norms"]().raw.sum(1), relative=1e-4)  # a thousand roundings of float32


def test_gradient_is_that_of_the_same_batch() -> None:
    runs = benchmark.contestants(benchmark.QUICK[0], CPU)
    found = torch.cat([piece.flatten() for piece in runs["gradient"]()])
    per_sample = runs["norms"]()
    assert per_sample.num_samples == 8
    # ||mean g|| <= mean ||g_i||, and far from zero
    assert 0.0 < float(found.norm()) <= float(per_sample.raw.sum(1).sqrt().mean()) * (1 + 1e-5)


def test_a_tiny_run_writes_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "noise.json"
    benchmark.main(["--device", "cpu", "--quick", "--rounds", "2", "--output", str(target)])
    rows = json.loads(target.read_text(encoding="utf-8"))["rows"]
    names = {"cnn": {"gradient", "norms", "noise", "vmap"}, "vgg11": {"gradient", "norms", "noise", "vmap", "backpack"}}
    for row in rows:
        assert row["relative_error"] < 1e-4  # a thousand roundings of float32
        assert {name: len(seconds) for name, seconds in row["seconds"].items()} == dict.fromkeys(names[row["part"]], 2)
    assert {row["part"] for row in rows} == set(names)
    assert "cnn: norms / gradient = " in capsys.readouterr().out


def test_targets_are_printed_beside_the_ratio() -> None:
    ratio = {"ours": "norms", "theirs": "gradient", "median": 1.2, "low": 1.1, "high": 1.3, "at_most": 1.25}
    row = {"network": "n", "ratios": [ratio], "chunk": 4, "relative_error": 1e-6, "ways": {"gram": 2}}
    assert next(benchmark.describe(row)) == "n: norms / gradient = 1.20 [1.10, 1.30]  target <= 1.25"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be >= 1, got 0"),
        (["--only", "resnet21"], "--only 'resnet21' is unknown; use some of resnet20,resnet18,vit-tiny,vgg11"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.parse(arguments)
    assert message in capsys.readouterr().err


def test_networks_are_built_in_eval_mode() -> None:
    """Fails if batch norm would use the batch: then there are no per-sample gradients to compare with."""
    assert isinstance(benchmark.build("resnet20", 8), nn.Module)
    runs = benchmark.contestants(benchmark.Subject("resnet20", 4, 8, None, None), CPU)
    first = [piece.clone() for piece in runs["gradient"]()]
    assert all(torch.equal(a, b) for a, b in zip(first, runs["gradient"](), strict=True))
