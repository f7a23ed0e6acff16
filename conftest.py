"""Keep the number of threads and the figures' backend the same for every test and for the processes tests start."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "agg")
# Networks of tests are too small for a second thread, and two that wait for each other on a busy machine are slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
