"""Tables for the terminal: every stored number and verdict is in its row. Read as text, without looking at borders."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.table import Table
from scipy import stats

from analysis import Objective, minibatch_noise, verify
from analysis.claims import RunTable
from analysis.store import Measurement, Variable, read
from landscape.measuring import stages
from landscape.measuring.scans import Scan, scan
from landscape.tables.measured import measured_table, trained_table
from landscape.tables.printing import show
from landscape.tables.verdicts import note_lines, untested_lines, verdict_table


def rows(table: Table) -> list[list[str]]:
    """Return the cells of a table, row by row, as text."""
    return [
        list(cells) for cells in zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    ]


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    objective = Objective(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(), (torch.randn(8, 3), torch.arange(8) % 2))
    path = tmp_path / "run.h5"
    for stage in (*stages.curvature(top=2), *stages.sharpness(), stages.noise(), scan(Scan(points="3"))):
        stage.compute(objective, None, lambda *_: None).save(path, stage.name)
    return path


def test_each_measurement_has_its_value_evidence_and_status(measured: Path) -> None:
    def numbers(key: str) -> dict[str, np.ndarray]:
        return {name: variable.data for name, variable in read(measured, key).variables.items()}

    eigen, trace, worst, average, plane = map(
        numbers,
        ("curvature/eigenvalues", "curvature/trace", "sharpness/worst", "sharpness/average", "surface/plane"),
    )
    noise = read(measured, "noise/gradient_noise").groups["raw"].groups["total"].variables
    keys = ["curvature/eigenvalues", "curvature/trace", "sharpness/worst", "sharpness/average", "surface/plane"]
    found = {row[0]: row[1:] for row in rows(measured_table(measured, [*keys, "noise/gradient_noise", "not/there"]))}
    assert list(found) == [*keys, "noise/gradient_noise"]
    assert found["curvature/eigenvalues"] == [
        f"{eigen['values'][0]:.4g} {eigen['values'][1]:.4g}",
        f"residuals up to {eigen['residuals'].max():.2g}; {eigen['num_hvps']} Hessian products",
        "BREAKDOWN",  # two classes: half of the directions are flat, so that the Krylov space closes
    ]
    assert found["curvature/trace"][:2] == [
        f"{trace['value']:.4g}",
        f"standard error {trace['standard_error']:.2g}; {trace['num_hvps']} probes",
    ]
    assert found["sharpness/worst"][:2] == [f"{worst['value']:.4g}", f"residual {worst['residual']:.2g}; rho 0.05"]
    assert found["sharpness/average"] == [
        f"{average['value']:.4g}",
        f"standard error {average['standard_error']:.2g}; rho 0.05",
        "COMPLETE",
    ]
    assert found["surface/plane"][:2] == [
        f"{plane['loss'].min():.4g} to {plane['loss'].max():.4g}",
        f"9 of 9 cells; {plane['origin_loss']:.4g} at the origin",
    ]
    assert f"raw {float(noise['noise_scale'].data):.4g}, centralized " in found["noise/gradient_noise"][0]
    assert ", control " in found["noise/gradient_noise"][0]


def test_the_noise_of_mini_batches_has_its_noise_scales(tmp_path: Path) -> None:
    """Fails with a traceback where only the noise of layers, which has a total, is known."""
    torch.manual_seed(0)
    objective = Objective(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(), (torch.randn(8, 3), torch.arange(8) % 2))
    found = minibatch_noise(objective, [2], draws=4)
    found.save(tmp_path / "run.h5", "minibatch")
    ((_, value, evidence, _),) = rows(measured_table(tmp_path / "run.h5", ["noise/minibatch"]))
    assert f"raw {found.raw.noise_scale:.4g}, centralized {found.centralized.noise_scale:.4g}" in value
    assert evidence == f"standard error (raw) {found.raw.noise_scale_standard_error:.2g}"


def test_a_training_is_told_by_its_three_splits(tmp_path: Path) -> None:
    numbers = {"selected_epoch": 7, "seconds": 12.34, "train_loss": 0.1, "validation_loss": 0.2, "test_loss": 0.3}
    numbers |= {"train_accuracy": 1.0, "validation_accuracy": 0.9876, "test_accuracy": 0.5}
    from analysis.store import write

    variables = {name: Variable(np.array(value)) for name, value in numbers.items()}
    write(tmp_path / "run.h5", "training", "summary", Measurement("TrainingSummary", variables))
    table = trained_table(tmp_path / "run.h5")
    assert "weights of epoch 7, 12.3 s of steps" in str(table.title)
    assert rows(table) == [
        ["train", "0.1000", "100.00 %"],
        ["validation", "0.2000", "98.76 %"],
        ["test", "0.3000", "50.00 %"],
    ]


GAINS = (0.010, 0.014, 0.006, 0.012, 0.008)


def verdicts(seeds: int = 5) -> Measurement:
    """Judge made-up accuracies: GCSAM is better than SAM by `GAINS`, seed by seed."""
    sam = [0.90 + 0.01 * seed for seed in range(seeds)]
    gcsam = [accuracy + gain for accuracy, gain in zip(sam, GAINS, strict=False)]
    accuracy = Variable(np.array(sam + gcsam), ("run",), "1")
    table = RunTable(("sam",) * seeds + ("gcsam",) * seeds, tuple(range(seeds)) * 2, {"test_accuracy": accuracy})
    return verify(table).to_measurement()


def test_effect_interval_and_verdict_are_in_their_row() -> None:
    """The interval is formed here by Student's t over the five paired differences."""
    half = stats.t.ppf(0.975, 4) * np.std(GAINS, ddof=1) / math.sqrt(5)
    low, high = 100 * (0.01 - half), 100 * (0.01 + half)
    found = rows(verdict_table(verdicts()))
    heading = [row[0] for row in found].index("4 GCSAM has better test accuracy")
    assert found[heading] == [
        "4 GCSAM has better test accuracy",
        "",
        "",
        "",
        "inconclusive",
        "",
    ]  # not known against sgd, gc
    row = found[heading + 1]
    assert row[:2] == ["  test_accuracy: gcsam vs sam", f"+1.0 pp [{low:+.1f}, {high:+.1f}]"]
    # the only comparison with a p value among those that decide counts once: Holm's factor is the number of tests
    p_value = 2 * stats.t.sf(0.01 * math.sqrt(5) / np.std(GAINS, ddof=1), 4)
    num_tests = sum(bool(row[2]) for row in found)
    assert row[2] == f"{min(num_tests * p_value, 1):.3f}"
    # 1.68 standard deviations of the paired differences: the power of 5 pairs, in the tables of analysis.claims.power
    assert row[3] == f"{168.2 * np.std(GAINS, ddof=1):.2g} pp"
    assert row[4] == "supported"
    others = [row for row in found if row[0] == "  test_accuracy: gcsam vs sgd"]
    assert others
    assert all(row[1:5] == ["none", "", "", "inconclusive"] for row in others)


def test_what_is_reported_or_untested_is_not_dressed_up_as_a_verdict() -> None:
    measurement = verdicts()
    roles = measurement.variables["role"].data.tolist()
    found = rows(verdict_table(measurement))
    assert len([row for row in found if row[0].startswith("  ")]) == len(roles) - sum(
        role in {"untested", "absent"} for role in roles
    )
    assert [row[4] for row in found].count("reported") == roles.count("reported") > 0
    (absolute,) = [row for row in found if row[0].startswith("2 ") and "absolute" in row[0]]
    assert absolute[2] == ""  # what is only reported has no verdict to head it
    lines = untested_lines(measurement)
    assert 1 < len(lines) == len(set(lines)) < roles.count("untested")  # what several need is told once
    assert lines[-1].startswith("controls without runs: sam-matched, random, fsam, sgd-long; a study's file that names")
    assert any("label noise (needs runs on noisy labels)" in line for line in lines)


def test_a_control_with_runs_has_its_rows_and_leaves_the_line_of_those_without() -> None:
    accuracy = Variable(np.array([0.9, 0.91, 0.92, 0.93]), ("run",), "1")
    table = RunTable(("gcsam", "fsam", "gcsam", "fsam"), (0, 0, 1, 1), {"test_accuracy": accuracy})
    found = verify(table).to_measurement()
    assert "  test_accuracy: gcsam vs fsam" in [row[0] for row in rows(verdict_table(found))]
    assert not any("sam-matched" in row[0] for row in rows(verdict_table(found)))
    assert untested_lines(found)[-1].startswith("controls without runs: sam-matched, random, sgd-long; ")


def test_notes_say_what_the_letters_stand_for() -> None:
    few = verdicts(seeds=3)
    letters = dict(line.split(": ", 1) for line in note_lines(few))
    found = rows(verdict_table(few))
    row = found[[row[0] for row in found].index("4 GCSAM has better test accuracy") + 1]
    assert letters[row[5]] == "3 of the 5 seeds a verdict needs"
    both = next(row for row in found if row[0] == "  lambda_max: gcsam vs sam")[5].split()
    assert [letters[letter][:12] for letter in both] == ["not measured", "not known to"]  # a reason and a caveat
    assert len(set(letters.values())) == len(letters)


def test_what_all_verdicts_share_is_said_once() -> None:
    found = verdicts()
    roles = found.variables["role"].data.tolist()
    reason = ["why" if role == "decides" else "other" for role in roles]
    empty = [""] * len(roles)
    texts = {"reason": reason, "caveat": empty}
    columns = {name: Variable(np.array(column, dtype=object), ("claim",)) for name, column in texts.items()}
    made = Measurement(found.type, {**found.variables, **columns})
    assert note_lines(made) == ["every verdict: why", "a: other"]
    assert {row[5] for row in rows(verdict_table(made)) if row[4] == "inconclusive"} == {""}
    assert {row[5] for row in rows(verdict_table(made)) if row[4] == "reported"} == {"a"}


def test_a_pipe_gets_a_fixed_width_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show(verdict_table(verdicts()), "a [b]line[/b] " + "long " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines[:-1]) <= 140
    assert lines[-1] == "a [b]line[/b] " + "long " * 40
    assert not any(ord(character) < 32 for line in lines for character in line)
