"""Files of weights: each format comes back equal, and each damaged or dangerous one is refused in one line.

The oracle is the tensors that were written. Blind to the names of a network: those are in `test_fitting.py`.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.network.checkpoints import hash_of_weights, read_weights
from tests.landscape.conftest import Done

RAN = "code-of-the-checkpoint-ran"


class Dangerous:
    """Unpickling it makes a folder in the current one."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int, bool]]:
        return os.makedirs, (RAN, 0o777, True)


class Settings:
    """An object such as trainers keep beside the weights."""


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"{part}.weight": torch.randn(40, 10, generator=generator) for part in "abc"}


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def safetensors() -> Any:
    return pytest.importorskip("safetensors.torch", reason="safetensors is installed by the extra `test`")


@pytest.mark.parametrize("key", [None, "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_save_wrote(folder: Path, key: str | None, is_zip: bool) -> None:
    found = {key: weights(), "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}} if key else weights()
    torch.save(found, "net.pt", _use_new_zipfile_serialization=is_zip)
    assert equal(read_weights("net.pt"), weights())


@pytest.mark.parametrize("name", ["net.safetensors", "net.bin"])
def test_safetensors_whatever_the_name(folder: Path, name: str) -> None:
    safetensors().save_file(weights(), name)
    assert equal(read_weights(name), weights())


def write_shards(kind: str) -> None:
    """Write three shards and their index, one tensor in each, as Hugging Face lays them out."""
    stem, suffix = ("model", ".safetensors") if kind == "safetensors" else ("pytorch_model", ".bin")
    save: Any = safetensors().save_file if kind == "safetensors" else torch.save
    files = {name: f"{stem}-{i}-of-3{suffix}" for i, name in enumerate(weights(), 1)}
    for name, file in files.items():
        save({name: weights()[name]}, file)
    Path(f"{stem}{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}), encoding="utf-8")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "selected.pt"])
def test_a_folder_with_one_file(folder: Path, name: str) -> None:
    if name == "model.safetensors":
        torch.save({"a.weight": torch.ones(1)}, "pytorch_model.bin")  # is there too, and not taken
        safetensors().save_file(weights(), name)
    else:
        torch.save(weights(), name)
    assert equal(read_weights(folder), weights())
    assert hash_of_weights(folder) == hash_of_weights(folder / name)


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_a_folder_with_shards(folder: Path, kind: str) -> None:
    write_shards(kind)
    index = next(folder.glob("*.index.json"))
    assert equal(read_weights(folder), weights())
    assert equal(read_weights(index), weights())
    before = hash_of_weights(folder)
    assert len(before) == 64
    assert before == hash_of_weights(index)
    shard = max(folder.glob("*of-3*"))  # the last one counts as much as the first
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert hash_of_weights(folder) != before
    shard.unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"1 of 3 shards named in {index.name} missing, first {shard.name}; put"
    ):
        read_weights(folder)
    index.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{index.name} is no index of shards, it has no weight_map; get it again"):
        read_weights(folder)


def test_a_path_with_nothing_to_read(folder: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^--checkpoint x: no weights in this folder, none of selected\.pt, mo"
    ):
        read_weights(folder, what="--checkpoint x")
    with pytest.raises(
        FileNotFoundError, match=r"^no\.pt: no such file; give the one that torch\.save wrote, a \.safe"
    ):
        read_weights("no.pt")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_file_of_torch_cut_short(folder: Path, is_zip: bool, share: float) -> None:
    torch.save(weights(), "net.pt", _use_new_zipfile_serialization=is_zip)
    whole = Path("net.pt").read_bytes()
    Path("net.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"^net\.pt: is cut short after \d+ bytes; save it, or get it, again$"):
        read_weights("net.pt")


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_safetensors_file_cut_short(folder: Path, share: float) -> None:
    safetensors().save_file(weights(), "net.safetensors")
    whole = Path("net.safetensors").read_bytes()
    Path("net.safetensors").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        ValueError, match=r"^net\.safetensors: is cut short or no safetensors file \(.+\); get it again$"
    ):
        read_weights("net.safetensors")


def test_safetensors_that_are_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(
        ValueError, match=r"^net\.safetensors: needs the package safetensors, .*; pip install safetensors"
    ):
        read_weights("net.safetensors")


def test_a_file_that_is_no_checkpoint(folder: Path) -> None:
    for content in (b"", b"hello world", b"\x89PNG"):
        Path("net.pt").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"^net\.pt: is no file that torch\.save or safetensors wrote \(\w+\); check"
        ):
            read_weights("net.pt")
    np.savez("net.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"^net\.npz: is no file that torch\.save or safetensors wrote"):
        read_weights("net.npz")
    for found, told in ((3.0, "float"), ({}, "nothing"), ({**weights(), "epoch": 3}, "a.weight, b.weight, c.w.*epoch")):
        torch.save(found, "net.pt")
        with pytest.raises(
            ValueError, match=rf"^net\.pt: must be a state_dict or hold one under model, .*holds {told}$"
        ):
            read_weights("net.pt")


@pytest.mark.parametrize("trust", [False, True])
def test_a_pickle_of_something_else_is_never_run(folder: Path, trust: bool) -> None:
    """Fails if such a file is unpickled because torch.load would; it could not be used anyway."""
    Path("net.pt").write_bytes(pickle.dumps({"model": Dangerous()}))
    with pytest.raises(ValueError, match=r"^net\.pt: is a pickle that torch\.save did not write; unpickle it yourself"):
        read_weights("net.pt", trust=trust)
    assert not Path(RAN).exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_pickled_code_runs_only_if_trusted(folder: Path, is_zip: bool) -> None:
    torch.save({"model": weights(), "other": Dangerous()}, "net.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(
        ValueError, match=r"^net\.pt: refused, because it holds more than tensors, os\.makedirs, and unp"
    ):
        read_weights("net.pt")
    assert not Path(RAN).exists()
    assert equal(read_weights("net.pt", trust=True), weights())
    assert Path(RAN).exists()


def test_a_whole_model_that_was_pickled(folder: Path) -> None:
    model = nn.Linear(3, 2)
    torch.save(model, "net.pt")
    with pytest.raises(
        ValueError, match=r"more than tensors, torch\.nn\.modules\.linear\.Linear, .*--trust-checkpoint if"
    ):
        read_weights("net.pt")
    assert equal(read_weights("net.pt", trust=True), dict(model.state_dict()))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive(folder: Path) -> None:
    model = nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(model), "net.pt")
    with pytest.raises(
        ValueError, match=r"^net\.pt: refused, because it holds more than tensors, TorchScript code, and "
    ):
        read_weights("net.pt")
    assert equal(read_weights("net.pt", trust=True), dict(model.state_dict()))


def test_trusted_code_that_cannot_be_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"model": weights(), "settings": Settings()}, "net.pt")
    monkeypatch.delattr(sys.modules[__name__], "Settings")
    with pytest.raises(
        ValueError, match=r"^net\.pt: unpickling it failed: AttributeError: .*Settings.*; the code it was"
    ):
        read_weights("net.pt", trust=True)


NETS = """
import torch

def model():
    return torch.nn.Linear(2, 2)

def data():
    return [(torch.eye(2), torch.arange(2))]
"""


@pytest.mark.parametrize("command", ["measure", "surface", "noise", "path"])
def test_trust_is_given_on_the_command_line(
    command: str, cli: Callable[..., Done], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails where a command does not pass the option on; the code runs in the second call, and not in the first."""
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    Path("nets.py").write_text(NETS, encoding="utf-8")
    torch.save({"model": nn.Linear(2, 2).state_dict(), "other": Dangerous()}, "net.pt")
    torch.save({"weight": torch.eye(2), "bias": torch.ones(2)}, "end.pt")
    given = {
        "measure": "measure --checkpoint net.pt --top 1",
        "surface": "surface --checkpoint end.pt --toward net.pt --dimensions 1 --points 3",
        "noise": "noise --checkpoint net.pt",
        "path": "path net.pt end.pt --points 3",
    }[command]
    own = f"{given} --model nets:model --data nets:data --loss torch.nn:CrossEntropyLoss --output net.h5".split()
    refused = cli(*own)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert "net.pt: refused, because it holds more than tensors" in refused.err
    assert not Path(RAN).exists()
    assert not Path("net.h5").exists()
    done = cli(*own, "--trust-checkpoint")
    assert done.status == 0, done.err
    assert Path(RAN).exists()
