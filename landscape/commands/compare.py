"""`landscape compare`: result files side by side, each against the first.

Right when every number and verdict printed is the one stored with --output, and no torch was loaded for it
(`tests/landscape/commands/test_compare.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Result files, folders of runs, or one folder of several.", show_default=False
        ),
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045  # typer 0.12 does not read `Path | None`
        typer.Option("--output", help="Result file to store the comparison in.", show_default=False),
    ] = None,
) -> None:
    """Say of everything that two result files measured alike whether it differs, with an interval.

    Where both saw the same data and the same random numbers the interval is over pairs of samples, and short; the last
    column says so. More than two files are each compared with the first.

    Two files:  [bold]landscape compare sgd.h5 gcsam.h5 --output difference.h5[/bold]

    Several checkpoints, each with the first:  landscape compare runs/resnet20/over-training
    """
    from analysis.store import write
    from landscape.comparing.comparison import compare as compared
    from landscape.tables.compare import comparison_table, to_measurement
    from landscape.tables.printing import show

    first, *others = _expanded(files)
    if output is not None:
        _check_output(output, [first, *others])
    found = [compared(first, other) for other in others]
    for each in found:
        show(comparison_table(each), *each.notes)
    if output is not None:
        write(output, "claims", "comparison", to_measurement(found))


def _expanded(given: Sequence[Path]) -> list[Path]:
    """Return result files, those of a folder in natural order."""
    from landscape.network.checkpoint_list import natural
    from landscape.records.layout import RUN_FILE, STUDY_FILE

    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
        elif (path / RUN_FILE).is_file():
            found.append(path / RUN_FILE)
        else:
            inside = sorted((file for file in path.glob("*.h5") if file.name != STUDY_FILE), key=natural)
            if not inside:
                raise FileNotFoundError(f"{path}: no result file in it, no *.h5; give files, or measure first")
            found += inside
    if len(found) < 2:
        raise ValueError(
            f"compare needs two result files or more, got {len(found)}: {found[0]}; give another one, or a folder that "
            "holds several"
        )
    twice = next((path for place, path in enumerate(found) if path.resolve() == found[0].resolve() and place), None)
    if twice is not None:
        raise ValueError(f"{twice}: is given twice, and does not differ from itself; give two files")
    return found


def _check_output(output: Path, files: Sequence[Path]) -> None:
    if output.resolve() in [path.resolve() for path in files]:
        raise ValueError(f"--output {output}: is one of the files compared; give a file of its own")
    if not output.resolve().parent.is_dir():
        raise FileNotFoundError(f"--output {output}: no folder {output.resolve().parent}; make it first")
