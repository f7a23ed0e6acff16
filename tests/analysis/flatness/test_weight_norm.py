"""Norms of weights against tensors taken one by one, in three forms of initial weights."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import analysis
from analysis import Objective, weight_norm
from analysis.evidence import Status
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_squares_of_tensors_add_up_by_layer(case: Case) -> None:
    model, loss_fn, batches = case.make()
    found = weight_norm(Objective(model, loss_fn, batches))
    layers: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        layer = name.rpartition(".")[0] or type(model).__name__
        layers[layer] = layers.get(layer, 0.0) + sum(value**2 for value in parameter.flatten().tolist())
    assert found.layers == tuple(layers)
    assert_close(found.by_layer, [math.sqrt(square) for square in layers.values()], relative=1e-14)
    assert found.value == pytest.approx(math.sqrt(sum(layers.values())), rel=1e-14)
    assert math.isnan(found.distance)
    assert bool(found.distance_by_layer.isnan().all())
    assert (found.num_parameters, found.status) == (sum(p.numel() for p in model.parameters()), Status.COMPLETE)


@pytest.mark.parametrize("form", ["checkpoint", "parameters", "vector"])
def test_the_distance_to_initial_weights_in_any_form(form: str, tmp_path: Path) -> None:
    """Only one layer has moved. Fails if the distance is that of norms, or buffers count."""
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    checkpoint = copy.deepcopy(model.state_dict())
    initial: dict[str, Any] = {
        "checkpoint": checkpoint,
        "parameters": {name: checkpoint[name] for name in objective.names},
        "vector": objective.weights(),
    }
    with torch.no_grad():
        model[5].weight += 0.5
        model[1].running_mean += 1.0
    found = weight_norm(objective, initial[form])
    assert found.distance == pytest.approx(0.5 * math.sqrt(model[5].weight.numel()), rel=1e-12)
    assert found.distance_by_layer.tolist() == [0.0, 0.0, found.distance]
    found.save(tmp_path / "run.h5", "norm")
    assert analysis.load(tmp_path / "run.h5", "sharpness/norm") == found


def test_only_measured_weights_count_and_float32_is_summed_in_float64() -> None:
    model = nn.Linear(100_000, 1)
    nn.init.constant_(model.weight, 0.1)
    x = torch.ones(1, 100_000)
    found = weight_norm(Objective(model, nn.MSELoss(), (x, x[:, :1]), ["weight"]))
    assert found.value == pytest.approx(float(torch.tensor(0.1)) * math.sqrt(1e5), rel=1e-12)
    assert found.by_layer.dtype == torch.float64


def test_a_weight_that_is_not_finite_is_told_and_initial_ones_are_refused() -> None:
    model, loss_fn, batches = CASES[0].make()
    before = copy.deepcopy(model.state_dict())
    nn.init.constant_(model.bias, math.nan)
    objective = Objective(model, loss_fn, batches)
    found = weight_norm(objective)
    assert found.status is Status.NOT_FINITE
    assert math.isnan(found.value)
    with pytest.raises(ValueError, match="the weights given hold NaN or infinity"):
        weight_norm(objective, model.state_dict())
    with pytest.raises(ValueError, match=r"the checkpoint must be of this model: 'bias' \(3,\) is missing"):
        weight_norm(objective, {"weight": before["weight"]})
    with pytest.raises(ValueError, match=r"at must be a flat vector of shape \(15,\)"):
        weight_norm(objective, torch.ones(3))
