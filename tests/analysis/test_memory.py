"""Peaks of memory against tensors of known size, in a child process where records matter."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import torch

from analysis.memory import PeakMemory, free_memory

CPU = torch.device("cpu")


def test_free_memory_is_less_than_all_and_more_than_none() -> None:
    assert 2**20 < free_memory(CPU) < 2**50


def test_a_peak_is_seen_although_it_has_gone() -> None:
    """In a child: a process's record only rises. The 200 MB are gone before anybody looks."""
    code = """
        import torch
        from analysis.memory import PeakMemory
        peak = PeakMemory(torch.device("cpu"))
        held = torch.ones(25 * 2**20, dtype=torch.float64)
        del held
        print(peak.bytes())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert 200 * 2**20 <= int(done.stdout) < 300 * 2**20


def test_a_sample_counts_where_no_record_is_set() -> None:
    record = torch.ones(40 * 2**20, dtype=torch.float64)
    del record
    peak = PeakMemory(CPU)
    held = torch.ones(20 * 2**20, dtype=torch.float64)
    peak.sample()
    del held
    assert 150 * 2**20 < peak.bytes() < 310 * 2**20
