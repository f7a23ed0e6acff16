"""The callback in Lightning's own Trainer: the same bits, the steps asked for, and the numbers at these weights."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from analysis import Objective, ProbeRecord, every, every_epoch, load
from tests.landscape.callbacks.subjects import assert_rows, cosine, data, network, optimizer_of, same, weights

lightning = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is installed by the extra `test`")
from landscape.callbacks.lightning import ProbeCallback  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning uses what torch has deprecated
    pytest.mark.filterwarnings("ignore:.*LeafSpec:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
]
TOTAL = 8  # two epochs of four batches


class Automatic(lightning.LightningModule):
    def __init__(self, method: str) -> None:
        super().__init__()
        self.model, self.method = network(), method

    def training_step(self, batch: Any, _: int) -> Any:
        loss = cross_entropy(self.model(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.method, self)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TOTAL)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Manual(Automatic):
    def __init__(self, method: str) -> None:
        super().__init__(method)
        self.automatic_optimization = False

    def training_step(self, batch: Any, _: int) -> None:
        optimizer = self.optimizers()

        def closure() -> Any:
            optimizer.zero_grad()
            loss = cross_entropy(self.model(batch[0]), batch[1])
            self.manual_backward(loss)
            return loss

        optimizer.step(closure=closure)

    def configure_optimizers(self) -> Any:
        return optimizer_of(self.method, self)


class Keep(lightning.Callback):
    """Keep the weights and the random state after every step."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.random = torch.zeros(0)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.kept[0] = weights(module.model)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.kept.setdefault(trainer.global_step, weights(module.model))  # not those of a batch that is no step
        self.random = torch.get_rng_state()


def objective_of(model: nn.Module) -> Objective:
    return Objective(model, cross_entropy, data(20))


def probe_of(path: Path, **given: Any) -> Any:
    options = {"schedule": every(3), "budget": math.inf, "quantities": ["trace", "noise", "sharpness"], **given}
    return ProbeCallback(lambda module: objective_of(module.model), path, **options)


def fitted(module: Any, callbacks: list[Any], epochs: int = 2, checkpoint: Any = None, **trainer: Any) -> Any:
    lightning.seed_everything(7, verbose=False)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    fit = lightning.Trainer(
        max_epochs=epochs, callbacks=callbacks, enable_model_summary=False, devices=1, **{**options, **trainer}
    )
    x, y = data()
    loader = torch.utils.data.DataLoader(list(zip(x.split(8), y.split(8), strict=True)), batch_size=None, shuffle=True)
    fit.fit(module, loader, ckpt_path=checkpoint, **({"weights_only": False} if checkpoint else {}))
    return fit


@pytest.mark.parametrize("kind", [Automatic, Manual])
@pytest.mark.parametrize("method", ["sgd", "gcsam"])
def test_the_same_bits_and_the_numbers_of_each_step(kind: Any, method: str, tmp_path: Path) -> None:
    """Fails if the callback draws a random number, or measures before the step, at w + epsilon or at another one."""
    with_probe, alone = Keep(), Keep()
    watched, unwatched = kind(method), kind(method)
    fit = fitted(watched, [probe_of(tmp_path / "run.h5"), with_probe])
    other = fitted(unwatched, [alone])
    assert same(weights(watched), weights(unwatched))
    assert torch.equal(with_probe.random, alone.random)
    states = [run.optimizers[0].state_dict()["state"] for run in (fit, other)]
    assert states[0]
    assert all(same(states[0][key], states[1][key]) for key in states[0])
    record = assert_rows(tmp_path / "run.h5", alone.kept, objective_of)
    assert record.step.tolist() == [0, 3, 6]
    assert record.epoch[1:].tolist() == [0, 1]
    rates = [0.1, 0.1, 0.1] if kind is Manual else [cosine(max(step, 1), TOTAL) for step in (0, 3, 6)]
    assert record.learning_rate.tolist() == pytest.approx(rates)
    assert record.threshold_with_momentum.tolist() == pytest.approx([3.8 / rate for rate in rates])


def test_batches_that_are_accumulated_are_no_steps(tmp_path: Path) -> None:
    keep = Keep()
    fitted(Automatic("sgd"), [probe_of(tmp_path / "run.h5", schedule=every(1)), keep], accumulate_grad_batches=2)
    record = assert_rows(tmp_path / "run.h5", keep.kept, objective_of)
    assert record.step.tolist() == [0, 1, 2, 3, 4]


def test_by_epochs(tmp_path: Path) -> None:
    callback = probe_of(tmp_path / "run.h5", schedule=every_epoch(2), quantities=["sharpness"])
    fitted(Automatic("sgd"), [callback], epochs=5)
    assert callback.watcher.record.step.tolist() == [0, 8, 16]
    assert callback.watcher.record.epoch.tolist() == [0, 2, 4]


def test_what_the_budget_left_out_is_in_the_file(tmp_path: Path) -> None:
    fitted(Automatic("sgd"), [probe_of(tmp_path / "run.h5", schedule=every(1), budget=1e-9)])
    record = load(tmp_path / "run.h5")
    assert isinstance(record, ProbeRecord)
    assert (record.step.tolist(), record.skipped) == ([0], 8)

    class Stop(lightning.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitted(Automatic("sgd"), [probe_of(tmp_path / "stopped.h5", schedule=every(1), budget=1e-9), Stop()])
    assert load(tmp_path / "stopped.h5").skipped == 3  # type: ignore[union-attr]


def test_after_a_stop_it_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            if trainer.global_step == 4:
                trainer.save_checkpoint(tmp_path / "last.ckpt")
            if trainer.global_step == 7:
                raise ZeroDivisionError

    path = tmp_path / "run.h5"
    with pytest.raises(ZeroDivisionError):
        fitted(Automatic("sgd"), [probe_of(path, schedule=every(2)), Stop()])
    assert load(path).step.tolist() == [0, 2, 4, 6]  # type: ignore[union-attr]
    keep = Keep()
    fitted(Automatic("sgd"), [probe_of(path, schedule=every(2)), keep], checkpoint=tmp_path / "last.ckpt")
    record = load(path)
    assert isinstance(record, ProbeRecord)
    assert record.step.tolist() == [0, 2, 4, 6, 8]
    model = network()
    model.load_state_dict(keep.kept[8])
    assert record.loss[-1].item() == objective_of(model).loss()


def test_several_optimizers_have_no_one_learning_rate(tmp_path: Path) -> None:
    class Two(Manual):
        def training_step(self, batch: Any, _: int) -> None:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(cross_entropy(self.model(batch[0]), batch[1]))
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.model[place].parameters(), lr=0.1) for place in (0, 4)]

    fitted(Two("sgd"), [probe_of(tmp_path / "run.h5", schedule=every(4), quantities=["sharpness"])], epochs=1)
    record = load(tmp_path / "run.h5")
    assert isinstance(record, ProbeRecord)
    assert record.step.tolist() == [0, 4, 8]
    assert record.learning_rate.isnan().all()


def test_what_the_trainer_sets_is_refused(tmp_path: Path) -> None:
    for name in ("optimizer", "start"):
        with pytest.raises(TypeError, match=f"{name} comes from the trainer; leave it out"):
            probe_of(tmp_path / "run.h5", **{name: None})
    with pytest.raises(RuntimeError, match="there is no record before training starts; it is made then"):
        probe_of(tmp_path / "run.h5").watcher.record  # noqa: B018


def test_without_lightning_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import landscape.callbacks.lightning as module

    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ModuleNotFoundError, match=r"neither lightning nor pytorch_lightning can be .*; pip install pyt"
    ):
        module._callback_class()


def test_the_package_that_is_imported_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Trainer of `lightning` wants a callback of `lightning`, also where both packages are installed."""
    import types

    import landscape.callbacks.lightning as module

    assert module._callback_class() is lightning.Callback
    other = types.ModuleType("lightning.pytorch")
    other.Callback = type("Callback", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning.pytorch", other)
    monkeypatch.setattr(importlib, "import_module", lambda name: sys.modules[name])
    assert module._callback_class() is other.Callback  # type: ignore[attr-defined]
