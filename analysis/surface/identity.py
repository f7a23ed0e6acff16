"""What a scan was made of, in a few characters: checksums of weights, a fingerprint of data.

Right when every parameter and buffer changes the checksum, and a shuffling loader does not change the fingerprint
(`tests/analysis/surface/test_identity.py`). Cost: a pass over the weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from analysis.objective import Objective


def state_sha256(objective: Objective) -> str:
    """Return the SHA-256 of every parameter and buffer, names, types and shapes included.

    Args:
        objective: Its model is read, on the objective's device and in its dtype.
    """
    return tensors_sha256(objective.tensors())


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors, with names, types and shapes.

    Args:
        tensors: By name; their order counts.
    """
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def rounded_fingerprint(objective: Objective) -> str:
    """Return the data fingerprint without the last digits, which depend on the order in which a loader shuffles.

    Args:
        objective: Has made a pass over its data.
    """
    total, squares = (float.fromhex(number) for number in objective.data_fingerprint.split("/"))
    norm = math.sqrt(squares) if squares > 0 else 1.0
    return f"{round(total / norm, 6) + 0.0:.6f} {norm:.9e}"  # + 0.0: a sum of -1e-17 and one of 1e-17 both give 0
