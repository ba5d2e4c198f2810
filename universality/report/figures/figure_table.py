"""The table behind a figure: columns by name, saved as CSV if they have one length and as NPZ otherwise.

CSV files are written by ``universality.export``, which guards text that a spreadsheet could take for a formula.
"""

import csv
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.errors import FormatError
from universality.export import read_csv, write_csv
from universality.files import as_path, write_bytes
from universality.obstacles import check_openable

Table = Mapping[str, NDArray[Any]]
TEXT = ("role", "label", "kind", "model", "run", "measure", "unit", "side_a", "side_b")
"""Columns that are text even where every cell looks like a number: kinds of text may be named 1, 2 and 3."""


def table_ending(table: Table) -> str:
    """Return ``csv`` if all columns have one length, else ``npz``."""
    flat = all(column.ndim == 1 for column in table.values()) and len({len(c) for c in table.values()}) == 1
    return "csv" if flat else "npz"


def save_table(table: Table, stem: str | Path) -> Path:
    """Write ``stem.csv`` or ``stem.npz`` atomically; remove the other, which would be of an earlier run."""
    stem = as_path(stem)
    ending = table_ending(table)
    path, other = (stem.with_name(f"{stem.name}.{one}") for one in (ending, "npz" if ending == "csv" else "csv"))
    if ending == "csv":
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {name: object for name, column in table.items() if column.dtype.kind in "OU"}
        columns = {name: pd.Series(column, dtype=text.get(name)) for name, column in table.items()}
        # object columns: the string type of pandas 3 cannot hold lone surrogates
        write_csv(pd.DataFrame(columns), path)
    else:
        content = BytesIO()
        np.savez_compressed(content, allow_pickle=False, **table)
        write_bytes(path, content.getvalue())
    other.unlink(missing_ok=True)
    return path


def load_table(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read a table that ``save_table`` wrote.

    Raises
    ------
    FormatError
        If the file is neither CSV nor NPZ, or truncated.
    """
    path = as_path(path)
    check_openable(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        frame = read_csv(path, TEXT)
    except (ValueError, OSError, EOFError, csv.Error) as error:
        advice = "the stage `report` writes it again"
        raise FormatError(f"{path}: truncated or corrupt table of a figure: {error}; {advice}") from None
    return {str(name): frame[name].to_numpy() for name in frame.columns}
