"""The file after every measurement, and a probe that goes on with it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from torch.nn.functional import cross_entropy

from analysis import Objective, Probe, ProbeRecord, every, load
from analysis.store import list_measurements, write
from tests.analysis.probe.clock import Clock
from tests.analysis.probe.subjects import data, network, objective_of, sgd, take_step
from tests.compare import assert_close
from tests.figures.synthetic import measurement


def stored(path: Path) -> ProbeRecord:
    found = load(path, "training/probe")
    assert isinstance(found, ProbeRecord)
    return found


def numbers(record: ProbeRecord) -> list[str]:
    """Rows to the last bit, without times and without what depends on the eigenvector of the row before."""
    left_out = ("seconds", "lambda_max")
    return [
        str({name: value for name, value in row.items() if not any(part in name for part in left_out)})
        for row in record.rows()
    ]


def watched(path: Path, stop: int, start: int = 0, **given: Any) -> Probe:
    """Train from the beginning to `stop`, and let a probe begin to watch at `start`."""
    model = network()
    optimizer = sgd(model)
    options: dict[str, Any] = {"schedule": every(2), "budget": math.inf, "quantities": ("lambda_max", "noise"), **given}
    probe = Probe(objective_of(model), path, optimizer=optimizer, **options) if start == 0 else None
    for step in range(1, stop + 1):
        take_step(model, optimizer)
        if step == start:
            probe = Probe(objective_of(model), path, optimizer=optimizer, start=start, **options)
        elif probe is not None:
            probe.step(epoch=step / 4)
    assert probe is not None
    return probe


def test_the_file_holds_every_measurement_as_soon_as_it_is_made(tmp_path: Path) -> None:
    """Fails if rows wait for close(): a kill would take them."""
    model, path = network(), tmp_path / "run.h5"
    probe = Probe(objective_of(model), path, schedule=every(1), budget=math.inf, quantities=["trace"])
    for number in range(1, 4):
        assert stored(path) == probe.record
        assert len(stored(path).step) == number
        take_step(model, sgd(model))
        probe.step()


def test_a_file_is_there_before_the_first_measurement(tmp_path: Path) -> None:
    probe = Probe(objective_of(network()), tmp_path / "run.h5", schedule=every(5), start=1, name="mine")
    assert list_measurements(tmp_path / "run.h5") == ["training/mine"]
    assert load(tmp_path / "run.h5") == probe.record
    assert probe.record.step.tolist() == []


def test_it_goes_on_from_the_step_and_drops_later_rows(tmp_path: Path) -> None:
    """Stopped after step 7 with the weights of step 4, as a training that keeps a checkpoint now and then."""
    whole = watched(tmp_path / "whole.h5", 10)
    watched(tmp_path / "parts.h5", 7)
    assert stored(tmp_path / "parts.h5").step.tolist() == [0, 2, 4, 6]
    parts = watched(tmp_path / "parts.h5", 10, start=4)
    assert parts.record.step.tolist() == [0, 2, 4, 6, 8, 10]
    assert numbers(parts.record) == numbers(whole.record)
    # from another start vector: both within 1 % of an eigenvalue, their residuals
    assert_close(parts.record.lambda_max, whole.record.lambda_max, relative=0.02)
    assert stored(tmp_path / "parts.h5") == parts.record


def test_the_rows_kept_are_those_of_the_file_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    before = watched(path, 6).record
    probe = watched(path, 4, start=4)
    for old, new in zip(before.rows()[:3], probe.record.rows(), strict=True):
        assert str(old) == str(new)


def test_the_time_goes_on_where_it_was(tmp_path: Path) -> None:
    """Fails if a stop gives a budget back."""
    path, clock = tmp_path / "run.h5", Clock()
    options: dict[str, Any] = {"schedule": every(1), "budget": 0.5, "quantities": [], "clock": clock}
    model = network()
    probe = Probe(objective_of(model), path, **options)
    clock.forward(60.0)
    probe.step()
    clock.forward(1e6)  # between the processes
    later = Clock()
    other = Probe(objective_of(model), path, **{**options, "clock": later}, start=1)
    later.forward(3.0)
    other.step()
    assert other.record.elapsed_seconds.tolist() == [0.0, 60.0, 63.0]


def test_a_new_training_replaces_the_record(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    watched(path, 6)
    assert watched(path, 2, seed=1).record.step.tolist() == [0, 2]
    assert stored(path).step.tolist() == [0, 2]


def test_other_measurements_of_the_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    write(path, "training", "history", measurement(loss=1.0))
    watched(path, 2)
    assert list_measurements(path) == ["training/history", "training/probe"]
    with pytest.raises(ValueError, match=r"holds training/history, which is no record of a probe; choose another name"):
        Probe(objective_of(network()), path, name="history")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"quantities": ("trace",)}, r"quantities \('lambda_max', 'noise'\), asked for is \('trace',\)"),
        ({"rho": 0.5}, r"rho 0\.05, asked for is 0\.5"),
        ({"num_probes": 5}, r"num_probes 10, asked for is 5"),
        ({"seed": 1}, r"seed 0, asked for is 1"),
    ],
)
def test_a_record_made_in_another_way_is_refused(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    watched(path, 2)
    with pytest.raises(ValueError, match=rf"run\.h5 holds training/probe with {told}; give the same, or another name"):
        watched(path, 2, start=2, **changed)
    assert stored(path).step.tolist() == [0, 2]


def test_a_record_of_other_data_or_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    watched(path, 2)
    other = Objective(network(), cross_entropy, data(seed=9))
    with pytest.raises(ValueError, match=r"holds training/probe on other data; give the same data, or another name"):
        Probe(other, path, start=2, quantities=("lambda_max", "noise"))
    model = network()
    fewer = Objective(model, cross_entropy, data(), parameters="0.*")
    with pytest.raises(ValueError, match=r"num_parameters 43, asked for is 25"):
        Probe(fewer, path, start=2, quantities=("lambda_max", "noise"))


def test_when_to_measure_may_change(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    watched(path, 2)
    record = watched(path, 5, start=2, schedule=every(1), budget=1e9).record
    assert record.step.tolist() == [0, 2, 3, 4, 5]
    assert (record.schedule, record.budget) == ("every:1", 1e9)


def test_a_copy_of_the_file_of_a_run_under_way_is_whole(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "run.h5"
    probe = Probe(objective_of(model), path, schedule=every(1), budget=math.inf, quantities=["sharpness"])
    probe.step()
    shutil.copy(path, tmp_path / "copy.h5")
    probe.step()
    assert stored(tmp_path / "copy.h5").step.tolist() == [0, 1]


def test_a_write_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if what only the file takes is left out of the budget, before a stop or after it."""
    path, clock, model = tmp_path / "run.h5", Clock(), network()
    write_now, seconds = Probe._write, [1.0]

    def slow(self: Probe) -> None:
        clock.forward(seconds[0])
        write_now(self)

    monkeypatch.setattr(Probe, "_write", slow)
    options: dict[str, Any] = {"schedule": every(1), "budget": 0.1, "quantities": [], "clock": clock}
    probe = Probe(objective_of(model), path, **options)
    for _ in range(2):
        clock.forward(10.0)
        probe.step()  # 1 s was spent and 1 s is expected: allowed after 20 s
    assert probe.record.step.tolist() == [0, 2]
    assert probe.record.spent_seconds.tolist() == [0.0, 1.0]
    seconds[0] = 3.0
    again = Probe(objective_of(model), path, start=2, **options)
    clock.forward(19.0)
    again.step()  # 1 s was spent and 3 s are expected, as the opening write took: allowed after 40 s
    clock.forward(1.0)
    again.step()
    assert again.record.step.tolist() == [0, 2, 4]
