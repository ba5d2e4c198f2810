"""Saved tables of figures."""

from pathlib import Path

import numpy as np

from universality.report.figures.figure_table import load_table, save_table


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    flat = {"kind": np.asarray(["a,b", 'q"', "NA"]), "r": np.asarray([0.1 + 0.2, np.nan, 1e-300])}
    path = save_table(flat, tmp_path / "t")
    assert path.name == "t.csv"
    for name, column in load_table(path).items():
        np.testing.assert_array_equal(column, flat[name])
    assert save_table({**flat, "edges": np.arange(2)}, tmp_path / "t").name == "t.npz"
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    kinds = ["=HYPERLINK(1)", "+1", "-1", "@x", "'quoted", "a\\b", "\udce2", "\n", "17", "nan", "None"]
    table = {"kind": np.asarray(kinds, dtype=object), "r": np.arange(len(kinds)) / 7}
    path = save_table(table, tmp_path / "t")
    cells = [line.split(",")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    assert not any(cell.startswith(tuple("=+-@")) for cell in cells)
    assert load_table(path)["kind"].tolist() == kinds
    np.testing.assert_array_equal(load_table(path)["r"], table["r"])
