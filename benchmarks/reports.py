"""The file of a benchmark: what it was measured on, and rows that are written as they come.

A part measured alone takes its place in the file beside the others, if machine, versions and settings are theirs; else
the file begins anew. Right when parts replace their like and nothing else (`tests/benchmarks/test_curvature.py`,
`test_surface.py`). Cost: the file is written whole for each row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["check_common", "collect", "device_of", "device_slug", "same_run"]

Row = dict[str, Any]


def device_of(name: str) -> torch.device:
    """Return the device of "--device": "auto" is cuda where there is one."""
    return torch.device(name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu")


def device_slug(device: torch.device) -> str:
    """Return a device's name as part of a file's: "cpu", or for example "nvidia-h100-80gb-hbm3"."""
    return "-".join(torch.cuda.get_device_name(device).lower().split()) if device.type == "cuda" else device.type


def check_common(parser: argparse.ArgumentParser, given: argparse.Namespace, parts: Sequence[str]) -> None:
    """Refuse a missing device, no round and unknown parts, and cut "--only" into its parts.

    Args:
        parser: Ends the process with one line.
        given: With `device`, `rounds` and `only`.
        parts: That there are.
    """
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    if given.rounds < 1:
        parser.error(f"--rounds must be >= 1, got {given.rounds}; 10 give an interval of a few percent")
    given.only = given.only.split(",")
    unknown = [part for part in given.only if part not in parts]
    if unknown:
        parser.error(f"--only {unknown[0]!r} is unknown; use some of {','.join(parts)}")


def same_run(target: Path, report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the report that a file holds if it was made on this machine with these versions and settings.

    Args:
        target: The file, which need not exist.
        report: The new report.

    Returns:
        The old one; one without rows where it cannot stand beside the new.
    """
    empty: dict[str, Any] = {"rows": [], "subject": {}}
    if not target.is_file():
        return empty
    found = json.loads(target.read_text(encoding="utf-8"))
    varying = {"copy_gigabytes_per_second", "date", "only"}

    def fixed(of: Mapping[str, Any]) -> dict[str, Any]:
        both = json.loads(json.dumps({**of["about"], **of["settings"]}))  # tuples become lists, as they are in the file
        return {key: value for key, value in both.items() if key not in varying}

    return found if fixed(found) == fixed(report) else empty


def collect(
    target: Path, report: dict[str, Any], rows: Iterable[Row], describe: Callable[[Row], Iterable[str]]
) -> None:
    """Print and write rows one by one, because a run takes long.

    Args:
        target: The file. Its rows of other parts stay where it is of the same run.
        report: With "about", "settings" and, where a benchmark has one, a "subject" that is filled as rows are made.
        rows: Each with its "part".
        describe: The lines to print for a row.
    """
    found = same_run(target, report)
    if "subject" in report:
        report["subject"].update(found["subject"])
    kept = [row for row in found["rows"] if row["part"] not in report["settings"]["only"]]
    report["rows"] = kept
    for row in rows:
        kept.append(row)
        print(*describe(row), sep="\n", flush=True)
        target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
