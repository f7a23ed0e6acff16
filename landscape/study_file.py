"""A study written down in TOML: read, checked to the last setting before anything runs, each mistake with its line.

The file holds what `StudyConfig` holds: seeds, points, rho and samples at the top, `[train]` for what all runs share,
and a table `[methods.NAME]` for each method with what differs. Right when every mistake names file, line, what was
given and what is allowed (`tests/landscape/test_study_file.py`). Cost: importing torch, to check what trains.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from landscape.study_config import StudyConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A name becomes part of the name of a folder, on every system.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Set for each run by the study itself.
OWN = {"seed": "is set by the study: give seeds = N at the top", "device": "is given on the command line: --device"}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    seeds: int = Field(default=StudyConfig.seeds, ge=1)
    points: int = Field(default=StudyConfig.points, ge=2)
    rho: float = Field(default=StudyConfig.rho, gt=0)
    samples: int | None = Field(default=None, ge=2)
    train: dict[str, Any] = Field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = Field(min_length=1)


def read_study(path: Path) -> StudyConfig:
    """Read a study, and check every setting of each of its runs.

    Args:
        path: A TOML file.

    Returns:
        Its settings.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is no TOML, or a setting is wrong: file, line, what was given, what is allowed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a study in TOML, or the name of one that is built in")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: is no TOML: {error}") from None
    try:
        found = _File(**values)
    except ValidationError as error:
        raise ValueError(_one_line(path, text, error)) from None
    config = StudyConfig(
        train=found.train,
        methods=found.methods,
        seeds=found.seeds,
        points=found.points,
        rho=found.rho,
        samples=found.samples,
    )
    for table, settings in (("train", found.train), *((f"methods.{name}", own) for name, own in found.methods.items())):
        for key in (key for key in settings if key in OWN):
            raise ValueError(f"{_at(path, text, [*table.split('.', 1), key])}: {table}.{key} {OWN[key]}")
    for name in found.methods:
        _check_method(path, text, config, name)
    return config


def _check_method(path: Path, text: str, config: StudyConfig, name: str) -> None:
    from gcsam.training import METHODS, TrainConfig
    from gcsam.training.functions import check_name

    at = _at(path, text, ["methods", name])
    if not NAME.fullmatch(name):
        raise ValueError(f"{at}: methods.{name!r} must be letters, digits, and . _ + -: it names a folder")
    settings = config.settings(name, 0)
    try:
        check_name(settings["method"], METHODS, "method")
    except ValueError as error:
        hint = (
            "" if "method" in config.methods[name] else f'; a name of your own needs method = "..." in [methods.{name}]'
        )
        raise ValueError(f"{at}: {error}{hint}") from None
    try:
        TrainConfig(**settings)
    except ValueError as error:
        # the setting a message of TrainConfig begins with, or the one it calls unknown, in the table that gives it
        found = re.match(r"setting '(\w+)'|(\w+)", str(error))
        key = (found[1] or found[2]) if found else ""
        tables = (("methods", name), ("train",))
        given = next((table for table in tables if _line(text, [*table, key])), ("methods", name))
        raise ValueError(f"{_at(path, text, [*given, key])}: {error}") from None


def _one_line(path: Path, text: str, error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = [str(part) for part in problem["loc"]]
    named = ".".join(where)
    if problem["type"] == "missing":
        return f"{path}: {named} is missing; give a table [methods.NAME] for each method, for example [methods.gcsam]"
    if problem["type"] == "extra_forbidden":
        from gcsam.training.functions import check_name

        try:
            check_name(named, _File.model_fields, "setting")
        except ValueError as unknown:
            return f"{_at(path, text, where)}: {unknown}; settings of training stand under [train]"
    told = problem["msg"][0].lower() + problem["msg"][1:]
    told = told.removeprefix("input ").replace("should", "must")
    return f"{_at(path, text, where)}: {named} {told}, got {problem['input']!r}"


def _at(path: Path, text: str, keys: Iterable[str]) -> str:
    """Return file and line of a setting; of its table where it stands in none."""
    keys = list(keys)
    while keys and not (line := _line(text, keys)):
        keys.pop()
    return f"{path}:{line}" if keys else str(path)


def _line(text: str, keys: Iterable[str]) -> int:
    """Return the number of the line where a setting or a table stands, 0 where none is found.

    The parser of the standard library knows no lines. This looks for the three ways to write a setting: under its
    table, with the table's name before it, and inside braces.
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
