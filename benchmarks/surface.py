"""What a grid of `analysis.loss_surface` costs, beside bare forward passes and beside other libraries.

"cost": a cell of ours, of loss-landscapes 3.0.6 and a bare forward pass at its best, what the trial of plan="auto"
chose and cost where all samples were given in one batch, and a grid of 51 x 51 with its trial. "extras": metrics, a
second split, bfloat16. "stacked": cells together for a small network on few samples. "processes": two beside one.
The time of a cell is taken by the clock at its ends, not over the call, so that directions, fingerprints and checks are
not in it; they are reported as "outside" (`surface_contest.py`).
Right when made-up clocks give the made-up ratios (`tests/benchmarks/test_surface.py`).

    python benchmarks/surface.py --data cifar-10-batches-py --threads 2

A part measured alone (`--only stacked`) takes its place in the file beside the others, if machine, versions and
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

from benchmarks.curvature_subject import SEED
from benchmarks.reports import check_common, collect, device_of, device_slug
from benchmarks.surface_contest import LIBRARY, cost, version
from benchmarks.surface_parts import extras, processes, stacked
from benchmarks.surface_subject import FULL, QUICK, Scale
from benchmarks.timing import machine

PARTS = ("cost", "extras", "stacked", "processes")


def describe(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a row."""
    subject = f"{row['part']} {row['label']}"
    if row["part"] == "cost":
        found, best = row["trial"], row["bare"]
        yield f"{subject}: bare passes are best with {best}"
        plan = {key: found[key] for key in ("batch_size", "channels_last", "stacked")}
        yield f"{subject}: the trial took {found['seconds']:.2f} s, {found['share']:.2%} of its grid, and chose {plan}"
    for ratio in row.get("ratios", ()):
        aims = [f"{word} {ratio[key]}" for key, word in (("at_most", "<="), ("at_least", ">=")) if ratio.get(key)]
        interval = f"[{ratio['low']:.3f}, {ratio['high']:.3f}]"
        aim = f"  target {aims[0]}" if aims else ""
        yield f"{subject}: {ratio['of']}, {ratio['ours']} / {ratio['theirs']} = {ratio['median']:.3f} {interval}{aim}"
    for name, reason in row.get("failures", {}).items():
        yield f"{subject}: {name} failed: {reason}"
    if "failure" in row:
        yield f"{subject}: {row['failure']}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="What a grid of losses costs, beside bare forward passes and beside other libraries.",
        epilog="example: python benchmarks/surface.py --only cost,stacked --rounds 9 --threads 2",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where there is")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"of {','.join(PARTS)}; all")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="cifar-10-batches-py; else synthetic images")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--rounds", type=int, default=15, help="measured turns of large networks; small ones have more")
    parser.add_argument("--threads", type=int, help="of the processor; torch's choice where not given")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/surface-<device>.json")
    given = parser.parse_args(arguments)
    check_common(parser, given, PARTS)
    return given


def rows_of(given: argparse.Namespace, scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield the rows of the parts asked for."""
    for part, measure, subjects in (
        ("cost", cost, scale.cost),
        ("extras", extras, scale.extras),
        ("stacked", stacked, scale.stacked),
    ):
        for subject in subjects if part in given.only else ():
            yield measure(subject, scale, given.rounds, given.data, device)
    if "processes" in given.only:
        yield processes(scale.processes, given.rounds, given.data, device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    given = parse(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    device = device_of(given.device)
    library = version()
    skipped = [] if library else [f"{LIBRARY}: not installed (pip install --no-deps -r benchmarks/requirements.txt)"]
    for line in skipped:
        print("skipped", line)
    scale = QUICK if given.quick else FULL
    settings = {key: value for key, value in vars(given).items() if key not in {"output", "device", "data"}}
    report: dict[str, Any] = {
        "about": {**machine(device), "loss_landscapes": library},
        "settings": {**settings, "seed": SEED, "real_images": given.data is not None, **scale._asdict()},
        "skipped": skipped,
    }
    target = given.output or Path(__file__).parent / "results" / f"surface-{device_slug(device)}.json"
    collect(target, report, rows_of(given, scale, device), describe)


if __name__ == "__main__":
    main()
