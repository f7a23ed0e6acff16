"""Train one run, watched by a probe where that is wanted, and see that its result file holds what it remembers.

The file is written once the run is finished; a stopped run goes on from its checkpoint. Until then what a probe sees
is in a file of its own, because the result file belongs to the selected weights. Right when the file holds the
history and summary of the run, number by number (`tests/landscape/measuring/test_training.py`).
Cost: the training, and hashing the training images.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from analysis.store import list_measurements
from gcsam.training import Splits, TrainConfig, TrainRun, is_first_process, load_data, train
from landscape.measuring.probing import ProbeWish, Watching
from landscape.progress import Display
from landscape.records.layout import PROBE, PROBE_FILE, RUN_FILE, TRAINING
from landscape.records.trained import write_training


def train_run(
    config: TrainConfig, directory: Path, display: Display, probe: ProbeWish | None = None, *, name: str = ""
) -> tuple[TrainRun, Splits]:
    """Train, or go on, or do nothing where the run is finished; write its result file, in the first of all processes.

    Args:
        config: What to train.
        directory: Of the run; made where it is not.
        display: Shows the epochs.
        probe: What to measure during the training; None measures nothing.
        name: Of the method in a study, where it has one of its own.

    Returns:
        The finished run and its data, on the CPU.

    Raises:
        ValueError: The directory holds another run, or one that was finished without the probe now wanted; or the data
            or network is not there.
        RuntimeError: The loss stopped being finite.
    """
    splits = load_data(config, "cpu")

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        text = f"{TRAINING}: epoch {done} of {total}, validation accuracy {metrics['validation_accuracy']:.3f}"
        display.update(TRAINING, text, done, total)

    path = directory / RUN_FILE
    if path.is_file() and "training/summary" in list_measurements(path):
        run = train(config, directory, splits=splits)  # returns at once, or says that it is another run
        if probe is not None and not (directory / PROBE_FILE).is_file() and PROBE not in list_measurements(path):
            raise ValueError(
                f"{directory} holds a run that was finished without a probe, and the weights on its way are gone; give "
                "another directory, or leave out --probe"
            )
        display.note(f"{directory}: trained before, nothing to do")
    else:
        with ExitStack() as stack:
            observer = None
            if probe is not None:
                observer = stack.enter_context(Watching(probe, splits.train, directory / PROBE_FILE))
            stack.enter_context(display.stage(TRAINING))
            run = train(config, directory, splits=splits, progress=progress, observer=observer)
    if is_first_process():
        write_training(run, splits, path, name)
    return run, splits
