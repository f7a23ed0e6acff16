"""The command `landscape`: its subcommands, and what they do with mistakes, failures and Ctrl-C.

Nothing here imports torch, so that help appears at once: each command imports what it needs when it runs. Right when
every mistake is one line on stderr with its status (`tests/landscape/test_cli.py`, `test_mistakes.py`).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from landscape.commands import (
    compare,
    files,
    measure,
    noise,
    path,
    report,
    reproduce,
    robustness,
    study,
    surface,
    train,
    trajectory,
)
from landscape.errors import INTERRUPTED, WRONG_USAGE, exit_status, one_line

# click's own class, wherever this version of typer keeps it
UsageError: Any = typer.BadParameter.__mro__[1]
WHOLE_JOB: tuple[Callable[..., None], ...] = (study.study, reproduce.reproduce)
ONE_STAGE: tuple[Callable[..., None], ...] = (
    train.train,
    measure.measure,
    surface.surface,
    trajectory.trajectory,
    path.path,
    noise.noise,
    robustness.robustness,
)
FINISHED_WORK: tuple[Callable[..., None], ...] = (
    files.figures,
    report.report,
    compare.compare,
    files.export,
    files.verify,
    files.inspect,
)


class OneLine(TyperGroup):
    """Answer a mistake with one line and status 2, failed work with 1, Ctrl-C with 130; a bug traces back."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand.

        Args:
            ctx: Of this group.

        Returns:
            What the subcommand returns.
        """
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            command = shlex.join(["landscape", *sys.argv[1:]])
            _say(f"{_path(ctx)}: stopped; finished work is kept. To go on: {command}")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            status = exit_status(error)
            if status is None:
                raise
            _say(f"{_path(ctx)}: {one_line(error)}")
            raise typer.Exit(status) from None

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and end the process with its status.

        Args:
            *args: As for any typer command.
            **extra: As for any typer command.
        """
        extra["standalone_mode"] = False
        try:
            status = super().main(*args, **extra)
        except UsageError as error:
            _say(_usage(error))
            status = WRONG_USAGE
        except typer.Abort:  # Ctrl-C before any command was at work
            status = INTERRUPTED
        sys.exit(status if isinstance(status, int) else 0)


app = typer.Typer(
    name="landscape",
    cls=OneLine,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(epilog="Exit status: 0 done, 1 failed while working, 2 wrong usage, 130 stopped by Ctrl-C.")
def landscape(ctx: typer.Context) -> None:
    """Train with GCSAM, then measure with evidence whether the minimum is flatter and the gradient less noisy.

    Start with:  [bold]landscape study digits[/bold]
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


for command in WHOLE_JOB:
    app.command(rich_help_panel="The whole job")(command)
for command in ONE_STAGE:
    app.command(rich_help_panel="One stage")(command)
for command in FINISHED_WORK:
    app.command(rich_help_panel="Finished work")(command)


def _path(ctx: typer.Context) -> str:
    return f"landscape {ctx.invoked_subcommand}" if ctx.invoked_subcommand else "landscape"


def _usage(error: Any) -> str:
    path = error.ctx.command_path if error.ctx is not None else "landscape"
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    return f"{path}: {message[0].lower()}{message[1:]}; see {path} --help"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
