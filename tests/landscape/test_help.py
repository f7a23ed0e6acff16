"""Help of every command: an example that parses, every option explained, and no torch loaded for it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from landscape.cli import app
from tests.landscape.conftest import Done

GROUP: Any = typer.main.get_command(app)
COMMANDS = (
    *("study", "reproduce", "train", "measure", "surface", "trajectory", "path", "noise", "robustness"),
    *("figures", "report", "compare", "export", "verify", "inspect"),
)
ROOT = Path(__file__).parent.parent.parent


def test_all_commands_are_there_in_the_order_of_work() -> None:
    assert tuple(GROUP.commands) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_parses(name: str) -> None:
    command = GROUP.commands[name]
    examples = re.findall(rf"landscape {name} .*", re.sub(r"\[/?bold\]", "\n", command.help))
    assert examples
    if name in {"measure", "surface", "path", "noise"}:
        # a run, and an own network; measure also takes several checkpoints of either
        assert len(examples) == (4 if name == "measure" else 2)
    for example in examples:
        command.make_context(name, shlex.split(example)[2:])  # raises where an option does not exist


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_shown(name: str, cli: Callable[..., Done]) -> None:
    done = cli(name, "--help")
    assert (done.status, done.err) == (0, "")
    shown = " ".join(re.sub(r"[│\s]+", " ", done.out).split())
    for parameter in GROUP.commands[name].params:
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in shown
    assert re.search(rf"landscape {name}( |$)", shown)


def test_the_first_page_tells_where_to_start(cli: Callable[..., Done]) -> None:
    shown = cli("--help").out
    assert "landscape study digits" in shown
    assert "0 done, 1 failed while working, 2 wrong usage, 130 stopped by Ctrl-C" in shown
    assert all(name in shown for name in (*COMMANDS, "The whole job", "One stage", "Finished work"))


def test_help_loads_no_torch() -> None:
    code = (
        "import sys, typer, landscape.cli\n"
        f"for arguments in ([], *([name] for name in {COMMANDS})):\n"
        "    try: typer.main.get_command(landscape.cli.app).main([*arguments, '--help'])\n"
        "    except SystemExit as ended: assert not ended.code\n"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
