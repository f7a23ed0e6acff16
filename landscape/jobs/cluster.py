"""A Dask cluster that is running, as an executor: connected, checked, closed.

Its workers import this package by themselves and write into the study's folder, so both have to be the same there as
here; that is checked before the first run is sent. Right when a worker that is killed loses nothing, and a cluster with
another code or without the folder is refused in one line (`tests/landscape/jobs/test_cluster.py`).
Cost: connecting, and reading the package's sources on every worker, well under a second.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from landscape.progress import Display

# Our choice: a cluster that is there answers at once, and one that is starting gets its workers within seconds.
CONNECT_SECONDS, WORKER_SECONDS = 10, 30
# What a worker runs of ours, and what decides its numbers or reads our messages.
PACKAGES = ("gcsam", "analysis", "landscape")
LIBRARIES = ("torch", "numpy", "h5py", "distributed")


@contextmanager
def connected(address: str, folder: Path, shown: Display) -> Iterator[Executor]:
    """Connect to a cluster, and see that its workers can do what is asked.

    Args:
        address: "dask://HOST:PORT", the scheduler's.
        folder: That all workers have to see under this path; made where it is not.
        shown: Told how many workers there are.

    Yields:
        The executor. A worker that dies loses no run: the scheduler gives it to another one, up to three times.

    Raises:
        ValueError: distributed is not installed, nobody answers, no worker is there, or one differs from here.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(f"--executor {address}: needs dask; pip install 'gcsam-landscape[cluster]'") from None
    where = f"tcp://{address.removeprefix('dask://')}"
    try:
        client = Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
    except OSError:
        raise ValueError(f"--executor {address}: no scheduler answers; start one: dask scheduler") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise ValueError(
                f"--executor {address}: the cluster has no worker; start some: dask worker {where} --nthreads 1"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-by-workers-") as token:
            try:
                answers = client.run(look, token.name)
            except ModuleNotFoundError as error:
                raise ValueError(
                    f"--executor {address}: a worker has no module {error.name!r}; install the same package there"
                ) from None
            _compare(address, look(token.name), answers, folder)
        threads = client.nthreads()
        shown.note(f"{address}: {len(threads)} workers")
        if max(threads.values()) > 1:
            shown.note("workers do one run at a time, whatever their threads: dask worker --nthreads 1 waits least")
        with client.get_executor(pure=False) as executor:
            yield executor


def look(token: str) -> dict[str, str]:
    """Return what decides the numbers made in this process, and whether it sees a file.

    Args:
        token: Path of the file.
    """
    sees = "the folder" if Path(token).is_file() else "no such folder"
    return {"python": platform.python_version(), **_versions(), "code": _code(), "sees": sees}


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _code() -> str:
    """Return the first digits of a hash over the sources."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _compare(address: str, here: dict[str, str], answers: dict[str, dict[str, str]], folder: Path) -> None:
    for worker, there in answers.items():
        if there["sees"] != here["sees"]:
            raise ValueError(
                f"--executor {address}: worker {worker} does not see {folder}; give an --output on a shared file system"
            )
        wrong = [f"{name} {there.get(name, 'none')}, here {value}" for name, value in here.items()]
        wrong = [text for text, name in zip(wrong, here, strict=True) if there.get(name) != here[name]]
        if wrong:
            raise ValueError(
                f"--executor {address}: worker {worker} has {'; '.join(wrong)}; its numbers may differ, install the "
                "same there"
            )
