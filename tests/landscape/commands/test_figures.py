"""`landscape figures`: sizes, formats and films reach what is drawn, and mistakes are one line; nothing is trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from analysis.store import write
from figures.style import PRESETS
from landscape.commands.files import KNOWN_FORMATS, Style
from tests.figures.synthetic import bowl, measurement, write_run
from tests.figures.test_checkpoints import stored as stored_checkpoint
from tests.figures.test_trajectory import stored
from tests.landscape.conftest import Done

# What makes figures that are of no matter here.
ALL_BUT_TRAINING = {
    *("curvature/eigenvalues", "noise/gradient_noise", "surface/plane"),
    *(f"sharpness/{kind}" for kind in ("worst", "average", "worst_adaptive", "average_adaptive")),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A result file with one surface."""
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "run.h5", "surface", "fine", measurement(of="Surface", **bowl(1.0)))
    return tmp_path / "run"


def lines(done: Done) -> list[str]:
    assert (done.status, done.err) == (0, ""), done.err
    return [Path(line).name for line in done.out.splitlines()]


def test_the_style_reaches_the_figures_of_a_run_and_of_a_study(cli: Callable[..., Done], tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name / "run.h5", "sgd", 0, without=ALL_BUT_TRAINING)
    widths = {}
    for path in (tmp_path, tmp_path / "one"):
        for style in Style:
            target = tmp_path / f"{path.name}-{style.value}"
            lines(cli("figures", path, "--style", style.value, "--formats", "png", "--output", target))
            with Image.open(target / "training.png") as image:
                widths[path, style.value] = image.size[0]
    assert set(widths.values()) == {6.9 * 200, 5.5 * 200}
    assert all(widths[path, "one-column"] == 5.5 * 200 for path in (tmp_path, tmp_path / "one"))


def test_the_styles_are_those_of_the_figures() -> None:
    """Fails if one of the two lists is changed alone: the command line loads no matplotlib for its help."""
    assert [style.value for style in Style] == list(PRESETS)


def test_formats_are_those_asked_for(cli: Callable[..., Done], run: Path) -> None:
    assert lines(cli("figures", run, "--formats", "svg, PDF,svg")) == [
        "surface_fine.svg",
        "surface_fine.pdf",
        "surface_fine_3d.svg",
        "surface_fine_3d.pdf",
    ]
    first = (run / "figures" / "surface_fine.svg").read_bytes()
    assert b"<svg" in first
    assert not re.search(rb"<dc:date>", first)  # the same file whatever the day
    assert {name.rpartition(".")[2] for name in lines(cli("figures", run))} == {"png", "pdf"}


@pytest.mark.parametrize("given", ["jpg", "png,,pdf", "", "png pdf"])
def test_another_format_is_one_line(cli: Callable[..., Done], run: Path, given: str) -> None:
    done = cli("figures", run, "--formats", given)
    assert done.status == 2
    expected = f"--formats must be any of {', '.join(KNOWN_FORMATS)}, separated by commas, got {given!r}\n"
    assert done.err == f"landscape figures: {expected}"
    assert not (run / "figures").exists()


def test_several_checkpoints_are_drawn_from_their_folder_and_with_their_run(
    cli: Callable[..., Done], run: Path, tmp_path: Path
) -> None:
    """Fails if a folder of result files is taken for that of a study."""
    for folder in (tmp_path / "measured", run / "over-training"):
        folder.mkdir()
        for epoch, scale in ((1, 1.0), (2, 2.0)):
            stored_checkpoint(folder / f"epoch-{epoch}.h5", scale)
    assert lines(cli("figures", tmp_path / "measured")) == ["checkpoints.png", "checkpoints.pdf"]
    assert (tmp_path / "measured" / "figures" / "checkpoints.png").is_file()
    drawn = lines(cli("figures", run, "--formats", "png", "--style", "one-column"))
    assert drawn == ["surface_fine.png", "surface_fine_3d.png", "checkpoints.png"]
    with Image.open(run / "figures" / "checkpoints.png") as image:
        assert image.size[0] == 5.5 * 200
    assert "checkpoints.png" not in lines(cli("figures", run / "run.h5", "--formats", "png"))


def test_a_film_is_drawn_beside_the_figures(cli: Callable[..., Done], tmp_path: Path) -> None:
    file = stored(tmp_path / "film.h5").path
    target = tmp_path / "film.gif"
    done = cli("figures", file, "--formats", "png", "--animate", target, "--style", "one-column")
    assert lines(done) == ["trajectory.png", "film.gif"]
    with Image.open(target) as image:
        assert (image.n_frames, image.size[0]) == (3, 5.5 * 150)


def test_a_film_of_something_else_is_one_line(cli: Callable[..., Done], run: Path, tmp_path: Path) -> None:
    for path, name, said in (
        (run, "film.gif", "holds no trajectory, but surface/fine; see landscape trajectory"),
        (run, "film.avi", "a film must end in .gif or .mp4, got 'film.avi'; give another name"),
        (tmp_path, "film.gif", f"--animate draws the trajectory of one run, {tmp_path} is none; give a run's folder"),
    ):
        done = cli("figures", path, "--animate", tmp_path / name)
        assert done.status == 2
        assert said in done.err
        assert done.err.count("\n") == 1
    assert not (run / "figures").exists()
