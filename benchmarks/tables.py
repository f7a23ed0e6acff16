"""Put the numbers of `results/*.json` into the tables of `README.md`, so that no figure there is typed by hand.

    python benchmarks/tables.py

Right when writing again changes nothing, which a test asks of the README as it is (`tests/benchmarks/test_tables.py`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a plain checkout will do

from benchmarks.surface_tables import SURFACE

HERE = Path(__file__).parent
Report = Mapping[str, Any]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table.

    Args:
        head: Titles of the columns.
        rows: Cells.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine_line(report: Report) -> str:
    """Return one line that says where and when."""
    about = report["about"]
    threads = f"{about['threads']} thread{'s' * (about['threads'] != 1)}"
    where = f"{about['processor']}, {threads}" if about["device"] == "cpu" else about["device"]
    versions = ", ".join(
        f"{name} {about[name]}"
        for name in ("torch", "pytorch_optimizer", "curvlinops", "hessian_eigenthings", "pyhessian", "loss_landscapes")
        if about.get(name)
    )
    return f"*{where}; Python {about['python']}, {versions}; {about['date']}.*"


def eigenpairs(report: Report) -> str:
    """Return the table of contestants at the top eigenpairs: the attempt that met the tolerance, or the last."""
    rows = []
    found = [row for row in report["rows"] if row["part"] == "table" and "contestant" in row]
    ours = found[0]["seconds"]
    for row in found:
        worst = f"{max(row['true_residuals']):.1e}" if "true_residuals" in row else row["gave_up"]
        met = "yes" if row["meets"] else "no"
        rows.append([
            row["contestant"],
            str(row["products"]),
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / ours:.1f}",
            worst,
            met,
            str(row["products_of_all_attempts"]),
        ])
    head = ["", "products", "seconds", "times ours", "worst true residual", "met", "products of all attempts"]
    return markdown(head, rows)


def products(report: Report) -> str:
    """Return the table of one product in gradients."""
    rows = [row for row in report["rows"] if row["part"] == "product"]
    names = list(dict.fromkeys(ratio["ours"] for row in rows for ratio in row["ratios"]))
    cells = []
    for row in rows:
        medians = {ratio["ours"]: f"{ratio['median']:.2f}" for ratio in row["ratios"]}
        cells.append([f"{row['network']}, batch {row['batch']}", *(medians.get(name, "fails") for name in names)])
    return markdown(["", *names], cells)


def counts(report: Report) -> str:
    """Return the table of products beside the ideal Krylov count."""
    cells = []
    for row in report["rows"]:
        if row["part"] == "count":
            basis = "no limit" if row["max_basis"] is None else str(row["max_basis"])
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            cells.append([str(row["k"]), basis, str(row["products"]), str(row["ideal"]), ratio])
    return markdown(["k", "vectors kept", "products", "ideal", "ratio"], cells)


def memory(report: Report) -> str:
    """Return the table of memory for a large transformer."""
    cells = []
    for row in report["rows"]:
        if row["part"] == "memory":
            basis = "as many as fit" if row["max_basis"] is None else str(row["max_basis"])
            if "failure" in row:
                cells.append([basis, row["failure"], "", "", ""])
                continue
            gigabytes = f"{row['peak_bytes'] / 1e9:.1f}"
            cells.append([
                basis,
                f"{row['parameters'] / 1e6:.0f} million",
                gigabytes,
                str(row["products"]),
                f"{row['seconds']:.0f}",
            ])
    return markdown(["vectors kept", "weights", "peak memory of the process, GB", "products", "seconds"], cells)


def optimizer(report: Report) -> str:
    """Return the table of ratios of the optimizer benchmark."""
    cells = [
        [
            f"{row['model']}, {row['memory_format']}",
            row["quantity"],
            f"{ratio['ours']} / {ratio['theirs']}",
            f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]",
        ]
        for row in report["rows"]
        for ratio in row.get("ratios", ())
    ]
    return markdown(["network", "of", "", "median of paired ratios"], cells)


def _written(make: Callable[[Report], tuple[Sequence[str], Sequence[Sequence[str]]]]) -> Callable[[Report], str]:
    return lambda report: markdown(*make(report))


NOISE = (("norms", "gradient"), ("noise", "gradient"), ("vmap", "norms"), ("vmap", "gradient"), ("backpack", "norms"))


def noise(report: Report) -> str:
    """Return the table of the norms of per-sample gradients: a row for each network, ratios beside targets."""
    rows = []
    for row in report["rows"]:
        cells = dict.fromkeys(NOISE, "")
        for ratio in row["ratios"]:
            text = f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            least, most = ratio.get("at_least") or 0.0, ratio.get("at_most") or float("inf")
            is_aimed = ratio.get("at_least") or ratio.get("at_most")
            met = "met" if least <= ratio["median"] <= most else "missed"
            cells[ratio["ours"], ratio["theirs"]] = f"{text}, {met}" if is_aimed else text
        rows.append([f"{row['network']}, batch {row['batch']}", *cells.values(), str(row["chunk"])])
    return markdown(["", *(" / ".join(pair) for pair in NOISE), "best chunk of vmap"], rows)


def sharpness(report: Report) -> str:
    """Return the table of what 25 million weights take: a row for each number, and one for all four."""
    rows = []
    for row in report["rows"]:
        if "measurements" in row:
            parameters = f"{row['network']}, {row['parameters'] / 1e6:.1f} million weights"
            for one in row["measurements"]:
                counts = [f"{one[key]} {word}" for key, word in COUNTS.items() if one.get(key)]
                value = f"{one['value']:.3g} ± {one['error']:.1g}"
                seconds = [f"{one[key]:.0f}" for key in ("wall_seconds", "cpu_seconds")]
                rows.append([parameters, one["name"], value, ", ".join(counts), *seconds])
            met = "met" if row["wall_seconds"] <= row["at_most"] else "missed"
            rows.append([
                parameters,
                "all four",
                "",
                "",
                f"{row['wall_seconds']:.0f}, {met}",
                f"{row['cpu_seconds']:.0f}",
            ])
        if row["part"] == "command":
            met = "met" if row["wall_seconds"] <= row["at_most"] else "missed"
            seconds = [f"{row['wall_seconds']:.0f}, {met}", f"{row['cpu_seconds']:.0f}"]
            rows.append([row["network"], "`landscape measure`", "", "", *seconds])
    return markdown(["", "", "value ± error", "computed", "seconds", "seconds of processor"], rows)


def sharpness_peers(report: Report) -> str:
    """Return the table of one eigenvalue and the trace beside other libraries."""
    rows = []
    for row in report["rows"]:
        ratios = {ratio["theirs"]: ratio for ratio in row.get("ratios", ())}
        for one in row.get("contestants", ()):
            ratio = ratios.get(one["name"])
            text = f"{ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio else ""
            off = "gave up" if one["error"] is None else f"{one['error']:.0e}"
            rows.append([row["quantity"], one["name"], str(one["products"]), off, text])
    return markdown(["", "", "products", "relative error", "time of ours / theirs"], rows)


COUNTS = {"num_hvps": "Hessian products", "num_gradients": "gradients", "num_losses": "losses"}

TABLES: Mapping[str, tuple[str, Callable[[Report], str]]] = {
    "machine": ("curvature-cpu.json", machine_line),
    "eigenpairs": ("curvature-cpu.json", eigenpairs),
    "products": ("curvature-cpu.json", products),
    "counts": ("curvature-cpu.json", counts),
    "memory": ("curvature-cpu.json", memory),
    "noise-machine": ("noise-cpu.json", machine_line),
    "noise": ("noise-cpu.json", noise),
    "optimizer": ("optimizer-cpu.json", optimizer),
    "optimizer-machine": ("optimizer-cpu.json", machine_line),
    "sharpness-machine": ("sharpness-cpu.json", machine_line),
    "sharpness": ("sharpness-cpu.json", sharpness),
    "sharpness-peers": ("sharpness-cpu.json", sharpness_peers),
    "surface-machine": ("surface-cpu.json", machine_line),
    **{name: ("surface-cpu.json", _written(make)) for name, make in SURFACE.items()},
}


def filled(text: str, results: Path) -> str:
    """Return a text with each marked place filled with its table.

    Args:
        text: As for `filled_with`.
        results: Folder of the JSON files.
    """

    def made(file: str, make: Callable[[Report], str]) -> str:
        return make(json.loads((results / file).read_text(encoding="utf-8")))

    return filled_with({name: partial(made, *table) for name, table in TABLES.items()}, text)


def filled_with(tables: Mapping[str, Callable[[], str]], text: str) -> str:
    """Return a text with each marked place filled.

    Args:
        tables: Name to what makes the table of that name.
        text: With lines `<!-- name -->` and, where the table ends, `<!-- end -->`.

    Raises:
        ValueError: A name that is no table.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name not in tables:
            raise ValueError(f"{name!r} is no table; there are {', '.join(tables)}")
        return f"<!-- {name} -->\n{tables[name]()}\n<!-- end -->"

    return re.sub(r"<!-- ([\w-]+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def names_in(text: str) -> Iterator[str]:
    """Yield the names of the tables a text has places for."""
    yield from (name for name in re.findall(r"<!-- ([\w-]+) -->", text) if name != "end")


if __name__ == "__main__":
    readme = HERE / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8"), HERE / "results"), encoding="utf-8")
