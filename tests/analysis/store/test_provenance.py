"""The root attributes: required ones always there, given ones kept, the commit that of the working directory."""

from __future__ import annotations

import importlib
import json
import subprocess
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import pytest

from analysis.store import REQUIRED_ATTRIBUTES, provenance, sha256_file


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_has_all_but_the_schema_version() -> None:
    got = provenance()
    assert set(got) >= set(REQUIRED_ATTRIBUTES) - {"schema_version"}
    assert all(isinstance(value, str) for value in got.values())


def test_given_values_replace_and_add() -> None:
    got = provenance(config={"rho": 0.05, "method": "gcsam"}, device="cuda:0", data_fingerprint="1f", seed=3)
    assert json.loads(got["config"]) == {"rho": 0.05, "method": "gcsam"}
    assert (got["device"], got["data_fingerprint"], got["seed"]) == ("cuda:0", "1f", "3")


def test_time_is_now_in_utc() -> None:
    created = datetime.fromisoformat(provenance()["created"])
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(timezone.utc) - created) < timedelta(minutes=1)


def test_versions_are_those_installed() -> None:
    versions = json.loads(provenance()["library_versions"])
    assert {name: versions[name] for name in ("torch", "numpy")} == {name: version(name) for name in ("torch", "numpy")}


def test_missing_library_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("analysis.store.provenance")  # the function of that name hides it
    monkeypatch.setattr(module, "LIBRARIES", ("numpy", "no-such-library"))
    assert json.loads(provenance()["library_versions"]) == {"numpy": version("numpy")}


def test_commit_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert provenance()["git_commit"] == ""
    _git(tmp_path, "init")
    assert provenance()["git_commit"] == ""
    (tmp_path / "a").write_text("1")
    _git(tmp_path, "add", "a")
    _git(tmp_path, "commit", "-m", "a")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert provenance()["git_commit"] == commit
    (tmp_path / "a").write_text("2")
    assert provenance()["git_commit"] == f"{commit}-dirty"


def test_no_git_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance()["git_commit"] == ""


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    """FIPS 180-2 gives the digests of "abc" and of a million letters a; the second is longer than one piece."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "a").write_bytes(b"a" * 1_000_000)
    assert sha256_file(tmp_path / "a") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_every_piece_is_read(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"a" * (1 << 20) + b"b")
    (tmp_path / "other").write_bytes(b"a" * (1 << 20) + b"c")
    assert sha256_file(tmp_path / "long") != sha256_file(tmp_path / "other")


def test_the_processor_is_told_with_its_numbers() -> None:
    """Fails if two processors of one name, which round differently, are taken for one."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("needs Linux")
    pairs = (
        line.split(":", 1) for line in cpuinfo.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if ":" in line
    )
    told = {name.strip(): value.strip() for name, value in pairs}
    for name in ("model name", "cpu family", "model", "stepping"):
        assert told.get(name, "") in provenance()["processor"]
