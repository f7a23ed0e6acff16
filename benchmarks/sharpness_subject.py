"""The networks of the sharpness benchmark as a user would name them on the command line: model, data and loss.

    landscape measure --model benchmarks.sharpness_subject:gpt --checkpoint gpt.pt
        --data benchmarks.sharpness_subject:tokens --loss benchmarks.sharpness_subject:loss --output gpt.h5

Both large ones are of `transformers`, from a configuration, so that nothing is downloaded; the data are synthetic and
the training short: what a measurement costs depends on neither, what it finds is of these weights. Right when the
command measures the tiny ones (`tests/benchmarks/test_sharpness.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.curvature_subject import SEED, load_images

__all__ = ["FULL", "QUICK", "Subject", "train"]

Batches = list[tuple[Tensor, Tensor]]

IMAGES, SEQUENCES, TOKENS = 32, 8, 64  # measured on: two cores take 300 s for all five numbers
CLASSES, VOCABULARY = 1000, 256


class Subject(NamedTuple):
    """A network by the names of its functions in this file, and how to measure it.

    Attributes:
        network: Builds it.
        data: Gives its batches.
        m: Samples of a subset of the worst case; there are four subsets.
        average_rho: Deviation of the Gaussian noise. 1e-3 of 25 million weights is a perturbation of norm 5; at 0.05
            it would be 250, and nothing be left of the network.
        steps: Of Adam, in training.
        train_batch: Samples of each.
    """

    network: str
    data: str
    m: int
    average_rho: float = 1e-3
    steps: int = 20
    train_batch: int = 8

    def named(self, function: str) -> str:
        """Return a function of this file as the command line takes it."""
        return f"benchmarks.sharpness_subject:{function}"


FULL = (Subject("gpt", "tokens", SEQUENCES // 4, train_batch=4), Subject("resnet50", "images", IMAGES // 4))
QUICK = (Subject("gpt_tiny", "few_tokens", 1, train_batch=2),)


def gpt() -> nn.Module:
    """Build a GPT-2 of 25.4 million weights: 8 layers of width 512, 256 tokens, of which it sees 64."""
    return _gpt(width=512, layers=8, heads=8)


def gpt_tiny() -> nn.Module:
    """Build a GPT-2 that runs in no time."""
    return _gpt(width=8, layers=1, heads=1)


def _gpt(*, width: int, layers: int, heads: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=TOKENS,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    return GPT2LMHeadModel(config)


def resnet50() -> nn.Module:
    """Build a ResNet-50 for 1000 classes, 25.6 million weights."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(SEED)
    return ResNetForImageClassification(ResNetConfig(num_labels=CLASSES))


def images() -> Batches:
    """Return one batch of images [32, 3, 32, 32] with their classes."""
    return [load_images(None, IMAGES, 32)[:2]]


def tokens() -> Batches:
    """Return one batch of sequences [8, 64], each with the tokens that follow."""
    return [_chain(SEQUENCES)]


def few_tokens() -> Batches:
    """Return one batch of sequences [4, 64], each with the tokens that follow."""
    return [_chain(4)]


def _chain(count: int) -> tuple[Tensor, Tensor]:
    """Return sequences of a random walk among the tokens, in which each token has four successors."""
    draw = torch.Generator().manual_seed(SEED)
    successors = torch.randint(VOCABULARY, (VOCABULARY, 4), generator=draw)
    steps = [torch.randint(VOCABULARY, (count,), generator=draw)]
    for _ in range(TOKENS):
        steps.append(successors[steps[-1], torch.randint(4, (count,), generator=draw)])
    walk = torch.stack(steps, 1)
    return walk[:, :-1].contiguous(), walk[:, 1:].contiguous()


def loss(output: Any, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of a network's logits, over samples or tokens.

    Args:
        output: Of a network of `transformers`.
        target: Classes, of the logits' shape but for the last axis.
    """
    return F.cross_entropy(output.logits.flatten(0, -2), target.flatten())


def train(subject: Subject, folder: Path) -> Path:
    """Train a network for a short while on the data it is measured on, and write its weights.

    Args:
        subject: Which.
        folder: Of the file.

    Returns:
        The file.
    """
    functions: dict[str, Callable[[], Any]] = globals()
    model, [(inputs, targets)] = functions[subject.network](), functions[subject.data]()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    draw = torch.Generator().manual_seed(SEED)
    for _ in range(subject.steps):
        chosen = torch.randperm(len(inputs), generator=draw)[: subject.train_batch]
        optimizer.zero_grad()
        torch.autograd.backward(loss(model(inputs[chosen]), targets[chosen]))
        optimizer.step()
    path = folder / f"{subject.network}.pt"
    torch.save(model.state_dict(), path)
    return path
