"""What goes wrong while training becomes a row with a status; a user's mistake is told when the probe is made."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis import Objective, Probe, ProbeRecord, at_steps, every, load
from analysis.probe.quantities import QUANTITIES
from tests.analysis.probe.subjects import data, network, objective_of, sgd, take_step

WATCH: dict[str, Any] = {"schedule": every(1), "budget": math.inf}


def test_a_diverged_network_gives_nan_with_a_status_and_training_goes_on(tmp_path: Path) -> None:
    model = network()
    probe = Probe(objective_of(model), tmp_path / "run.h5", optimizer=sgd(model), **WATCH)
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    probe.step()
    take_step(model, sgd(model))
    probe.step()
    record = load(tmp_path / "run.h5")
    assert isinstance(record, ProbeRecord)
    assert record.step.tolist() == [0, 1, 2]
    for name in QUANTITIES:
        assert getattr(record, f"{name}_status")[1:] == ("NOT_FINITE", "NOT_FINITE")
    for values in (record.loss, record.lambda_max, record.trace, record.raw.trace, record.sharpness):
        assert values.isnan().tolist() == [False, True, True]
    assert record.threshold[1].item() == 4.0  # the optimizer still is what it was
    assert record.ascent_ratio[1:].isnan().all()


def test_an_infinite_loss_is_recorded_as_found(tmp_path: Path) -> None:
    model = network()
    probe = Probe(objective_of(model), tmp_path / "run.h5", **WATCH)
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([1e308, -1e308, 0.0]))  # differences overflow
    probe.step()
    assert not math.isfinite(probe.record.loss[1].item())
    assert probe.record.noise_status[1] == "NOT_FINITE"


class Fragile:
    """A loss that raises when told to."""

    error: Exception | None = None

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        if self.error is not None:
            raise self.error
        return cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[1])


def test_a_measurement_that_raises_is_told_once_and_training_goes_on(tmp_path: Path) -> None:
    loss = Fragile()
    probe = Probe(Objective(network(), batch_loss=loss, data=[data()]), tmp_path / "run.h5", **WATCH)
    loss.error = torch.OutOfMemoryError("out of memory")
    with pytest.warns(
        RuntimeWarning, match=r"probe at step 1: loss could not be measured: OutOfMemoryError: out of me"
    ):
        probe.step()
    probe.step()  # a second warning would be an error here
    loss.error = None
    probe.step()
    record = load(tmp_path / "run.h5")
    assert isinstance(record, ProbeRecord)
    assert record.loss_status == ("", "FAILED", "FAILED", "")
    assert record.lambda_max_status[1:3] == ("FAILED", "FAILED")
    assert record.lambda_max.isnan().tolist() == record.loss.isnan().tolist() == [False, True, True, False]


def test_one_quantity_that_raises_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe(objective_of(network()), tmp_path / "run.h5", **WATCH)

    def failing(*_: object) -> Any:
        raise ZeroDivisionError("no trace")

    monkeypatch.setitem(QUANTITIES, "trace", failing)
    with pytest.warns(RuntimeWarning, match=r"probe at step 1: trace could not be measured: ZeroDivisionError: no tra"):
        probe.step()
    record = probe.record
    assert record.trace_status == ("COMPLETE", "FAILED")
    assert record.trace[1].isnan()
    assert record.trace_seconds[1] >= 0
    for values in (record.lambda_max, record.raw.trace, record.sharpness):
        assert values.isfinite().all()


def test_an_interruption_goes_through(tmp_path: Path) -> None:
    """Fails if Ctrl-C during a measurement is swallowed."""
    loss = Fragile()
    probe = Probe(Objective(network(), batch_loss=loss, data=[data()]), tmp_path / "run.h5", **WATCH)
    loss.error = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        probe.step()


def test_a_record_that_cannot_be_written_is_written_with_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    probe = Probe(objective_of(network()), folder / "run.h5", quantities=["sharpness"], **WATCH)
    shutil.rmtree(folder)
    with pytest.warns(RuntimeWarning, match=r"probe at step 1: the record could not be written: FileNotFoundError: no"):
        probe.step()
    with pytest.raises(FileNotFoundError, match="no folder"):
        probe.close()
    folder.mkdir()
    probe.step()
    record = load(folder / "run.h5")
    assert isinstance(record, ProbeRecord)
    assert record.step.tolist() == [0, 1, 2]


def test_what_is_wrong_with_the_objective_is_raised_where_the_probe_is_made(tmp_path: Path) -> None:
    x, y = data()
    one = Objective(network(), cross_entropy, (x[:1], y[:1]))
    with pytest.raises(ValueError, match="needs at least 2 samples, got 1"):
        Probe(one, tmp_path / "run.h5", **WATCH)
    late = Probe(one, tmp_path / "run.h5", schedule=at_steps([1]), budget=math.inf)
    with pytest.warns(RuntimeWarning, match=r"probe at step 1: noise could not be measured: ValueError: .* 2 samples"):
        late.step()
    assert late.record.noise_status == ("FAILED",)
    assert late.record.trace_status == ("COMPLETE",)
    loss = Fragile()
    loss.error = ValueError("the loss is wrong")
    with pytest.raises(ValueError, match="the loss is wrong"):
        Probe(Objective(network(), batch_loss=loss, data=[data()]), tmp_path / "run.h5", schedule=at_steps([1]))


def test_a_network_that_starts_as_nan_is_watched(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    assert Probe(objective_of(model), tmp_path / "run.h5", **WATCH).record.trace_status == ("NOT_FINITE",)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"budget": 0.0}, r"budget must be a share of the training time, a number > 0, got 0\.0; 0\.05 is 5 %"),
    ({"budget": math.nan}, r"budget must be a share of the training time, a number > 0, got nan;"),
    ({"schedule": 100}, r"schedule must be a Schedule, got 100; every\(100\) measures every 100 steps"),
    ({"schedule": math.nan}, r"schedule must be a Schedule, got nan;"),
    ({"quantities": ["lambda"]}, r"quantities must be some of lambda_max, trace, noise, sharpness, each once, got 'la"),
    ({"quantities": ["trace", "trace"]}, r"each once, got 'trace' in \('trace', 'trace'\)"),
    (
        {"quantities": "trace"},
        r"quantities must be a sequence of lambda_max, .*, got 'trace'; \('trace',\) is a single",
    ),
    ({"quantities": math.nan}, r"quantities must be a sequence of lambda_max, .*, got nan;"),
    ({"quantities": [math.nan]}, r"quantities must be some of .*, got nan in \(nan,\)"),
    ({"name": "a/b"}, r"a measurement needs a name without '/' that does not start with '\.', got 'a/b'"),
    ({"seed": -1}, r"seed must be a whole number >= 0, got -1; it seeds whatever is drawn at random"),
    ({"seed": math.nan}, r"seed must be a whole number >= 0, got nan;"),
    ({"rho": 0}, r"rho must be a finite number > 0, got 0; 0\.05 is the usual start"),
    ({"rho": math.nan}, r"rho must be a finite number > 0, got nan;"),
    ({"num_probes": 1}, r"num_probes must be a whole number >= 2, got 1; one vector has no standard error"),
    ({"num_probes": math.nan}, r"num_probes must be a whole number >= 2, got nan;"),
    ({"start": -1}, r"start must be a whole number >= 0, got -1; it counts the optimizer steps done before"),
    ({"start": math.nan}, r"start must be a whole number >= 0, got nan;"),
]


@pytest.mark.parametrize(("given", "told"), MISTAKES, ids=[str(given) for given, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_and_leaves_no_file(given: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        Probe(objective_of(network()), tmp_path / "run.h5", **given)
    assert "\n" not in str(caught.value)
    assert "name" in given or not (tmp_path / "run.h5").exists()


@pytest.mark.parametrize("make", [network, lambda: math.nan])
def test_a_model_is_no_objective(make: Callable[[], Any], tmp_path: Path) -> None:
    given = make()
    told = (
        rf"objective must be an analysis\.Objective, got {type(given).__name__}; Objective\(model, loss, batches\) ma"
    )
    with pytest.raises(ValueError, match=told):
        Probe(given, tmp_path / "run.h5")


def test_a_folder_that_is_not_there_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*none to write run\.h5 in; make it first"):
        Probe(objective_of(network()), tmp_path / "none" / "run.h5", schedule=at_steps([5]))


def test_no_warning_of_any_kind_on_a_healthy_training(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = network()
        probe = Probe(objective_of(model), tmp_path / "run.h5", optimizer=sgd(model), **WATCH)
        probe.step()
    assert set(probe.record.loss_status) == {""}
