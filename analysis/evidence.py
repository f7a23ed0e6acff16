"""What every number carries: frozen results with named dimensions, units, status, seed and cost.

A measuring function returns a `Result`: a frozen dataclass whose fields say, through `measured(...)`, along which
dimensions they run, in which unit, and from which source they come. That one description serves the reader of the
code, the HDF5 file and equality, so no measurement writes its own input or output. Correct when every result of
`analysis` survives `save` and `load` with equal dtype, shape, NaN and status (`tests/analysis/test_evidence.py`).
"""

from __future__ import annotations

import dataclasses
import enum
import os
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.store import Measurement, Variable, write

__all__ = ["Result", "Status", "from_measurement", "measured"]


class Status(enum.Enum):
    """How a measurement ended: a numerical outcome is data beside the value, not an exception."""

    CONVERGED = "Every requested number met its tolerance."
    BREAKDOWN = (
        "Every requested number met its tolerance. On the way the Krylov space closed, as it does where H has few "
        "distinct eigenvalues; new starts searched the rest, so copies of an eigenvalue are counted."
    )
    COMPLETE = "Everything asked for was computed; there was no tolerance to meet."
    MAX_HVPS = (
        "The budget of Hessian products ran out. Pairs with a small residual still stand; "
        "raise max_hvps or tol for the others."
    )
    MAX_STEPS = "The budget of steps ran out before the tolerance was met; the value is a lower bound."
    MAX_SAMPLES = "The budget of samples ran out before the standard error met its tolerance; the error is as stated."
    NO_BRACKET = "No number in the range tried has the answer between it and another; the bounds say what is known."
    NOT_FINITE = "The loss or its gradient was not finite somewhere; those numbers are NaN or inf as found."
    ZERO_SIGNAL = (
        "The estimated squared gradient norm is not positive, so a ratio to it is open-ended; use more samples "
        "or a checkpoint further from its minimum."
    )
    NO_SPREAD = "The numbers do not vary enough to say anything about their tails; the estimate is NaN."
    ZERO_NOISE = "All per-sample gradients are equal: their covariance is zero, and no direction belongs to it."
    FAILED = "The measurement ended with an error, which was shown as a warning; its numbers are NaN."
    NOT_AVAILABLE = "The objective lacks what this measure needs; the note says what."
    LEFT_OUT = "The budget was spent before; the cost expected says what it would have taken."
    INTERRUPTED = "The measurement was stopped early; `done` says which numbers exist. Run it again to go on."


def measured(
    *dims: str,
    units: str = "",
    description: str,
    source: str = "",
    default: Any = dataclasses.MISSING,
    compare: bool = True,
) -> Any:
    """Describe a field of a `Result`.

    Args:
        *dims: Names of the array's dimensions, outermost first; none for a scalar.
        units: Unit, for example "loss"; "1" for a pure number; empty where none makes sense.
        description: One line for the reader of the file.
        source: Paper or definition behind the number.
        default: As in `dataclasses.field`.
        compare: Whether results that differ in it alone are unequal; not so for what the machine decides.

    Returns:
        A dataclass field.
    """
    metadata = {"dims": dims, "units": units, "description": description, "source": source}
    return dataclasses.field(default=default, metadata=metadata, compare=compare)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A frozen measurement. Subclasses set `group`, the HDF5 group they are saved under, or leave it empty if nested.

    Fields are CPU tensors, tuples of strings, `Status`, plain scalars (float, int, bool, str) or nested results.
    """

    group: ClassVar[str] = ""

    def save(self, path: str | os.PathLike[str], name: str) -> None:
        """Write this result under `/<group>/<name>` of the HDF5 file `path`, creating the file where there is none.

        The file is replaced whole, so a kill at any moment leaves the old or the new one.

        Args:
            path: File to write, `.h5`.
            name: Name of the measurement; an existing one of the same name is replaced.
        """
        write(path, self.group, name, self.to_measurement())

    def to_measurement(self) -> Measurement:
        """Return the form the store writes: numpy variables with dimensions, units, description and source."""
        variables: dict[str, Variable] = {}
        attributes: dict[str, str] = {}
        groups: dict[str, Measurement] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Result):
                groups[field.name] = value.to_measurement()
            elif isinstance(value, Status):
                attributes[field.name] = value.name
                attributes[f"{field.name}_meaning"] = value.value
            else:
                variables[field.name] = Variable(data=_to_numpy(value), **field.metadata)
        return Measurement(type=type(self).__name__, variables=variables, attributes=attributes, groups=groups)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = [field.name for field in dataclasses.fields(self) if field.compare]
        pairs = ((getattr(self, name), getattr(other, name)) for name in compared)
        return all(_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]  # equal tensors do not hash equally


def from_measurement(measurement: Measurement) -> Result:
    """Rebuild the result that `Result.to_measurement` described.

    Args:
        measurement: As read from a file.

    Returns:
        The result, equal to the one that was saved.

    Raises:
        ValueError: The file names a result type that this version of `analysis` does not have, or lacks a field.
    """
    import analysis  # the public names load lazily; importing them here, not above, keeps the imports acyclic

    result_class = getattr(analysis, measurement.type, None) if measurement.type in analysis.__all__ else None
    if not (isinstance(result_class, type) and issubclass(result_class, Result)):
        raise ValueError(
            f"result type {measurement.type!r} is unknown to this version; read it with analysis.store.read"
        )
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(result_class):
        if field.name in measurement.groups:
            fields[field.name] = from_measurement(measurement.groups[field.name])
        elif field.name in measurement.attributes:
            fields[field.name] = Status[measurement.attributes[field.name]]
        elif field.name in measurement.variables:
            fields[field.name] = _from_numpy(measurement.variables[field.name])
        elif field.default is dataclasses.MISSING:
            raise ValueError(
                f"the stored {measurement.type} has no {field.name!r}: another version wrote it; measure again, "
                "or read it with analysis.store.read"
            )
    return result_class(**fields)


def _to_numpy(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, (str, tuple)):
        return np.asarray(value, dtype=object)
    return np.asarray(value)


def _from_numpy(variable: Variable) -> Any:
    data = variable.data
    if data.dtype == object:
        return tuple(str(text) for text in data) if variable.dims else str(data[()])
    return torch.from_numpy(np.array(data)) if variable.dims else data.item()


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same_form = a.dtype == b.dtype and a.shape == b.shape
        return same_form and bool(np.array_equal(_to_numpy(a), _to_numpy(b), equal_nan=a.is_floating_point()))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return bool(type(a) is type(b) and a == b)
