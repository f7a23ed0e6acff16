"""The lines of a report, and the result made of them.

Right when lines survive report, file and back (`tests/analysis/report/test_resume.py`). Cost: none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from analysis.evidence import Result, Status, measured
from analysis.report.measure import Setup
from analysis.report.show import Grid, Shown
from analysis.report.words import report_grid

GRADIENTS = "gradients over all data"


@dataclasses.dataclass(frozen=True)
class Line:
    """One number of a report.

    Attributes:
        name: Of the quantity.
        measure: That gives it; the first of its lines bears the costs.
        title: For the reader.
        units: Of value, low and high.
        value: NaN where there is none.
        low: Of the 95 % interval, or the lower bound; NaN where there is none.
        high: Of the interval; NaN where there is none.
        meaning: Of the interval.
        status: Name of the `Status`.
        note: What the reader must know beside; empty where there is nothing.
        is_invariant: Whether the number stays the same when a ReLU network is rescaled.
        allowed: Units the measure was allowed: Hessian products, pairs, steps.
        expected: Cost that was expected, or would be where it was left out, in gradients over all data.
        spent: Cost it came to; 0 where the result was in the file.
        seconds: It took.
    """

    name: str
    measure: str
    title: str
    units: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    meaning: str = ""
    status: str = "INTERRUPTED"
    note: str = ""
    is_invariant: bool = False
    allowed: int = 0
    expected: float = 0.0
    spent: float = 0.0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class SharpnessReport(Shown, Result):
    """Every measure of sharpness of one network, a row each. `print` it; a notebook shows it as a table."""

    group: ClassVar[str] = "sharpness"
    name: tuple[str, ...] = measured("row", description="Of the quantity")
    measure: tuple[str, ...] = measured("row", description="Measure that gives it; its first row bears the costs")
    title: tuple[str, ...] = measured("row", description="For the reader")
    units: tuple[str, ...] = measured("row", description="Of value, low and high")
    value: Tensor = measured("row", description="In its row's units; NaN where there is none")
    low: Tensor = measured("row", description="Lower end of the 95 % interval, or lower bound, about these data")
    high: Tensor = measured("row", description="Upper end of the 95 % interval")
    meaning: tuple[str, ...] = measured("row", description="What the interval means")
    statuses: tuple[str, ...] = measured("row", description="How each measurement ended")
    note: tuple[str, ...] = measured("row", description="What must be known beside the number")
    is_invariant: Tensor = measured("row", description="Whether it stays the same when a ReLU network is rescaled")
    allowed: Tensor = measured("row", units="1", description="Hessian products, pairs or steps allowed")
    expected: Tensor = measured("row", units="1", description=f"Cost expected, in {GRADIENTS}, also if left out")
    spent: Tensor = measured("row", units="1", description=f"Cost, in {GRADIENTS}; 0 where taken from the file")
    seconds: Tensor = measured("row", units="s", description="Taken", compare=False)
    seconds_per_gradient: float = measured(units="s", description="Time of a gradient", compare=False)
    budget: str = measured(description="As given; empty for none")
    num_parameters: int = measured(units="1", description="D, the number of measured weights")
    num_samples: int = measured(units="1", description="N")
    top: int = measured(units="1", description="Eigenvalues")
    rho: float = measured(units="weight", description="Radius of L2 balls and deviation of noise")
    rho_linf: float = measured(units="weight", description="Half the side of the box")
    m: int = measured(units="1", description="Samples of a subset in m-sharpness")
    seed: int = measured(units="1", description="Of whatever was drawn")
    weights_sha256: str = measured(description="Of every parameter and buffer")
    data_fingerprint: str = measured(description="Of the data, whatever their order")
    status: Status = measured(description="INTERRUPTED, LEFT_OUT where the budget was spent, else COMPLETE")

    @property
    def lines(self) -> tuple[Line, ...]:
        """Its rows, one by one."""
        columns = {name: getattr(self, column) for name, column in COLUMNS.items()}
        return tuple(
            Line(**{name: _plain(column[i]) for name, column in columns.items()}) for i in range(len(self.name))
        )

    def __getitem__(self, name: str) -> Line:
        """Return the row of a quantity.

        Args:
            name: "lambda_max", for example.

        Raises:
            KeyError: There is none; the message lists them.
        """
        if name not in self.name:
            raise KeyError(f"no row {name!r}; the report has {', '.join(self.name)}")
        return self.lines[self.name.index(name)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and texts for JSON; NaN and infinity, which JSON has not, are None."""
        shared = {
            field.name: _jsonable(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in COLUMNS.values()
        }
        rows = [{name: _jsonable(value) for name, value in dataclasses.asdict(line).items()} for line in self.lines]
        return {**shared, "rows": rows}

    def grid(self) -> Grid:
        """Return the table that is shown."""
        return report_grid(self)


# From a line to the report, where "status" is that of all lines.
COLUMNS = {field.name: "statuses" if field.name == "status" else field.name for field in dataclasses.fields(Line)}
_DTYPES = {"is_invariant": torch.bool, "allowed": torch.int64}


def report_of(lines: Sequence[Line], setup: Setup, **shared: Any) -> SharpnessReport:
    """Return the report that holds lines.

    Args:
        lines: In order.
        setup: They were measured with.
        **shared: The other fields but `status`.
    """
    columns: dict[str, Any] = {}
    for field in dataclasses.fields(Line):
        values = [getattr(line, field.name) for line in lines]
        is_text = field.type == "str"
        columns[COLUMNS[field.name]] = (
            tuple(values) if is_text else torch.tensor(values, dtype=_DTYPES.get(field.name, torch.float64))
        )
    statuses = columns["statuses"]
    status = next((Status[name] for name in ("INTERRUPTED", "LEFT_OUT") if name in statuses), Status.COMPLETE)
    return SharpnessReport(**columns, **dataclasses.asdict(setup), **shared, status=status)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def _jsonable(value: Any) -> Any:
    if isinstance(value, Status):
        return value.name
    return None if isinstance(value, float) and not math.isfinite(value) else value
