"""Tables come back with their types, also empty ones; files that lack a column are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from universality.archive import read_archive, write_archive
from universality.errors import FormatError
from universality.labels.stored_tables import read_tables, write_tables

TABLE = pd.DataFrame({"n": [1, 2], "r": [0.5, np.nan], "text": ['a "שלום"', ""], "flag": [True, False]})


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_tables_come_back(tmp_path: Path, ending: str) -> None:
    path = write_tables(tmp_path / f"t.{ending}", "toy", 1, {"seed": 3}, {"one": TABLE, "none": TABLE[:0]})
    header, tables = read_tables(path, "toy", 1)
    assert header == {"seed": 3}
    for name, table in (("one", TABLE), ("none", TABLE[:0])):
        assert list(tables[name]) == list(TABLE)
        pd.testing.assert_frame_equal(tables[name], table, check_dtype=False)
    assert tables["one"]["n"].dtype == TABLE["n"].dtype


def test_a_file_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    path = write_tables(tmp_path / "t.npz", "toy", 1, {}, {"one": TABLE})
    header, arrays = read_archive(path, "toy", 1)
    del arrays["one.r"]
    write_archive(path, "toy", 1, header, arrays)
    with pytest.raises(FormatError, match=r"t\.npz: not a whole toy file: 'one.r'"):
        read_tables(path, "toy", 1)
