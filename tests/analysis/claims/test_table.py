"""The table holds the numbers that the run files hold; each run file here is written with chosen ones."""

from __future__ import annotations

import math
import shutil
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

import analysis
from analysis.claims import RunTable, collect
from analysis.claims.table import DERIVED
from analysis.store import Measurement, SchemaError, Variable, write
from tests.analysis.claims.runs import scalar, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run.h5")
    return tmp_path / "run.h5"


EXPECTED = {
    "rho": 0.05,
    "num_parameters": 1234.0,
    "train_loss": 0.25,
    "train_accuracy": 0.75,
    "test_accuracy": 0.5,
    "step_seconds_median": 0.125,
    "step_memory_bytes": 4096.0,
    "generalization_gap": 0.25,
    "epochs_to_target": 2.0,
    "gradient_evaluations": 40.0,
    "step_change_variance": (122 - 64 / 59) / 58,  # 58 changes of size 1 that cancel, and 8
    "loss_spikes": 0.1,  # 12 among 4 and 3, the last of ten steps that have 50 before them
    "curve_roughness": 5 / 3,  # 4, 2, 3, 1
    "ascent_ratio": 0.5,
    "ascent_ratio.a.weight": 1.0,
    "ascent_ratio.b.weight": 0.25,
    "corrupted_accuracy": 0.25,
    "corrupted_accuracy.blur": 0.375,
    "corrupted_accuracy.noise": 0.125,
    "corruption_gap": 0.25,
    "lambda_max": 8.0,
    "lambda_ratio": 4.0,
    "trace": 32.0,
    "trace_centralized": 24.0,
    "worst": 1.0,
    "average": 0.5,
    "worst_adaptive": 0.25,
    "average_adaptive": 0.125,
    "raw_noise_trace": 64.0,
    "raw_noise_signal": 2.0,
    "raw_noise_scale": 32.0,
    "centralized_noise_trace": 48.0,
    "centralized_noise_signal": 1.0,
    "centralized_noise_scale": 48.0,
    "control_noise_trace": 56.0,
    "control_noise_signal": 0.5,
    "control_noise_scale": 112.0,
    "raw_training_noise_scale": 4.0,  # of sums, (6 + 2) / (3 - 1); the mean of the ratios would be 0
    "centralized_training_noise_scale": 6.0,
    "control_training_noise_scale": 14.0,
    "raw_ascent_cosine": 0.25,
    "centralized_ascent_cosine": 0.125,
    "control_ascent_cosine": 0.0625,
}


def test_every_number_is_read(run: Path) -> None:
    found = collect([run])
    assert (found.method, found.seed) == (("gcsam",), (0,))
    assert {name: found.values(name).tolist() for name in found.columns} == {
        name: [pytest.approx(number, rel=1e-12)] for name, number in EXPECTED.items()
    }
    assert set(DERIVED) < set(EXPECTED)


def test_rows_are_in_the_given_order_from_files_and_folders(tmp_path: Path) -> None:
    for folder, method, seed in [("one", "sam", 3), ("two", "gcsam", 1)]:
        (tmp_path / folder).mkdir()
        write_run(tmp_path / folder / "run.h5", method, seed)
    found = collect([tmp_path / "two", tmp_path / "one" / "run.h5"])
    assert (found.method, found.seed) == (("gcsam", "sam"), (1, 3))
    assert found.by_seed("sam", "test_accuracy") == {3: 0.875}
    assert found.by_seed("sgd", "test_accuracy") == {}


@pytest.mark.parametrize(
    ("key", "lost"),
    [
        ("training/history", ("epochs_to_target", "gradient_evaluations", "step_change_variance", "ascent_ratio")),
        ("training/history", ("loss_spikes", "curve_roughness")),
        ("training/robustness", ("corrupted_accuracy", "corruption_gap")),
        ("training/robustness/accuracy", ("corrupted_accuracy", "corruption_gap")),
        ("training/probe", ("raw_training_noise_scale", "control_training_noise_scale")),
        ("training/probe/centralized", ("centralized_training_noise_scale",)),
        ("curvature/eigenvalues", ("lambda_max", "lambda_ratio")),
        ("curvature/trace", ("trace",)),
        ("curvature/trace_centralized", ("trace_centralized",)),
        ("noise/minibatch", ("raw_ascent_cosine", "control_ascent_cosine")),
        ("noise/minibatch/centralized", ("centralized_ascent_cosine",)),
        ("sharpness/worst_adaptive", ("worst_adaptive",)),
        ("noise/gradient_noise", ("raw_noise_scale", "control_noise_trace", "centralized_noise_signal")),
        ("noise/gradient_noise/control", ("control_noise_scale",)),
        ("training/summary/test_accuracy", ("generalization_gap",)),
        ("training/history/validation_accuracy", ("epochs_to_target",)),
    ],
)
def test_what_a_run_lacks_is_nan_in_its_row_alone(tmp_path: Path, run: Path, key: str, lost: tuple[str, ...]) -> None:
    shutil.copy(run, tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "r+") as file:
        del file[key]
        file["training/summary/seed"][()] = 1
    found = collect([run, tmp_path / "other.h5"])
    for name in lost:
        assert not math.isnan(found.values(name)[0])
        assert math.isnan(found.values(name)[1])
    alone = collect([tmp_path / "other.h5"])
    assert not {"corrupted_accuracy", "corruption_gap"} & alone.columns.keys() or "training/robustness" not in key
    assert all(math.isnan(alone.values(name)[0]) for name in lost)


def test_noise_without_a_gradient_to_be_told_from_it_is_infinite(run: Path) -> None:
    """Fails if a sum of signals that came out negative gives a negative noise scale, or none."""
    with h5py.File(run, "r+") as file:
        file["training/probe/raw/signal"][1] = 1.0
    assert collect([run]).values("raw_training_noise_scale")[0] == math.inf


@pytest.mark.parametrize(("target", "epochs"), [(0.5, 1.0), (0.951, 4.0), (0.995, math.nan), (1, math.nan)])
def test_the_target_decides_the_epoch(run: Path, target: float, epochs: float) -> None:
    found = collect([run], target_accuracy=target)
    assert found.values("epochs_to_target")[0] == pytest.approx(epochs, nan_ok=True)
    assert f"reached {target}" in found.columns["epochs_to_target"].description


@pytest.mark.parametrize("target", [0.0, -0.1, 95, math.nan])
def test_target_out_of_range(run: Path, target: float) -> None:
    with pytest.raises(ValueError, match=r"target_accuracy must be a fraction in \(0, 1\], got"):
        collect([run], target_accuracy=target)


@pytest.mark.parametrize("values", [[8.0, 4.0], [8.0, 4.0, 2.0, 1.0, 0.0], [8.0, 4.0, 2.0, 1.0, -1.0]])
def test_no_ratio_without_a_positive_fifth_eigenvalue(run: Path, values: list[float]) -> None:
    write(run, "curvature", "eigenvalues", Measurement("", {"values": Variable(np.array(values), ("pair",))}))
    found = collect([run])
    assert found.values("lambda_max")[0] == 8.0
    assert math.isnan(found.values("lambda_ratio")[0])


def test_an_ascent_ratio_that_was_never_measured_is_nan(run: Path) -> None:
    nothing = Variable(np.full(4, np.nan), ("epoch",))
    write(run, "training", "history", Measurement("", {"ascent_ratio_total": nothing}))
    assert math.isnan(collect([run]).values("ascent_ratio")[0])


def test_unfinished_runs_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "run.h5", "training", "history", Measurement(""))
    with pytest.raises(ValueError, match=r"run\.h5 has no /training/summary, so its method and seed are unknown"):
        collect([tmp_path])
    write(tmp_path / "run.h5", "training", "summary", Measurement("", {"seed": scalar(1)}))
    with pytest.raises(ValueError, match=r"/training/summary of .*run\.h5 does not say method; train it again"):
        collect([tmp_path])


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result file at"):
        collect([tmp_path])
    (tmp_path / "run.h5").write_text("1")
    with pytest.raises(SchemaError, match="cannot be read as HDF5"):
        collect([tmp_path])


def test_no_runs_give_an_empty_table() -> None:
    assert collect([]) == RunTable((), (), {})


def test_two_runs_of_one_method_and_seed(run: Path) -> None:
    with pytest.raises(ValueError, match="two runs of method 'gcsam' have seed 0; give each run a seed of its own"):
        collect([run, run])


@pytest.mark.parametrize("name", ["seed", "accuracy"])
def test_lengths_must_agree(name: str) -> None:
    seed = (0,) if name == "seed" else (0, 1)
    columns = {"accuracy": Variable(np.zeros(2 if name == "seed" else 3), ("run",))}
    with pytest.raises(ValueError, match=f"a table of 2 runs cannot have . values of '{name}'"):
        RunTable(("a", "b"), seed, columns)


def test_table_is_saved_along_the_dimension_run(tmp_path: Path, run: Path) -> None:
    write_run(tmp_path / "other.h5", "sam", 4)
    found = collect([run, tmp_path / "other.h5"])
    found.save(tmp_path / "study.h5")
    assert RunTable.load(tmp_path / "study.h5") == found
    with xarray.open_dataset(tmp_path / "study.h5", group="/training/runs", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"run": 2}
        assert dataset.method.values.tolist() == ["gcsam", "sam"]
        assert dataset.seed.values.tolist() == [0, 4]
        assert dataset.test_accuracy.values.tolist() == [0.5, 1.0]
        assert dataset.train_loss.attrs["description"] == "mean loss on the training split"
        assert dataset.train_loss.attrs["units"] == "loss"
        assert "fifth" in dataset.lambda_ratio.attrs["description"]
        assert "under noise" in dataset["corrupted_accuracy.noise"].attrs["description"]
        assert "b.weight" in dataset["ascent_ratio.b.weight"].attrs["description"]
    found.save(tmp_path / "study.h5", "again")
    assert RunTable.load(tmp_path / "study.h5", "again") == found


def test_columns_are_those_the_measurements_write() -> None:
    """Fails if a result renames a field that `collect` reads."""
    for result, names in {
        "Eigenpairs": {"values"},
        "TraceEstimate": {"value"},
        "Sharpness": {"value"},
        "GradientNoise": {"raw", "centralized", "control"},
        "LayerNoise": {"total"},
        "TotalNoise": {"trace", "signal", "noise_scale"},
    }.items():
        assert names <= {field.name for field in fields(getattr(analysis, result))}
