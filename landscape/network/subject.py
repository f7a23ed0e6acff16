"""A network as it is to be measured: what everything that opens networks gives, and everything that measures takes.

Right when every measuring command takes it (`tests/landscape/measuring/test_measure.py`). Costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import Objective


@dataclass(frozen=True)
class Subject:
    """A network as it is to be measured.

    Args:
        title: For the reader.
        path: The result file.
        objective: Weights, loss and data.
        checkpoint_sha256: Of the file the weights come from.
        config: How it was trained, as JSON, or the command-line values that name it.
        data: What the data are, for the reader: "1077 training samples".
        num_samples: How many of a run's training images they are; 0 where the data are the user's own.
        splits: Further data by name, for scans that take them.
    """

    title: str
    path: Path
    objective: Objective
    checkpoint_sha256: str
    config: str
    data: str
    num_samples: int = 0
    splits: Mapping[str, Any] = field(default_factory=dict)
