"""`landscape figures`, `export`, `verify` and `inspect`: what is made from finished work.

Right when figures, exports and verdicts are those of the files given (`tests/landscape/test_stages_alone.py`,
`test_export.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Folder = Annotated[
    Optional[Path],  # noqa: UP045  # typer 0.12 does not read `Path | None`
    typer.Option("--output", help="Folder for the figures; default: figures/ beside the runs.", show_default=False),
]


def figures(
    path: Annotated[Path, typer.Argument(help="A study's folder, a run's folder, or a result file.")],
    output: Folder = None,
) -> None:
    """Draw all that result files hold, as PNG and PDF.

    Example:  [bold]landscape figures runs/digits[/bold]
    """
    from figures import draw_run, draw_study
    from landscape.results import FIGURES, RUN_FILE, STUDY_FILE, find_runs
    from landscape.tables import show

    if path.is_file() or (path / RUN_FILE).is_file():
        file = path if path.is_file() else path / RUN_FILE
        written = draw_run(file, output or file.parent / FIGURES)
    else:
        study = path / STUDY_FILE
        written = draw_study(find_runs(path), output or path / FIGURES, study_path=study if study.is_file() else None)
    if not written:
        raise ValueError(f"{path} holds nothing to draw yet; measure first, and see landscape inspect")
    show(*(str(file) for file in written))


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
    from landscape.results import RUN_FILE
    from landscape.tables import show

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
    from landscape.results import STUDY_FILE, find_runs, judge
    from landscape.tables import note_lines, show, untested_lines, verdict_table

    found = judge(find_runs(study), study / STUDY_FILE)
    show(verdict_table(found), *note_lines(found), *untested_lines(found))


def inspect(path: Annotated[Path, typer.Argument(help="A result file.")]) -> None:
    """Show what a result file holds: provenance, measurements, dimensions, units.

    Example:  [bold]landscape inspect runs/digits/runs/gcsam-seed0/run.h5[/bold]
    """
    from rich.console import Console

    from landscape.inspect_file import file_tree

    Console().print(file_tree(path))
