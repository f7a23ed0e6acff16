"""Rows, record, file and back; the share of time. Blind to what the numbers are: `test_probe.py` looks at those."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis import ProbeNoise, ProbeRecord, load
from analysis.probe.record import Row, columns, record_of
from analysis.store import read
from tests.compare import assert_close

SETTINGS: dict[str, Any] = {
    "layers": ("0", "head"),
    "quantities": ("lambda_max", "noise"),
    "skipped": 3,
    "training_seconds": 20.0,
    "measuring_seconds": 5.0,
    "schedule": "every:5",
    "budget": 0.05,
    "rho": 0.1,
    "num_probes": 4,
    "seed": 7,
    "num_parameters": 43,
    "data_fingerprint": "0x1.0p+0/0x1.0p+1",
}


def rows() -> list[Row]:
    full: Row = {name: float(place) for place, name in enumerate(columns(ProbeRecord)) if not name.endswith("_status")}
    full |= {"step": 5, "num_skipped": 2, "ascent_ratio": torch.tensor([0.5, 1.0], dtype=torch.float64)}
    full |= {name: "COMPLETE" for name in columns(ProbeRecord) if name.endswith("_status")}
    return [{"step": 0, "num_skipped": 0, "raw/noise_scale": math.inf}, full]


def test_rows_come_back_from_the_record() -> None:
    record = record_of(rows(), **SETTINGS)
    again = record_of(record.rows(), **SETTINGS)
    assert again == record
    empty, full = record.rows()
    for name, value in rows()[1].items():
        assert torch.equal(full[name], value) if isinstance(value, torch.Tensor) else full[name] == value
    assert math.isnan(empty["loss"])
    assert math.isnan(empty["control/trace"])
    assert empty["trace_status"] == ""
    assert (empty["step"], empty["raw/noise_scale"]) == (0, math.inf)
    assert empty["ascent_ratio"].isnan().tolist() == [True, True]


def test_every_field_of_a_row_is_a_column() -> None:
    names = list(columns(ProbeRecord))
    assert {"step", "loss_status", "raw/trace", "control/noise_scale_standard_error", "ascent_ratio"} <= set(names)
    assert not {"layers", "schedule", "raw"} & set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("chosen", [slice(0, 0), slice(0, 1), slice(0, 2)])
@pytest.mark.parametrize("layers", [(), ("0", "head")])
def test_a_record_of_any_length_comes_back_from_the_file(
    chosen: slice, layers: tuple[str, ...], tmp_path: Path
) -> None:
    """Fails if a record without rows, or without layers, cannot be stored."""
    given = [row if len(layers) == 2 else {**row, "ascent_ratio": torch.zeros(0).double()} for row in rows()[chosen]]
    record = record_of(given, **{**SETTINGS, "layers": layers})
    record.save(tmp_path / "run.h5", "probe")
    found = load(tmp_path / "run.h5", "training/probe")
    assert found == record
    assert isinstance(found, ProbeRecord)
    assert (found.training_seconds, found.measuring_seconds) == (20.0, 5.0)  # not compared: the machine decides
    stored = read(tmp_path / "run.h5", "training/probe")
    assert stored.type == "ProbeRecord"
    assert stored.variables["ascent_ratio"].dims == ("measurement", "layer")
    assert stored.groups["raw"].variables["trace"].dims == ("measurement",)
    assert all(isinstance(getattr(record, kind), ProbeNoise) for kind in ("raw", "centralized", "control"))


def test_the_share_is_of_the_training_alone() -> None:
    assert record_of(rows(), **SETTINGS).share() == 0.25
    assert math.isnan(record_of([], **{**SETTINGS, "training_seconds": 0.0}).share())


def test_numbers_are_kept_in_double_precision() -> None:
    record = record_of([{"step": 2**40, "num_skipped": 0, "trace": 0.1}], **SETTINGS)
    assert record.step.tolist() == [2**40]
    assert_close(record.trace, [0.1])
    assert record.trace.dtype == record.raw.signal.dtype == torch.float64
