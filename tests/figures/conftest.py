"""One synthetic study for all tests of figures; it is only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import Run, load_runs
from tests.figures.synthetic import write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_study(folder)
    return folder


@pytest.fixture(scope="session")
def runs(study: Path) -> list[Run]:
    return load_runs(sorted(study.glob("*-*.h5")))


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()
