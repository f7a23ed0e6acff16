"""Films: what each frame holds, how many there are, and a file that is whole or not there.

No ffmpeg is at hand where these tests run: a stand-in counts the frames that matplotlib would send it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from figures import animate_trajectory
from figures.animation import DPI, Film
from figures.style import context
from tests.figures.synthetic import measurement
from tests.figures.test_trajectory import POINTS, stored

FFMPEG = """#!{python}
import sys
size = sys.argv[sys.argv.index("-s") + 1].split("x")
frames = len(sys.stdin.buffer.read()) / (4 * int(size[0]) * int(size[1]))
open(sys.argv[-1], "w").write(f"{{frames:g}} frames at {{sys.argv[sys.argv.index('-framerate') + 1]}}")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return stored(tmp_path / "run.h5").path


@pytest.fixture
def film(file: Path) -> Film:
    from figures import Run

    with context():
        return Film(Run(file))


def test_a_frame_holds_the_points_so_far_of_all_runs(film: Film) -> None:
    """Fails if a run that has ended vanishes, if runs grow one after the other, or losses run ahead of points."""
    left, right = film.figure.axes[:2]
    assert film.num_frames == 3
    for frame, counts in ((0, (1, 1)), (1, (2, 2)), (2, (3, 2))):
        film.show(frame)
        grown = [line.get_xydata().tolist() for line in left.lines if line.get_marker() != "*"]
        assert grown == [POINTS[: counts[0]].tolist(), POINTS[3 : 3 + counts[1]].tolist()]
        stars = [line.get_xydata().tolist() for line in left.lines if line.get_marker() == "*"]
        assert stars == [[points[-1]] for points in grown]
        losses = [line.get_ydata().tolist() for line in right.lines if len(line.get_ydata())]
        first, other = ([5.0, 2.0, 1.0], [9.0, 3.0, 1.0]), ([4.0, 3.0], [8.0, 7.0])
        assert losses == [*(row[: counts[0]] for row in first), *(row[: counts[1]] for row in other)]
        assert right.get_title() == f"checkpoint {frame} of 2"


def test_nothing_but_the_paths_moves(film: Film) -> None:
    """Fails if limits or layout follow what is there."""
    still = []
    for frame in (0, 2):
        film.show(frame)
        film.figure.draw_without_rendering()
        still.append([(ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds) for ax in film.figure.axes])
    assert still[0] == still[1]
    assert film.figure.axes[1].get_xlim()[1] >= 2


def test_the_plane_lies_beneath(film: Film) -> None:
    assert film.figure.axes[0].collections
    assert film.figure.axes[0].get_xlabel() == "axis 1 (63 % of the variance)"


def test_a_gif_has_a_frame_for_each_point_and_stays_at_the_last(file: Path, tmp_path: Path) -> None:
    target = animate_trajectory(file, tmp_path / "new" / "film.gif", fps=5, preset="one-column")
    with Image.open(target) as image:
        assert image.n_frames == 3
        assert image.size[0] == 5.5 * DPI
        durations = []
        for frame in range(3):
            image.seek(frame)
            durations.append(image.info["duration"])
    assert durations == [200, 200, 200 + 1000]  # milliseconds
    assert [path.name for path in target.parent.iterdir()] == ["film.gif"]


def test_an_mp4_goes_through_ffmpeg(file: Path, tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").write_text(FFMPEG.format(python=sys.executable), encoding="utf-8")
    (tmp_path / "ffmpeg").chmod(0o755)
    with mpl.rc_context({"animation.ffmpeg_path": str(tmp_path / "ffmpeg")}):
        target = animate_trajectory(file, tmp_path / "film.mp4", fps=2)
    assert target.read_text(encoding="utf-8") == "5 frames at 2"  # three points, and a second of the last


def test_without_ffmpeg_it_is_said_what_to_do(file: Path, tmp_path: Path) -> None:
    with (
        mpl.rc_context({"animation.ffmpeg_path": str(tmp_path / "none")}),
        pytest.raises(ValueError, match=r"film.mp4 needs ffmpeg, .*; install it \(apt install ffmpeg\), or use .gif"),
    ):
        animate_trajectory(file, tmp_path / "film.mp4")


def test_a_film_that_is_not_finished_leaves_the_old_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = animate_trajectory(file, tmp_path / "film.gif")
    old = target.read_bytes()

    def broken(self: Film, frame: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Film, "show", broken)
    with pytest.raises(KeyboardInterrupt):
        animate_trajectory(file, target)
    assert target.read_bytes() == old
    assert not list(tmp_path.glob("*partial*"))


def test_mistakes_are_one_line(file: Path, tmp_path: Path) -> None:
    from analysis.store import write

    with pytest.raises(ValueError, match=r"a film must end in .gif or .mp4, got 'film.avi'"):
        animate_trajectory(file, tmp_path / "film.avi")
    for fps in (0, -3, np.nan, 2.5):
        with pytest.raises(ValueError, match=f"fps must be a whole number >= 1, got {fps}"):
            animate_trajectory(file, tmp_path / "film.gif", fps=fps)  # type: ignore[arg-type]
    write(tmp_path / "other.h5", "surface", "other", measurement(x=1.0))
    with pytest.raises(ValueError, match=r"holds no trajectory, but surface/other; see landscape trajectory"):
        animate_trajectory(tmp_path / "other.h5", tmp_path / "film.gif")
