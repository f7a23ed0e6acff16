"""The callback in the Trainer of transformers: the same bits, the steps asked for, and the numbers at these weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis import Objective, ProbeRecord, every, every_epoch, load
from gcsam import hold_statistics
from tests.landscape.callbacks.subjects import assert_rows, data, network, optimizer_of, same, weights

transformers = pytest.importorskip("transformers", reason="transformers is installed by the extra `test`")
from landscape.callbacks.huggingface import ProbeCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
STEPS = 8  # two epochs of four batches


class Classifier(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(x)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


class TwoPasses(transformers.Trainer):
    """GCSAM, as in the examples."""

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        loss = super().training_step(model, dict(inputs), *rest)
        self.optimizer.optimizer.ascend(zero_grad=True)
        with hold_statistics(model):
            super().training_step(model, dict(inputs), *rest)
        return loss


class Keep(transformers.TrainerCallback):
    """Keep the weights and the random state after every step."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.random = torch.zeros(0)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.kept[state.global_step] = weights(model.model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.kept[state.global_step] = weights(model.model)
        self.random = torch.get_rng_state()


def batch_loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    return model(**batch)["loss"] * len(batch["labels"]), len(batch["labels"])


def objective_of(model: nn.Module) -> Objective:
    x, y = data(20)
    return Objective(model, batch_loss=batch_loss, data=[{"x": x, "labels": y}])


def plain_objective(model: nn.Module) -> Objective:
    return Objective(model, cross_entropy, data(20))


def probe_of(path: Path, **given: Any) -> Any:
    options = {"schedule": every(3), "budget": math.inf, "quantities": ["trace", "noise", "sharpness"], **given}
    return ProbeCallback(objective_of, path, **options)


def trained(method: str, folder: Path, callbacks: list[Any], resume: Any = None, **arguments: Any) -> Any:
    classifier = Classifier(network())
    x, y = data()
    examples = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
    given = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "save_strategy": "no", **arguments}
    settings = transformers.TrainingArguments(
        str(folder),
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        lr_scheduler_type="linear",
        seed=3,
        **given,
    )
    kind = TwoPasses if method == "gcsam" else transformers.Trainer
    trainer = kind(
        classifier,
        settings,
        train_dataset=examples,
        optimizers=(optimizer_of(method, classifier), None),
        callbacks=callbacks,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("method", ["sgd", "gcsam"])
def test_the_same_bits_and_the_numbers_of_each_step(method: str, tmp_path: Path) -> None:
    """Fails if the callback draws a random number, or measures before the step, at w + epsilon or at another one."""
    with_probe, alone = Keep(), Keep()
    one = trained(method, tmp_path / "a", [probe_of(tmp_path / "run.h5"), with_probe])
    other = trained(method, tmp_path / "b", [alone])
    assert same(weights(one.model), weights(other.model))
    assert torch.equal(with_probe.random, alone.random)
    states = [run.optimizer.state_dict()["state"] for run in (one, other)]
    assert states[0]
    assert all(same(states[0][key], states[1][key]) for key in states[0])
    record = assert_rows(tmp_path / "run.h5", alone.kept, plain_objective)
    assert record.step.tolist() == [0, 3, 6]
    assert record.epoch.tolist() == [0, 0.75, 1.5]
    rates = [0.1 * (1 - max(step - 1, 0) / STEPS) for step in (0, 3, 6)]
    assert record.learning_rate.tolist() == pytest.approx(rates)
    assert record.threshold_with_momentum.tolist() == pytest.approx([3.8 / rate for rate in rates])


def test_batches_that_are_accumulated_are_no_steps(tmp_path: Path) -> None:
    keep = Keep()
    callbacks = [probe_of(tmp_path / "run.h5", schedule=every(1)), keep]
    trained("sgd", tmp_path, callbacks, gradient_accumulation_steps=2)
    record = assert_rows(tmp_path / "run.h5", keep.kept, plain_objective)
    assert record.step.tolist() == [0, 1, 2, 3, 4]


def test_by_epochs_and_within_the_budget(tmp_path: Path) -> None:
    by_epochs = probe_of(tmp_path / "a.h5", schedule=every_epoch(2), quantities=["sharpness"])
    starved = probe_of(tmp_path / "b.h5", schedule=every(1), budget=1e-9, quantities=["sharpness"])
    trained("sgd", tmp_path, [by_epochs, starved], num_train_epochs=5)
    assert by_epochs.watcher.record.step.tolist() == [0, 8, 16]
    assert by_epochs.watcher.record.epoch.tolist() == [0, 2, 4]
    record = load(tmp_path / "b.h5")
    assert isinstance(record, ProbeRecord)
    assert (record.step.tolist(), record.skipped) == ([0], 20)


def test_after_a_stop_it_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 7:
                raise ZeroDivisionError

    path, saving = tmp_path / "run.h5", {"save_strategy": "steps", "save_steps": 4}
    with pytest.raises(ZeroDivisionError):
        trained("sgd", tmp_path, [probe_of(path, schedule=every(2)), Stop()], **saving)
    assert load(path).step.tolist() == [0, 2, 4, 6]  # type: ignore[union-attr]
    keep = Keep()
    resume = str(tmp_path / "checkpoint-4")
    trained("sgd", tmp_path, [probe_of(path, schedule=every(2)), keep], resume=resume, **saving)
    record = load(path)
    assert isinstance(record, ProbeRecord)
    assert record.step.tolist() == [0, 2, 4, 6, 8]
    model = network()
    model.load_state_dict(keep.kept[8])
    assert record.loss[-1].item() == pytest.approx(plain_objective(model).loss(), rel=1e-6)
