"""Adapters of peft: their file holds a few weights under names of its own, and the network under them is not in it.

Right when an adapter comes back equal into a network that has one, with heads it saved whole, and a name too many or
too few is an error (`tests/families/test_lora.py`). Cost: a walk through the names; peft is imported only where a
network has an adapter, so that it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn


def saved_names(model: nn.Module) -> dict[str, str]:
    """Return under which name peft saves each weight of a network's active adapter.

    Args:
        model: Any network.

    Returns:
        From the name in a file to that in the network; empty for a network without an adapter.
    """
    if not (hasattr(model, "peft_config") and hasattr(model, "get_base_model")):
        return {}
    from peft import get_peft_model_state_dict

    # the same tensors under both names: peft has rules for each kind of adapter, and these are nobody else's business
    places = {tensor.data_ptr(): name for name, tensor in model.state_dict().items()}
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: places[tensor.data_ptr()] for name, tensor in saved.items()}


def with_base(
    model: nn.Module, weights: Mapping[str, Tensor], names: Mapping[str, str]
) -> tuple[dict[str, Tensor], str]:
    """Return an adapter's weights under the network's names, among the network's own for all that is not adapted.

    Args:
        model: Has an adapter.
        weights: Of a file.
        names: As returned by `saved_names`.

    Returns:
        What `model.load_state_dict` takes, still without what the file lacks, and what was done, in a line.
    """
    adapted = set(names.values())
    base = {name: tensor for name, tensor in model.state_dict().items() if name not in adapted}
    given = {names.get(name, name): tensor for name, tensor in weights.items()}
    return {**base, **given}, f"took {len(given)} tensors as the adapter; what is under it is as --model built it"


def is_adapter(names: Iterable[str]) -> bool:
    """Return whether names of weights are those of LoRA or its kin.

    Args:
        names: Of a file.

    Example:
        >>> is_adapter(["base_model.model.q.lora_A.weight", "base_model.model.q.lora_B.weight"])
        True
    """
    return any(".lora_" in name for name in names)
