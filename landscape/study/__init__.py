"""Many runs that answer questions: what a study is, the order of its work, and what it came to.

From Python it takes two names, `StudyConfig` and `run_study`; they load on first use, so that help needs no torch.
Imports rooms below it alone (`tests/test_house.py`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.study.config import StudyConfig
    from landscape.study.running import run_study

__all__ = ["StudyConfig", "run_study"]

_HOMES = {"StudyConfig": "landscape.study.config", "run_study": "landscape.study.running"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape.study' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
