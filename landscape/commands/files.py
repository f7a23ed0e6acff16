"""`landscape figures`, `export`, `verify` and `inspect`: what is made from finished work.

Right when figures, exports and verdicts are those of the files given, in the sizes and formats asked for
(`tests/landscape/commands/test_stages_alone.py`, `test_figures.py`, `test_export.py`).
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Optional

import typer

Folder = Annotated[
    Optional[Path],  # noqa: UP045  # typer 0.12 does not read `Path | None`
    typer.Option("--output", help="Folder for the figures; default: figures/ beside the runs.", show_default=False),
]
Formats = Annotated[str, typer.Option("--formats", help="Any of png, pdf and svg, separated by commas.")]
Film = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--animate",
        metavar="FILE",
        help="Also draw the trajectory of a run as a film, to FILE.gif, or to FILE.mp4 where ffmpeg is.",
        show_default=False,
    ),
]
KNOWN_FORMATS = ("png", "pdf", "svg")


class Style(str, enum.Enum):
    """The kind of paper that figures are for, as `figures.style.PRESETS` names them."""

    TWO_COLUMN = "two-column"
    ONE_COLUMN = "one-column"


StyleOption = Annotated[
    Style,
    typer.Option("--style", help="two-column: 3.3 and 6.9 inches, 8 pt. one-column: 5.5 inches, 9 pt, as at NeurIPS."),
]


def figures(
    path: Annotated[
        Path, typer.Argument(help="A study's folder, a run's, one of several checkpoints, or a result file.")
    ],
    output: Folder = None,
    style: StyleOption = Style.TWO_COLUMN,
    formats: Formats = "png,pdf",
    animate: Film = None,
) -> None:
    """Draw all that result files hold.

    A study:  [bold]landscape figures runs/digits[/bold]

    Measures over several checkpoints, from the folder of landscape measure:  landscape figures measured

    A run, for a paper of one column:  landscape figures runs/resnet20 --style one-column --formats pdf,svg

    With its trajectory as a film:  landscape figures runs/resnet20 --animate resnet20.gif
    """
    from figures import animate_trajectory, draw_checkpoints, draw_run, draw_study
    from landscape.records.layout import FIGURES, OVER_TRAINING, RUN_FILE, STUDY_FILE, checkpoint_files, find_runs
    from landscape.tables.printing import show

    forms, preset = _formats(formats), style.value
    film = []
    if path.is_file() or (path / RUN_FILE).is_file():
        file = path if path.is_file() else path / RUN_FILE
        if animate is not None:  # first: a name that no film can have is said before anything is drawn
            film = [animate_trajectory(file, animate, preset=preset)]
        folder = output or file.parent / FIGURES
        written = draw_run(file, folder, formats=forms, preset=preset)
        if path.is_dir():  # all of the run, what was measured over its training too
            written += draw_checkpoints(checkpoint_files(path / OVER_TRAINING), folder, formats=forms, preset=preset)
    elif animate is not None:
        raise ValueError(f"--animate draws the trajectory of one run, {path} is none; give a run's folder or its file")
    elif files := checkpoint_files(path):
        written = draw_checkpoints(files, output or path / FIGURES, formats=forms, preset=preset)
    else:
        study = path / STUDY_FILE
        written = draw_study(
            find_runs(path),
            output or path / FIGURES,
            study_path=study if study.is_file() else None,
            formats=forms,
            preset=preset,
        )
    if not written:
        raise ValueError(f"{path} holds nothing to draw yet; measure first, and see landscape inspect")
    show(*(str(file) for file in [*written, *film]))


def export(
    path: Annotated[Path, typer.Argument(help="A result file, or a run's folder.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045  # as above
        typer.Option(
            "--output", help="File to write, .xdmf or .xmf; default: beside the result file.", show_default=False
        ),
    ] = None,
) -> None:
    """Write an XDMF file with which ParaView opens the surfaces, maps, blocks and trajectories of a result file.

    It points at the numbers in the result file; keep the two together. In ParaView choose "Xdmf Reader"; for height,
    use the filter Warp By Scalar.

    Example:  [bold]landscape export runs/digits/runs/gcsam-seed0[/bold]
    """
    from figures import write_xdmf
    from landscape.records.layout import RUN_FILE
    from landscape.tables.printing import show

    file = path / RUN_FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise FileNotFoundError(f"{path}: no {RUN_FILE} in it; give a run's folder or a result file")
    show(str(write_xdmf(file, output)))


def verify(
    study: Annotated[Path, typer.Argument(help="Folder that holds the runs of one study.")] = Path("runs/digits"),
) -> None:
    """Judge the claims about GCSAM by the runs of a study, each with effect, interval and verdict.

    Example:  [bold]landscape verify runs/digits[/bold]
    """
    from landscape.jobs.folder import failed_runs
    from landscape.records.layout import STUDY_FILE, find_runs
    from landscape.study.phases import grids
    from landscape.study.results import judge
    from landscape.tables.printing import show
    from landscape.tables.verdicts import note_lines, untested_lines, verdict_table

    found = judge(find_runs(study), study / STUDY_FILE, grids=grids(study), missing=failed_runs(study))
    show(verdict_table(found), *note_lines(found), *untested_lines(found))


def inspect(path: Annotated[Path, typer.Argument(help="A result file.")]) -> None:
    """Show what a result file holds: provenance, measurements, dimensions, units.

    Example:  [bold]landscape inspect runs/digits/runs/gcsam-seed0/run.h5[/bold]
    """
    from rich.console import Console

    from landscape.tables.inspect_file import file_tree

    Console().print(file_tree(path))


def _formats(text: str) -> tuple[str, ...]:
    """Return the formats in a list with commas, each once, or say in one line what is allowed."""
    found = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    if not set(found) <= set(KNOWN_FORMATS):
        raise ValueError(f"--formats must be any of {', '.join(KNOWN_FORMATS)}, separated by commas, got {text!r}")
    return found
