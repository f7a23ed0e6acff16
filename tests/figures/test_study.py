"""All figures of a study or a run: what is written, and what a missing measurement leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from analysis.store import Measurement, SchemaError, write
from figures import FIGURES, draw_run, draw_study, load_runs
from figures.study import save_figure
from figures.style import METHODS, context
from tests.figures.synthetic import bowl, measurement, write_run


def names(written: list[Path]) -> set[str]:
    return {path.name for path in written}


def test_every_figure_is_written_in_both_formats(study: Path, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    written = draw_study(sorted(study.glob("*-*.h5")), tmp_path / "new" / "figures", study_path=study / "study.h5")
    # what these files do not hold; the tests of each draw it
    alone = {
        "trajectory",
        "lines",
        "paths",
        "convexity",
        "gradient",
        "noise_training",
        "agreement",
        "tails",
        "density",
        "noise_spectrum",
        "evolution",
        "ascent_ratio",
        "drift",
        "robustness",
    }
    drawn = (*(FIGURES.keys() - alone), "verdicts")
    assert names(written) == {f"{name}.{form}" for name in drawn for form in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "new" / "figures").iterdir()} == names(written)  # nothing half written
    for path in written:
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")
            assert b"/Type3" not in path.read_bytes()  # journals refuse Type 3 fonts
        else:
            with Image.open(path) as image:
                assert min(image.size) >= 400  # 2 inches at 200 dpi
    assert dict(mpl.rcParams) == before


MEASUREMENTS = {
    "training": {"training/history"},
    "surfaces": {"surface/plane"},
    "surfaces_3d": {"surface/plane"},
    "eigenvalues": {"curvature/eigenvalues"},
    "noise": {"noise/gradient_noise"},
    "sharpness": {f"sharpness/{kind}" for kind in ("worst", "average", "worst_adaptive", "average_adaptive")},
}


@pytest.mark.parametrize("name", ["training", "eigenvalues", "noise"])
def test_a_missing_measurement_leaves_out_its_figure_alone(tmp_path: Path, name: str) -> None:
    path = write_run(tmp_path / "run.h5", "gcsam", 0, without=MEASUREMENTS[name])
    written = draw_run(path, tmp_path / "figures", formats=("png",))
    assert names(written) == {f"{other}.png" for other in MEASUREMENTS if other != name}  # of one run no accuracy


def surface(steepness: float) -> Measurement:
    return measurement(of="Surface", **bowl(steepness))


def test_a_run_shows_its_surfaces_of_all_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a surface of another name than "plane" is left out, or one is drawn twice or as another."""
    path = tmp_path / "run.h5"
    for name, steepness in (("plane", 1.0), ("fine", 2.0), ("trajectory_plane", 3.0), ("wide", 4.0)):
        write(path, "surface", name, surface(steepness))
    write(path, "surface", "empty", measurement(**bowl(np.nan), of="Surface"))
    drawn: dict[str, Any] = {}

    def keep(figure: Figure, target: Path, **_: object) -> None:
        drawn[Path(target).stem.removeprefix(".").removesuffix(".partial")] = figure
        Path(target).touch()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    written = draw_run(path, tmp_path / "figures", formats=("png",))
    expected = ("surfaces", "surfaces_3d", "surface_fine", "surface_fine_3d", "surface_wide", "surface_wide_3d")
    assert [path.name for path in written] == [f"{name}.png" for name in expected]
    assert [drawn[name].axes[0].get_title() for name in ("surface_fine", "surface_wide_3d")] == ["fine", "wide"]
    tops = {name: figure.axes[0].collections[0].get_clim()[1] for name, figure in drawn.items() if "3d" not in name}
    assert tops["surface_wide"] == pytest.approx(2 * tops["surface_fine"], rel=1e-3)  # up to the floor of `bowl`
    study = draw_study([path], tmp_path / "study", formats=("png",))
    assert [path.name for path in study] == ["surfaces.png", "surfaces_3d.png"]


def test_the_same_files_give_the_same_bytes(study: Path, tmp_path: Path) -> None:
    paths = [study / "sgd-0.h5", study / "sam-0.h5"]
    first, second = (draw_study(paths, tmp_path / name) for name in ("a", "b"))
    chosen = [(a, b) for a, b in zip(first, second, strict=True) if "3d" not in a.name]
    assert chosen
    assert all(a.read_bytes() == b.read_bytes() for a, b in chosen)


def test_all_formats_have_one_layout_that_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the second format lays the figure out anew, which takes about a seventh of drawing."""
    found = []

    def count(self: ConstrainedLayoutEngine, figure: Figure) -> None:
        found.append(figure)
        lay_out(self, figure)

    lay_out = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", count)
    with context():
        figure = Figure()
        figure.subplots().set_ylabel("a label that takes room")
    save_figure(figure, tmp_path, "one", ("png", "pdf", "svg"))
    assert found == [figure]
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "one.pdf", "one.svg"}


def test_an_unwritten_figure_leaves_the_old_one(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_study([study / "sgd-0.h5"], tmp_path, formats=("png",))
    old = (tmp_path / "training.png").read_bytes()

    def broken(figure: object, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(KeyboardInterrupt):
        draw_study([study / "sam-0.h5"], tmp_path, formats=("png",))
    assert (tmp_path / "training.png").read_bytes() == old


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        draw_run(tmp_path / "none.h5", tmp_path)
    (tmp_path / "text.h5").write_text("no HDF5", encoding="utf-8")
    with pytest.raises(SchemaError):
        draw_run(tmp_path / "text.h5", tmp_path)


def lightness(color: str) -> float:
    from matplotlib.colors import to_rgb

    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


def test_methods_differ_in_color_marker_and_lightness() -> None:
    looks = list(METHODS.values())
    assert len(looks) == 10
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == len(looks)
    assert len({look.label for look in looks}) == len(looks)
    light = sorted(lightness(METHODS[name].color) for name in ("sgd", "gc", "sam", "gcsam"))
    # a grey print tells sgd, gcsam and the two light ones apart; those two differ in marker and line
    assert light[1] - light[0] > 0.2
    assert light[2] - light[1] > 0.1


def test_every_control_has_dashes_of_its_own_and_is_not_lost_on_white() -> None:
    """Fails if two curves look alike in a grey print; SGD and GCSAM, solid both, are black and mid-grey there."""
    lines = [look.line for look in METHODS.values()]
    assert len(set(lines)) == len(lines) - 1
    assert METHODS["sgd"].line == METHODS["gcsam"].line == "-"
    controls = METHODS.keys() - {"sgd", "gc", "sam", "gcsam"}
    assert max(lightness(METHODS[name].color) for name in controls) < 0.62  # 0.64 is the lightest of the four


def test_a_control_stands_beside_what_it_controls() -> None:
    from figures.style import in_order

    found = in_order(sorted([*METHODS, "mine"]))
    assert found[:2] == ["sgd", "sgd-long"]
    assert found[3:6] == ["sam", "sam-matched", "sam-gc"]
    assert found[-3:] == ["gcsam-published", "gcsam", "mine"]


def test_drawing_loads_no_torch(study: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from figures import draw_run; draw_run(sys.argv[1], sys.argv[2], formats=('png',)); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, study / "sgd-0.h5", tmp_path], check=False)
    assert done.returncode == 0


def test_runs_are_ordered_by_seed(study: Path) -> None:
    assert [run.seed for run in load_runs(sorted(study.glob("*-*.h5"), reverse=True))] == [0] * 4 + [1] * 4
