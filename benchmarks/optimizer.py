"""Time and memory of one optimizer step: GCSAM and SAM of this package, other libraries' SAM, and the base alone.

"step" is a whole step. "outside" is what it takes beside its two passes (ascent, restore, base step): the closure's own
time is subtracted. "prefilled" is the same with a closure that only puts fixed gradients in place, and touches a large
scratch tensor, because after real passes the weights are not in the cache. "memory" is the most that two steps allocate
beyond what the base optimizer alone does, in copies of the weights. Each contestant has a network of its own, all take
turns in one run, and ratios are medians of ratios within a round.
The base is SGD with momentum 0.9. Our optimizers hold the batch-norm statistics, as `from_model` does; that is counted.

    python benchmarks/optimizer.py --models resnet18 --rounds 30
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else the profiler prints when it starts and stops

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a plain checkout will do

from benchmarks.peers import BASE, RHO, Step, contestants, version_of
from benchmarks.timing import machine, now, paired, ratio_of
from gcsam.training.models import MODELS, build_model

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SCRATCH_ELEMENTS = 2**25  # 128 MiB, several times the last cache of common machines


class Comparison(NamedTuple):
    """A ratio to report, and the value it should not exceed; None where it is there for orientation."""

    quantity: str
    ours: str
    theirs: str
    target: float | None


_OUTSIDE: tuple[tuple[str, str, float | None], ...] = (
    ("gcsam", "pytorch_optimizer sam with gc", 0.60),
    ("gcsam", "plain sam", 1.0),
    ("sam", "plain sam", 1.0),
    ("sam", "pytorch_optimizer sam", None),
    ("gcsam", "sgd", None),
)
COMPARISONS = (
    Comparison("step", "gcsam", "sam", 1.01),
    Comparison("step", "gcsam", "sgd", None),
    *(Comparison("outside", *names) for names in _OUTSIDE),
    *(Comparison("prefilled", *names) for names in _OUTSIDE),
)
COPIES_TARGET = 1.0


class Subject(NamedTuple):
    """A network, a batch for it, and the gradient there."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    gradients: list[Tensor]
    scratch: Tensor


def make_subject(name: str, memory_format: str, device: torch.device, batch: int, image_size: int) -> Subject:
    """Build a network of 10 classes on random images, with a gradient of a real pass."""
    torch.manual_seed(0)
    form = FORMATS[memory_format]
    model = build_model(name, in_channels=3, num_classes=10, image_size=image_size)
    model.to(device=device, memory_format=form)  # type: ignore[call-overload]  # its stub lacks memory_format
    images = torch.randn(batch, 3, image_size, image_size).to(device, memory_format=form)
    labels = (torch.arange(batch) % 10).to(device)
    torch.autograd.backward(F.cross_entropy(model(images), labels))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    return Subject(model, images, labels, gradients, torch.zeros(SCRATCH_ELEMENTS, device=device))


class Pass:
    """A closure that knows how long it took.

    Args:
        model: Whose gradients it leaves.
        subject: Batch, or gradients.
    """

    def __init__(self, model: nn.Module, subject: Subject) -> None:
        self.model, self.subject = model, subject
        self.device = subject.scratch.device
        self.spent = 0.0

    def __call__(self) -> Tensor:
        """Leave gradients, and add the time to `spent`.

        Clearing the old ones is not part of it: some optimizers do so before they call, and freeing memory takes time.

        Returns:
            The loss.
        """
        self.model.zero_grad()
        start = now(self.device)
        loss = self.run()
        self.spent += now(self.device) - start
        return loss

    def run(self) -> Tensor:
        """Run forward and backward."""
        loss = F.cross_entropy(self.model(self.subject.images), self.subject.labels)
        torch.autograd.backward(loss)
        return loss


class Prefilled(Pass):
    """Puts fixed gradients in place, and touches the scratch tensor."""

    def __init__(self, model: nn.Module, subject: Subject) -> None:
        super().__init__(model, subject)
        self.parameters = list(model.parameters())
        self.buffers = [torch.empty_like(gradient) for gradient in subject.gradients]
        self.loss = torch.zeros((), device=self.device)

    def run(self) -> Tensor:
        """Copy each gradient anew, because an optimizer may have written into it."""
        for parameter, buffer, gradient in zip(self.parameters, self.buffers, self.subject.gradients, strict=True):
            parameter.grad = buffer.copy_(gradient)
        self.subject.scratch.add_(1)
        return self.loss


class Times(NamedTuple):
    """Seconds of one step, and those of it outside the closure."""

    step: float
    outside: float


def contest(subject: Subject, build: Callable[[nn.Module], Step], kind: type[Pass]) -> Callable[[], Times]:
    """Return a function that takes one step of an optimizer on a network of its own."""
    model = copy.deepcopy(subject.model)
    step, closure = build(model), kind(model, subject)

    def run() -> Times:
        closure.spent, start = 0.0, now(closure.device)
        step(closure)
        elapsed = now(closure.device) - start
        return Times(elapsed, elapsed - closure.spent)

    return run


def peak_bytes(subject: Subject, build: Callable[[nn.Module], Step]) -> int:
    """Return the most bytes that a copy of the network, its gradients, the optimizer and two steps hold together."""

    def work() -> None:
        run = contest(subject, build, Prefilled)
        run()
        run()

    gc.collect()
    device = subject.scratch.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted(
        ((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"),
        key=lambda change: change[0],
    )
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def compare(quantity: str, seconds: Mapping[str, Sequence[float]]) -> Iterator[dict[str, Any]]:
    """Yield each ratio of one quantity whose two contestants ran."""
    for comparison in COMPARISONS:
        if comparison.quantity == quantity and {comparison.ours, comparison.theirs} <= seconds.keys():
            ratio = ratio_of(seconds[comparison.ours], seconds[comparison.theirs])
            yield {**comparison._asdict(), **ratio._asdict()}


def measure(subject: Subject, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each quantity."""
    builders = contestants()

    def take_turns(kind: type[Pass]) -> dict[str, list[Times]]:
        return paired({name: contest(subject, build, kind) for name, build in builders.items()}, rounds)

    real, prefilled = take_turns(Pass), take_turns(Prefilled)
    for quantity, found in (
        ("step", {name: [times.step for times in taken] for name, taken in real.items()}),
        ("outside", {name: [times.outside for times in taken] for name, taken in real.items()}),
        ("prefilled", {name: [times.outside for times in taken] for name, taken in prefilled.items()}),
    ):
        yield {"quantity": quantity, "ratios": list(compare(quantity, found)), "seconds": found}
    weights = sum(parameter.nbytes for parameter in subject.model.parameters())
    peaks = {name: peak_bytes(subject, build) for name, build in builders.items()}
    yield {
        "quantity": "memory",
        "weights_bytes": weights,
        "peak_bytes": peaks,
        "extra_copies_of_weights": {name: (peak - peaks["sgd"]) / weights for name, peak in peaks.items()},
        "target": COPIES_TARGET,
    }


def describe(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a row."""
    subject = f"{row['model']} {row['memory_format']} {row['quantity']}"
    for ratio in row.get("ratios", ()):
        aim = "" if ratio["target"] is None else f"  target <= {ratio['target']}"
        interval = f"[{ratio['low']:.3f}, {ratio['high']:.3f}]"
        yield f"{subject}: {ratio['ours']} / {ratio['theirs']} = {ratio['median']:.3f} {interval}{aim}"
    for name, copies in row.get("extra_copies_of_weights", {}).items():
        yield f"{subject}: {name} + {copies:.3f} copies of the weights"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time and memory of one step of GCSAM, SAM and their peers.",
        epilog="example: python benchmarks/optimizer.py --models resnet18 vit-tiny --rounds 30 --threads 2",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where there is")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["resnet18", "vit-tiny", "mlp"], metavar="NAME")
    parser.add_argument("--formats", nargs="+", choices=tuple(FORMATS), default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--rounds", type=int, default=30, help="measured rounds; each runs every optimizer once")
    parser.add_argument("--batch", type=int, default=32, help="images of a pass")
    parser.add_argument("--image-size", type=int, default=32, help="side of the images")
    parser.add_argument("--threads", type=int, help="of the processor; torch's choice where not given")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/optimizer-<device>.json")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    if given.rounds < 1:
        parser.error(f"--rounds must be >= 1, got {given.rounds}; 30 give an interval of a few percent")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    given = parse(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    name = given.device if given.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    peer = version_of("pytorch_optimizer")
    skipped = (
        [] if peer else ["pytorch_optimizer: not installed (pip install --no-deps -r benchmarks/requirements.txt)"]
    )
    for line in skipped:
        print("skipped", line)
    rows = []
    for model in given.models:
        for memory_format in given.formats:
            subject = make_subject(model, memory_format, device, given.batch, given.image_size)
            if memory_format == "channels_last" and all(gradient.ndim != 4 for gradient in subject.gradients):
                continue  # no convolution: nothing would differ
            for row in measure(subject, given.rounds):
                rows.append({"model": model, "memory_format": memory_format, **row})
                print(*describe(rows[-1]), sep="\n", flush=True)
    settings = {key: value for key, value in vars(given).items() if key not in {"output", "device"}}
    report = {
        "about": {**machine(device), "pytorch_optimizer": peer},
        "settings": {**settings, "rho": RHO, "base": "SGD", **BASE},
        "skipped": skipped,
        "rows": rows,
    }
    target = given.output or Path(__file__).parent / "results" / f"optimizer-{device.type}.json"
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
