"""What the sharpness of 25 million weights takes on two cores, and what curvature takes beside other libraries.

"gpt" and "resnet50": largest eigenvalue of the Hessian with its residual, trace with its standard error, worst case
over subsets of m samples and average case with theirs, in one process as a user would call them, with default settings
but for average_tol = 0.05; the target is 300 s together. Wall and processor seconds are both stated, because on a
shared machine neither alone says much: threads that wait for each other count as busy. "command": `landscape measure`
of the same four on the first of them, with five eigenvalues, and averages to 2 %; the target is the same. "peers": the
largest eigenvalue of a ResNet-20 until its true residual is at most 1e-2, and its trace from ten products, by each
library in paired rounds, with errors against a float64 reference.
Right when a tiny run gives the numbers of the functions it times (`tests/benchmarks/test_sharpness.py`).

    python benchmarks/sharpness.py --threads 2
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a plain checkout will do

from analysis import Objective, Result, hessian_eigenvalues, hessian_trace, sharpness
from benchmarks import sharpness_subject
from benchmarks.curvature_peers import versions
from benchmarks.curvature_subject import SEED
from benchmarks.reports import check_common, collect
from benchmarks.sharpness_peers import peers
from benchmarks.sharpness_subject import FULL, QUICK, Subject, train
from benchmarks.timing import machine

SECONDS = 300.0
AVERAGE_TOL = 0.05
PARTS = ("gpt", "resnet50", "command", "peers")
OF = ("eigenvalues", "trace", "worst_m", "average")
COUNTS = ("num_hvps", "num_gradients", "num_losses")
ROOT = Path(__file__).resolve().parents[1]

Measure = Callable[[Objective], Result]


def measurements(subject: Subject) -> dict[str, tuple[Measure, str, str]]:
    """Return name to what is called, and the fields of its value and of what bounds its error.

    Args:
        subject: Whose m and noise.
    """
    rho = subject.average_rho
    return {
        "lambda_max": (lambda objective: hessian_eigenvalues(objective, 1), "values", "residuals"),
        "trace": (hessian_trace, "value", "standard_error"),
        "worst": (lambda objective: sharpness(objective, m=subject.m), "value", "standard_error"),
        "average": (
            lambda objective: sharpness(objective, rho, "average", average_tol=AVERAGE_TOL),
            "value",
            "standard_error",
        ),
    }


def measure(subject: Subject) -> dict[str, Any]:
    """Measure a network from its checkpoint to the last number.

    Args:
        subject: Which; it is trained first, outside the clock.

    Returns:
        The row.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights = torch.load(train(subject, Path(folder)), weights_only=True)
    model = getattr(sharpness_subject, subject.network)()
    model.load_state_dict(weights)
    data = getattr(sharpness_subject, subject.data)()
    load = os.getloadavg()[0]
    found = []
    objective = Objective(model, sharpness_subject.loss, data)
    for name, (call, value, error) in measurements(subject).items():
        wall, cpu = time.perf_counter(), time.process_time()
        result = call(objective)
        counts = {key: getattr(result, key) for key in COUNTS if hasattr(result, key)}
        found.append({
            "name": name,
            "wall_seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "value": float(getattr(result, value)),
            "error": float(getattr(result, error)),
            "status": result.status.name,  # type: ignore[attr-defined]
            **counts,
        })
        objective.release()
    return {
        "part": subject.network,
        **subject._asdict(),
        "parameters": objective.num_parameters,
        "shape": list(data[0][0].shape),
        "loss": objective.loss(),
        "measurements": found,
        "wall_seconds": sum(one["wall_seconds"] for one in found),
        "cpu_seconds": sum(one["cpu_seconds"] for one in found),
        "at_most": SECONDS,
        "load": [load, os.getloadavg()[0]],
    }


def command(subject: Subject) -> dict[str, Any]:
    """Time `landscape measure` of the same four in a process of its own, with its default settings but for rho.

    Args:
        subject: Which; it is trained first, outside the clock.

    Returns:
        The row.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, output = train(subject, Path(folder)), Path(folder) / "found.h5"
        arguments = ["--model", subject.named(subject.network), "--checkpoint", str(checkpoint)]
        arguments += ["--data", subject.named(subject.data), "--loss", subject.named("loss")]
        arguments += [word for name in OF for word in ("--of", name)]
        arguments += ["--rho", str(subject.average_rho), "--output", str(output), "--device", "cpu", "--quiet"]
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "landscape", "measure", *arguments],
            check=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        )
        seconds, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "part": "command",
        "network": subject.network,
        "of": OF,
        "at_most": SECONDS,
        "wall_seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def describe(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a row."""
    part = row["part"]
    for one in row.get("measurements", ()):
        counts = ", ".join(f"{one[key]} {key.removeprefix('num_')}" for key in COUNTS if key in one)
        yield (
            f"{part}: {one['name']:<10} {one['value']:.4g} +- {one['error']:.1e}, {one['wall_seconds']:.0f} s "
            f"({one['cpu_seconds']:.0f} s of processor), {counts}, {one['status']}"
        )
    for one in row.get("contestants", ()):
        off = "gave up" if one["error"] is None else f"off by {one['error']:.1e}"
        yield f"{part}: {row['quantity']} by {one['name']}: {one['products']} products, {off}"
    for ratio in row.get("ratios", ()):
        interval = f"[{ratio['low']:.2f}, {ratio['high']:.2f}]"
        yield f"{part}: {row['quantity']}: {ratio['ours']} / {ratio['theirs']} = {ratio['median']:.2f} {interval}"
    if "wall_seconds" in row:
        yield f"{part}: {row['wall_seconds']:.0f} s, {row['cpu_seconds']:.0f} s of processor"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="What the sharpness of 25 million weights takes, and curvature beside other libraries.",
        epilog="example: python benchmarks/sharpness.py --only gpt,peers --threads 2 --rounds 7",
    )
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"of {','.join(PARTS)}; all")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="cifar-10-batches-py, of peers; else synthetic")
    parser.add_argument("--quick", action="store_true", help="tiny networks, to see that everything runs")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds of peers")
    parser.add_argument("--threads", type=int, help="of the processor; torch's choice where not given")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/sharpness-cpu.json")
    given = parser.parse_args(arguments)
    given.device = "cpu"
    check_common(parser, given, PARTS)
    return given


def rows_of(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the rows of the parts asked for."""
    subjects = QUICK if given.quick else FULL
    for part, subject in zip(PARTS, subjects, strict=False):
        if part in given.only:
            yield {**measure(subject), "part": part}
    if "command" in given.only:
        yield command(subjects[0])
    if "peers" in given.only:
        yield from peers(given.data, given.rounds, quick=given.quick)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    given = parse(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    settings = {"rounds": given.rounds, "seed": SEED, "quick": given.quick, "only": given.only}
    target = given.output or Path(__file__).parent / "results" / "sharpness-cpu.json"
    about = {**machine(torch.device("cpu")), **versions()}
    collect(target, {"about": about, "settings": settings}, rows_of(given), describe)


if __name__ == "__main__":
    main()
