"""What two processes are asked to do with the examples that need them."""

from __future__ import annotations

from typing import Any

import torch

from tests.examples.twins import EPOCHS, data, load, network


def ddp(rank: int) -> dict[str, list[torch.Tensor]]:
    """Train by the example both ways; return the weights."""
    found = {}
    for way in ("global", "local"):
        model = network()
        load("ddp").train(model, data(), EPOCHS, way)
        found[way] = [parameter.detach() for parameter in model.parameters()]
    return found


def fsdp2(rank: int, folder: str) -> dict[str, Any]:
    """Train, save, load into fresh objects; return the weights of both, and the steps counted."""
    example = load("fsdp2")
    model, optimizer = example.sharded(network())
    example.train(model, optimizer, data(), EPOCHS)
    example.save(model, optimizer, folder)
    trained = [parameter.detach().full_tensor() for parameter in model.parameters()]
    other, fresh = example.sharded(network())
    example.load(other, fresh, folder)
    loaded = [parameter.detach().full_tensor() for parameter in other.parameters()]
    return {"trained": trained, "loaded": loaded, "steps": fresh.param_groups[0]["gcsam_steps"]}
