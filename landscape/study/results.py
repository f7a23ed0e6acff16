"""From finished runs to the study's own file: the table of runs and the verdicts.

Right when the file says what `analysis.claims` says about the runs found (`tests/landscape/study/test_results.py`).
Costs a second or two; needs torch, but not before it judges.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.store import Measurement, create, list_measurements, provenance, read, read_attributes, write
from landscape.records.layout import is_current

if TYPE_CHECKING:
    from analysis import Result
    from analysis.claims import RunTable
    from landscape.study.phases import Grids

VERDICTS = "claims/verdicts"
# What a comparison of two methods came to; it also remembers how often somebody has looked.
AB = "claims/ab"


def judge(
    runs: Sequence[Path],
    target: Path,
    config: str = "",
    *,
    grids: Grids | None = None,
    missing: Iterable[tuple[str, int]] = (),
) -> Measurement:
    """Judge the claims by the runs, and write the table of runs and the verdicts.

    Args:
        runs: Run files.
        target: The study's file.
        config: Its settings as JSON. Empty keeps those in the file.
        grids: What was searched and swept beside the runs.
        missing: Method and seed of runs that count as not measured where they are not among the runs: leaving out one
            that failed would favor its method.

    Returns:
        The verdicts as stored.
    """
    from analysis import verify
    from analysis.claims import collect, with_sweeps
    from analysis.evidence import from_measurement

    table = with_sweeps(collect(runs).with_missing(missing), [] if grids is None else grids.sweeps)
    found: dict[str, Result] = {VERDICTS: verify(table)}
    if target.exists() and AB in list_measurements(target):
        found[AB] = from_measurement(read(target, AB))  # or the looks would be forgotten
    _store(runs, target, table, found, config, grids)
    return read(target, VERDICTS)


def judge_ab(
    runs: Sequence[Path], target: Path, baseline: str, candidate: str, success: str, config: str
) -> Measurement:
    """Judge whether one method meets criteria beside another, and write the table of runs and the answers.

    The looks at fewer seeds that the file remembers count, whatever was asked then. Where nothing is new, nothing is
    written.

    Args:
        runs: Run files of both methods.
        target: The study's file.
        baseline: Method that the bounds are taken from.
        candidate: Method that is to meet them.
        success: Criteria, see `analysis.claims.success`.
        config: Settings of the study as JSON.

    Returns:
        The answers as stored.

    Raises:
        ValueError: As `analysis.judge_success`.
    """
    from analysis import judge_success
    from analysis.claims import collect
    from analysis.evidence import from_measurement

    table, before = collect(runs), None
    if target.exists() and AB in list_measurements(target):
        before = read(target, AB)
    looks = [] if before is None else before.variables["looks"].data.tolist()
    found = judge_success(table, baseline, candidate, success, looks=looks)
    if before is None or not is_current(target, runs) or from_measurement(before) != found:
        _store(runs, target, table, {AB: found}, config)
    return read(target, AB)


def _store(
    runs: Sequence[Path],
    target: Path,
    table: RunTable,
    found: Mapping[str, Result],
    config: str,
    grids: Grids | None = None,
) -> None:
    """Make the study's file anew: all in it comes from the runs."""
    if not config:
        config = read_attributes(target)["config"] if target.exists() else "{}"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".judging-") as folder:
        whole = Path(folder) / target.name
        create(whole, provenance(config=config, **_origin(runs)))
        table.save(whole)
        for sweep in [] if grids is None else grids.sweeps:
            sweep.save(whole)
        if grids is not None and grids.tuning is not None:
            write(whole, "training", "tuning", grids.tuning)
        for key, result in found.items():
            result.save(whole, key.split("/")[1])
        os.replace(whole, target)


def _origin(runs: Sequence[Path]) -> dict[str, str]:
    """Return what the runs were made from: their devices and data, and one hash over their checkpoints' hashes."""
    found = [read_attributes(path) for path in runs]
    hashes = "".join(attributes["checkpoint_sha256"] for attributes in found)
    each = {name: dict.fromkeys(attributes[name] for attributes in found) for name in ("data_fingerprint", "device")}
    return {"checkpoint_sha256": hashlib.sha256(hashes.encode()).hexdigest()} | {
        name: " ".join(values) for name, values in each.items()
    }
