"""Benchmark of sharpness: the numbers are those of the functions that are timed, and the file of a tiny run.

No assertion looks at a clock.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from analysis import Objective, hessian_eigenvalues, hessian_trace, sharpness
from benchmarks import sharpness as benchmark
from benchmarks import sharpness_subject as subject
from benchmarks.curvature_peers import Problem
from benchmarks.sharpness_peers import traces
from tests.cases import CASES
from tests.oracles import dense

pytest.importorskip("transformers")
TINY = subject.QUICK[0]


def test_rows_hold_what_the_functions_return(tmp_path: Path) -> None:
    """Fails if a number is filed under another name, or another network, subset or noise is measured than is said."""
    row = benchmark.measure(TINY)
    model = subject.gpt_tiny()
    model.load_state_dict(torch.load(subject.train(TINY, tmp_path), weights_only=True))
    objective = Objective(model, subject.loss, subject.few_tokens())
    expected = {
        "lambda_max": hessian_eigenvalues(objective, 1),
        "trace": hessian_trace(objective),
        "worst": sharpness(objective, m=1),
        "average": sharpness(objective, 1e-3, "average", average_tol=0.05),
    }
    assert [one["name"] for one in row["measurements"]] == list(expected)
    for one, result in zip(row["measurements"], expected.values(), strict=True):
        is_pair = one["name"] == "lambda_max"
        value, error = ("values", "residuals") if is_pair else ("value", "standard_error")
        assert one["value"] == float(getattr(result, value))
        assert one["error"] == float(getattr(result, error)) > 0
        assert one["status"] == result.status.name  # type: ignore[attr-defined]
    assert len(expected["worst"].samples) == 4  # type: ignore[attr-defined]
    assert row["parameters"] == objective.num_parameters
    assert row["loss"] == objective.loss()
    assert row["cpu_seconds"] == sum(one["cpu_seconds"] for one in row["measurements"])


def test_the_large_networks_have_25_million_weights() -> None:
    """Built without memory: a meta device. ResNet-50 has 25,557,032, as published."""
    with torch.device("meta"):
        found = [sum(p.numel() for p in build().parameters()) for build in (subject.gpt, subject.resnet50)]
    assert found == [25_383_936, 25_557_032]


def test_data_fit_their_subsets() -> None:
    """Four equal subsets, or the standard error of the worst case would be of unequal parts."""
    for one in (*subject.FULL, *subject.QUICK):
        ((inputs, targets),) = getattr(subject, one.data)()
        assert len(inputs) == len(targets) == 4 * one.m


def test_tokens_have_few_successors() -> None:
    """Fails if the sequences are noise, of which nothing can be learned."""
    inputs, targets = subject.tokens()[0]
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    followed = {token: set(targets[inputs == token].tolist()) for token in inputs.unique().tolist()}
    assert max(len(found) for found in followed.values()) <= 4


@pytest.mark.peers
def test_traces_are_those_of_a_dense_hessian() -> None:
    """Fails if a contestant is timed on another quantity: means over 40 seeds within 4 standard errors."""
    model, _, batches = CASES[1].make()
    problem = Problem(model.eval(), nn.CrossEntropyLoss(), batches)
    exact = float(dense.hessian(problem.model, problem.loss_fn, problem.batches).trace())
    for name, run in traces(problem).items():
        values = torch.tensor([run(seed) for seed in range(40)], dtype=torch.float64)
        assert abs(float(values.mean()) - exact) <= 4 * float(values.std()) / 40**0.5, name
        assert float(values.std()) > 0, "the seed changes nothing"


@pytest.mark.peers
@pytest.mark.slow
def test_a_tiny_run_writes_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "sharpness.json"
    benchmark.main(["--quick", "--rounds", "2", "--output", str(target)])
    rows = json.loads(target.read_text(encoding="utf-8"))["rows"]
    assert [row["part"] for row in rows] == ["gpt", "command", "peers", "peers"]
    largest, trace = rows[2:]
    assert largest["reference_error"] < 1e-5
    assert all(one["error"] <= 1e-2 for one in largest["contestants"]), largest["contestants"]
    assert {"ours", "curvlinops", "pyhessian"} == trace["seconds"].keys()
    text = capsys.readouterr().out
    assert "gpt: lambda_max" in text
    assert "peers: trace: ours / pyhessian = " in text


def test_a_measurement_is_told_in_one_line() -> None:
    one = {"name": "trace", "value": 234.5, "error": 11.2, "wall_seconds": 7.0, "cpu_seconds": 9.0, "num_hvps": 13}
    row = {"part": "gpt", "measurements": [{**one, "status": "CONVERGED"}]}
    text = "gpt: trace      234.5 +- 1.1e+01, 7 s (9 s of processor), 13 hvps, CONVERGED"
    assert list(benchmark.describe(row)) == [text]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be >= 1, got 0"),
        (["--only", "bert"], "--only 'bert' is unknown; use some of gpt,resnet50,command,peers"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.parse(arguments)
    assert message in capsys.readouterr().err
