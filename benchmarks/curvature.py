"""What the Hessian costs: eigenpairs and products beside other libraries, Krylov steps beside the ideal, and memory.

"table": the top eigenvalues of ResNet-20 on 512 images until every true residual is small, by each library. Each is
called with its default settings first, then with stricter ones until all of |Hv - value v| / |value|, taken in float64
by our objective after the clock has stopped, are at most the tolerance. "product": one Hessian product over one
gradient of the same batch, in paired rounds. "count": our products over those of a plain Lanczos process in float64
from the same start vector, which stops at the first step where the true residuals allow it. "memory": the most that
the largest eigenvalue of a transformer of 100 million weights takes, in a process of its own.
Right when counts and residuals are those of chosen spectra (`tests/benchmarks/test_curvature.py`).

    python benchmarks/curvature.py --data cifar-10-batches-py --threads 2

A part measured alone (`--only memory`) takes its place in the file beside the others, if machine, versions and
settings are theirs; else the file begins anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a plain checkout will do

from benchmarks.curvature_costs import memory, product
from benchmarks.curvature_pairs import count, table
from benchmarks.curvature_peers import versions
from benchmarks.curvature_subject import FULL, QUICK, SEED, TOL, Scale, train_problem
from benchmarks.reports import check_common, collect, device_of
from benchmarks.timing import machine

PARTS = ("table", "product", "count", "memory")


def describe(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a row."""
    part = row["part"]
    for ratio in row.get("ratios", ()):
        subject = f"{part} {row.get('network', '')}".strip()
        interval = f"[{ratio['low']:.3f}, {ratio['high']:.3f}]"
        error = row.get("relative_errors", {}).get(ratio["ours"])
        wrong = "" if error is None else f"  error {error:.0e}"
        yield f"{subject}: {ratio['ours']} / {ratio['theirs']} = {ratio['median']:.3f} {interval}{wrong}"
    for name, reason in row.get("failures", {}).items():
        yield f"{part} {row['network']}: {name} failed: {reason}"
    for attempt in row.get("attempts", ()):
        head = f"{part}: {row['contestant']:<20} {attempt['settings']}"
        cost = f"{attempt['seconds']:8.2f} s {attempt['products']:5d} products"
        if "gave_up" in attempt:
            yield f"{head} {cost}  {attempt['gave_up']}"
        else:
            values = " ".join(f"{value:.4g}" for value in attempt["values"])
            yield f"{head} {cost}  worst residual {max(attempt['true_residuals']):.1e}  values {values}"
    if part == "count":
        worst = max(row["true_residuals"])
        ratio = "" if row["ratio"] is None else f" = {row['ratio']:.2f}"
        yield (
            f"count: k = {row['k']}, max_basis {row['max_basis']}: {row['products']} / {row['ideal']}{ratio}, "
            f"worst residual {worst:.1e}, {row['status']}"
        )
    if part == "memory" and "failure" in row:
        yield f"memory: max_basis {row['max_basis']}: {row['failure']}"
    elif part == "memory":
        yield (
            f"memory: max_basis {row['max_basis']}: {row['parameters'] / 1e6:.1f} million weights, "
            f"peak {row['peak_bytes'] / 1e9:.2f} GB, {row['extra_copies_of_weights']:.1f} copies of the weights above "
            f"what was there, {row['seconds']:.1f} s, {row['products']} products, {row['status']}"
        )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="What Hessian products and eigenpairs cost, beside other libraries and beside the ideal.",
        epilog="example: python benchmarks/curvature.py --only table,product --rounds 10 --threads 2",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where there is")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"of {','.join(PARTS)}; all")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="cifar-10-batches-py; else synthetic images")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--rounds", type=int, default=10, help="measured rounds of each product")
    parser.add_argument("--table-rounds", type=int, default=3, help="of the table, after its attempts; 0 for none")
    parser.add_argument("--limit", type=int, help="products after which an attempt of the table is given up; 600")
    parser.add_argument("--threads", type=int, help="of the processor; torch's choice where not given")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/curvature-<device>.json")
    given = parser.parse_args(arguments)
    check_common(parser, given, PARTS)
    if given.limit is not None and given.limit < 1:
        parser.error(f"--limit must be >= 1, got {given.limit}; 600 lets power iteration end")
    if given.table_rounds < 0:
        parser.error(f"--table-rounds must be >= 0, got {given.table_rounds}; 0 runs each contestant once")
    return given


def rows_of(
    given: argparse.Namespace, scale: Scale, device: torch.device, subject: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the parts asked for, and fill in what they were measured on."""
    problem = None
    if {"table", "count"} & set(given.only):
        problem, about = train_problem(scale, given.data, device)
        subject.update(about)
        print(f"{about['network']} on {about['data']}; {about['trained']}, loss {about['loss']:.3f}", flush=True)
    if "table" in given.only and problem is not None:
        yield from table(problem, scale, given.table_rounds)
    if "product" in given.only:
        for name, batch in scale.subjects:
            yield product(name, batch, scale.image_size, device, given.rounds)
    if "count" in given.only and problem is not None:
        yield from count(problem, scale)
    if "memory" in given.only:
        for max_basis in (None, 12):
            yield memory(scale, device, max_basis, given.threads)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    given = parse(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    device = device_of(given.device)
    libraries = versions()
    remedy = "not installed (pip install --no-deps -r benchmarks/requirements.txt)"
    skipped = [f"{library}: {remedy}" for library, version in libraries.items() if version is None]
    for line in skipped:
        print("skipped", line)
    scale = QUICK if given.quick else FULL
    if given.limit is not None:
        scale = scale._replace(limit=given.limit)
    settings = {key: value for key, value in vars(given).items() if key not in {"output", "device", "data"}}
    subject: dict[str, Any] = {}
    report: dict[str, Any] = {
        "about": {**machine(device), **libraries},
        "settings": {**settings, "tol": TOL, "seed": SEED, **scale._asdict()},
        "subject": subject,
        "skipped": skipped,
    }
    target = given.output or Path(__file__).parent / "results" / f"curvature-{device.type}.json"
    collect(target, report, rows_of(given, scale, device, subject), describe)


if __name__ == "__main__":
    main()
