"""What the squared norms of all per-sample gradients cost, in plain gradients of the same batch, and beside vmap.

"norms" is `analysis.per_sample_norms`, raw and centralized, with its check on single samples, which a data set of many
batches pays once; "noise" is all of `analysis.gradient_noise`. "vmap" forms per-sample gradients by `torch.func.vmap`
in the chunk that was fastest in a trial, and takes the same numbers from them. "backpack" is BackPACK's `BatchL2Grad`,
raw norms alone, where it runs: on a plain chain of layers. "gradient" is autograd as anyone would write it. All run in
every round; a ratio is the median over rounds. Right when the contestants agree on the norms
(`tests/benchmarks/test_noise.py`).

    python benchmarks/noise.py --threads 2 --rounds 9
"""

from __future__ import annotations

import argparse
import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a plain checkout will do

from analysis import Objective, gradient_noise, per_sample_norms
from analysis.noise.per_sample import PerSampleGradients
from benchmarks.curvature_subject import SEED, build, load_images
from benchmarks.reports import check_common, collect, device_of, device_slug
from benchmarks.timing import machine, now, paired, ratio_of

KINDS = ("raw", "centralized")
CHUNKS = (1, 4, 16, 32, 64, 128)


class Subject(NamedTuple):
    """A network and a batch, with the ratios it should reach."""

    network: str
    batch: int
    image_size: int
    at_most: float | None  # norms / gradient
    at_least: float | None  # vmap / norms


FULL = (
    Subject("resnet20", 128, 32, 1.25, 1.0),
    Subject("resnet18", 64, 32, 1.1, 2.5),
    Subject("vit-tiny", 64, 32, None, 1.0),
    Subject("vgg11", 64, 32, None, 1.0),
)
QUICK = (Subject("cnn", 8, 8, None, None), Subject("vgg11", 8, 8, None, None))
CHAIN = "vgg11"  # the network BackPACK can take


def contestants(subject: Subject, device: torch.device) -> dict[str, Callable[..., Any]]:
    """Return what runs: "gradient", "norms" and "noise", "vmap" which takes a chunk, "backpack" where it runs.

    Args:
        subject: Network and batch.
        device: Where.
    """
    images, labels, _ = load_images(None, subject.batch, subject.image_size)
    images, labels = images.to(device), labels.to(device)
    model, loss_fn = build(subject.network, subject.image_size), nn.CrossEntropyLoss()
    if subject.network == CHAIN:
        model = chain(model)
    model = model.to(device).eval()
    parameters = list(model.parameters())
    objective = Objective(model, loss_fn, [(images, labels)])
    found: dict[str, Callable[..., Any]] = {
        "gradient": lambda: torch.autograd.grad(loss_fn(model(images), labels), parameters),
        "norms": lambda: per_sample_norms(objective, kinds=KINDS),
        "noise": lambda: gradient_noise(objective),
        "vmap": lambda chunk: by_vmap(objective, chunk),
    }
    if subject.network == CHAIN:
        found["backpack"] = by_backpack(model, images, labels)
    return found


def chain(model: nn.Module) -> nn.Module:
    """Return VGG-11 as a chain of layers: its mean over the image is no layer that BackPACK knows.

    Args:
        model: Of the zoo.
    """
    return nn.Sequential(*model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head)


def by_backpack(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Return a function that returns ||g_i||^2 of every sample, [N], by BackPACK.

    Args:
        model: A chain of layers; a copy of it is extended.
        images: The batch.
        labels: Its classes.
    """
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    twin, loss_fn = extend(copy.deepcopy(model)), extend(nn.CrossEntropyLoss())

    def run() -> Tensor:
        twin.zero_grad()
        with warnings.catch_warnings(), backpack(BatchL2Grad()):
            warnings.filterwarnings("ignore", "Full backward hook is firing")  # of its hook on the first layer
            loss_fn(twin(images), labels).backward()
        # theirs are gradients of the mean loss
        return torch.stack([parameter.batch_l2 for parameter in twin.parameters()]).sum(0) * len(images) ** 2

    return run


def by_vmap(objective: Objective, chunk: int) -> Tensor:
    """Return ||g_i||^2 and ||P g_i||^2 of every sample, [2, N], from per-sample gradients formed in chunks.

    Args:
        objective: Whose.
        chunk: Samples at once.
    """
    found = []
    with objective.measuring(with_grad=True), sdpa_kernel(SDPBackend.MATH):
        for pieces in PerSampleGradients(objective, objective.state(), chunk):
            total = torch.zeros(2, len(next(iter(pieces.values()))), device=objective.device)
            for name, gradient in pieces.items():
                axes = tuple(axis + 1 for axis in objective.centralize_dims[name])
                square = torch.linalg.vector_norm(gradient.flatten(1), dim=1).square()
                total[0] += square
                removed = gradient.mean(axes).flatten(1).square().sum(1) if axes else 0.0
                total[1] += square - removed * (gradient[0].numel() / max(1, _rows(gradient, axes)))
            found.append(total)
    return torch.cat(found, 1)


def _rows(gradient: Tensor, axes: tuple[int, ...]) -> int:
    """Count the rows of one sample's gradient."""
    return int(gradient[0].numel() / torch.Size([gradient.shape[axis] for axis in axes]).numel())


def clocked(function: Callable[[], Any], device: torch.device) -> Callable[[], float]:
    """Return a function that calls another and returns the seconds it took."""

    def once() -> float:
        begin = now(device)
        function()
        return now(device) - begin

    return once


def measure(subject: Subject, device: torch.device, rounds: int) -> dict[str, Any]:
    """Compare the contestants on one subject.

    Args:
        subject: Network and batch.
        device: Where.
        rounds: Of each.

    Returns:
        The row: ratios with their targets, seconds, the chunk of vmap, and the ways of our layers.
    """
    runs = contestants(subject, device)
    vmap = runs.pop("vmap")
    chunks = [chunk for chunk in CHUNKS if chunk < subject.batch] + [subject.batch]
    trial = {chunk: min(clocked(lambda chunk=chunk: vmap(chunk), device)() for _ in range(2)) for chunk in chunks}
    best = min(trial, key=lambda chunk: trial[chunk])
    runs["vmap"] = lambda: vmap(best)
    found = runs["norms"]()
    norms = torch.stack([getattr(found, kind).sum(1) for kind in KINDS])
    error = ((vmap(best).cpu().double() - norms).abs() / norms[0]).max()
    seconds = paired({name: clocked(run, device) for name, run in runs.items()}, rounds)
    pairs = [("norms", "gradient", "at_most", subject.at_most), ("vmap", "norms", "at_least", subject.at_least)]
    pairs += [("vmap", "gradient", "at_most", None), ("noise", "gradient", "at_most", None)]
    if "backpack" in runs:
        pairs.append(("backpack", "norms", "at_least", None))
    return {
        "part": subject.network,
        **subject._asdict(),
        "ratios": [
            {"ours": a, "theirs": b, **ratio_of(seconds[a], seconds[b])._asdict(), key: target}
            for a, b, key, target in pairs
        ],
        "relative_error": float(error),
        "chunk": best,
        "trial": trial,
        "ways": {way: found.ways.count(way) for way in sorted(set(found.ways))},
        "seconds": seconds,
    }


def describe(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a row."""
    for ratio in row["ratios"]:
        aims = [f"{word} {ratio[key]}" for key, word in (("at_most", "<="), ("at_least", ">=")) if ratio.get(key)]
        interval = f"[{ratio['low']:.2f}, {ratio['high']:.2f}]"
        aim = f"  target {aims[0]}" if aims else ""
        yield f"{row['network']}: {ratio['ours']} / {ratio['theirs']} = {ratio['median']:.2f} {interval}{aim}"
    yield f"{row['network']}: vmap in chunks of {row['chunk']}, difference {row['relative_error']:.0e}, {row['ways']}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="What the norms of all per-sample gradients cost, in plain gradients and beside vmap.",
        epilog="example: python benchmarks/noise.py --only resnet20 --rounds 9 --threads 2",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where there is")
    parser.add_argument("--only", metavar="NETWORKS", help="of resnet20,resnet18,vit-tiny,vgg11; all")
    parser.add_argument("--quick", action="store_true", help="a tiny network, to see that everything runs")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds")
    parser.add_argument("--threads", type=int, help="of the processor; torch's choice where not given")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/noise-<device>.json")
    given = parser.parse_args(arguments)
    known = [subject.network for subject in (QUICK if given.quick else FULL)]
    given.only = given.only or ",".join(known)
    check_common(parser, given, known)
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    given = parse(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    device = device_of(given.device)
    settings = {"rounds": given.rounds, "seed": SEED, "quick": given.quick, "only": given.only}
    target = given.output or Path(__file__).parent / "results" / f"noise-{device_slug(device)}.json"
    subjects = [subject for subject in (QUICK if given.quick else FULL) if subject.network in given.only]
    rows = (measure(subject, device, given.rounds) for subject in subjects)
    collect(target, {"about": machine(device), "settings": settings}, rows, describe)


if __name__ == "__main__":
    main()
