"""Draw everything that result files hold: one PNG and one PDF per figure, written whole.

Right when each figure that the files speak to is there, with every surface of a single run, and a missing measurement
leaves out its figure and no other (`tests/figures/test_study.py`). Cost: about a second per figure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from figures.ab import figure_ab
from figures.accuracy import figure_accuracy
from figures.agreement import figure_agreement
from figures.checkpoints import figure_checkpoints
from figures.claims import figure_verdicts
from figures.convexity import figure_convexity
from figures.covariance import figure_covariance
from figures.density import figure_density
from figures.drift import figure_drift
from figures.evolution import figure_evolution
from figures.gradient import figure_gradient
from figures.line import figure_lines
from figures.noise import figure_noise
from figures.noise_training import figure_noise_training
from figures.path import figure_paths
from figures.plane import PLANE as METHOD_PLANE
from figures.plane import stored_plane
from figures.ratio import figure_ratio
from figures.reading import Run, load_runs
from figures.robustness import figure_robustness
from figures.sharpness import figure_sharpness
from figures.spectrum import figure_eigenvalues
from figures.style import TWO_COLUMN, context
from figures.surface import figure_contours, figure_surfaces, heights, side_by_side
from figures.sweeps import figure_sweeps
from figures.tails import figure_tails
from figures.training import figure_training
from figures.trajectory import PLANE as TRAJECTORY_PLANE
from figures.trajectory import figure_trajectory

FORMATS = ("png", "pdf")
FIGURES: dict[str, Callable[[Sequence[Run]], Figure | None]] = {
    "training": figure_training,
    "evolution": figure_evolution,
    "ascent_ratio": figure_ratio,
    "surfaces": figure_contours,
    "surfaces_3d": figure_surfaces,
    "convexity": figure_convexity,
    "gradient": figure_gradient,
    "lines": figure_lines,
    "paths": figure_paths,
    "trajectory": figure_trajectory,
    "eigenvalues": figure_eigenvalues,
    "density": figure_density,
    "sharpness": figure_sharpness,
    "noise": figure_noise,
    "noise_training": figure_noise_training,
    "agreement": figure_agreement,
    "tails": figure_tails,
    "noise_spectrum": figure_covariance,
    "accuracy": figure_accuracy,
    "robustness": figure_robustness,
    "drift": figure_drift,
}
# Of the study's own file.
STUDY_FIGURES: dict[str, Callable[[Run], Figure | None]] = {
    "verdicts": figure_verdicts,
    "sweeps": figure_sweeps,
    "ab": figure_ab,
}
# Without these a file depends on the day it was made.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}


def draw_study(
    run_paths: Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    *,
    study_path: str | os.PathLike[str] | None = None,
    formats: Sequence[str] = FORMATS,
    preset: str = TWO_COLUMN,
) -> list[Path]:
    """Draw every figure that the files speak to.

    Args:
        run_paths: Result files, of one run each; any measurement may be missing.
        output_dir: Made if it does not exist; files of the same names are replaced.
        study_path: The study's own file, for its verdicts and sweeps, or the answer of a comparison.
        formats: As matplotlib knows them.
        preset: "two-column" or "one-column", see `figures.style.PRESETS`.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: A result file is missing.
        SchemaError: One is not a result file of this version.
    """
    runs = load_runs(run_paths)
    written = []
    with context(preset):
        for name, make in FIGURES.items():
            written += save_figure(make(runs), Path(output_dir), name, formats)
        if study_path is not None:
            study = Run(Path(study_path))
            for name, draw in STUDY_FIGURES.items():
                written += save_figure(draw(study), Path(output_dir), name, formats)
    return written


def draw_run(
    path: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    formats: Sequence[str] = FORMATS,
    preset: str = TWO_COLUMN,
) -> list[Path]:
    """Draw every figure that one result file speaks to.

    Args:
        path: The result file.
        output_dir: As for `draw_study`.
        formats: As for `draw_study`.
        preset: As for `draw_study`.

    Returns:
        The files written. Beside those of a study, every further surface as "surface_NAME" and "surface_NAME_3d".
    """
    written = draw_study([path], output_dir, formats=formats, preset=preset)
    run = Run(Path(path))
    with context(preset):
        for key in run.of_type("Surface"):
            name = key.partition("/")[2]
            # those two are drawn already: by the study, and beneath the trajectory
            plane = None if key in {METHOD_PLANE, TRAJECTORY_PLANE} else stored_plane(run, key, name)
            if plane is not None:
                written += save_figure(side_by_side([plane]), Path(output_dir), f"surface_{name}", formats)
                written += save_figure(heights([plane]), Path(output_dir), f"surface_{name}_3d", formats)
    return written


def draw_checkpoints(
    paths: Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    *,
    formats: Sequence[str] = FORMATS,
    preset: str = TWO_COLUMN,
) -> list[Path]:
    """Draw what was measured at several checkpoints of one network.

    Args:
        paths: A result file for each, as `landscape measure` writes them for several checkpoints.
        output_dir: As for `draw_study`.
        formats: As for `draw_study`.
        preset: As for `draw_study`.

    Returns:
        The files written: "checkpoints"; none for a single checkpoint.

    Raises:
        FileNotFoundError: A result file is missing.
        SchemaError: One is not a result file of this version.
    """
    with context(preset):
        return save_figure(
            figure_checkpoints([Run(Path(path)) for path in paths]), Path(output_dir), "checkpoints", formats
        )


def figure_named(name: str, runs: Sequence[Run], study: Run | None) -> Figure | None:
    """Return one figure of a study.

    Args:
        name: One of `FIGURES` or `STUDY_FIGURES`.
        runs: As from `figures.reading.load_runs`.
        study: The study's file.

    Returns:
        None where the files do not speak to it.
    """
    if name in STUDY_FIGURES:
        return None if study is None else STUDY_FIGURES[name](study)
    return FIGURES[name](runs)


def save_figure(figure: Figure | None, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write a figure, whole or not at all.

    Args:
        figure: None writes nothing.
        folder: Made if it does not exist.
        name: Of the files, without an ending.
        formats: As matplotlib knows them.

    Returns:
        The files written.
    """
    if figure is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for form in formats:
        target, partial = folder / f"{name}.{form}", folder / f".{name}.partial.{form}"
        figure.savefig(partial, metadata=_METADATA.get(form))
        figure.set_layout_engine("none")  # all formats have the layout of the first, which is found once
        os.replace(partial, target)
        written.append(target)
    return written
