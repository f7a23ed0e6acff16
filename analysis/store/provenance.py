"""How a result file was made: time, code, libraries, machine, and what the caller knows about model and data.

Right when every attribute the schema requires is there and none of it imports torch
(`tests/analysis/store/test_provenance.py`). Costs two calls of git, about 20 ms.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

# The libraries that numbers pass through.
LIBRARIES = ("gcsam-landscape", "torch", "numpy", "scipy", "h5py", "scikit-learn")


def provenance(**given: object) -> dict[str, str]:
    """Collect the root attributes of a new result file.

    Args:
        **given: What the caller knows: `config`, `checkpoint_sha256`, `data_fingerprint`, `device`, `seed` or any other
            name. Text is kept; anything else is written as JSON. A given value replaces a collected one.

    Returns:
        Every required attribute but the schema version, which the writer sets: `created` (UTC, ISO 8601), `git_commit`
        of the working directory ("" outside a repository, "-dirty" appended where tracked files were changed),
        `library_versions` (JSON), `python`, `platform`; `config` is "{}" and `device`, `checkpoint_sha256` and
        `data_fingerprint` are empty unless given. And `processor`, its model, which decides the last digits.

    Example:
        >>> provenance(config={"rho": 0.05}, device="cpu")["config"]
        '{"rho": 0.05}'
    """
    collected = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": "{}",
        "git_commit": _git_commit(),
        "checkpoint_sha256": "",
        "data_fingerprint": "",
        "library_versions": json.dumps(_library_versions()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "device": "",
    }
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return collected | texts


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; read in pieces of 1 MB.

    Args:
        path: The file, for example a checkpoint.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def place_free(data: str) -> str:
    """Return data without the folder they lie in, which may be another one tomorrow.

    Args:
        data: As the setting of training.

    Example:
        >>> place_free("npz:/data/scans.npz"), place_free("digits")
        ('npz:scans.npz', 'digits')
    """
    kind, _, path = data.partition(":")
    return f"{kind}:{Path(path).name}" if kind in {"npz", "folder"} and path else data


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed: it cannot have touched a number
    return versions


def _processor() -> str:
    """Return the model of the processor: of Linux what /proc/cpuinfo says, elsewhere what the system calls it.

    With its numbers, since virtual machines give one name to processors that do not add up alike.
    """
    found: dict[str, str] = {}
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    numbers = [found[name] for name in ("cpu family", "model", "stepping") if name in found]
    return " ".join(filter(None, (found.get("model name"), "/".join(numbers)))) or platform.processor()


def _git_commit() -> str:
    commit = _git("rev-parse", "HEAD")
    return f"{commit}-dirty" if commit and _git("status", "--porcelain", "--untracked-files=no") else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, no repository or no commit yet: the file says so by an empty text
    return done.stdout.strip()
