"""The loss that a model of Hugging Face transformers computes from its `labels`, weighted by what its mean is over.

Such a model returns a mean over the tokens or samples of its batch. To be a mean over all data, however they are cut
and padded, it has to be weighted by how many there were; which ones count, the kind of model says.

Right when the mean over uneven batches of padded data is the one over all tokens, gradient and Hessian included, and a
batch without any valid label adds nothing (`tests/families/`). Cost: none beside the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["model_loss"]

# The value of a label that does not count, everywhere in transformers.
IGNORED = -100
# What transformers calls the kind of loss (`model.loss_type`, after the class), by what its mean is over.
NEXT_TOKENS = ("ForCausalLM",)
TOKENS = ("ForMaskedLM", "ForTokenClassification")
SAMPLES = (
    "ForSequenceClassification",
    "ForImageClassification",
    "ForVideoClassification",
    "ForAudioClassification",
)


def model_loss(model: Any, batch: Any) -> tuple[Tensor, Tensor | int]:
    """Return (loss_sum, count) of one batch; the `batch_loss` of an `Objective`, and on the command line a `--loss`.

    A causal language model shifts the labels by itself, so that the first of each row does not count; a masked one, a
    tagger and an encoder-decoder count every label that is not -100; a classifier counts samples.

    Args:
        model: Of transformers, also inside an adapter of peft.
        batch: A mapping that holds `labels` beside the inputs, [B, T] or [B]; -100 is ignored.

    Returns:
        The sum of the losses, and how many there were.

    Raises:
        ValueError: A batch that is no such mapping, or a kind of loss that is not known here.

    Example:
        >>> import torch
        >>> class Unigram(torch.nn.Module):  # as transformers would have it
        ...     loss_type = "ForCausalLM"
        ...     def forward(self, input_ids, labels):
        ...         return {"loss": torch.tensor(0.5)}
        >>> labels = torch.tensor([[1, 1, 1], [1, 1, -100]])
        >>> model_loss(Unigram(), {"input_ids": labels.abs(), "labels": labels})  # the first of each row is not asked
        (tensor(1.5000), tensor(3))
    """
    if not isinstance(batch, Mapping) or not isinstance(batch.get("labels"), Tensor):
        got = f"a mapping of {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(f"model_loss needs batches that are mappings with a tensor 'labels', got {got}")
    labels = batch["labels"]
    counted = _counted(model, labels)
    if counted is None:
        count: Tensor | int = len(labels)
    else:
        count = (counted != IGNORED).sum()
        # a mean over nothing is NaN, and so is its gradient; over some labels it is a number, which then counts zero
        labels = torch.where(count > 0, labels, 0)
    output = model(**{**batch, "labels": labels})
    loss = output["loss"] if isinstance(output, Mapping) else output[0]
    return loss * count, count


def _counted(model: Any, labels: Tensor) -> Tensor | None:
    """Return the labels that the model's mean is over, where they are not IGNORED; None for the samples."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kind, name = getattr(inner, "loss_type", None), inner._get_name()
    if kind == "ForConditionalGeneration":
        return labels if inner.config.is_encoder_decoder else labels[..., 1:]
    # transformers knows no kind for GPT-2 and its like; XLM's class, "WithLMHeadModel", does not shift
    if kind in NEXT_TOKENS or (kind is None and name.endswith("LMHeadModel") and "WithLM" not in name):
        return labels[..., 1:]
    if kind in TOKENS:
        return labels
    if kind in SAMPLES:
        return None if labels.is_floating_point() else labels
    raise ValueError(
        f"model_loss does not know what the loss of {name} is a mean over (loss_type {kind!r}); write a function "
        "loss(model, batch) that returns (loss_sum, count)"
    )
