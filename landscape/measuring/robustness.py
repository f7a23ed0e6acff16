"""Robustness of a finished run to shifted inputs: loss and accuracy on corrupted test images.

The selected weights are evaluated on the test split under each corruption of `gcsam.training.corruptions` at each
severity; nothing is selected by it. All runs see the same corrupted images, so runs of one seed are pairs. Right when
severity 0 is the summary's own evaluation and every other number that of images corrupted by hand
(`tests/landscape/measuring/test_robustness.py`). Cost: a forward pass over the test split for each corruption and
severity, 45 by default, together about 15 gradients over it. Finding what is finished needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from analysis.store import Measurement, Variable, list_measurements, read, sha256_file, write
from landscape.progress import Display
from landscape.records.layout import RUN_FILE, SELECTED

if TYPE_CHECKING:
    from gcsam.training import Splits, TrainRun

KIND, NAME, KEY, TITLE = "training", "robustness", "training/robustness", "robustness"
SEVERITIES = (1.0, 2.0, 3.0, 4.0, 5.0)
# As `landscape.measuring.stages.Stage.weight`.
WEIGHT = 0.5
# Of what corruptions draw, our choice; the same for all runs, so that they see the same images.
SEED = 0
SOURCE = "our own parameters, after Hendrycks and Dietterich, arXiv 1903.12261"


def is_measured(path: Path, severities: Sequence[float] = SEVERITIES) -> bool:
    """Return whether a result file holds the robustness at these severities.

    Args:
        path: The result file; it need not exist.
        severities: Above 0, in the order wanted.

    Raises:
        ValueError: It holds it at others.
    """
    stored = severities_in(path)
    if stored and stored != tuple(severities):
        asked, held = (" ".join(f"{severity:g}" for severity in each) for each in (severities, stored))
        raise ValueError(
            f"{os.fspath(path)} holds {KEY} at severity {held}, asked for is {asked}; give the same, or "
            "landscape robustness RUN --again to replace it"
        )
    return bool(stored)


def severities_in(path: Path) -> tuple[float, ...]:
    """Return the severities above 0 at which a result file holds the robustness; none where it does not.

    Args:
        path: The result file; it need not exist.
    """
    if not path.is_file() or KEY not in list_measurements(path):
        return ()
    return tuple(read(path, KEY).variables["severity"].data.tolist()[1:])


def left(path: Path) -> dict[str, float]:
    """Return the title and weight of this measurement where a file does not hold it yet, as a study counts its work.

    Args:
        path: The result file; it need not exist.

    Raises:
        ValueError: It holds it at other severities than a study measures.
    """
    return {} if is_measured(path) else {TITLE: WEIGHT}


def measure_robustness(
    run: TrainRun,
    device: str,
    display: Display,
    *,
    splits: Splits | None = None,
    severities: Sequence[float] = SEVERITIES,
    again: bool = False,
) -> None:
    """Write `/training/robustness` into the result file of a run that does not hold it yet.

    Args:
        run: Finished.
        device: Where to compute.
        display: Shows how far it is.
        splits: The run's data, where they are at hand.
        severities: Rising, each above 0 and at most 5.
        again: Make it anew.

    Raises:
        ValueError: Severities that are no such numbers, or the file holds others, or belongs to other weights.
    """
    from landscape.records.identity import check_checkpoint
    from landscape.records.trained import write_training

    check_severities(severities)
    path = run.directory / RUN_FILE
    if not again and is_measured(path, severities):
        display.note(f"{TITLE}: finished before, skipped (landscape robustness --again makes it anew)")
        return
    splits = run.splits("cpu") if splits is None else splits
    if path.exists():
        check_checkpoint(path, sha256_file(run.directory / SELECTED))
    else:
        write_training(run, splits.to("cpu"), path)
    with display.stage(TITLE) as advance:
        found = robustness_of(run, splits.to(device), device, severities, advance)
        write(path, KIND, NAME, found)


def check_severities(severities: Sequence[float]) -> None:
    """Refuse what are no severities to measure at.

    Args:
        severities: As given by the user.

    Raises:
        ValueError: None, or one out of range, or they do not rise.
    """
    from gcsam.training.corruptions import MAX_SEVERITY

    rising = all(a < b for a, b in zip([0.0, *severities], [*severities], strict=False))
    if not severities or not rising or not severities[-1] <= MAX_SEVERITY:
        given = " ".join(f"{severity:g}" for severity in severities) or "none"
        raise ValueError(
            f"severities must rise, from above 0 to at most {MAX_SEVERITY:g}, got {given}; 1 2 3 4 5 are usual"
        )


def robustness_of(
    run: TrainRun, splits: Splits, device: str, severities: Sequence[float], progress: Callable[[int, int], None]
) -> Measurement:
    """Evaluate the selected weights on corrupted test images.

    Args:
        run: Finished.
        splits: Its data, on the device.
        device: Where to compute.
        severities: Above 0; the clean images are measured beside them, as severity 0.
        progress: Called as progress(done, total) after each evaluation.

    Returns:
        loss and accuracy [corruption, severity], the first severity being 0.
    """
    from gcsam.training.corruptions import CORRUPTIONS
    from gcsam.training.evaluation import EVALUATION_BATCH, evaluate
    from gcsam.training.shifted import shifted, span_of

    model, span = run.model(device), span_of(splits)
    clean = evaluate(model, splits.test.all_batches(EVALUATION_BATCH))
    numbers = np.empty((len(CORRUPTIONS), 1 + len(severities), 2))
    numbers[:, 0] = clean
    for row, name in enumerate(CORRUPTIONS):
        for column, severity in enumerate(severities, start=1):
            corrupted = shifted(splits.test, name, severity, seed=SEED, span=span)
            numbers[row, column] = evaluate(model, corrupted.all_batches(EVALUATION_BATCH))
            progress(row * len(severities) + column, len(CORRUPTIONS) * len(severities))
    dims = ("corruption", "severity")
    names = np.asarray(list(CORRUPTIONS), dtype=object)
    variables = {
        "corruption": Variable(names, ("corruption",), description="kind of corruption", source=SOURCE),
        "severity": Variable(
            np.array([0.0, *severities]), ("severity",), "1", "of the corruption, up to 5; 0 are the clean images"
        ),
        "loss": Variable(numbers[..., 0], dims, "loss", "of the selected weights on the test images"),
        "accuracy": Variable(numbers[..., 1], dims, "1", "of the selected weights on the test images, as a fraction"),
        "num_images": Variable(np.array(len(splits.test)), (), "1", "test images; never used to select"),
        "seed": Variable(np.array(SEED), (), "1", "of the corruptions; the same for all runs"),
    }
    return Measurement("Robustness", variables)


def robustness_table(path: Path) -> tuple[Table, str]:
    """Show the accuracy under each corruption, a column for each severity.

    Args:
        path: A result file that holds it.

    Returns:
        The table, and a line that says what its numbers come to.
    """
    found = {name: variable.data for name, variable in read(path, KEY).variables.items()}
    accuracy, number = 100 * found["accuracy"], int(found["num_images"])
    clean, corrupted = accuracy[0, 0], accuracy[:, 1:]
    title = f"{path}: accuracy in % on {number} test images"
    table = Table(title=title, title_justify="left", min_width=len(title))
    for heading in ("corruption", *(f"{severity:g}" for severity in found["severity"]), "mean"):
        table.add_column(heading, justify="left" if heading == "corruption" else "right")
    for name, row in zip(found["corruption"], accuracy, strict=True):
        table.add_row(str(name), *(f"{value:.1f}" for value in row), f"{row[1:].mean():.1f}")
    error = 100 * np.sqrt(found["accuracy"][0, 0] * (1 - found["accuracy"][0, 0]) / number)
    return table, (
        f"Clean (severity 0) {clean:.2f} +- {error:.2f} % (binomial standard error); mean over corruptions and "
        f"severities {corrupted.mean():.2f} %, {clean - corrupted.mean():.2f} percentage points less."
    )
