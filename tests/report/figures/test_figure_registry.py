"""Every figure from its table."""

from pathlib import Path

import numpy as np

from universality.report.figures.figure_registry import DRAWINGS, draw
from universality.report.figures.figure_table import load_table


def test_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('kind,r\n"a,b",0.30000000000000004\n=x,\n', encoding="utf-8")
    found = load_table(path)
    assert found["kind"].tolist() == ["a,b", "=x"]
    np.testing.assert_array_equal(found["r"], [0.1 + 0.2, np.nan])


def test_every_drawing_says_that_its_table_is_empty() -> None:
    for name in ("coverage", "consistency", "best_match"):
        empty = {column: np.zeros(0) for column in DRAWINGS[name].columns}
        assert draw(name, empty)[1].alt
