"""Where a setting stands in a TOML file: the parser of the standard library knows no lines.

Right when the three ways to write a setting (under its table, with the table's name before it, inside braces) are found
with their line (`tests/landscape/study/test_file.py`). Cost: one pass over the text for each mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def place(path: Path, text: str, keys: Iterable[str]) -> str:
    r"""Return file and line of a setting; of its table where it stands in none.

    Args:
        path: The file.
        text: What it holds.
        keys: From the outermost table to the setting.

    Example:
        >>> place(Path("study.toml"), "[train]\nlr = 0.1", ["train", "lr"])
        'study.toml:2'
    """
    keys = list(keys)
    while keys and not (line := line_of(text, keys)):
        keys.pop()
    return f"{path}:{line}" if keys else str(path)


def line_of(text: str, keys: Iterable[str]) -> int:
    """Return the number of the line where a setting or a table stands, 0 where none is found.

    Args:
        text: Of the file.
        keys: From the outermost table to the setting.
    """
    wanted, table = list(keys), list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[([^\[\]]+)\]", line)
        if header:
            table = _parts(header[1])
            if table[: len(wanted)] == wanted:
                return number
            continue
        setting = re.match(r"\s*([\w.\"'+ -]+?)\s*=", line)
        if setting is None:
            continue
        found = [*table, *_parts(setting[1])]
        inside = [part.strip("\"' ") for part in re.findall(r"[{,]\s*([\w.\"'+-]+)\s*=", line)]
        if found[: len(wanted)] == wanted or (found == wanted[:-1] and wanted[-1] in inside):
            return number
    return 0


def _parts(name: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r"[\"']([^\"']*)[\"']|([^.\"'\s]+)", name)]
