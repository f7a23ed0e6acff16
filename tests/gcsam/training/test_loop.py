"""Training: every method against a loop by hand, paired seeds, selection, what stops it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gcsam.centralize import random_directions
from gcsam.training import METHODS, TrainConfig, TrainingDiverged, load_data, load_run, train
from gcsam.training.checkpoint import load_file, trajectory_file
from gcsam.training.splits import Split
from gcsam.training.trainer import initial_model, lowest_selectable
from tests.gcsam.training.small import NETS, small


def weights(path: Path) -> dict[str, Tensor]:
    return load_file(path)["model"]  # type: ignore[no-any-return]


def recorded_batches(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """Keep what each epoch of each run trained on."""
    seen: list[list[Tensor]] = []
    original = Split.batches

    def batches(self: Split, *arguments: Any) -> Any:
        seen.append([])
        for inputs, labels in original(self, *arguments):
            seen[-1].append(inputs.clone())
            yield inputs, labels

    monkeypatch.setattr(Split, "batches", batches)
    return seen


def centered(gradient: Tensor) -> Tensor:
    return gradient - gradient.mean(1, keepdim=True) if gradient.ndim == 2 else gradient


def without(units: Tensor, gradient: Tensor) -> Tensor:
    return gradient - (gradient * units).sum(1, keepdim=True) * units if gradient.ndim == 2 else gradient


def by_hand(config: TrainConfig, batches: list[tuple[Tensor, Tensor]], total: int) -> dict[str, Tensor]:
    """The methods from their formulas: SGD with momentum, weight decay and a cosine, in float64."""
    model = initial_model(config, load_data(config)).double()
    parameters = list(model.parameters())
    seeds = [config.seed * 1_000_003 + place for place in range(len(parameters))]
    units = [
        random_directions(p.shape, (1,), torch.Generator().manual_seed(seed)) if p.ndim == 2 else p
        for p, seed in zip(parameters, seeds, strict=True)
    ]
    velocity = [torch.zeros_like(parameter) for parameter in parameters]
    average = [torch.zeros_like(parameter) for parameter in parameters]
    for step, (x, y) in enumerate(batches):

        def gradients(x: Tensor = x, y: Tensor = y) -> list[Tensor]:
            return list(torch.autograd.grad(F.cross_entropy(model(x.double()), y), parameters))

        g = gradients()
        if config.method not in {"sgd", "gc"}:
            direction = [centered(one) for one in g] if config.method == "gcsam" else g
            if config.method == "random":
                direction = [without(u, one) for u, one in zip(units, g, strict=True)]
            if config.method == "fsam":
                average = [0.9 * m + 0.1 * one for m, one in zip(average, g, strict=True)]
                direction = [one - m for m, one in zip(average, g, strict=True)]
            norm = torch.cat([one.flatten() for one in direction]).norm()
            if config.method == "sam-matched":
                norm = norm**2 / torch.cat([centered(one).flatten() for one in g]).norm()
            before = [parameter.detach().clone() for parameter in parameters]
            with torch.no_grad():
                for parameter, one in zip(parameters, direction, strict=True):
                    parameter += config.rho * one / norm
            g = gradients()
            with torch.no_grad():
                for parameter, old in zip(parameters, before, strict=True):
                    parameter.copy_(old)
        if config.method == "gc":
            g = [centered(one) for one in g]
        rate = config.lr * (1 + math.cos(math.pi * step / total)) / 2
        with torch.no_grad():
            for parameter, one, v in zip(parameters, g, velocity, strict=True):
                v.mul_(0.9).add_(one + config.weight_decay * parameter)
                parameter -= rate * v
    return dict(model.state_dict())


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_its_formula(tmp_path: Path, method: str) -> None:
    config = small(method=method, rho=0.1, lr=0.1, seed=3)
    train(config, tmp_path)
    data = load_data(config)
    # the second stream of the seed orders the data, whatever the method
    stream = int(np.random.SeedSequence([config.seed, 1]).generate_state(1)[0])
    order = torch.Generator().manual_seed(stream)
    batches = [batch for _ in range(2) for batch in data.train.batches(config.batch_size, order)]
    expected = by_hand(config, batches, len(batches))
    for name, found in weights(tmp_path / "checkpoint.pt").items():
        # 8 steps in float32 against float64: some tens of roundings of 6e-8 on weights of size 1
        torch.testing.assert_close(found.double(), expected[name], rtol=0, atol=2e-5)


def test_runs_of_one_seed_are_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same initial weights and same batches for every method, also where dropout draws differently often."""
    seen = recorded_batches(monkeypatch)
    for method in METHODS:
        train(small(method=method, model=f"{NETS}:dropped", trajectory_every=2), tmp_path / method)
    epochs = [torch.cat(epoch) for epoch in seen]
    for first, second in zip(epochs[::2], epochs[1::2], strict=True):
        assert torch.equal(first, epochs[0])
        assert torch.equal(second, epochs[1])
    assert not torch.equal(epochs[0], epochs[1])
    starts = [weights(trajectory_file(tmp_path / method, "epoch", 0)) for method in METHODS]
    for start in starts:
        assert all(torch.equal(start[name], starts[0][name]) for name in start)


def test_other_seeds_differ_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded_batches(monkeypatch)
    for seed in (0, 1):
        train(small(seed=seed, epochs=1, trajectory_every=1), tmp_path / str(seed))
    assert not torch.equal(torch.cat(seen[0]), torch.cat(seen[1]))
    first, second = (weights(trajectory_file(tmp_path / str(seed), "epoch", 0)) for seed in (0, 1))
    assert not torch.equal(first["layers.1.weight"], second["layers.1.weight"])


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train(small(epochs=1), tmp_path).model()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("method", "passes"), [("sgd", 1), ("gc", 1), ("sam", 2), ("gcsam", 2), ("random", 2), ("fsam", 2)]
)
def test_history_has_a_row_for_each_epoch(tmp_path: Path, method: str, passes: int) -> None:
    seen: list[tuple[int, int, float]] = []
    run = train(
        small(method=method, lr=0.1, epochs=3),
        tmp_path,
        progress=lambda done, total, metrics: seen.append((done, total, metrics["validation_accuracy"])),
    )
    history = run.history
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["gradient_evaluations"].tolist() == [passes * 4 * epoch for epoch in (1, 2, 3)]
    assert history["step_loss"].shape == (12,)
    assert history["train_loss"][0] == pytest.approx(history["step_loss"][:4].mean(), rel=1e-9)  # even batches of 15
    assert history["learning_rate"] == pytest.approx([0.1, 0.1 * 0.75, 0.1 * 0.25])
    assert history["ascent_ratio"].shape == (3, len(run.layers)) == (3, 3)
    assert np.all((history["ascent_ratio_total"] > 0) & (history["ascent_ratio_total"] < 1))
    assert seen == [(epoch, 3, history["validation_accuracy"][epoch - 1]) for epoch in (1, 2, 3)]


def test_the_summary_is_of_the_selected_weights(tmp_path: Path) -> None:
    run = train(small(rho=0.07), tmp_path)
    model, data = run.model("cpu"), run.splits("cpu")
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        scores = model(split.inputs(slice(None))).detach().double()
        assert run.summary[f"{name}_loss"] == pytest.approx(float(F.cross_entropy(scores, split.labels)), rel=1e-5)
        assert run.summary[f"{name}_accuracy"] == float((scores.argmax(1) == split.labels).double().mean())
    chosen = {name: run.summary[name] for name in ("method", "seed", "rho")}
    assert chosen == {"method": "gcsam", "seed": 0, "rho": 0.07}
    assert run.summary["num_parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert train(small(method="sgd"), tmp_path / "sgd").summary["rho"] == 0.0


def selected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], **settings: Any) -> int:
    """The epoch selected where validation accuracy takes these values."""
    given = iter([*((1.0, accuracy) for accuracy in accuracies), *[(1.0, 0.5)] * 3])
    monkeypatch.setattr("gcsam.training.trainer.evaluate", lambda model, batches: next(given))
    run = train(small(epochs=len(accuracies), **settings), tmp_path)
    return int(run.summary["selected_epoch"])


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [
        ([0.5, 0.9, 0.1], 2),
        ([0.5, 0.9, 0.9, 0.1], 3),  # of equal ones the latest
        ([0.5, 0.9, 0.85, 0.1], 3),  # one standard error is sqrt(0.9 * 0.1 / 9) = 0.1
        ([0.5, 0.9, 0.79, 0.1], 2),
        ([0.8, 0.75, 1.0, 0.99], 3),  # at the best possible there is no error
    ],
)
def test_selection_takes_the_latest_epoch_within_one_standard_error_of_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracies: list[float], epoch: int
) -> None:
    assert selected(tmp_path, monkeypatch, accuracies) == epoch


def test_selecting_the_last_takes_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selected(tmp_path, monkeypatch, [0.9, 0.1], select="last") == 2


def test_one_standard_error_is_binomial() -> None:
    assert lowest_selectable(0.9, 100) == pytest.approx(0.9 - 0.03)
    assert lowest_selectable(1.0, 100) == 1.0


def test_the_test_split_is_looked_at_once_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small()
    data = load_data(config)
    looks: list[int] = []
    original = Split.all_batches

    def spied(self: Split, *arguments: Any) -> Any:
        if len(self) == len(data.test):
            looks.append(len(load_run(tmp_path).history["epoch"]))
        return original(self, *arguments)

    monkeypatch.setattr(Split, "all_batches", spied)
    train(config, tmp_path, splits=data)
    assert looks == [config.epochs]


@pytest.mark.parametrize("method", ["sgd", "gcsam"])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, method: str) -> None:
    with pytest.raises(TrainingDiverged, match=r"^training diverged: .* in epoch 1, step \d; try a lower lr") as caught:
        train(small(data=f"{NETS}:not_finite", method=method, lr=1e4), tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert ("rho (it is 0.05)" in text) == (method == "gcsam")
    assert f"The checkpoint after epoch 0 is kept in {tmp_path}" in text
    run = load_run(tmp_path)
    assert not run.is_finished
    assert len(run.history["epoch"]) == 0


def test_the_last_good_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))
    original = F.cross_entropy

    def spoiled(*arguments: Any, **named: Any) -> Tensor:
        loss = original(*arguments, **named)
        return loss * math.nan if loss.requires_grad and next(calls) >= 6 else loss

    monkeypatch.setattr(F, "cross_entropy", spoiled)
    with pytest.raises(TrainingDiverged, match="the loss is nan in epoch 2, step 7"):
        train(small(method="sgd"), tmp_path)
    kept = weights(tmp_path / "checkpoint.pt")
    assert all(bool(value.isfinite().all()) for value in kept.values())
    assert len(load_run(tmp_path).history["epoch"]) == 1


def test_a_run_with_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    train(small(lr=0.1), tmp_path)
    with pytest.raises(ValueError, match=r"holds a run with lr 0.1, not 0.2; .*not 3.* as asked for; give the same"):
        train(small(lr=0.2, epochs=3), tmp_path)


def test_the_trajectory_holds_every_so_many_epochs(tmp_path: Path) -> None:
    train(small(epochs=5, trajectory_every=2), tmp_path)
    names = sorted(path.name for path in (tmp_path / "trajectory").iterdir())
    assert names == ["epoch-0000.pt", "epoch-0002.pt", "epoch-0004.pt"]
    train(small(), tmp_path / "without")
    assert not (tmp_path / "without" / "trajectory").exists()
