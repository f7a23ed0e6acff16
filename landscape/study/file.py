"""A study written down in TOML: read, checked to the last setting before anything runs, each mistake with its line.

The file holds what `StudyConfig` holds: seeds, points, rho and samples at the top, `[train]` for what all runs share,
a table `[methods.NAME]` for each method with what differs, and `[tuning]`, `[sweep]`, `[measure]` where wanted. Right
when every mistake names file, line, what was given and what is allowed (`tests/landscape/study/test_file.py`).
Cost: importing torch, to check what trains.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from landscape.jobs.measurements import Measure
from landscape.study.config import StudyConfig
from landscape.study.grid_checks import problems
from landscape.study.parts import Sweep, Tuning
from landscape.study.toml_lines import line_of, place

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[float, Field(gt=0)]
# `landscape.jobs.measurements.MEASURED`
Usual = Literal["robustness", "eigenvalues", "trace", "sharpness", "noise", "surface"]
Measured = Literal[Usual, "density"]  # and `ON_REQUEST`
Probed = Literal["lambda_max", "trace", "noise", "sharpness"]  # `landscape.jobs.measurements.PROBED`
Share = Annotated[float, Field(ge=0, lt=1)]
# A name becomes part of the name of a folder, on every system.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Set for each run by the study itself.
OWN = {"seed": "is set by the study: give seeds = N at the top", "device": "is given on the command line: --device"}


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Tuning(_Table):
    trials: int = Field(ge=1, le=100)
    lr: list[Positive] = Field(min_length=2, max_length=2)
    rho: list[Positive] | None = Field(default=None, min_length=2, max_length=2)
    seeds: int = Field(default=Tuning.seeds, ge=1)
    same_as: dict[str, str] = Field(default_factory=dict)

    @field_validator("lr", "rho")
    @classmethod
    def _rises(cls, ends: list[float] | None) -> list[float] | None:
        if ends is not None and not ends[0] < ends[1]:
            raise ValueError("must be two ends of a range, the lower one first")
        return ends


class _Sweep(_Table):
    lr: list[Positive] = Field(default_factory=list)
    rho: list[Positive] = Field(default_factory=list)
    label_noise: list[Share] = Field(default_factory=list)
    methods: list[str] = Field(default_factory=list)

    @field_validator("lr", "rho", "label_noise")
    @classmethod
    def _rises(cls, values: list[float]) -> list[float]:
        if len(values) == 1 or any(a >= b for a, b in itertools.pairwise(values)):
            raise ValueError("must be two or more values in rising order")
        return values


class _Measure(_Table):
    of: list[Measured] = Field(default_factory=lambda: list(get_args(Usual)))
    probe: str = Measure.probe
    probe_budget: float = Field(default=Measure.probe_budget, gt=0, allow_inf_nan=True)
    probe_samples: int = Field(default=Measure.probe_samples, ge=2)
    probe_of: list[Probed] = Field(default_factory=lambda: list(get_args(Probed)), min_length=1)


class _File(_Table):
    seeds: int = Field(default=StudyConfig.seeds, ge=1)
    points: int = Field(default=StudyConfig.points, ge=2)
    rho: float = Field(default=StudyConfig.rho, gt=0)
    samples: int | None = Field(default=None, ge=2)
    train: dict[str, Any] = Field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = Field(min_length=1)
    tuning: _Tuning | None = None
    sweep: _Sweep = _Sweep()
    measure: _Measure = _Measure()

    def config(self, places: Mapping[str, str]) -> StudyConfig:
        """Return the study, with the places of its data."""
        return StudyConfig(
            train={**self.train, **places},
            methods=self.methods,
            seeds=self.seeds,
            points=self.points,
            rho=self.rho,
            samples=self.samples,
            tuning=None if self.tuning is None else Tuning.from_values(self.tuning.model_dump()),
            sweep=Sweep.from_values(self.sweep.model_dump()),
            measure=Measure.from_values(self.measure.model_dump()),
        )


TABLES: Mapping[str, type[BaseModel]] = {"": _File, "tuning": _Tuning, "sweep": _Sweep, "measure": _Measure}


def read_study(path: Path, places: Mapping[str, str] | None = None, *, checked: bool = True) -> StudyConfig:
    """Read a study, and check every setting of each of its runs.

    Args:
        path: A TOML file.
        places: Where the data lie, on this machine: "root" and "data" in the place of those under [train].
        checked: Whether the settings of training are checked too, which loads torch; the studies that are built in are
            checked by their tests.

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
    config = found.config(places or {})
    for table, settings in (("train", found.train), *((f"methods.{name}", own) for name, own in found.methods.items())):
        for key in (key for key in settings if key in OWN):
            raise ValueError(f"{place(path, text, [*table.split('.', 1), key])}: {table}.{key} {OWN[key]}")
    if checked:
        for name in found.methods:
            _check_method(path, text, config, name)
        for keys, problem in problems(config):
            raise ValueError(f"{place(path, text, keys)}: {problem}")
    return config


def _check_method(path: Path, text: str, config: StudyConfig, name: str) -> None:
    from gcsam.training import METHODS, TrainConfig
    from gcsam.training.functions import check_name

    at = place(path, text, ["methods", name])
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
        given = next((table for table in tables if line_of(text, [*table, key])), ("methods", name))
        raise ValueError(f"{place(path, text, [*given, key])}: {error}") from None


def _one_line(path: Path, text: str, error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = [str(part) for part in problem["loc"]]
    named = ".".join(where)
    if problem["type"] == "missing":
        if named != "methods":
            return f"{place(path, text, where)}: {named} is missing; give it, or leave out [{where[0]}]"
        return f"{path}: {named} is missing; give a table [methods.NAME] for each method, for example [methods.gcsam]"
    if problem["type"] == "extra_forbidden":
        from gcsam.training.functions import check_name

        try:
            check_name(where[-1], TABLES[where[0] if len(where) > 1 else ""].model_fields, "setting")
        except ValueError as unknown:
            hint = "" if len(where) > 1 else "; settings of training stand under [train]"
            return f"{place(path, text, where)}: {unknown}{hint}"
    if problem["type"] == "value_error":  # a check of ours
        return f"{place(path, text, where)}: {named} {problem['ctx']['error']}, got {problem['input']!r}"
    told = problem["msg"][0].lower() + problem["msg"][1:]
    told = told.removeprefix("input ").replace("should", "must")
    return f"{place(path, text, where)}: {named} {told}, got {problem['input']!r}"
