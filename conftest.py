"""Keep the machine's thread count and the figures' backend the same for every test."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "agg")
