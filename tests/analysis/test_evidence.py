"""Results come back from the file as they were, whatever their fields hold; equality sees every difference.

The file itself is looked at with h5py, so that a mistake made both on writing and on reading is seen.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

import analysis
from analysis import load
from analysis.evidence import Result, Status, from_measurement, measured
from analysis.store import KINDS, Measurement, write


@dataclasses.dataclass(frozen=True, eq=False)
class Inner(Result):
    """Nested, with a dimension of the outer one and one of its own."""

    trace: Tensor = measured("layer", units="loss^2", description="trace per layer")
    samples: Tensor = measured("sample", description="its own dimension")
    status: Status = measured(description="how it ended")


@dataclasses.dataclass(frozen=True, eq=False)
class Outer(Result):
    """Every kind of field."""

    group: ClassVar[str] = "noise"

    values: Tensor = measured("layer", units="loss", description="numbers", source="arXiv 0000.00000")
    single: Tensor = measured("layer", "column", description="float32")
    counts: Tensor = measured("layer", description="int64")
    done: Tensor = measured("layer", description="booleans")
    empty: Tensor = measured("none", description="no numbers")
    layers: tuple[str, ...] = measured("layer", description="names")
    no_names: tuple[str, ...] = measured("none", description="no names")
    value: float = measured(units="loss", description="a number")
    seed: int = measured(description="a seed")
    adaptive: bool = measured(description="a switch")
    kind: str = measured(description="a word")
    inner: Inner = measured(description="nested")
    status: Status = measured(description="how it ended")
    later: int = measured(description="a field that older files lack", default=3)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for result in (Inner, Outer):
        monkeypatch.setattr(analysis, result.__name__, result, raising=False)
    monkeypatch.setattr(analysis, "__all__", [*analysis.__all__, "Inner", "Outer"])


def sample(**changes: Any) -> Outer:
    fields: dict[str, Any] = {
        "values": torch.tensor([1.0, math.nan, -0.0], dtype=torch.float64),
        "single": torch.tensor([[0.1, math.inf], [0.2, -math.inf], [0.3, math.nan]], dtype=torch.float32),
        "counts": torch.tensor([2**62, -1, 0]),
        "done": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, dtype=torch.float32),
        "layers": ("conv.weight", "größe", ""),
        "no_names": (),
        "value": math.nan,
        "seed": -7,
        "adaptive": True,
        "kind": "worst",
        "inner": Inner(torch.ones(3), torch.arange(5), Status.ZERO_SIGNAL),
        "status": Status.MAX_HVPS,
        "later": 4,
    }
    return Outer(**{**fields, **changes})


def test_every_field_comes_back(tmp_path: Path) -> None:
    """Fails if a field loses its type, dtype, shape, NaN or status; checked field by field, not by `==`."""
    sample().save(tmp_path / "run.h5", "a")
    got = load(tmp_path / "run.h5")
    assert type(got) is Outer
    for field in dataclasses.fields(Outer):
        stored, expected = getattr(got, field.name), getattr(sample(), field.name)
        assert type(stored) is type(expected)
        if isinstance(expected, Tensor):
            assert stored.dtype == expected.dtype
            assert stored.numpy().tobytes() == expected.numpy().tobytes()
            assert stored.shape == expected.shape
        elif field.name not in {"value", "inner"}:
            assert stored == expected
    assert math.isnan(got.value)
    assert got.inner.status is Status.ZERO_SIGNAL
    assert got.inner.samples.tolist() == [0, 1, 2, 3, 4]
    assert got == sample()


def test_the_file_says_what_the_numbers_are(tmp_path: Path) -> None:
    sample().save(tmp_path / "run.h5", "a")
    with h5py.File(tmp_path / "run.h5") as file:
        group = file["noise/a"]
        assert group.attrs["type"] == "Outer"
        assert group.attrs["status"] == "MAX_HVPS"
        assert group.attrs["status_meaning"] == Status.MAX_HVPS.value
        values = group["values"]
        assert [values.attrs[name] for name in ("units", "description", "source")] == [
            "loss",
            "numbers",
            "arXiv 0000.00000",
        ]
        assert np.array_equal(values[()], [1.0, np.nan, 0.0], equal_nan=True)
        assert group["inner/trace"].dims[0][0].name == "/noise/a/layer"


def test_a_tensor_that_needs_a_gradient_or_is_no_block_is_saved(tmp_path: Path) -> None:
    sample(values=torch.arange(6.0)[::2].requires_grad_()).save(tmp_path / "run.h5", "a")
    got = load(tmp_path / "run.h5", "a")
    assert isinstance(got, Outer)
    assert got.values.tolist() == [0.0, 2.0, 4.0]
    got.values[0] = 1.0  # the loaded tensor is ordinary memory


def test_saving_again_replaces(tmp_path: Path) -> None:
    sample().save(tmp_path / "run.h5", "a")
    sample(seed=1).save(tmp_path / "run.h5", "a")
    assert load(tmp_path / "run.h5") == sample(seed=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"values": torch.tensor([1.0, math.nan, 1e-300], dtype=torch.float64)},
        {"values": torch.tensor([1.0, 0.0, math.nan], dtype=torch.float64)},
        {"values": torch.tensor([1.0, math.nan, -0.0])},
        {"values": torch.zeros(3, 1, dtype=torch.float64)},
        {"done": torch.tensor([True, False, False])},
        {"layers": ("conv.weight", "größe", "a")},
        {"value": 0.0},
        {"seed": 7},
        {"adaptive": False},
        {"seed": True},
        {"kind": "average"},
        {"status": Status.CONVERGED},
        {"inner": Inner(torch.ones(3), torch.arange(5), Status.CONVERGED)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_equality_sees_every_difference(changes: dict[str, Any]) -> None:
    assert sample(**changes) != sample()
    assert sample(**changes) == sample(**changes)


def test_numbers_of_another_type_are_not_equal() -> None:
    assert sample(seed=1) != sample(seed=True)
    assert sample(value=1.0) != sample(value=1)


def test_equality_is_between_results_of_one_type() -> None:
    inner = Inner(torch.ones(3), torch.arange(5), Status.CONVERGED)
    assert sample() != inner
    assert sample() != "a result"


def test_results_are_frozen_and_have_no_hash() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample().seed = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="unhashable"):
        hash(sample())


def test_a_field_with_a_default_may_be_missing_in_the_file() -> None:
    stored = sample().to_measurement()
    older = {name: variable for name, variable in stored.variables.items() if name != "later"}
    assert from_measurement(dataclasses.replace(stored, variables=older)) == sample(later=3)


def test_another_field_missing_in_the_file_is_named() -> None:
    stored = sample().to_measurement()
    fewer = {name: variable for name, variable in stored.variables.items() if name != "seed"}
    with pytest.raises(ValueError, match="the stored Outer has no 'seed': another version wrote it; measure again"):
        from_measurement(dataclasses.replace(stored, variables=fewer))


@pytest.mark.parametrize("name", ["Unknown", "", "Objective", "load"])
def test_other_types_are_refused(tmp_path: Path, name: str) -> None:
    """Fails if a file may name any attribute of `analysis` to be called."""
    write(tmp_path / "run.h5", "noise", "a", Measurement(name))
    with pytest.raises(ValueError, match=f"result type '{name}' is unknown to this version; read it with"):
        load(tmp_path / "run.h5", "a")


def test_each_status_says_something_else() -> None:
    assert len({status.value for status in Status}) == len(Status)
    assert all(status.value.endswith(".") for status in Status)


def test_public_results_describe_every_field() -> None:
    """A reader of the file has nothing but these texts."""
    found = [getattr(analysis, name) for name in analysis.__all__]
    results = [result for result in found if isinstance(result, type) and issubclass(result, Result)]
    assert len(results) > 3
    for result in results:
        assert result.group in {"", *KINDS}
        for field in dataclasses.fields(result):
            assert field.metadata["description"], f"{result.__name__}.{field.name}"
            assert isinstance(field.metadata["dims"], tuple)
