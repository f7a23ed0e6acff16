"""From result files to the report: question, answer, evidence, provenance; what is missing is named and left out.

Right when every measurement that a file holds is in its section, and a missing one costs its section alone and a
sentence (`tests/figures/report/test_sections.py`). Cost: reading the files, and a second for hundreds of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from figures.reading import Run
from figures.report import conditions, courses, measured, provenance, tables, verdicts
from figures.report.content import Answers, Block, Report, Section, Text
from figures.report.density import spectral_density
from figures.report.sentences import Row, answers, read_rows
from figures.report.wording import counted, listed, method
from figures.style import in_order

QUESTION = (
    "GCSAM is sharpness-aware minimization (SAM) that climbs along the centralized gradient. It is said to find "
    "flatter minima than SAM and plain training, from less noisy gradients, with better and steadier test accuracy.",
    "Does it, in these runs? Nine claims are each compared with a control: the other methods at the same seed, and a "
    "random projection in the place of centralization.",
)
# Section, title, and how to get what it needs.
MISSING = {
    "surfaces": ("Loss surfaces", "landscape surface RUN"),
    "eigenvalues": ("Hessian eigenvalues", "landscape measure RUN"),
    "sharpness": ("Sharpness", "landscape measure RUN"),
    "training": ("Training", "landscape train"),
    "noise": ("Gradient noise", "landscape noise RUN"),
    "accuracy": ("Test accuracy by seed", "two runs or more"),
}
# What only some studies ask for, so that nobody misses it.
EXTRA = {"sweeps": "Sensitivity", "robustness": "Shifted inputs", "drift": "A distribution that drifts"}


def build(study: Run | None, runs: Sequence[Run]) -> Report:
    """Return all that a report says.

    Args:
        study: The study's file, for verdicts and the table of runs; None where there is none.
        runs: Of that study, or any, as from `figures.reading.load_runs`.

    Returns:
        The report, in the order read.

    Raises:
        ValueError: Neither holds anything to report.
    """
    rows = read_rows(study) if study is not None else []
    sections = [Section("question", "The question", tuple(map(Text, QUESTION)))]
    asked = tables.answer_table(study)
    if asked is not None:
        sections += [Section("success", "Is it good enough?", (asked,))]
    if study is not None and rows:
        sections += [_answer(study, rows), _verdicts(rows)]
    pictures: dict[str, list[Block]] = {
        "surfaces": [*measured.surfaces(runs)],
        "eigenvalues": _some(measured.eigenvalues(runs), spectral_density(runs)),
        "sharpness": _some(measured.sharpness(runs)),
        "training": _some(courses.training(runs), courses.ascent_ratio(runs)),
        "noise": [*courses.noise(runs)],
        "accuracy": _some(measured.accuracy(runs)),
        "sweeps": _some(conditions.sweeps(study)),
        "robustness": _some(conditions.robustness(runs)),
        "drift": _some(conditions.drift(runs)),
    }
    titles = {name: title for name, (title, _) in MISSING.items()} | EXTRA
    sections += [Section(name, titles[name], tuple(found)) for name, found in pictures.items() if found]
    table = tables.run_table(study, runs)
    if table is not None:
        sections += [Section("runs", "All runs", (table,))]
    tuning = tables.tuning_table(study)
    if tuning is not None:
        sections += [Section("tuning", "How the settings were found", (tuning,))]
    if len(sections) == 1:
        where = listed([str(run.path) for run in (*([study] if study else []), *runs)][:3])
        raise ValueError(f"{where or 'no file'} holds nothing to report yet; measure first, and see landscape inspect")
    left_out = [name for name in MISSING if not pictures[name]]
    told = _left_out(left_out, has_verdicts=bool(rows))
    sections += [Section("methods", "Methods and provenance", (*map(Text, told), *provenance.blocks(study, runs)))]
    return Report("Does GCSAM find flatter minima?", _subtitle(study, runs), tuple(sections))


def _some(*pictures: Block | None) -> list[Block]:
    return [picture for picture in pictures if picture is not None]


def _answer(study: Run, rows: Sequence[Row]) -> Section:
    found = answers(study)
    counts: dict[str, int] = {}
    for answer in found:
        counts[answer.verdict] = counts.get(answer.verdict, 0) + 1
    said = {"reported": "reported without a verdict", "not tested": "not tested here"}
    order = ("supported", "contradicted", "inconclusive", "reported", "not tested")
    told = [f"{counts[v]} {'is' if counts[v] == 1 else 'are'} {said.get(v, v)}" for v in order if v in counts]
    texts = [f"Of {counted(len(found), 'claim')}, {listed(told)}."]
    needed = study.array("claims/verdicts", "min_seeds")
    most = max((row.num_seeds for row in rows), default=0)
    if needed is not None and most < int(needed):
        texts += [
            f"There are {counted(most, 'seed')} of each method, and a verdict takes {int(needed)}: below that every "
            "verdict is inconclusive, whatever was seen."
        ]
    texts += [
        "The first comparison of each claim, in an order fixed before the runs, stands for it in a sentence; all of "
        "them are in the table. Intervals are 95 % each, p values are corrected for the number of comparisons (Holm)."
    ]
    return Section(
        "answer", "The answer", (Text(texts[0]), *map(Text, texts[1:-1]), Answers(tuple(found)), Text(texts[-1]))
    )


def _verdicts(rows: Sequence[Row]) -> Section:
    blocks = (*_some(verdicts.effects(rows)), verdicts.verdict_table(rows), *_some(verdicts.without_numbers(rows)))
    return Section("verdicts", "The evidence", blocks)


def _left_out(names: Sequence[str], *, has_verdicts: bool) -> list[str]:
    told = [f"{MISSING[name][0].lower()} (needs {MISSING[name][1]})" for name in names]
    if not has_verdicts:
        told = ["the verdicts (a study has them: landscape study, or landscape verify)", *told]
    return [f"Left out, because no file holds it: {'; '.join(told)}."] if told else []


def _subtitle(study: Run | None, runs: Sequence[Run]) -> str:
    where = (study.path if study is not None else runs[0].path).absolute()
    name = where.parent.name if study is not None else listed([_name(run.path) for run in runs[:3]])
    methods = in_order([run.method for run in runs])
    if not runs:
        return f"Study {name}"
    told = f"{counted(len(runs), 'run')}: {listed([method(one) for one in methods])}"
    return f"{'Study ' if study is not None else ''}{name}; {told}"


def _name(path: Path) -> str:
    return path.absolute().parent.name if path.stem == "run" else path.stem
