"""Every block of the README is executed or parsed, so that it cannot go stale."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import typer

import landscape.jobs.executors
from landscape.cli import app
from tests.landscape.conftest import Done, one_by_one

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
SHELL = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
LINES = [line.strip() for block in SHELL for line in re.split(r"\n|&&", block)]
# those in the text, such as `landscape study digits --seeds 5`, beside those in blocks
COMMANDS = [text for text in (*LINES, *re.findall(r"`(landscape \w+ [^`]+)`", TEXT)) if text.startswith("landscape ")]


@pytest.fixture
def run(tmp_path: Path, cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Go into an empty folder, and do command lines there in this process; forget the reader's modules afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(landscape.jobs.executors, "run_tasks", one_by_one)

    def call(command: str) -> None:
        name, *arguments = shlex.split(command, comments=True)
        assert name == "landscape"
        done = cli(*arguments)
        assert done.status == 0, f"{command}\n{done.out}\n{done.err}"

    yield call
    sys.modules.pop("mynet", None)


def test_quickstart_runs_and_has_twelve_statements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(PYTHON[0], names)  # what the reader would paste
    assert names["top"].status.name == "CONVERGED"  # type: ignore[attr-defined]
    assert (tmp_path / "landscape.h5").exists()
    body = [line for line in PYTHON[0].splitlines() if line and not line.startswith(("import", "from"))]
    assert len(body) <= 12


def test_watching_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(PYTHON[1], names)
    record = names["record"]
    assert record.step.tolist() == [0, 10, 20, 30, 40]  # type: ignore[attr-defined]
    for values in (record.lambda_max, record.threshold, record.trace, record.raw.trace):  # type: ignore[attr-defined]
        assert values.isfinite().all()


def test_reporting_the_sharpness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (block,) = [block for block in PYTHON if "sharpness_report" in block]
    names: dict[str, object] = {}
    exec(block, names)
    report = names["report"]
    row = report["lambda_max"]  # type: ignore[index]
    assert row.low < row.value < row.high
    assert capsys.readouterr().out.endswith(f"{report}\n")
    assert (tmp_path / "report.h5").exists()


@pytest.mark.slow
def test_measuring_ones_own_checkpoint(tmp_path: Path, run: Callable[[str], None]) -> None:
    (tmp_path / "mynet.py").write_text(PYTHON[2], encoding="utf-8")
    names: dict[str, object] = {}
    exec(PYTHON[2], names)
    torch.save(names["model"]().state_dict(), "mynet.pt")  # type: ignore[operator]
    (tmp_path / "ckpt").mkdir()
    for epoch in (1, 2):
        torch.save(names["model"]().state_dict(), f"ckpt/epoch-{epoch}.pt")  # type: ignore[operator]
    for command in [line for block in SHELL if "mynet" in block for line in block.splitlines()]:
        run(command.replace("landscape surface", "landscape surface --points 3"))
    assert list((tmp_path / "mynet-figures").glob("*.png"))
    assert (tmp_path / "measured" / "figures" / "checkpoints.png").is_file()
    assert (tmp_path / "difference.h5").is_file()


@pytest.mark.slow
def test_a_study_of_ones_own(tmp_path: Path, run: Callable[[str], None]) -> None:
    """Planned as it stands; done with one seed and one measurement, because all are done by the tests of the study."""
    (toml,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "mine.toml").write_text(toml, encoding="utf-8")
    (block,) = [block for block in SHELL if "mine.toml" in block]
    plan, study = block.splitlines()
    run(plan)
    assert not (tmp_path / "runs").exists()
    less = toml.replace("seeds = 2", "seeds = 1").replace('"eigenvalues", "sharpness", "noise"', '"eigenvalues"')
    (tmp_path / "mine.toml").write_text(less, encoding="utf-8")
    reports = [line for line in LINES if line.startswith("landscape report runs/mine/")]
    for command in [study, *reports]:
        run(command)
    made = [tmp_path / "runs" / "mine" / name for name in ("study.h5", "tuning.json", "figures/sweeps.png")]
    assert all(path.is_file() for path in made)
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")[:100]
    assert list((tmp_path / "report-figures").glob("*.png"))


@pytest.mark.slow
def test_shifted_inputs_and_a_drift(run: Callable[[str], None]) -> None:
    """The block as it stands, on fewer images; the study is only planned."""
    (block,) = [block for block in SHELL if "landscape robustness" in block]
    robustness, train, study = block.splitlines()
    run(f"{train} --model mlp --train-limit 200 --test-limit 30")
    run(re.sub(r"runs/digits/runs/\S+", "runs/drift", robustness))
    run(study.replace("digits-drift ", "digits-drift --dry-run "))


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^make (\w+)", SHELL[0], flags=re.MULTILINE)
    assert targets == ["study", "test"]
    targets += re.findall(r"^make (\w+)", "\n".join(SHELL[1:]), flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}:" in makefile for target in targets)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_line_parses(command: str) -> None:
    """Fails if an option was renamed; nothing is run, because some need the user's data."""
    name, *options = shlex.split(command, comments=True)[1:]
    typer.main.get_command(app).commands[name].make_context(name, options)  # type: ignore[attr-defined]


def test_every_stage_is_named() -> None:
    assert all(f"`{name}`" in TEXT or f"`landscape {name}" in TEXT for name in typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_pictures_and_links_are_there() -> None:
    paths = [target for target in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in target]
    assert paths
    assert all((ROOT / path).is_file() for path in paths)
