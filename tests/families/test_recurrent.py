"""LSTM and GRU over sequences of several lengths, packed, against each sequence alone, unpacked.

Blind to cuDNN, whose kernels are not on a CPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from analysis import Objective, gradient_noise
from analysis.batches import moved
from tests.compare import assert_close
from tests.families.oracle import Oracle

LENGTHS = torch.tensor([6, 3, 4, 1, 2, 6, 5])


class Classifier(nn.Module):
    """Reads sequences in both directions; the last state of each goes into the head."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.rnn = kind(2, 3, batch_first=True, bidirectional=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor | PackedSequence, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        state = self.rnn(x)[1]
        state = state[0] if isinstance(state, tuple) else state
        return self.head(torch.cat([state[0], state[1]], -1))


def made(kind: Any) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return Classifier(kind).double(), torch.randn(7, 6, 2, dtype=torch.float64), torch.arange(7) % 3


def alone(model: Any, sample: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
    sequence, label = sample
    return -model(sequence[None])[0].log_softmax(-1)[label], 1


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_packed_inside_the_model(kind: Any) -> None:
    model, x, y = made(kind)
    objective = Objective(model, F.cross_entropy, [((x[:4], LENGTHS[:4]), y[:4]), ((x[4:], LENGTHS[4:]), y[4:])])
    samples = [(x[i, : LENGTHS[i]], y[i]) for i in range(7)]
    oracle = Oracle(model, alone, samples, objective.names)
    vector = torch.randn(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.gradient(), oracle.gradient(), relative=1e-12)
    assert_close(objective.hvp(vector), oracle.difference(vector), relative=1e-7)
    assert objective.method == "double_backward"
    found = gradient_noise(objective)
    assert_close(found.raw.total.trace, oracle.sample_gradients().var(0).sum(), relative=1e-10)


def test_cudnn_is_off_while_recurrent_layers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """And on again afterwards, also where the loss raises; networks without such layers keep it."""
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)
    seen: list[bool] = []
    failing: list[bool] = []

    def noting(output: Tensor, target: Tensor) -> Tensor:
        seen.append(torch.backends.cudnn.enabled)
        if failing:
            raise ArithmeticError
        return F.cross_entropy(output, target)

    model, x, y = made(nn.LSTM)
    objective = Objective(model, noting, [(x, y)])
    objective.hvp(torch.ones(objective.num_parameters))
    assert not any(seen)
    assert torch.backends.cudnn.enabled
    failing.append(True)
    with pytest.raises(ArithmeticError):
        objective.loss()
    assert torch.backends.cudnn.enabled
    failing.clear()
    seen.clear()
    Objective(nn.Linear(2, 3).double(), noting, [(x[:, 0], y)]).loss()
    assert all(seen)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_a_packed_sequence_as_input(kind: Any, is_sorted: bool) -> None:
    """It is one input and not four, and comes in the type that is computed in."""
    model, x, y = made(kind)
    order = LENGTHS.argsort(descending=True) if is_sorted else torch.arange(7)
    packed = pack_padded_sequence(x[order].float(), LENGTHS[order], batch_first=True, enforce_sorted=is_sorted)
    objective = Objective(model, F.cross_entropy, [(packed, y[order])], dtype=torch.float64)
    samples = [(x[i, : LENGTHS[i]].float().double(), y[i]) for i in range(7)]
    oracle = Oracle(model, alone, samples, objective.names)
    vector = torch.ones(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.loss(), oracle.loss().item(), relative=1e-12)
    assert_close(objective.hvp(vector), oracle.difference(vector), relative=1e-7)
    with pytest.raises(
        ValueError, match=r"^gradient noise needs batches whose tensors all have the samples along their"
    ):
        gradient_noise(objective)


def test_batch_sizes_stay_on_the_cpu() -> None:
    """Where torch wants them, whatever the device of the rest."""
    _, x, _ = made(nn.LSTM)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    there = moved(packed, torch.device("meta"), None)
    assert (there.data.device.type, there.batch_sizes.device.type) == ("meta", "cpu")
