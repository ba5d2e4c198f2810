"""The table of the crosscoder's figure, and tables that are truncated."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from universality.errors import FormatError
from universality.export import write_csv
from universality.pipeline.reporting.crosscoder_tables import figure_table
from universality.report.figures.figure_registry import draw


def write_tables(home: Path) -> None:
    write_csv(
        pd.DataFrame({"relative_norm": [0.05, 0.5, 0.95], "partners": [False, True, False]}), home / "features.csv"
    )
    write_csv(pd.DataFrame({"unpaired": [0.1, 0.9]}), home / "norms.csv")


def test_the_figure_counts_the_classes_of_its_table(tmp_path: Path) -> None:
    write_tables(tmp_path)
    table = figure_table(tmp_path, ("one", "two"))
    assert table["partners"].dtype == np.bool_
    assert table["models"].tolist() == ["one", "two"]
    _, caption = draw("crosscoder", table)
    for part in ("one alone: 1", "shared: 1, 100% with SAE features that are partners", "two alone: 1"):
        assert part in caption.alt


def test_a_truncated_table_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "norms.csv").write_text('"unpaired\n0.1', encoding="utf-8")
    with pytest.raises(FormatError, match=r"norms\.csv: truncated or corrupt table"):
        figure_table(tmp_path, ("one", "two"))
