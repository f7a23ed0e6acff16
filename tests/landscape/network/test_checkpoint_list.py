"""Names and order of checkpoints, before any of them is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from landscape.network.checkpoint_list import expand, is_several, natural, result_names


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def test_numbers_in_names_are_sorted_by_size() -> None:
    """Fails if names are sorted as text, where epoch-10 comes before epoch-2."""
    names = ["epoch-10", "epoch-2", "epoch-1-step-9", "epoch-1-step-10", "2", "10", ""]
    assert sorted(names, key=natural) == ["", "2", "10", "epoch-1-step-9", "epoch-1-step-10", "epoch-2", "epoch-10"]


def test_patterns_are_expanded_in_natural_order_and_files_taken_once(folder: Path) -> None:
    make("ckpt/epoch-10.pt", "ckpt/epoch-2.pt", "ckpt/notes.txt", "ckpt/deep/epoch-1.pt", "init.pt")
    assert expand(["ckpt/*.pt"]) == [Path("ckpt/epoch-2.pt"), Path("ckpt/epoch-10.pt")]
    given = ["init.pt", "ckpt/*.pt", "ckpt/epoch-2.pt", str(folder / "init.pt"), "later.pt"]
    assert expand(given) == [Path("init.pt"), Path("ckpt/epoch-2.pt"), Path("ckpt/epoch-10.pt"), Path("later.pt")]
    assert expand(["ckpt/**/*.pt"])[0] == Path("ckpt/deep/epoch-1.pt")


def test_a_pattern_without_a_match_is_one_line() -> None:
    expected = (
        f"^--checkpoint none/\\*.pt: no file matches this pattern in {re.escape(str(Path.cwd()))}; check the fold"
    )
    with pytest.raises(ValueError, match=expected):
        expand(["none/*.pt"])


def test_several_are_meant_by_two_names_or_a_pattern_but_not_by_brackets_in_a_name() -> None:
    make("net[1].pt")
    assert is_several(["a.pt", "b.pt"])
    assert is_several(["ckpt/*.pt"])
    assert is_several(["net[2].pt"])
    assert not is_several(["a.pt"])
    assert not is_several([])
    assert not is_several(["net[1].pt"])
    assert expand(["net[1].pt"]) == [Path("net[1].pt")]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["ckpt/epoch-2.pt", "init.pt"], ["epoch-2", "init"]),
        (["a/net.pt", "b/net.pt", "c/other.pt"], ["a-net", "b-net", "other"]),
        (["x/a/net.pt", "y/a/net.pt"], ["x-a-net", "y-a-net"]),
        (["a/net.pt", "a/net.ckpt"], ["net.pt", "net.ckpt"]),
        (["a/Net.pt", "a/net.ckpt"], ["Net.pt", "net.ckpt"]),  # one file where case does not count
    ],
)
def test_result_files_are_named_after_checkpoints_and_the_folders_that_tell_them_apart(
    given: list[str], names: list[str]
) -> None:
    make(*given)
    assert result_names([Path(path) for path in given]) == names


def test_no_two_result_files_have_one_name(folder: Path) -> None:
    """Fails if folders are put before names without looking at what then stands beside them."""
    given = [folder / name for name in ("a-b/net.pt", "a/b-net.pt", "b/net.pt", "a/b/net.pt")]
    assert len(set(result_names(given))) == 4
    given = [Path("/a-b/net.pt"), Path("/a/b-net.pt"), Path("/a/b/net.pt")]  # folders end before they tell them apart
    assert len(set(result_names(given))) == 3


def test_a_folder_keeps_its_whole_name() -> None:
    make("v1.5/model.safetensors", "v1.6/model.safetensors")
    assert result_names([Path("v1.5"), Path("v1.6")]) == ["v1.5", "v1.6"]
