"""The tables of the benchmarks' README are made from the results that lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tables

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
