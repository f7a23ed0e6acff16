"""Files that are whole at every moment and run no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gcsam.training.checkpoint import load_file, save_file, trajectory_file


def test_content_comes_back(tmp_path: Path) -> None:
    content = {"model": {"w": torch.arange(3.0)}, "epoch": 3, "size": (4, 5), "names": ["a"]}
    save_file(tmp_path / "deep" / "a.pt", content)
    found = load_file(tmp_path / "deep" / "a.pt")
    assert torch.equal(found.pop("model")["w"], content["model"]["w"])  # type: ignore[index]
    assert found == {"epoch": 3, "size": (4, 5), "names": ["a"]}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.pt"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    save_file(path, {"epoch": 1})

    def killed(content: Any, file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_file(path, {"epoch": 2})
    assert load_file(path) == {"epoch": 1}


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken zip"])
def test_other_files_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.pt: is no file of a training run .*; remove it to start again") as caught:
        load_file(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_objects_are_not_loaded(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="is no file of a training run"):
        load_file(tmp_path / "a.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(ValueError, match="it holds a list"):
        load_file(tmp_path / "b.pt")
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "none.pt")


def test_trajectory_files_sort_by_number(tmp_path: Path) -> None:
    assert trajectory_file(tmp_path, "epoch", 7) == tmp_path / "trajectory" / "epoch-0007.pt"
    assert trajectory_file(tmp_path, "step", 12345) == tmp_path / "trajectory" / "step-0012345.pt"
