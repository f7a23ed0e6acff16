"""The structure of the house: imports point down, reading files needs no torch, public names are frozen."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"gcsam": 1, "analysis": 2, "figures": 3, "landscape": 4}
SOURCES = [path for package in FLOORS for path in sorted((ROOT / package).rglob("*.py"))]
IDS = [str(path.relative_to(ROOT)) for path in SOURCES]
MAX_LINES = 300
# The rooms of `landscape`, from the ground up. Those of one row do not know each other; a file at the top is its own.
ROOMS = (
    ("__init__", "errors", "options", "progress", "huggingface", "callbacks"),
    ("records",),
    ("network", "comparing"),
    ("tables",),
    ("measuring",),
    ("jobs",),
    ("study",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
STORIES = {room: story for story, row in enumerate(ROOMS) for room in row}
IN_ROOMS = [name for name in IDS if name.startswith("landscape/")]


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (module, imported names) of every import statement in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or "", [alias.name for alias in node.names]


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for module, names in imports(path):
        target = module.split(".")[0]
        assert target != "tests", f"{path} imports tests"
        if target not in FLOORS or target == package:
            continue
        assert FLOORS[target] < FLOORS[package], f"{path} imports {module}, which is above it"
        assert not [name for name in names if name.startswith("_")], f"{path} imports a private name of {module}"
        if package == "analysis":
            assert module == "gcsam.centralize", f"{path}: analysis measures networks trained by anything"
        if package == "figures":
            assert module.startswith("analysis.store"), f"{path}: figures read files only"


@pytest.mark.parametrize("name", IN_ROOMS)
def test_rooms_import_down(name: str) -> None:
    """An import inside a function, or for types alone, counts too."""
    path, room = ROOT / name, name.split("/")[1].removesuffix(".py")
    assert room in STORIES, f"{path}: give the room {room} a place in ROOMS"
    for module, names in imports(path):
        if module.split(".")[0] != "landscape":
            continue
        for target in [module.split(".")[1]] if "." in module else names:
            assert target == room or STORIES[target] < STORIES[room], f"{path} imports {target}, which is not below it"


@pytest.mark.parametrize("name", IDS)
def test_the_tests_that_a_docstring_names_are_there(name: str) -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)`", (ROOT / name).read_text(encoding="utf-8"))
    assert not [test for test in named if not (ROOT / test).exists()]


@pytest.mark.parametrize("path", sorted((ROOT / "gcsam").glob("*.py")), ids=lambda path: path.name)
def test_the_optimizer_needs_nothing_but_torch(path: Path) -> None:
    allowed = {*sys.stdlib_module_names, "torch"}
    for module, _ in imports(path):
        own = module.startswith("gcsam.") and not module.startswith("gcsam.training")
        assert own or module.split(".")[0] in allowed


def test_the_optimizer_can_be_adopted_alone(tmp_path: Path) -> None:
    """Its files, copied without the rest of the package, take a step."""
    (tmp_path / "gcsam").mkdir()
    for path in (ROOT / "gcsam").glob("*.py"):
        shutil.copy(path, tmp_path / "gcsam")
    code = """
        import torch, gcsam
        assert gcsam.__file__.startswith({folder!r}), gcsam.__file__
        model = torch.nn.Linear(3, 2)
        optimizer = gcsam.GCSAM.from_model(model, torch.optim.SGD, lr=0.1)
        optimizer.step(lambda: model(torch.ones(1, 3)).sum().backward())
    """
    program = textwrap.dedent(code.format(folder=str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_a_file_has_one_reason_to_exist(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_LINES, f"{path} has {len(lines)} lines: what is its second reason?"
    assert path.name == "__main__.py" or ast.get_docstring(ast.parse("\n".join(lines)))


@pytest.mark.parametrize("module", ["analysis.store", "figures", "landscape.cli"])
def test_reading_drawing_and_help_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_torchvision_is_never_imported() -> None:
    assert not [path for path in SOURCES for module, _ in imports(path) if module.startswith("torchvision")]


FIXED_NAMES = {
    "gcsam": {"GCSAM", "centralize"},
    "analysis": {
        "Objective",
        "hessian_eigenvalues",
        "spectral_density",
        "hessian_trace",
        "loss_surface",
        "loss_line",
        "sharpness",
        "gradient_noise",
        "load",
    },
}


@pytest.mark.parametrize("package", FIXED_NAMES)
def test_public_names_are_there(package: str) -> None:
    module = __import__(package)
    assert FIXED_NAMES[package] <= set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_sharpness_is_the_function_whatever_was_imported_first() -> None:
    code = "import analysis.flatness.sharpness; from analysis import sharpness; sharpness.__call__"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
