"""A stored trajectory as a film: the path of every run grows over its plane, beside the losses so far.

Nothing moves but the paths: limits, colours and layout are those of the last frame from the first on. The last frame
stays for a second. Right when frame k holds the first k + 1 points of each run and the file as many frames as the
longest run has points (`tests/figures/test_animation.py`). Cost: about a quarter of a second and, for a GIF, 2 MB of
memory a frame.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from figures.plane import stored_plane
from figures.reading import Run
from figures.style import TWO_COLUMN, context, sizes
from figures.trajectory import PATH, PLANE, draw_losses, draw_paths, draw_plane, paths

FPS = 10  # our choice: a point every tenth of a second can be followed, and fifty take five seconds
DPI = 150
WRITERS: dict[str, Any] = {".gif": PillowWriter, ".mp4": FFMpegWriter}


class Film:
    """A figure whose paths can be cut back to what was there at a frame.

    Attributes:
        figure: The figure, at first as in its last frame.
        num_frames: Points of the longest run.
    """

    def __init__(self, run: Run) -> None:
        found, explained = paths(run), run.array(PATH, "explained_variance")
        if not found or explained is None:
            there = ", ".join(run.measurements) or "nothing"
            raise ValueError(f"{run.path} holds no trajectory, but {there}; see landscape trajectory")
        self.num_frames = max(len(path.loss) for path in found)
        self.figure = Figure(figsize=(sizes().wide, 0.45 * sizes().wide))
        left, right = self.figure.subplots(1, 2, width_ratios=(1.35, 1))
        plane = stored_plane(run, PLANE, "")
        if plane is not None:
            draw_plane(left, plane)
        draw_paths(left, found, explained)
        left.set_aspect("equal", adjustable="box")
        draw_losses(right, found)
        right.set_xlabel("checkpoint")
        right.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        self._count = right.set_title(self._text(self.num_frames - 1))
        # set_data leaves the limits alone: they stay as they are with everything drawn
        self._grow = [(line, np.array(line.get_xydata())) for ax in (left, right) for line in _longer(ax.lines)]
        stars = [line for line in left.lines if line.get_marker() == "*"]
        self._stars = list(zip(stars, (path.coordinates for path in found), strict=True))
        self.figure.draw_without_rendering()  # the layout of the last frame, for all
        self.figure.set_layout_engine("none")

    def show(self, frame: int) -> None:
        """Cut the figure back to a frame; a run that has ended stays as it is.

        Args:
            frame: From 0 to num_frames - 1.
        """
        for line, points in self._grow:
            line.set_data(*points[: frame + 1].T)
        for star, points in self._stars:
            star.set_data(*points[min(frame, len(points) - 1), :, None])
        self._count.set_text(self._text(frame))

    def _text(self, frame: int) -> str:
        return f"checkpoint {frame} of {self.num_frames - 1}"


def animate_trajectory(
    path: str | os.PathLike[str], output: str | os.PathLike[str], *, fps: int = FPS, preset: str = TWO_COLUMN
) -> Path:
    """Draw the trajectory of a result file as a film, written whole.

    Args:
        path: The result file, with a trajectory and, if the background is wanted, its plane.
        output: Ends in .gif, or in .mp4 where ffmpeg is on the machine; a file of that name is replaced.
        fps: Points shown in a second, >= 1.
        preset: "two-column" or "one-column", see `figures.style.PRESETS`.

    Returns:
        The file written.

    Raises:
        FileNotFoundError: The result file is missing.
        ValueError: It holds no trajectory, or `output` or `fps` is none of what is allowed.

    Example:
        animate_trajectory("runs/resnet20/run.h5", "resnet20.gif")
    """
    target = Path(output)
    make = WRITERS.get(target.suffix.lower())
    if make is None:
        raise ValueError(f"a film must end in {' or '.join(WRITERS)}, got {target.name!r}; give another name")
    if not make.isAvailable():
        raise ValueError(
            f"{target.name} needs ffmpeg, which is not on this machine; install it (apt install ffmpeg), or use .gif"
        )
    if not fps >= 1 or fps != int(fps):
        raise ValueError(f"fps must be a whole number >= 1, got {fps}; {FPS} is the usual")
    with context(preset):
        film = Film(Run(Path(path)))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.stem}.partial{target.suffix.lower()}")
        writer = make(fps=fps)
        try:
            writer.setup(film.figure, str(partial), DPI)
            _grab(writer, film, fps)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    return target


def _grab(writer: Any, film: Film, fps: int) -> None:
    """Write the frames; not with `writer.saving`, which writes half a film when it is stopped."""
    try:
        # in a GIF equal frames become one that stays longer
        for frame in [*range(film.num_frames), *[film.num_frames - 1] * fps]:
            film.show(frame)
            writer.grab_frame()
    except BaseException:
        with suppress(Exception):  # there may be no frame; a process of ffmpeg ends here
            writer.finish()
        raise
    writer.finish()


def _longer(lines: Sequence[Line2D]) -> list[Line2D]:
    """Return what grows: not the stars, and not the empty lines of a legend."""
    return [line for line in lines if line.get_marker() != "*" and len(np.atleast_1d(line.get_xdata()))]
