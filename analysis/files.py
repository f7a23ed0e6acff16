"""Give saved results back as the objects they were."""

from __future__ import annotations

import os

from analysis.evidence import Result, from_measurement
from analysis.store import list_measurements, read


def load(path: str | os.PathLike[str], name: str | None = None) -> Result | dict[str, Result]:
    """Read results from a file written by `Result.save` or by the command line.

    Args:
        path: The HDF5 file.
        name: A measurement by name ("final") or by group and name ("curvature/final"); None for whatever is there.

    Returns:
        The result, equal to the one that was saved. With `name=None` and several measurements in the file, a
        dictionary from "group/name" to result; measurements that are plain tables (`training`) are left out.

    Raises:
        KeyError: The file has no such measurement, or several groups have one; the message lists what is there.
    """
    found = list_measurements(path)
    if name is not None:
        found = [key for key in found if name in (key, key.split("/", 1)[1])]
        if len(found) != 1:
            there = ", ".join(list_measurements(path)) or "nothing"
            raise KeyError(f"{name!r} names {len(found)} measurements in {os.fspath(path)}; it holds {there}")
        return from_measurement(read(path, found[0]))
    import analysis

    results = {
        key: from_measurement(measurement) for key in found if (measurement := read(path, key)).type in analysis.__all__
    }
    return next(iter(results.values())) if len(results) == 1 else results
