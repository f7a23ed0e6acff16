"""Put the numbers of the studies' files into the tables of `../results.md`, so that no figure there is typed by hand.

    python docs/results/make.py

Right when writing again changes nothing (`tests/docs/test_results.py`). Costs reading the files.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a plain checkout will do

from analysis.claims import RunTable
from analysis.store import list_measurements, read, read_attributes
from benchmarks.tables import filled_with, markdown
from figures.reading import Run
from figures.report.sentences import Row, answers, comparison, read_rows
from figures.report.verdicts import effect_text
from figures.report.wording import label, method, number

HERE = Path(__file__).parent
PAGE = HERE.parent / "results.md"
# Folder of each study to what its column is called.
STUDIES = {
    "digits-full": "digits",
    "pneumonia": "chest X-rays",
    "cifar10-label-noise": "CIFAR-10 subset",
    "digits-drift": "drifting digits",
}
# What is shown for each method: column, factor, unit.
SHOWN = {
    "test_accuracy": (100.0, "%"),
    "online_accuracy": (100.0, "%"),
    "corrupted_accuracy": (100.0, "%"),
    "train_loss": (1.0, ""),
    "lambda_max": (1.0, ""),
    "trace": (1.0, ""),
    "worst": (1.0, ""),
    "raw_training_noise_scale": (1.0, ""),
    "centralized_training_noise_scale": (1.0, ""),
}
SIGNIFICANT = 0.05


def studies() -> dict[str, Path]:
    """Return the file of each study that is there, by its name."""
    files = {name: HERE / name / "study.h5" for name in STUDIES}
    return {name: path for name, path in files.items() if path.is_file()}


def verdicts() -> str:
    """Return what each study says about each claim, in a word and the tally of its comparisons."""
    columns, numbers = {}, dict[int, None]()
    for name, path in studies().items():
        rows = [row for row in read_rows(Run(path)) if row.role == "decides" and math.isfinite(row.effect)]
        columns[name] = {}
        for answer in answers(Run(path)):
            numbers[answer.number] = None
            own = [row.verdict for row in rows if row.number == answer.number]
            tally = ", ".join(
                f"{own.count(word)} {sign}"
                for word, sign in (("supported", "for"), ("contradicted", "against"), ("inconclusive", "open"))
                if word in own
            )
            columns[name][answer.number] = f"{answer.verdict} ({tally})" if tally else answer.verdict
    cells = [[str(n), *(column.get(n, "–") for column in columns.values())] for n in sorted(numbers)]
    return markdown(["claim", *(STUDIES[name] for name in columns)], cells)


def effects(claim: int) -> str:
    """Return every comparison of a claim that came to a number in some study, with its effect in each.

    Args:
        claim: Its number.
    """
    found = {name: [row for row in read_rows(Run(path)) if row.number == claim] for name, path in studies().items()}
    names = {name: rows for name, rows in found.items() if any(math.isfinite(row.effect) for row in rows)}
    titles = dict.fromkeys(_title(row) for rows in names.values() for row in rows if math.isfinite(row.effect))
    cells = [
        [title, *(next((_effect(row) for row in rows if _title(row) == title), "–") for rows in names.values())]
        for title in titles
    ]
    return markdown(["", *(STUDIES[name] for name in names)], cells)


def methods(study: str) -> str:
    """Return mean and standard deviation over seeds of the main numbers of each method.

    Args:
        study: Its folder.
    """
    table = RunTable.load(HERE / study / "study.h5")
    order = list(dict.fromkeys(table.method))
    shown = [name for name in SHOWN if name in table.columns and not all(map(math.isnan, table.values(name)))]
    head = ["", *(f"{label(name)}{' [%]' if SHOWN[name][1] else ''}" for name in shown)]
    rows = [[method(own), *(_spread(table.by_seed(own, name), SHOWN[name][0]) for name in shown)] for own in order]
    return markdown(head, rows)


def settings(study: str) -> str:
    """Return what the search of a study found for each method.

    Args:
        study: Its folder.
    """
    table = read(HERE / study / "study.h5", "training/tuning")
    columns = {name: variable.data.tolist() for name, variable in table.variables.items()}
    rows = [
        [method(name), number(lr), number(rho)]
        for name, lr, rho, chosen in zip(*(columns[name] for name in ("method", "lr", "rho", "chosen")), strict=True)
        if chosen
    ]
    pairs = zip(columns["control"], columns["same_as"], strict=True)
    rows += [[method(control), f"as {method(other)}", f"as {method(other)}"] for control, other in pairs]
    return markdown(["", "learning rate", "rho"], rows)


def sweep(study: str, setting: str) -> str:
    """Return the test accuracy over a grid, mean and standard deviation over seeds.

    Args:
        study: Its folder.
        setting: That was swept.
    """
    from analysis.claims import SweepTable

    table = SweepTable.load(HERE / study / "study.h5", setting)
    numbers = table.numbers["test_accuracy"]  # [method, seed, value]
    rows = [
        [method(name), *(_spread(dict(enumerate(numbers[i, :, k].tolist())), 100.0) for k in range(len(table.values)))]
        for i, name in enumerate(table.method)
    ]
    return markdown([setting.replace("_", " "), *(f"{value:g}" for value in table.values)], rows)


def machine() -> str:
    """Return where each study ran: when, on what, with which versions, from which commit."""
    rows = []
    for name, path in studies().items():
        found = read_attributes(path)
        versions = json.loads(found["library_versions"])
        config = json.loads(found["config"])
        rows.append([
            STUDIES[name],
            str(len(RunTable.load(path).seed)),
            str(config["seeds"]),
            found["created"][:10],
            f"{found.get('processor', '')}, {found['device']}",
            f"Python {found['python']}, torch {versions['torch']}, numpy {versions['numpy']}",
            found["git_commit"][:10],
        ])
    return markdown(["", "runs judged", "seeds", "date", "machine", "versions", "commit"], rows)


def tables() -> dict[str, Callable[[], str]]:
    """Return every table of the page by name: those of the studies that are there."""
    found: dict[str, Callable[[], str]] = {"verdicts": verdicts, "machine": machine}
    found |= {f"claim-{number}": partial(effects, number) for number in range(1, 10)}
    for name, path in studies().items():
        found[f"methods-{name}"] = partial(methods, name)
        there = list_measurements(path)
        if "training/tuning" in there:
            found[f"settings-{name}"] = partial(settings, name)
        for key in (key for key in there if key.startswith("training/sweep_")):
            setting = key.removeprefix("training/sweep_")
            found[f"{setting.replace('_', '-')}-{name}"] = partial(sweep, name, setting)
    return found


def _title(row: Row) -> str:
    return f"{label(row.quantity)}: {comparison(row)}"


def _effect(row: Row) -> str:
    """Return effect and interval, in bold where the corrected p value is below 0.05."""
    if not math.isfinite(row.effect):
        return "–"
    text = effect_text(row)
    return f"**{text}**" if row.role == "decides" and row.p_corrected < SIGNIFICANT else text


def _spread(by_seed: Mapping[int, float], factor: float) -> str:
    values = [factor * value for value in by_seed.values() if math.isfinite(value)]
    if not values:
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    lost = f" ({len(values)} of {len(by_seed)})" if len(values) < len(by_seed) else ""
    return f"{_short(values, statistics.fmean(values))} ± {_short([deviation], deviation)}{lost}"


def _short(values: Sequence[float], value: float) -> str:
    return (
        f"{value:.1f}"
        if max(map(abs, values)) >= 10 and abs(value) < 1000
        else number(value, 3 if len(values) > 1 else 2)
    )


if __name__ == "__main__":
    PAGE.write_text(filled_with(tables(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
