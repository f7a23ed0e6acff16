"""The tables of the benchmarks' README are made from the results that lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import surface_tables, tables

README = tables.HERE / "README.md"


def test_the_readme_holds_what_the_results_say() -> None:
    """Fails if a result is replaced without its table, or a number is typed by hand."""
    text = README.read_text(encoding="utf-8")
    assert tables.filled(text, tables.HERE / "results") == text, "run python benchmarks/tables.py"
    assert set(tables.names_in(text)) == set(tables.TABLES)


def test_every_table_has_rows() -> None:
    text = README.read_text(encoding="utf-8")
    for name in tables.TABLES:
        inside = text.split(f"<!-- {name} -->\n")[1].split("<!-- end -->")[0]
        assert len(inside.splitlines()) >= (1 if name.endswith("machine") else 3), name


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'speed' is no table; there are machine, eigenpairs"):
        tables.filled("<!-- speed -->\n<!-- end -->", tmp_path)


@pytest.mark.parametrize(
    ("target", "median", "verdict"),
    [
        ({"at_most": 1.05}, 1.05, ", met"),
        ({"at_most": 1.05}, 1.06, ", missed"),
        ({"at_least": 1.9}, 1.9, ", met"),
        ({"at_least": 1.9}, 1.89, ", missed"),
        ({"at_most": None, "at_least": None}, 9.0, ""),
    ],
)
def test_a_target_is_met_on_its_side_of_the_median(target: dict[str, float], median: float, verdict: str) -> None:
    """The interval does not decide: it reaches over the target on both sides here."""
    found = surface_tables.judged({"median": median, "low": 0.5, "high": 3.0, **target})
    assert found == f"{median:.2f} [0.50, 3.00]{verdict}"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"batch_size": 0, "channels_last": False, "stacked": 1}, "as given"),
        ({"batch_size": 64, "channels_last": True}, "batches of 64, channels last"),
        ({"batch_size": 0, "channels_last": False, "stacked": 8}, "as given, 8 cells at once"),
    ],
)
def test_a_plan_is_told_in_words(plan: dict[str, int], words: str) -> None:
    assert surface_tables.laid_out(plan) == words


def test_a_ratio_is_found_by_its_names_and_what_it_is_of() -> None:
    """Fails if a cell's ratio stands in the place of the whole grid's, or the other way round."""

    def ratio(of: str, ours: str, theirs: str, median: float) -> dict[str, float | str]:
        return {"of": of, "ours": ours, "theirs": theirs, "median": median, "low": median, "high": median}

    row = {
        "part": "cost",
        "label": "net",
        "bare": {"batch_size": 8, "channels_last": False},
        "search": [{"seconds": 0.5}, {"seconds": 0.25}],
        "ratios": [
            ratio("grid", "ours", "bare", 2.0),
            ratio("cell", "bare", "ours", 3.0),
            ratio("cell", "ours", "bare", 1.0),
        ],
    }
    (cells,) = surface_tables.bare({"rows": [row, {"part": "extras"}]})[1]
    assert cells == ["net", "batches of 8", "250", "1.00 [1.00, 1.00]", "2.00 [2.00, 2.00]"]


def test_what_25_million_weights_take_is_summed_and_judged() -> None:
    """Fails if the target is compared with seconds of processor, of which two threads have twice as many."""
    one = {"name": "trace", "value": 234.5, "error": 11.2, "wall_seconds": 200.4, "cpu_seconds": 390.0, "num_hvps": 13}
    total = {"wall_seconds": 200.4, "cpu_seconds": 390.0, "at_most": 300.0}
    row = {"part": "gpt", "network": "gpt", "parameters": 25_383_936, "measurements": [one], **total}
    command = {"part": "command", "network": "gpt", "wall_seconds": 900.0, "cpu_seconds": 1700.0, "at_most": 300}
    lines = tables.sharpness({"rows": [row, command]}).splitlines()[2:]
    assert lines == [
        "| gpt, 25.4 million weights | trace | 234 ± 1e+01 | 13 Hessian products | 200 | 390 |",
        "| gpt, 25.4 million weights | all four |  |  | 200, met | 390 |",
        "| gpt | `landscape measure` |  |  | 900, missed | 1700 |",
    ]


def test_peers_stand_beside_the_ratio_to_them() -> None:
    ours, theirs = ({"name": name, "products": 10, "error": error} for name, error in (("ours", 0.1), ("theirs", None)))
    ratio = {"ours": "ours", "theirs": "theirs", "median": 0.5, "low": 0.4, "high": 0.6}
    row = {"part": "peers", "quantity": "trace", "contestants": [ours, theirs], "ratios": [ratio]}
    assert tables.sharpness_peers({"rows": [row]}).splitlines()[2:] == [
        "| trace | ours | 10 | 1e-01 |  |",
        "| trace | theirs | 10 | gave up | 0.50 [0.40, 0.60] |",
    ]
