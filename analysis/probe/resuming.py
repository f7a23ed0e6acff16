"""Go on with the record of a probe: which of its rows still hold, and whether it was made in the same way.

Right when rows past the step are dropped, and numbers of another kind are refused by name
(`tests/analysis/probe/test_resume.py`). Cost: reads the file once.
"""

from __future__ import annotations

from pathlib import Path

from analysis.batches import NotRepeatable, check_same
from analysis.evidence import from_measurement
from analysis.probe.record import ProbeRecord, Row
from analysis.store import list_measurements, read

# What the numbers depend on; when and how often they are taken may change.
KEPT = ("quantities", "rho", "num_probes", "seed", "num_parameters")


def rows_until(path: Path, name: str, step: int, wanted: ProbeRecord) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows of a stored record up to a step, and the layers they are of.

    Args:
        path: The result file; it need not exist.
        name: Of the record.
        step: Rows up to this one are kept; none where it is 0, the beginning of a new training.
        wanted: A record with the settings of the probe that goes on.

    Raises:
        ValueError: There is something else of that name, or a record that was made in another way.
    """
    key = f"{ProbeRecord.group}/{name}"
    if not path.is_file() or key not in list_measurements(path):
        return [], ()
    measurement = read(path, key)
    if measurement.type != ProbeRecord.__name__:
        raise ValueError(f"{path} holds {key}, which is no record of a probe; choose another name")
    if step == 0:
        return [], ()
    stored = from_measurement(measurement)
    assert isinstance(stored, ProbeRecord)
    for field in KEPT:
        if getattr(stored, field) != getattr(wanted, field):
            raise ValueError(
                f"{path} holds {key} with {field} {getattr(stored, field)}, asked for is {getattr(wanted, field)}; "
                "give the same, or another name"
            )
    try:
        check_same(_sums(stored.data_fingerprint), _sums(wanted.data_fingerprint))
    except NotRepeatable:
        raise ValueError(f"{path} holds {key} on other data; give the same data, or another name") from None
    return [row for row in stored.rows() if row["step"] <= step], stored.layers


def _sums(fingerprint: str) -> tuple[float, float]:
    total, squares = (float.fromhex(number) for number in fingerprint.split("/"))
    return total, squares
