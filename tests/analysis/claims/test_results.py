"""A row of the result says what `judge` said, and comes back from the file and from xarray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import xarray

import analysis
from analysis.claims import CLAIMS, RunTable, Verdicts, judge, overall, verify
from tests.analysis.claims.runs import table

NUMBERS = {
    "trace": [1.0, 2.0, 3.0, 4.0, 5.0],
    "test_accuracy": [0.9, 0.91, 0.92, 0.93, 0.95],
    "train_loss": [0.1, 0.2, 0.3, 0.2, 0.1],
    "lambda_max": [1.0, 2.0, 1.5, float("nan"), 1.0],
}


@pytest.fixture
def runs() -> RunTable:
    better = {name: [0.5 * number for number in numbers] for name, numbers in NUMBERS.items()}
    return table({"gcsam": better, "sam": NUMBERS, "gc": NUMBERS})


def test_rows_are_the_verdicts(runs: RunTable) -> None:
    found, expected = verify(runs), judge(runs)
    assert "supported" in found.verdict
    assert found.statement == tuple(claim.statement for claim in CLAIMS)
    for row, verdict in enumerate(expected):
        claim = verdict.claim
        assert (int(found.number[row]), found.quantity[row]) == (claim.number, claim.quantity)
        assert (found.comparison[row], found.role[row]) == (claim.comparison, verdict.role)
        assert (found.direction[row], found.unit[row]) == (claim.direction, claim.unit)
        assert (found.verdict[row], found.reason[row]) == (verdict.verdict, verdict.reason)
        assert (found.caveat[row], int(found.num_seeds[row])) == (verdict.caveat, verdict.num_seeds)
        for column, number in [
            (found.effect, verdict.effect.estimate),
            (found.interval_low, verdict.effect.low),
            (found.interval_high, verdict.effect.high),
            (found.p_value, verdict.evidence.p_value),
            (found.p_corrected, verdict.p_corrected),
            (found.effect_size, verdict.evidence.size.estimate),
            (found.effect_size_low, verdict.evidence.size.low),
            (found.effect_size_high, verdict.evidence.size.high),
            (found.bootstrap_low, verdict.evidence.bootstrap.low),
            (found.bootstrap_high, verdict.evidence.bootstrap.high),
            (found.detectable, verdict.evidence.detectable),
            (found.seeds_needed, verdict.evidence.seeds_needed),
            (found.treatment_mean, verdict.treatment_mean),
            (found.baseline_mean, verdict.control_mean),
        ]:
            assert column.dtype == torch.float64
            assert float(column[row]) == pytest.approx(number, nan_ok=True, rel=1e-15)
    assert dict(zip(found.claim_number.tolist(), found.overall, strict=True)) == overall(expected)
    assert (found.confidence, found.min_seeds) == (0.95, 5)


def test_claims_and_confidence_are_the_callers(runs: RunTable) -> None:
    chosen = [claim for claim in CLAIMS if claim.quantity == "trace"][:1]
    found = verify(runs, chosen, confidence=0.5)
    assert len(found.number) == 1
    assert found.confidence == 0.5
    assert found.interval_high[0] == judge(runs, chosen, 0.5)[0].effect.high


def test_saved_and_loaded_equal(tmp_path: Path, runs: RunTable) -> None:
    found = verify(runs)
    found.save(tmp_path / "study.h5", "verdicts")
    runs.save(tmp_path / "study.h5")
    loaded = analysis.load(tmp_path / "study.h5")
    assert isinstance(loaded, Verdicts)
    assert loaded == found
    with xarray.open_dataset(tmp_path / "study.h5", group="/claims/verdicts", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"claim": len(CLAIMS), "claim_number": 9}
        assert dataset.verdict.dims == ("claim",)
        assert set(dataset.verdict.values.tolist()) <= {"supported", "contradicted", "inconclusive"}


def test_an_empty_study_is_inconclusive_throughout() -> None:
    found = verify(RunTable((), (), {}))
    assert set(found.verdict) == {"inconclusive"}
    assert set(found.overall) == {"inconclusive"}


def test_no_claims_give_no_rows(tmp_path: Path) -> None:
    found = verify(RunTable((), (), {}), [])
    found.save(tmp_path / "study.h5", "none")
    assert analysis.load(tmp_path / "study.h5", "none") == found


def test_statistics_need_no_torch() -> None:
    code = "import sys, analysis.claims as c; c.judge(c.collect([])); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match=r"module 'analysis.claims' has no attribute 'verdicts'"):
        _ = analysis.claims.verdicts


def test_every_public_name_is_there() -> None:
    assert all(hasattr(analysis.claims, name) for name in analysis.claims.__all__)
    assert dir(analysis.claims) == sorted(analysis.claims.__all__)
