"""`landscape compare` as a user types it: what is printed is what is stored, mistakes are one line, and no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.store import Measurement, Variable, create, list_measurements, provenance, read, write
from landscape.comparing.comparison import compare
from landscape.tables.compare import comparison_table
from tests.landscape.conftest import Done
from tests.landscape.tables.test_tables import rows

ROOT = Path(__file__).parents[3]


def average(value: float, rho: float = 0.05) -> Measurement:
    """As `analysis.sharpness` stores it; the samples of two values differ by about their difference."""
    samples = value + np.linspace(-0.1, 0.1, 11) + 1e-3 * value * np.cos(np.arange(11))
    texts = {"kind": "average", "norm": "l2"}
    numbers = {
        "value": samples.mean(),
        "standard_error": samples.std(ddof=1) / 11**0.5,
        "rho": rho,
        "base_loss": 0.5,
        "seed": 0,
    }
    variables = {name: Variable(np.array(text, dtype=object)) for name, text in texts.items()}
    variables |= {name: Variable(np.array(number)) for name, number in numbers.items()}
    return Measurement("Sharpness", {**variables, "samples": Variable(samples, ("sample",))})


def file(path: Path, value: float, **changes: float) -> Path:
    create(path, provenance(config={"model": "nets:build"}))
    data = {"data": np.array("rows", dtype=object), "sum": np.array(1.0), "sum_of_squares": np.array(4.0)}
    write(path, "training", "measured_data", Measurement("MeasuredData", {k: Variable(v) for k, v in data.items()}))
    write(path, "sharpness", "average", average(value, **changes))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "measured").mkdir()
    for name, value in (("epoch-10", 4.0), ("epoch-2", 2.0), ("epoch-1", 1.0)):
        file(Path(f"measured/{name}.h5"), value)
    return tmp_path


def test_it_prints_what_it_stores(cli: Callable[..., Done], folder: Path) -> None:
    done = cli("compare", "measured/epoch-1.h5", "measured/epoch-2.h5", "--output", "difference.h5")
    assert (done.status, done.err) == (0, ""), done.err
    found = compare(Path("measured/epoch-1.h5"), Path("measured/epoch-2.h5"))
    stored = {name: variable.data for name, variable in read("difference.h5", "claims/comparison").variables.items()}
    assert stored["quantity"].tolist() == ["loss", "sharpness/average"]
    assert set(stored["first_file"]) == {"measured/epoch-1.h5"}
    assert set(stored["second_file"]) == {"measured/epoch-2.h5"}
    row = found.rows[1]
    interval = row.interval
    expected = [row.first, row.second, interval.difference, interval.low, interval.high, row.ratio]
    assert [stored[name][1] for name in ("first", "second", "difference", "low", "high", "ratio")] == expected
    assert (stored["words"][1], stored["how"][1]) == ("B is sharper", "paired, 11 pairs")
    assert rows(comparison_table(found))[1] == [
        "sharpness/average",
        f"{row.first:.4g}",
        f"{row.second:.4g}",
        f"{interval.difference:+.3g} [{interval.low:+.3g}, {interval.high:+.3g}]",
        f"{row.ratio:.3g}",
        "B is sharper",
        "paired, 11 pairs",
    ]
    assert rows(comparison_table(found))[0] == ["loss", "0.5", "0.5", "+0", "1", "equal", "exact on these data"]
    for cell in rows(comparison_table(found))[1]:
        assert cell in done.out
    assert done.out.startswith("A: measured/epoch-1.h5")
    # stored once more it replaces the comparison and nothing else
    assert cli("compare", "measured/epoch-2.h5", "measured/epoch-1.h5", "--output", "difference.h5").status == 0
    assert read("difference.h5", "claims/comparison").variables["words"].data.tolist() == ["equal", "A is sharper"]
    assert list_measurements("difference.h5") == ["claims/comparison"]
    assert "claims/comparison" in cli("inspect", "difference.h5").out


@pytest.mark.parametrize("given", [["measured"], [f"measured/epoch-{epoch}.h5" for epoch in (1, 2, 10)]])
def test_several_are_each_compared_with_the_first_in_natural_order(
    cli: Callable[..., Done], folder: Path, given: list[str]
) -> None:
    done = cli("compare", *given)
    assert done.status == 0, done.err
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith("B: ")] == [
        "measured/epoch-2.h5", "measured/epoch-10.h5"
    ]  # fmt: skip
    assert done.out.count("A: measured/epoch-1.h5") == 2


def test_runs_go_by_their_folder_and_a_study_is_no_run(cli: Callable[..., Done], folder: Path) -> None:
    for name, value in (("one", 1.0), ("two", 2.0)):
        (folder / name).mkdir()
        file(folder / name / "run.h5", value)
        file(folder / name / "other.h5", value)
    create(folder / "measured" / "study.h5", provenance())
    done = cli("compare", "one", "two")
    assert done.status == 0, done.err
    assert done.out.startswith("A: one/run.h5")
    assert done.out.count("A: ") == 1
    done = cli("compare", "measured")
    assert (done.status, done.out.count("A: ")) == (0, 2), done.err


def test_what_is_not_compared_is_said(cli: Callable[..., Done], folder: Path) -> None:
    file(folder / "other.h5", 2.0, rho=0.1)
    write(folder / "other.h5", "noise", "more", average(1.0))
    done = cli("compare", "measured/epoch-1.h5", "other.h5")
    assert "other settings: rho 0.05 and 0.1" in done.out
    assert done.out.rstrip().endswith("only in B: noise/more")


def test_it_fits_the_width_of_a_pipe(folder: Path) -> None:
    console = Console(width=140)
    assert (
        console.measure(comparison_table(compare(Path("measured/epoch-1.h5"), Path("measured/epoch-2.h5")))).maximum
        <= 140
    )


def test_it_loads_no_torch(folder: Path) -> None:
    """Fails if reading, intervals, the table or the file that is written need it: the command would take seconds."""
    code = (
        "import sys, typer, landscape.cli\n"
        "arguments = ['compare', 'measured', '--output', 'difference.h5']\n"
        "try: typer.main.get_command(landscape.cli.app).main(arguments)\n"
        "except SystemExit as ended: assert not ended.code\n"
        "sys.exit(bool({'torch', 'matplotlib', 'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "B is sharper" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "measured/epoch-1.h5",
            "compare needs two result files or more, got 1: measured/epoch-1.h5; give another one, o",
        ),
        (
            "measured/epoch-1.h5 measured/epoch-1.h5",
            "measured/epoch-1.h5: is given twice, and does not differ from itse",
        ),
        ("measured/epoch-1.h5 none.h5", "no result file at none.h5; check the path, or measure first"),
        ("measured/epoch-1.h5 notes.h5", "notes.h5 cannot be read as HDF5"),
        (". measured/epoch-1.h5", ".: no result file in it, no *.h5; give files, or measure first"),
        (
            "measured --output measured/epoch-2.h5",
            "--output measured/epoch-2.h5: is one of the files compared; give a fi",
        ),
        ("measured --output none/difference.h5", "--output none/difference.h5: no folder "),
        (
            "measured/epoch-1.h5 empty.h5",
            "have no measurement in common: the first holds sharpness/average, the second",
        ),
        ("", "missing argument 'FILE...'"),
    ],
)
def test_mistakes_are_one_line(cli: Callable[..., Done], folder: Path, arguments: str, message: str) -> None:
    if not arguments.startswith("."):
        (folder / "notes.h5").write_text("no result")
        create(folder / "empty.h5", provenance())
    done = cli("compare", *arguments.split())
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
