"""A study in TOML: every setting arrives, and every mistake is one line that names file and line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import pytest

from gcsam.training import TrainConfig
from landscape.jobs.measurements import MEASURED, ON_REQUEST, Measure
from landscape.study.config import StudyConfig
from landscape.study.file import Measured, read_study
from landscape.study.parts import Sweep, Tuning

WHOLE = """\
seeds = 5
points = 11
rho = 0.1
samples = 200

[train]
data = "digits"
model = "mlp"
epochs = 4

[methods.sgd]

[methods.sgd-long]
method = "sgd"
epochs = 8

[methods.gcsam]
rho = 0.1

[methods."published 1".nothing]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_arrives(tmp_path: Path) -> None:
    text = WHOLE.rpartition("[methods")[0]
    found = read_study(written(tmp_path, text))
    assert found == StudyConfig(
        train={"data": "digits", "model": "mlp", "epochs": 4},
        methods={"sgd": {}, "sgd-long": {"method": "sgd", "epochs": 8}, "gcsam": {"rho": 0.1}},
        seeds=5,
        points=11,
        rho=0.1,
        samples=200,
    )
    assert StudyConfig.from_json(found.to_json()) == found
    assert found.runs()[:4] == [("sgd", 0), ("sgd-long", 0), ("gcsam", 0), ("sgd", 1)]
    long = TrainConfig(**found.settings("sgd-long", 3))
    assert (long.method, long.epochs, long.model, long.seed) == ("sgd", 8, "mlp", 3)
    assert TrainConfig(**found.settings("gcsam", 0)).rho == 0.1


def test_the_defaults_are_those_of_the_main_study(tmp_path: Path) -> None:
    found = read_study(written(tmp_path, "[methods.sam]\n"))
    assert found == StudyConfig(methods={"sam": {}})


GRIDS = """\
[methods.sam]
[methods.wide]
method = "sam"
[tuning]
trials = 9
lr = [0.01, 0.3]
rho = [0.01, 0.2]
seeds = 2
same_as = {wide = "sam"}
[sweep]
lr = [0.1, 0.5]
rho = [0.01, 0.1]
label_noise = [0, 0.4]
methods = ["sam"]
[measure]
of = ["trace", "surface"]
probe = "every:50"
probe_budget = inf
probe_samples = 64
probe_of = ["noise"]
"""


def test_search_sweep_and_schedule_arrive(tmp_path: Path) -> None:
    found = read_study(written(tmp_path, GRIDS))
    assert found.tuning == Tuning(9, (0.01, 0.3), (0.01, 0.2), seeds=2, same_as={"wide": "sam"})
    assert found.sweep == Sweep((0.1, 0.5), (0.01, 0.1), (0.0, 0.4), ("sam",))
    assert found.measure == Measure(("trace", "surface"), "every:50", math.inf, 64, ("noise",))
    assert StudyConfig.from_json(found.to_json()) == found


def test_places_of_the_command_line_are_taken_before_anything_is_checked(tmp_path: Path) -> None:
    path = written(tmp_path, '[methods.sam]\n[train]\ndata = "cifar10"\n')
    with pytest.raises(ValueError, match=r"study\.toml:3: data 'cifar10' needs root"):
        read_study(path)
    assert read_study(path, {"root": "/data"}).train == {"data": "cifar10", "root": "/data"}
    assert read_study(path, checked=False).train == {"data": "cifar10"}


def test_what_can_be_measured_is_one_list() -> None:
    assert get_args(Measured) == (*MEASURED, *ON_REQUEST)


def test_the_density_is_measured_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """Fails if a study without [measure], or with a probe alone, begins to cost hundreds of Hessian products more."""
    for text in ("", '[measure]\nprobe = "every:5"\n'):
        assert read_study(written(tmp_path, f"[methods.sgd]\n{text}")).measure.of == MEASURED
    asked = read_study(written(tmp_path, '[methods.sgd]\n[measure]\nof = ["density", "trace"]\n'))
    assert asked.measure.of == ("density", "trace")
    assert StudyConfig.from_json(asked.to_json()) == asked


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("seeds = 0\n[methods.sgd]\n", 1, "seeds must be greater than or equal to 1, got 0"),
        ('[methods.sgd]\n[train]\n\nlr = "fast"\n', 4, "lr must be a valid number, got 'fast'"),
        ("[methods.sgd]\n[methods.sam]\nrho = -1.0\n", 3, "rho must be greater than or equal to 0, got -1.0"),
        ("train.epochs = 0\n[methods.sgd]\n", 1, "epochs must be greater than or equal to 1, got 0"),
        ("train = {epochs = 0}\n[methods.sgd]\n", 1, "epochs must be greater than or equal to 1, got 0"),
        (
            "# a comment\nmethods = {sgd = {}, gcsma = {}}\n",
            2,
            "did you mean 'gcsam'?; a name of your own needs method",
        ),
        ("epochs = 3\n[methods.sgd]\n", 1, "; settings of training stand under [train]"),
        ("seed = 3\n[methods.sgd]\n", 1, "did you mean 'seeds'?; settings of training stand under [train]"),
        ("[methods.sgd]\nepoch = 3\n", 2, "did you mean 'epochs'?"),
        ('[methods.mine]\nmethod = "sma"\n', 1, "did you mean 'sam'?"),
        ("[methods.sgd]\n[train]\nseed = 3\n", 3, "train.seed is set by the study: give seeds = N at the top"),
        ('[methods.sgd]\ndevice = "cpu"\n', 2, "methods.sgd.device is given on the command line: --device"),
        (
            '[methods."a/b"]\nmethod = "sgd"\n',
            1,
            "methods.'a/b' must be letters, digits, and . _ + -: it names a folder",
        ),
        ("[methods.sam]\n[tuning]\ntrials = 0\nlr = [0.1, 1]\n", 3, "tuning.trials must be greater than or equal to 1"),
        ("[methods.sam]\n[tuning]\ntrials = 3\n", 2, "tuning.lr is missing; give it, or leave out [tuning]"),
        (
            "[methods.sam]\n[tuning]\ntrials = 3\nlr = [1.0, 0.1]\n",
            4,
            "tuning.lr must be two ends of a range, the lower one first, got [1.0, 0.1]",
        ),
        ("[methods.sam]\n[tuning]\ntrials = 3\nlr = [nan, 0.1]\n", 4, "tuning.lr.0 must be a finite number, got nan"),
        ("[methods.sam]\n[tuning]\ntrials = 3\nlr = [0.1]\n", 4, "tuning.lr "),
        ("[methods.sam]\n[tuning]\ntrial = 3\nlr = [0.1, 1]\n", 2, "tuning.trials is missing"),
        ("[methods.sam]\n[tuning]\ntrials = 3\nlr = [0.1, 1]\nseed = 3\n", 5, "did you mean 'seeds'?"),
        (
            "[methods.sam]\nlr = 0.1\n[tuning]\ntrials = 3\nlr = [0.1, 1]\n",
            2,
            "methods.sam.lr is what [tuning] searches; leave it out there, or lr out of [tuning]",
        ),
        (
            '[methods.sam]\n[tuning]\ntrials = 3\nlr = [0.1, 1]\n[tuning.same_as]\nrandom = "sam"\n',
            6,
            "tuning.same_as: 'random' is no method of the study; choose of sam",
        ),
        (
            "[methods.sam]\n[sweep]\n\nrho = [0.2, 0.1]\n",
            4,
            "sweep.rho must be two or more values in rising order, got [0.2, 0.1]",
        ),
        ("[methods.sam]\n[sweep]\nlabel_noise = [0.0, 1.0]\n", 3, "sweep.label_noise.1 must be less than 1, got 1.0"),
        (
            '[methods.sam]\n[sweep]\nrho = [0.1, 0.2]\nmethods = ["sgd"]\n',
            4,
            "sweep.methods: 'sgd' is no method of the study; choose of sam",
        ),
        ("[methods.sgd]\n[sweep]\nrho = [0.1, 0.2]\n", 3, "sweep.rho acts on no method of the sweep"),
        (
            '[methods.sam]\n[measure]\nof = ["traces"]\n',
            3,
            "measure.of.0 must be 'robustness', 'eigenvalues', 'trace'",
        ),
        ('[methods.sam]\n[measure]\nprobe = "always"\n', 3, "measure.probe: "),
        ("[methods.sam]\n[measure]\nprobe_budget = 0.0\n", 3, "measure.probe_budget must be greater than 0, got 0.0"),
        ("[methods.sam]\n[measure]\nprobe_of = []\n", 3, "measure.probe_of "),
        ('[methods.sam]\n[measure]\nprobe_of = ["q"]\n', 3, "measure.probe_of.0 must be 'lambda_max', 'trace'"),
        ("[methods]\nsgd = 3\n", 2, "methods.sgd must be a valid dictionary, got 3"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"study\.toml") as caught:
        read_study(path)
    told = str(caught.value)
    assert told.startswith(f"{path}:{line}: ")
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = 3\n", "methods is missing; give a table [methods.NAME] for each method, for example [methods.gcsam]"),
        ("seeds = \n", "is no TOML: Invalid value (at line 1, column 9)"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"study\.toml") as caught:
        read_study(path)
    assert str(caught.value) == f"{path}: {message}"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file; give a study in TOML, or the name of one that is built"):
        read_study(tmp_path / "none.toml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is no TOML: 'utf-8' codec"):
        read_study(path)
