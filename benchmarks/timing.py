"""Compare running times on a machine that does other things too: pairs, medians, and what the machine was.

All contestants run in every round, in an order drawn anew, so that a slow moment hits all alike; a ratio is the median
over rounds of the ratio within the round. Where a contestant's call is long and made of equal pieces, `by_turns` hands
over after each piece, so that seconds and not minutes lie between what is compared. Proved right on made-up timers
(`tests/benchmarks/test_timing.py`).
Cost: that of the runs.
"""

from __future__ import annotations

import datetime
import math
import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

__all__ = ["Ratio", "Work", "by_turns", "copy_speed", "machine", "median_interval", "now", "paired", "ratio_of"]

Measured = TypeVar("Measured")


Work = Callable[[Callable[[], None]], None]
"""Does equal pieces of work, and calls what it is given after each."""


class Ratio(NamedTuple):
    """Median of paired ratios, and the interval that holds the true median with a chance of `coverage`."""

    median: float
    low: float
    high: float
    coverage: float


def paired(
    runs: Mapping[str, Callable[[], Measured]], rounds: int, seed: int = 0, *, warm_ups: int = 1
) -> dict[str, list[Measured]]:
    """Run every contestant once a round, in random order.

    Args:
        runs: Name to a function that does the work once and returns what was measured, seconds for example.
        rounds: Measured rounds, >= 1.
        seed: Of the orders.
        warm_ups: Rounds before them that are thrown away.

    Returns:
        Name to what was measured, one for each round.

    Raises:
        ValueError: No round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be >= 1, got {rounds}; 30 give an interval of a few percent")
    order, draw = list(runs), random.Random(seed)
    measured: dict[str, list[Measured]] = {name: [] for name in runs}
    for round_number in range(-warm_ups, rounds):
        draw.shuffle(order)
        for name in order:
            result = runs[name]()
            if round_number >= 0:
                measured[name].append(result)
    return measured


def by_turns(
    works: Mapping[str, Work], turns: int, clock: Callable[[], float], seed: int = 0
) -> dict[str, list[float]]:
    """Let contestants do one piece of their work each a turn, in random order, until all have done enough.

    Each lives in a thread of its own, of which only one runs at a time.

    Args:
        works: Name to work of more pieces than there are turns; it is ended within, by an exception.
        turns: Measured ones, >= 1.
        clock: Seconds, once the device is done.
        seed: Of the orders.

    Returns:
        Name to seconds: those up to the first piece's end, then those of the piece of each turn.

    Raises:
        ValueError: A contestant ended before all turns were over.
    """
    order, draw = [_Contestant(name, work, clock) for name, work in works.items()], random.Random(seed)
    found = {contestant.name: contestant.seconds for contestant in order}
    try:
        for _ in range(turns + 1):
            draw.shuffle(order)
            for contestant in order:
                contestant.go_on()
    finally:
        for contestant in order:
            contestant.end()
    return found


class _Enough(BaseException):
    """Ends the work of a contestant; no handler of errors takes it for one."""


class _Contestant:
    def __init__(self, name: str, work: Work, clock: Callable[[], float]) -> None:
        self.name, self.seconds = name, list[float]()
        self._work, self._clock, self._resumed = work, clock, 0.0
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._is_over = False
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def go_on(self) -> None:
        """Let it do one piece."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        count = len(self.seconds)
        self._go.release()
        self._stopped.acquire()
        if self._error is not None:
            raise self._error
        if len(self.seconds) == count:
            raise ValueError(f"{self.name} ended after {count} pieces of work; give it more than there are turns")

    def end(self) -> None:
        """Stop it where it is."""
        self._is_over = True
        self._go.release()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        self._resumed = self._clock()
        try:
            self._work(self._done)
        except _Enough:
            pass
        except BaseException as error:
            self._error = error
        self._stopped.release()

    def _done(self) -> None:
        self.seconds.append(self._clock() - self._resumed)
        self._stopped.release()
        self._go.acquire()
        if self._is_over:
            raise _Enough
        self._resumed = self._clock()


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Return the median of ours / theirs over rounds.

    Args:
        ours: Seconds of each round.
        theirs: Seconds of the same rounds.

    Returns:
        The ratio, below 1 where ours is faster.
    """
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(ratios), *median_interval(ratios))


def median_interval(values: Sequence[float], coverage: float = 0.95) -> tuple[float, float, float]:
    """Return the narrowest pair of order statistics around the median that covers it as often as asked.

    Each value lies below the true median with a chance of one half, so the count of those below is binomial, whatever
    the distribution.

    Args:
        values: Independent measurements.
        coverage: Least chance that the interval holds the true median.

    Returns:
        Low, high, and the chance in fact; fewer than 6 values cannot reach 0.95, and give their whole range.
    """
    ordered, n = sorted(values), len(values)
    cut, beyond = 0, 2 * 0.5**n  # chance that all values lie on one side of the true median
    while cut + 1 <= (n - 1) // 2:
        wider = beyond + 2 * math.comb(n, cut + 1) * 0.5**n
        if wider > 1 - coverage:
            break
        cut, beyond = cut + 1, wider
    return ordered[cut], ordered[n - 1 - cut], max(0.0, 1 - beyond)


def now(device: torch.device) -> float:
    """Return the time in seconds once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def copy_speed(device: torch.device, megabytes: int = 256, repeats: int = 9) -> float:
    """Return the bytes per second that a large `copy_` reads and writes together, the best of a few.

    Args:
        device: Whose memory.
        megabytes: Size of the tensor, far more than a cache holds.
        repeats: Tries; the best is taken, because other work on the machine only slows it down.
    """
    source = torch.ones(megabytes * 2**18, device=device)
    target = torch.ones_like(source)
    elapsed = []
    for _ in range(repeats):
        start = now(device)
        target.copy_(source)
        elapsed.append(now(device) - start)
    return 2 * source.nbytes / min(elapsed)


def machine(device: torch.device) -> dict[str, str | int | float]:
    """Return what a reader needs to judge the numbers: processor, threads, versions, speed of memory, date."""
    facts: dict[str, str | int | float] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "copy_gigabytes_per_second": copy_speed(device) / 1e9,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    if torch.version.cuda is not None:
        facts["cuda"] = torch.version.cuda
    return facts


def _processor() -> str:
    listing = Path("/proc/cpuinfo")  # platform.processor() is empty on many a Linux
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
