"""Settings of a study: kept, compared, refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from gcsam.training import METHODS, TrainConfig
from landscape.jobs.measurements import Measure
from landscape.study.config import BATCH_SIZE, CONFIG_FILE, EPOCHS, StudyConfig, claim_directory, reduced
from landscape.study.named import find_study
from landscape.study.parts import Sweep, Tuning

DIGITS = find_study("digits", {})


def test_the_main_study_is_all_methods_with_paired_seeds() -> None:
    runs = DIGITS.runs()
    assert len(runs) == 12
    assert {method for method, _ in runs} == set(METHODS) - {"random", "sam-matched", "fsam"}  # controls
    assert runs[:4] == [(method, 0) for method in DIGITS.methods]  # whole pairs first
    assert DIGITS.points == 25
    assert DIGITS.samples is None


def test_its_measurements_are_all_there_and_the_surface_is_last() -> None:
    keys = [stage.key for stage in DIGITS.measurements().stages()]
    assert set(keys) == {
        *("curvature/eigenvalues", "curvature/trace", "curvature/trace_centralized"),
        *("noise/gradient_noise", "noise/minibatch", "surface/plane"),
        *(f"sharpness/{kind}" for kind in ("worst", "average", "worst_adaptive", "average_adaptive")),
    }
    assert keys[-1] == "surface/plane"
    assert DIGITS.measurements().stages()[-1].settings["points"] == [25, 25]


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 32),
        ({"train": {"batch_size": 8}}, 8),
        ({"samples": 50}, 25),  # two disjoint batches of what is measured on
        ({"train": {"train_limit": 30}, "samples": 50}, 15),
    ],
)
def test_batches_are_those_of_training_where_two_fit_into_the_data(changes: dict[str, Any], size: int) -> None:
    stages = dataclasses.replace(DIGITS, **changes).measurements().stages()
    assert next(stage for stage in stages if stage.key == "noise/minibatch").settings["batch_sizes"] == [size]


@pytest.mark.parametrize("config", [DIGITS, reduced(DIGITS)])
def test_settings_of_training_are_ones_it_takes(config: StudyConfig) -> None:
    for method, seed in config.runs():
        TrainConfig(**config.settings(method, seed))


def test_the_quick_study_is_small() -> None:
    small = reduced(DIGITS)
    assert (small.train["epochs"], small.train["train_limit"], small.points) == (2, 120, 5)
    assert small.runs() == DIGITS.runs()


def test_json_gives_back_the_settings() -> None:
    config = dataclasses.replace(reduced(DIGITS), seeds=7, rho=0.1, samples=50)
    assert StudyConfig.from_json(config.to_json()) == config


def test_a_folder_keeps_its_settings(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    claim_directory(DIGITS, folder)
    claim_directory(DIGITS, folder)
    other = dataclasses.replace(DIGITS, points=9, train={**DIGITS.train, "lr": 0.2})
    with pytest.raises(ValueError, match=r"other settings \(points 9, stored 25; train\.lr 0\.2, stored by default\);"):
        claim_directory(other, folder)
    with pytest.raises(ValueError, match=r"train\.model by default, stored cnn"):
        claim_directory(dataclasses.replace(DIGITS, train={"data": "digits"}), folder)
    assert StudyConfig.from_json((folder / CONFIG_FILE).read_text(encoding="utf-8")) == DIGITS


def test_seeds_may_be_added_but_not_taken_away(tmp_path: Path) -> None:
    """Fails if five seeds are refused where three are: the first thing the verdicts ask for."""
    claim_directory(DIGITS, tmp_path)
    more = dataclasses.replace(DIGITS, seeds=5)
    claim_directory(more, tmp_path)
    assert StudyConfig.from_json((tmp_path / CONFIG_FILE).read_text(encoding="utf-8")) == more
    with pytest.raises(ValueError, match=r"\(seeds 3, stored 5\); give the same, or another --output"):
        claim_directory(DIGITS, tmp_path)
    with pytest.raises(ValueError, match=r"\(points 9, stored 25; seeds 6, stored 5\)"):
        claim_directory(dataclasses.replace(DIGITS, seeds=6, points=9), tmp_path)


def test_a_study_may_come_to_measure_more_but_not_less(tmp_path: Path) -> None:
    """Fails if what is asked for later needs runs of its own."""
    few, more, none = (
        dataclasses.replace(DIGITS, measure=Measure(of)) for of in (("trace",), ("density", "trace"), ())
    )
    claim_directory(few, tmp_path)
    claim_directory(more, tmp_path)
    assert StudyConfig.from_json((tmp_path / CONFIG_FILE).read_text(encoding="utf-8")) == more
    with pytest.raises(ValueError, match=r"\(measure\.of \('trace',\), stored \('density', 'trace'\)\); give the same"):
        claim_directory(few, tmp_path)
    claim_directory(none, tmp_path / "none")
    with pytest.raises(ValueError, match=r"\(measure\.of \('trace',\), stored \(\)\)"):
        claim_directory(few, tmp_path / "none")


def test_search_sweep_and_schedule_are_part_of_a_study(tmp_path: Path) -> None:
    whole = dataclasses.replace(
        DIGITS,
        tuning=Tuning(9, (0.01, 0.3), (0.01, 0.2)),
        sweep=Sweep(rho=(0.1, 0.2)),
        measure=Measure(("trace",), "every:5"),
    )
    assert StudyConfig.from_json(whole.to_json()) == whole
    claim_directory(whole, tmp_path)
    with pytest.raises(ValueError, match=r"\(tuning\.lr \(0\.01, 0\.2\), stored \(0\.01, 0\.3\)\);"):
        claim_directory(dataclasses.replace(whole, tuning=Tuning(9, (0.01, 0.2), (0.01, 0.2))), tmp_path)
    found = dataclasses.replace(whole, tuning=None, sweep=Sweep(), measure=Measure()).differences(whole)
    assert [text.split()[0] for text in found] == [
        *("measure.of", "measure.probe", "sweep.rho"),
        *("tuning.lr", "tuning.rho", "tuning.seeds", "tuning.trials"),
    ]


def test_where_the_data_lie_is_left_out_of_what_is_shipped() -> None:
    """Fails if a file for others says how the folders of this machine are called."""
    methods = {"sgd": {}, "other": {"method": "sam", "data": "npz:/old/more.npz"}}
    placed = dataclasses.replace(
        DIGITS, train={"data": "npz:/old/scans.npz", "root": "/old", "lr": 0.1}, methods=methods
    )
    free = placed.without_places()
    assert free.train == {"data": "npz:scans.npz", "lr": 0.1}
    assert free.methods == {"sgd": {}, "other": {"method": "sam", "data": "npz:more.npz"}}
    assert "old" not in free.to_json()


def test_settings_of_earlier_versions_are_read() -> None:
    values = json.loads(DIGITS.to_json())
    for name in ("tuning", "sweep", "measure"):
        del values[name]
    assert StudyConfig.from_json(json.dumps(values)) == DIGITS
    assert StudyConfig.from_json(json.dumps({**values, "methods": list(values["methods"])})) == DIGITS


def test_another_method_without_settings_is_a_difference(tmp_path: Path) -> None:
    """Fails if a study of two methods is taken for one of four, because neither has settings of its own."""
    claim_directory(DIGITS, tmp_path)
    fewer = dataclasses.replace(DIGITS, methods={"sgd": {}, "gcsam": {}})
    with pytest.raises(ValueError, match=r"\(methods gcsam, sgd, stored gc, gcsam, sam, sgd\)"):
        claim_directory(fewer, tmp_path)


def test_data_may_be_moved_but_not_exchanged(tmp_path: Path) -> None:
    before = dataclasses.replace(DIGITS, train={"data": "npz:/old/scans.npz", "root": "/old"})
    claim_directory(before, tmp_path)
    claim_directory(dataclasses.replace(before, train={"data": "npz:/new/scans.npz", "root": "/new"}), tmp_path)
    with pytest.raises(ValueError, match=r"train\.data npz:others\.npz, stored npz:scans\.npz"):
        claim_directory(dataclasses.replace(before, train={"data": "npz:/old/others.npz"}), tmp_path)


def test_settings_that_were_found_replace_those_of_the_study() -> None:
    found = dataclasses.replace(DIGITS, seeds=1).jobs({"sam": {"lr": 0.3, "rho": 0.1}})
    assert {job.method: job.settings.get("lr") for job in found} == {"sgd": None, "gc": None, "sam": 0.3, "gcsam": None}
    assert [DIGITS.ascends(method) for method in DIGITS.methods] == [False, False, True, True]


def test_methods_may_be_added_but_not_changed(tmp_path: Path) -> None:
    """Fails if a study has to be done anew for one more method, or if a method may change under its old name."""
    claim_directory(DIGITS, tmp_path)
    more = dataclasses.replace(DIGITS, methods={**DIGITS.methods, "wide": {"method": "sam", "rho": 0.2}})
    claim_directory(more, tmp_path)
    assert StudyConfig.from_json((tmp_path / CONFIG_FILE).read_text(encoding="utf-8")) == more
    other = dataclasses.replace(DIGITS, methods={**more.methods, "wide": {"method": "sam", "rho": 0.4}})
    with pytest.raises(ValueError, match=r"\(methods\.wide\.rho 0\.4, stored 0\.2\); give the same"):
        claim_directory(other, tmp_path)
    with pytest.raises(ValueError, match=r"methods\.wide\.method by default, stored sam"):
        claim_directory(DIGITS, tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", '{"seeds": 3}', '{"methods": [], "unknown": 1}'])
def test_a_broken_settings_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"study\.json: it holds no settings of a study .*; give another --output"):
        claim_directory(DIGITS, tmp_path)


def test_the_defaults_that_are_needed_without_torch_are_those_of_training() -> None:
    assert (BATCH_SIZE, EPOCHS) == (TrainConfig().batch_size, TrainConfig().epochs)
