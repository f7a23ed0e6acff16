"""The studies that come with the package: each is one that training takes, and is found by its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gcsam.training import METHODS, TrainConfig
from landscape.jobs.measurements import MEASURED, ON_REQUEST
from landscape.study.config import StudyConfig, reduced
from landscape.study.file import read_study, tomllib
from landscape.study.named import FOLDER, STUDIES, find_study

CIFAR = ("cifar10", "cifar10-label-noise", "cifar10-resnet18")
PLACES = {**{name: {"root": "/data"} for name in CIFAR}, "pneumonia": {"data": "npz:x.npz"}}
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", STUDIES)
def test_every_setting_is_one_that_training_takes(name: str) -> None:
    """The studies are read unchecked; fails if one of them would not pass the checks of a reader's own."""
    config = find_study(name, PLACES.get(name, {}))
    assert read_study(FOLDER / f"{name}.toml", PLACES.get(name, {})) == config
    for study in (config, reduced(config)):
        for method, seed in study.runs():
            TrainConfig(**study.settings(method, seed))


def test_the_digits_are_what_make_study_does() -> None:
    methods = {name: {} for name in ("sgd", "gc", "sam", "gcsam")}
    assert find_study("digits", {}) == StudyConfig({"data": "digits", "model": "cnn"}, methods, seeds=3, points=25)


def test_the_whole_protocol_is_in_the_full_study() -> None:
    full = find_study("digits-full", {})
    assert full.seeds >= 5
    assert full.tuning is not None
    assert full.tuning.rho is not None
    assert set(full.measure.of) == {*MEASURED, *ON_REQUEST}
    assert set(full.sweep.grids()) == {"rho", "label_noise"}  # which claims 5 and 8 ask for
    assert METHODS.keys() <= {full.settings(name, 0)["method"] for name in full.methods}
    assert TrainConfig(**full.settings("sgd-long", 0)).epochs == 2 * TrainConfig().epochs


def test_the_noisy_study_holds_the_runs_of_the_clean_one() -> None:
    clean, noisy = (find_study(name, PLACES[name]) for name in ("cifar10", "cifar10-label-noise"))
    assert noisy.sweep.label_noise == (0.0, 0.4)
    assert noisy.jobs() == clean.jobs()


@pytest.mark.parametrize("name", PLACES)
def test_real_images_come_from_where_the_reader_keeps_them(name: str) -> None:
    option = "--root DIR" if "root" in PLACES[name] else "--data npz:FILE"
    with pytest.raises(ValueError, match=f"study '{name}' needs its data: give {option}"):
        find_study(name, {})
    assert PLACES[name].items() <= find_study(name, PLACES[name]).train.items()
    assert find_study(name, PLACES[name]).seeds == 5


def test_an_unknown_study_is_refused_with_the_nearest() -> None:
    known = "cifar10, cifar10-label-noise, cifar10-resnet18, digits, digits-drift, digits-full, pneumonia"
    with pytest.raises(
        ValueError,
        match=rf"^study 'digit' is unknown; choose one of {known}, or a file in TOML; did you mean 'digits'\?$",
    ):
        find_study("digit", {})


def test_a_file_of_the_reader_takes_places_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[methods.sam]\n[train]\ndata = "npz:FILE"\n', encoding="utf-8")
    assert find_study(str(path), {"data": "npz:x.npz"}).train == {"data": "npz:x.npz"}


def test_finding_a_study_needs_no_torch() -> None:
    code = "import sys; from landscape.study.named import find_study; find_study('digits-full', {})"
    done = subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_the_files_are_installed_with_the_package() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert setup["package-data"]["landscape"] == ["studies/*.toml"]
    assert len(list(FOLDER.glob("*.toml"))) == len(STUDIES)


def test_a_small_copy_has_two_trials_and_the_ends_of_each_grid() -> None:
    small = reduced(find_study("digits-full", {}))
    assert small.tuning is not None
    assert (small.tuning.trials, small.tuning.seeds) == (2, 1)
    assert small.sweep.grids() == {"rho": (0.01, 0.2), "label_noise": (0.0, 0.8)}
    assert TrainConfig(**small.settings("sgd", 0)).epochs == 2
    assert TrainConfig(**small.settings("sgd-long", 0)).epochs == 4
