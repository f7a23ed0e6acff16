"""How much memory there is, and how much a measurement took at its peak.

Right when a measurement that fills a known tensor reports it (`tests/analysis/test_memory.py`). Cost: microseconds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

FRACTION = 0.5  # of free memory, our choice: leaves as much again for the products themselves and for the caller


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be allocated, as far as the system says.

    On a CPU it is the smaller of what the machine and what the container has left; where neither is told, a quarter of
    the machine's memory.

    Args:
        device: A CUDA device is asked itself; what torch holds in reserve counts as free.
    """
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserve)
    known = [amount for amount in (_machine_free(), _container_free()) if amount is not None]
    if known:
        return max(0, min(known))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 if hasattr(os, "sysconf") else 2**30


class PeakMemory:
    """Bytes that a measurement took at its peak, above what there was when it began.

    On CUDA torch's allocator says so; its own record of the peak starts anew. On a CPU it is the resident memory of the
    process: exact where the measurement set a new record for the process, else the largest of the samples taken by
    `sample`.

    Args:
        device: Whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._start = torch.cuda.memory_allocated(device)
            return
        self._start, self._record = _resident()
        self._largest = self._start

    def sample(self) -> None:
        """Look now; call it where much is held."""
        if self._device.type != "cuda":
            self._largest = max(self._largest, _resident()[0])

    def bytes(self) -> int:
        """Return the peak so far."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device) - self._start)
        self.sample()
        record = _resident()[1]
        return max(self._largest, record if record > self._record else 0) - self._start


def _machine_free() -> int | None:
    listing = Path("/proc/meminfo")
    if not listing.exists():
        return None
    entries = dict(line.split(":", 1) for line in listing.read_text(encoding="utf-8").splitlines())
    return int(entries["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in entries else None


def _container_free() -> int | None:
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        if Path(limit).exists() and Path(used).exists():
            allowed = Path(limit).read_text(encoding="ascii").strip()
            if allowed != "max":
                return int(allowed) - int(Path(used).read_text(encoding="ascii"))
    return None


def _resident() -> tuple[int, int]:
    """Return the process's resident bytes now, and the most they ever were."""
    status = Path("/proc/self/status")
    if status.exists():
        entries = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
        return int(entries["VmRSS"].split()[0]) * 1024, int(entries["VmHWM"].split()[0]) * 1024
    if sys.platform == "win32":
        return 0, 0  # not told without another library
    import resource

    record = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return record, record
