"""Every page of docs/ is followed from top to bottom as a new user would: files written, commands run, output compared.

A Python block goes into the file that the text before it names, and is pasted into Python where it names none; a block
of text is part of what was printed before it. Blind to prose, and to the figures.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import landscape.jobs.executors
from tests.landscape.conftest import Done, one_by_one

ROOT = Path(__file__).parent.parent.parent
# What is under results, and the page about it, was made by hours of computing: `test_results.py` looks at that.
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "results" not in {page.stem, *page.parts}]
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return (language, file name or "", body) of each block."""
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        # the end of its paragraph: "In `name.py`:" begins the last sentence that names a file
        names = re.findall(r"[Ii]n `(\w+\.py)`[.:]", match["before"])
        found.append((match["language"], names[-1] if names else "", match["body"]))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make an empty folder the current one, first on the path; forget the modules of other tests, and then its own."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path.parent)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def assert_printed(expected: str, output: str) -> None:
    """Each line was printed, its values within a fifth: elsewhere they come from other kernels and other rounding.

    Of the evidence, which is the size of an error, only the form is compared.
    """
    printed = [" ".join(re.sub("[│┃|]", " ", line).split()) for line in output.splitlines()]
    for line in (" ".join(line.split()) for line in expected.splitlines()):
        form = NUMBER.sub("#", line)
        same = [other for other in printed if NUMBER.sub("#", other) == form]
        assert same, f"not printed: {line}\n{output}"
        values = [NUMBER.findall(re.split("residual|standard error", text)[0]) for text in (line, same[0])]
        assert all(math.isclose(float(a), float(b), rel_tol=0.2) for a, b in zip(*values, strict=True)), same[0]


# peft 0.21 asks transformers 5 for a property that it has renamed
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(
    page: Path,
    folder: Path,
    cli: Callable[..., Done],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Runs are done in this process, but those of the page about processes: there each study has one left to do."""
    if page.stem == "cluster":
        shutil.copytree(request.getfixturevalue("study")[0], folder / "small")
        shutil.rmtree(folder / "small" / "runs" / "sgd-seed0")
    else:
        monkeypatch.setattr(landscape.jobs.executors, "run_tasks", one_by_one)
    output = ""
    for language, name, body in blocks(page):
        if language == "python" and name:
            (folder / name).write_text(body, encoding="utf-8")
        elif language == "python":
            capsys.readouterr()
            exec(body, {"__name__": "__main__"})
            output = capsys.readouterr().out
        elif language == "sh":
            output = ""
            for line in body.splitlines():
                command, *options = shlex.split(line, comments=True)
                assert command == "landscape", line
                done = cli(*options)
                assert done.status == 0, f"{line}\n{done.err}"
                output += done.out
        else:
            assert language == "text", language
            assert_printed(body, output)


@pytest.mark.slow
def test_the_quickstart_in_processes_of_its_own(tmp_path: Path) -> None:
    """As typed into a shell; and the user's file is short."""
    making, mine, shell = blocks(ROOT / "docs" / "quickstart-huggingface.md")
    assert len(mine[2].splitlines()) + len(shell[2].splitlines()) < 30
    (tmp_path / "making.py").write_text(making[2], encoding="utf-8")
    (tmp_path / mine[1]).write_text(mine[2], encoding="utf-8")
    commands = [["making.py"], *(["-m", *shlex.split(line)] for line in shell[2].splitlines())]
    for command in commands:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        output = done.stdout
    assert "eigenvalues" in output


def test_every_page_is_in_the_index_and_every_link_leads_somewhere() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page.name == "README.md" or f"({page.relative_to(ROOT / 'docs')})" in index, page
        prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
            assert "://" in target or (page.parent / target).is_file(), f"{page}: {target}"
