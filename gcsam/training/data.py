"""From a configuration to training, validation and test images: read, carved where a split is missing, normalized.

Splits that a source does not bring are carved from its training images, class by class, with a seed that is fixed:
two runs that differ in their seed see the same test images. Right when the splits are disjoint, keep the share of
each class, and normalize to mean 0 and deviation 1 (`tests/gcsam/training/test_data.py`). Cost: one pass over the files
and one over the training images.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gcsam.training.config import TrainConfig, resolve_device
from gcsam.training.label_noise import with_label_noise
from gcsam.training.readers import Images, read
from gcsam.training.splits import SPLIT_SEED, Split, Splits, limited

__all__ = ["load_data"]

# Our choices, because they are usual: a test set is 20% of data without one; validation is 20% of what is carved
# together with a test set, and 10% of a training set whose test set is apart.
_TEST_SHARE, _SMALL_VALIDATION_SHARE, _VALIDATION_SHARE = 0.2, 0.2, 0.1


def load_data(config: TrainConfig, device: torch.device | str | None = None) -> Splits:
    """Read the data of a configuration, carve the splits it lacks, and put them on a device.

    Args:
        config: Its fields data, root, train_limit, test_limit, image_size, label_noise and device count.
        device: Instead of the configuration's.

    Returns:
        The three splits.

    Raises:
        ValueError: The source is missing, or is not what it should be; one line.
    """
    found = read(config)
    target = resolve_device(config.device) if device is None else torch.device(device)
    splits = found if isinstance(found, Splits) else _assemble(found, config.data)
    noisy = with_label_noise(splits.train.labels, config.label_noise, splits.num_classes)
    splits = replace(splits, train=replace(splits.train, labels=noisy))
    if config.train_limit is None and config.test_limit is None:
        return splits.to(target)
    train = limited(splits.train, config.train_limit)
    validation, test = (limited(split, config.test_limit) for split in (splits.validation, splits.test))
    mean, std = _statistics(train.images)  # of the images that are used
    train, validation, test = (replace(split, mean=mean, std=std) for split in (train, validation, test))
    return replace(splits, train=train, validation=validation, test=test).to(target)


def _assemble(found: dict[str, Images], name: str) -> Splits:
    found = dict(found)
    share = _VALIDATION_SHARE if "test" in found else _SMALL_VALIDATION_SHARE / (1 - _TEST_SHARE)
    if "test" not in found:
        found["train"], found["test"] = _carve(found["train"], _TEST_SHARE, SPLIT_SEED, name)
    if "validation" not in found:
        found["train"], found["validation"] = _carve(found["train"], share, SPLIT_SEED + 1, name)
    mean, std = _statistics(found["train"][0])
    train, validation, test = (Split(*found[split], mean, std) for split in ("train", "validation", "test"))
    num_classes = 1 + max(int(split.labels.max()) for split in (train, validation, test))
    return Splits(train, validation, test, num_classes, name)


def _carve(images: Images, share: float, seed: int, name: str) -> tuple[Images, Images]:
    """Cut a share off each class, at least one image of every class that has two; return (rest, what was cut)."""
    inputs, labels = images
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    is_cut = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():  # type: ignore[no-untyped-call]
        members = order[labels[order] == label]
        is_cut[members[: min(max(1, round(share * len(members))), len(members) - 1)]] = True
    if not is_cut.any():
        raise ValueError(f"data {name!r} has too few images to split: no class has two; give more, or all splits")
    return (inputs[~is_cut], labels[~is_cut]), (inputs[is_cut], labels[is_cut])


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, in float64 channel by channel to spare memory; 1 where constant."""
    channels = [images[:, channel].to(torch.float64) for channel in range(images.shape[1])]
    mean = torch.stack([channel.mean() for channel in channels])
    std = torch.stack([channel.std(correction=0) for channel in channels])
    return mean.to(torch.float32), torch.where(std > 0, std, 1.0).to(torch.float32)
