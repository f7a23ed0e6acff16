"""How the numbers came about: settings, what differs in each method, versions, hashes, and commands to do it again.

Read from the root of each file. Right when a setting that differs between methods is a column, and the study written
down in TOML is the one that ran (`tests/figures/report/test_provenance.py`). Cost: opening each file once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.store import place_free, read_attributes
from figures.reading import Run
from figures.report.content import Block, Cell, Code, Column, Table, Text
from figures.report.wording import NONE, listed
from figures.report.wording import method as method_name
from figures.style import in_order

KNOWN = {
    "sgd": "the base optimizer alone",
    "gc": "steps along the centralized gradient",
    "sam": "climbs by rho along the gradient, steps along the gradient found there",
    "gcsam": "climbs by rho along the centralized gradient, steps along the gradient found there",
    "random": "the control of GCSAM: a random projection in the place of centralization",
}
# Set by the study for each run, or of the place it ran.
OWN = {"method", "seed", "device", "root"}


def blocks(study: Run | None, runs: Sequence[Run]) -> list[Block]:
    """Return the blocks of the section on methods and provenance.

    Args:
        study: The study's file, if there is one.
        runs: As from `figures.reading.load_runs`.
    """
    attributes = [(run.method, run.seed, read_attributes(run.path)) for run in runs]
    configs = [(method, _parsed(found["config"])) for method, _, found in attributes]
    sources = [read_attributes(study.path)] if study is not None else []
    found: list[Block] = []
    if runs:
        found += [_methods(configs)]
    shared = _shared([config for _, config in configs])
    if shared:
        found += [_pairs("settings", "Settings of training that all runs share.", shared)]
    sources += [each for *_, each in attributes]
    if not sources:
        return found
    found += [_pairs("versions", "Where and with what the numbers were computed.", _origin(sources))]
    if attributes:
        found += [_hashes(attributes)]
    config = _parsed(sources[0]["config"]) if study is not None else {}
    if "methods" in config:
        found += _again(config)
    return found


def toml(config: Mapping[str, Any]) -> str:
    """Return a study as `landscape study` reads it.

    Args:
        config: Its settings, as stored.

    Example:
        >>> print(toml({"seeds": 2, "samples": None, "train": {"data": "digits"}, "methods": {"sgd": {"lr": 0.1}}}))
        seeds = 2
        <BLANKLINE>
        [train]
        data = "digits"
        <BLANKLINE>
        [methods.sgd]
        lr = 0.1
    """
    top = [f"{_key(name)} = {_value(value)}" for name, value in config.items() if _is_plain(value)]
    tables = []
    for name, values in config.items():
        if not isinstance(values, dict):
            continue
        own = {key: value for key, value in values.items() if _is_plain(value)}
        inner = {key: value for key, value in values.items() if isinstance(value, dict)}
        if own or not inner:
            tables.append(_table(_key(name), own))
        tables += [_table(f"{_key(name)}.{_key(key)}", value) for key, value in inner.items()]
    return "\n\n".join(filter(None, ["\n".join(top), *tables]))


def _methods(configs: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    by_name = dict(reversed(configs))  # the first run of each stands for it
    names = in_order(list(by_name))
    differing = [
        key
        for key in dict.fromkeys(key for config in by_name.values() for key in config)
        if key not in OWN and len({json.dumps(config.get(key)) for config in by_name.values()}) > 1
    ]
    rows = []
    for name in names:
        config = by_name[name]
        kind = str(config.get("method", name))
        rows.append((
            Cell(method_name(name)),
            Cell(KNOWN.get(kind, kind)),
            *(Cell(_shown(config.get(key)), _sortable(config.get(key))) for key in differing),
        ))
    caption = (
        f"What differs in each method: {listed(differing)}."
        if differing
        else "What differs in each method: nothing but the rule of the step."
    )
    return Table("methods", caption, (Column("Method"), Column("What it does"), *map(Column, differing)), tuple(rows))


def _shared(configs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    if not configs:
        return {}
    first = configs[0]
    same = {name: value for name, value in first.items() if all(c.get(name) == value for c in configs)}
    if "data" in same:
        same["data"] = place_free(str(same["data"]))  # the folder says nothing on another machine
    return {name: _shown(value) for name, value in same.items() if name not in OWN and value is not None}


def _origin(sources: Sequence[Mapping[str, str]]) -> dict[str, str]:
    def distinct(name: str) -> str:
        return ", ".join(dict.fromkeys(found[name] for found in sources if found.get(name))) or NONE

    created = sorted(found["created"] for found in sources)
    versions = [_parsed(found["library_versions"]) for found in sources]
    names = dict.fromkeys(name for found in versions for name in found)
    return {
        "measured (UTC)": " to ".join(dict.fromkeys((created[0], created[-1]))),
        "device": distinct("device"),
        "platform": distinct("platform"),
        "processor": distinct("processor"),
        "Python": distinct("python"),
        **{name: ", ".join(dict.fromkeys(str(v[name]) for v in versions if name in v)) for name in names},
        "git commit": distinct("git_commit"),
        "data fingerprint": distinct("data_fingerprint"),
        "result file schema": distinct("schema_version"),
    }


def _hashes(attributes: Sequence[tuple[str, int, Mapping[str, str]]]) -> Table:
    order = in_order([method for method, *_ in attributes])
    rows = tuple(
        (Cell(method_name(m)), Cell(str(seed), seed), Cell(found["created"]), Cell(found["checkpoint_sha256"] or NONE))
        for m, seed, found in sorted(attributes, key=lambda row: (order.index(row[0]), row[1]))
    )
    columns = (Column("Method"), Column("Seed", is_number=True), Column("Measured (UTC)"), Column("Checkpoint SHA-256"))
    return Table("hashes", "The weights that were measured.", columns, rows)


def _again(config: Mapping[str, Any]) -> list[Block]:
    commands = "landscape study study.toml --output runs/again\nlandscape report runs/again/study.h5 -o report.html"
    return [
        Text(
            "To do it again, put this into study.toml and run the two commands; on the same versions and device the "
            "numbers are the same but for times."
        ),
        Code(toml(config), "toml"),
        Code(commands),
        Text("To do its runs again from its file alone, and see whether every number comes out as stored:"),
        Code("landscape reproduce study.h5"),
    ]


def _pairs(name: str, caption: str, values: Mapping[str, str]) -> Table:
    rows = tuple((Cell(key), Cell(text)) for key, text in values.items())
    return Table(name, caption, (Column("Name"), Column("Value")), rows)


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _shown(value: Any) -> str:
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value)


def _sortable(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, dict)


def _table(name: str, values: Mapping[str, Any]) -> str:
    return "\n".join([
        f"[{name}]",
        *(f"{_key(key)} = {_value(value)}" for key, value in values.items() if value is not None),
    ])


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    return json.dumps(value)  # strings, numbers, booleans and lists are written alike in JSON and TOML
