"""Every example runs, and trains exactly as the slow twin of GCSAM does on the same batches.

The twin (`tests/oracles/gcsam_twin.py`) knows neither the library an example shows nor our code, so a pass that is left
out, taken twice or clipped elsewhere makes other weights. Networks without batch norm, unless an example is about it.
"""

from __future__ import annotations

import ast

import pytest
import torch

from tests.examples.twins import ATOL, EPOCHS, FOLDER, MOMENTUM, NEEDS, assert_near, cosine, data, load, network, twin

NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
IN_PROCESSES = ("ddp", "fsdp2")


@pytest.mark.parametrize("name", NAMES)
def test_a_loop_is_under_40_lines_and_an_example_stands_alone(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert functions["train"].end_lineno - functions["train"].lineno < 40
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in imported if module.startswith(("examples", "tests", "analysis", "landscape"))}
    assert f"examples/{name}.py" in ast.get_docstring(tree)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in IN_PROCESSES and name not in NEEDS])
def test_the_command_it_names_runs(name, capsys):
    """Those of other libraries talk too much for this; their loops are run below."""
    load(name).main()
    printed = capsys.readouterr().out.strip()
    assert 1 <= len(printed.splitlines()) <= 2
    assert "different" not in printed


def test_plain():
    model = network()
    losses = load("plain").train(model, data(), EPOCHS)
    parameters, expected = twin(torch.optim.SGD, MOMENTUM, schedule=cosine)
    assert_near(model, parameters)
    assert losses == pytest.approx(expected, abs=ATOL)


def test_by_hand():
    model = network(torch.float64)
    losses = load("by_hand").train(model, data(torch.float64), EPOCHS)
    parameters, expected = twin(torch.optim.AdamW, {"lr": 1e-3}, dtype=torch.float64, clip=1.0)
    # Adam divides by sqrt(v), which lifts rounding (1e-16) in small gradients by up to 1e5
    assert_near(model, parameters, atol=1e-10)
    assert losses == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("by_hand", [False, True])
def test_float16(by_hand):
    """The activations have 11 bits, 5e-4: each step's gradient is off by that share of lr * |g| < 0.1, 8 steps."""
    model = network()
    load("amp_float16").train(model, data(), EPOCHS, by_hand=by_hand)
    assert_near(model, twin(torch.optim.SGD, {"lr": 0.1})[0], atol=8 * 0.1 * 5e-4 * 4)


def test_bfloat16():
    """8 bits, 4e-3, in the activations; AdamW moves a weight by at most lr = 1e-3 a step, whatever the gradient."""
    model = network()
    losses = load("amp_bfloat16").train(model, data(), EPOCHS)
    parameters, expected = twin(torch.optim.AdamW, {"lr": 1e-3})
    assert_near(model, parameters, atol=8 * 2e-3)
    assert losses == pytest.approx(expected, abs=0.02)
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))


@pytest.mark.parametrize("micro_batch", [3, 8])
def test_accumulation(micro_batch):
    model = network()
    losses = load("accumulation").train(model, data(), EPOCHS, micro_batch)
    parameters, expected = twin(torch.optim.SGD, MOMENTUM, clip=1.0)
    assert_near(model, parameters)
    assert losses == pytest.approx(expected, abs=ATOL)


def test_resume(tmp_path):
    example = load("resume")
    whole, stopped = network(), network()
    example.train(whole, data(), tmp_path / "whole.pt", epochs=3)
    example.train(network(), data(), tmp_path / "stopped.pt", epochs=1)
    example.train(stopped, data(), tmp_path / "stopped.pt", epochs=3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters(), strict=True))
    assert_near(whole, twin(torch.optim.AdamW, {"lr": 1e-3}, epochs=3)[0], atol=1e-4)  # a tenth of one step of Adam


@pytest.mark.filterwarnings(
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*LeafSpec:FutureWarning",  # Lightning uses what torch has deprecated
    "ignore:.*LeafSpec:DeprecationWarning",
    "ignore:.*is smaller than the logging interval",
)
@pytest.mark.parametrize("name", ["lightning_automatic", "lightning_manual"])
def test_lightning(name):
    """Also in float64, batch statistics held, and the loss logged is the first pass's."""
    example = load(name)
    model = network()
    logged = example.train(
        model, data(), EPOCHS, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", devices=1
    )
    schedule = cosine if name == "lightning_automatic" else None
    parameters, expected = twin(torch.optim.SGD, MOMENTUM, schedule=schedule)
    assert_near(model, parameters)
    assert logged == pytest.approx(expected[-1], abs=ATOL)


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_huggingface_trainer(tmp_path, monkeypatch):
    """Its defaults: linear schedule to 0, clipping at 1; the order of the data is taken from what it asks for."""
    example = load("huggingface_trainer")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    examples = [{"x": x, "labels": y} for batch in data() for x, y in zip(*batch, strict=True)]
    model = network()
    monkeypatch.setattr(example.GCSAMTrainer, "_get_train_sampler", lambda self, *_: None)
    settings = {"lr_scheduler_type": "linear", "disable_tqdm": True, "use_cpu": True, "learning_rate": 0.01}
    loss = example.train(
        model, examples, str(tmp_path), num_train_epochs=EPOCHS, per_device_train_batch_size=8, **settings
    )
    steps = EPOCHS * 4
    linear = lambda base: torch.optim.lr_scheduler.LambdaLR(base, lambda step: 1 - step / steps)  # noqa: E731
    parameters, expected = twin(torch.optim.AdamW, {"lr": 0.01}, clip=1.0, schedule=linear)
    assert_near(model, parameters, atol=1e-4)  # a hundredth of one step of Adam, which lifts rounding
    assert loss == pytest.approx(sum(expected) / steps, abs=1e-4)


def test_accelerate():
    model = network()
    losses = load("accelerate_loop").train(model, data(), EPOCHS)
    parameters, expected = twin(torch.optim.SGD, MOMENTUM)
    assert_near(model, parameters)
    assert losses == pytest.approx(expected, abs=ATOL)
