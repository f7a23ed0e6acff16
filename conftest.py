"""Keep the number of threads and the figures' backend the same for every test and for the processes tests start."""

from __future__ import annotations

import os
from importlib.util import find_spec

os.environ.setdefault("MPLBACKEND", "agg")
# Networks of tests are too small for a second thread, and two that wait for each other on a busy machine are slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Callbacks are classes of libraries that an installation without the extra `test` may lack.
_LIBRARIES = {"lightning": ("lightning", "pytorch_lightning"), "huggingface": ("transformers",)}
collect_ignore = [
    f"landscape/callbacks/{name}.py" for name, libraries in _LIBRARIES.items() if not any(map(find_spec, libraries))
]
