"""Measuring into a file: what is there is left alone, and a file is of one network and one data set.

Blind to the values: `tests/analysis` tests them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from analysis import Objective
from analysis.store import list_measurements, read, read_attributes
from landscape.measuring import stages
from landscape.measuring.measure import measure
from landscape.measuring.scans import Scan, scan
from landscape.measuring.stages import Stage
from landscape.network.subject import Subject
from tests.landscape.recorder import Recorder

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 2


def subject(folder: Path, batches: object = None, **changes: str) -> Subject:
    torch.manual_seed(0)
    objective = Objective(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(), [(X, Y)] if batches is None else batches)
    made = Subject("net", folder / "run.h5", objective, "a" * 64, '{"lr": 1}', "12 samples")
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def few() -> list[Stage]:
    return [stages.curvature(top=2)[0], scan(Scan(points="3"))]


def test_what_is_measured_is_stored_with_its_provenance(tmp_path: Path) -> None:
    display = Recorder()
    measure(subject(tmp_path), few(), display)
    path = tmp_path / "run.h5"
    assert set(list_measurements(path)) == {"curvature/eigenvalues", "surface/plane", "training/measured_data"}
    attributes = read_attributes(path)
    assert attributes["checkpoint_sha256"] == "a" * 64
    assert attributes["config"] == '{"lr": 1}'
    assert attributes["device"] == "cpu"
    total = float(X.double().sum() + Y.sum())
    assert float(attributes["data_fingerprint"].split()[0]) == pytest.approx(total, rel=1e-8)  # nine digits are kept
    assert str(read(path, "training/measured_data").variables["data"].data) == "12 samples"
    assert display.stages == ["Hessian eigenvalues", "loss surface 3 x 3"]


def test_a_second_call_computes_nothing(tmp_path: Path) -> None:
    def never(*_: object) -> None:
        raise AssertionError("computed again")

    measure(subject(tmp_path), few(), Recorder())
    before = (tmp_path / "run.h5").read_bytes()
    display = Recorder()
    measure(subject(tmp_path), [dataclasses.replace(stage, compute=never) for stage in few()], display)
    assert (tmp_path / "run.h5").read_bytes() == before
    assert [note.split(":")[0] for note in display.notes] == ["Hessian eigenvalues", "loss surface 3 x 3"]
    assert all("finished before, skipped (--again makes it anew)" in note for note in display.notes)


def test_made_anew_on_request_with_other_settings(tmp_path: Path) -> None:
    measure(subject(tmp_path), few(), Recorder())
    other = [stages.curvature(top=1)[0], scan(Scan(points="2"))]
    with pytest.raises(ValueError, match="pair 2, asked for is 1"):
        measure(subject(tmp_path), other, Recorder())
    measure(subject(tmp_path), other, Recorder(), again=True)
    assert read(tmp_path / "run.h5", "curvature/eigenvalues").variables["values"].data.shape == (1,)
    assert read(tmp_path / "run.h5", "surface/plane").variables["loss"].data.shape == (2, 2)


def test_a_wrong_setting_is_found_before_anything_is_computed(tmp_path: Path) -> None:
    """Fails if stages are looked at one by one: the first would be computed before the second is refused."""
    measure(subject(tmp_path), [scan(Scan(points="3"))], Recorder())
    with pytest.raises(ValueError, match="points"):
        measure(subject(tmp_path), [stages.noise(), scan(Scan(points="2"))], Recorder())
    assert "noise/gradient_noise" not in list_measurements(tmp_path / "run.h5")


def test_a_stopped_surface_goes_on_with_the_missing_cells(tmp_path: Path) -> None:
    stage = scan(Scan(points="3"))

    def stopped(objective: Objective, path: object, progress: object) -> object:
        def stop(done: float, total: float) -> None:
            if done >= 4:
                raise KeyboardInterrupt

        return stage.compute(objective, path, stop)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        measure(subject(tmp_path), [dataclasses.replace(stage, compute=stopped)], Recorder())
    half = read(tmp_path / "run.h5", "surface/plane").variables["done"].data
    assert 4 <= half.sum() < 9
    display = Recorder()
    measure(subject(tmp_path), [stage], display)
    counts = [done for _, _, done, total in display.updates if total == 9]
    assert counts[0] >= half.sum()
    whole = tmp_path / "whole"
    whole.mkdir()
    measure(subject(whole), [stage], Recorder())
    stored, expected = (read(folder / "run.h5", "surface/plane") for folder in (tmp_path, whole))
    assert stored == expected


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    measure(subject(tmp_path), few()[:1], Recorder())
    with pytest.raises(ValueError, match=r"run\.h5 belongs to the checkpoint with SHA-256 a{12}\.\.\., given is b{12}"):
        measure(subject(tmp_path, checkpoint_sha256="b" * 64), few(), Recorder())


def test_other_data_are_refused_and_the_same_in_another_order_are_not(tmp_path: Path) -> None:
    measure(subject(tmp_path), few()[:1], Recorder())
    order = torch.tensor([5, 3, 11, 0, 1, 2, 4, 6, 7, 8, 9, 10])
    shuffled = list(zip(X[order].split(5), Y[order].split(5), strict=True))
    measure(subject(tmp_path, shuffled), few(), Recorder())
    message = r"run\.h5 holds measurements on 12 samples, given are other data \(11 samples\); give the same data"
    with pytest.raises(ValueError, match=message):
        measure(subject(tmp_path, [(X[:11], Y[:11])], data="11 samples"), few(), Recorder())


def test_a_network_whose_loss_is_not_finite_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    broken = subject(tmp_path)
    torch.nn.init.constant_(broken.objective.model.bias, float("nan"))
    with pytest.raises(ValueError, match=r"^net: the loss is nan, so there is nothing to measure; check the weights"):
        measure(broken, few(), Recorder())
    assert not broken.path.exists()


def test_only_the_first_of_several_processes_writes(tmp_path: Path) -> None:
    """Fails if each process claims the file, or stores what it has computed."""

    class Second:
        is_first = False
        waits = 0

        def wait(self) -> None:
            self.waits += 1

    team = Second()
    measure(subject(tmp_path), [scan(Scan(points="2"))], Recorder(), again=True, team=team)  # type: ignore[arg-type]
    assert team.waits == 1
    assert not (tmp_path / "run.h5").exists()
