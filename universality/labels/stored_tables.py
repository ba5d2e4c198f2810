"""Tables of a result in one versioned archive, as .npz or .json, without pickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.archive import read_archive, write_archive
from universality.errors import FormatError


def write_tables(
    path: str | Path, name: str, version: int, header: dict[str, Any], tables: Mapping[str, pd.DataFrame]
) -> Path:
    """Write tables of numbers and texts with a header; see `universality.archive.write_archive`."""
    arrays = {f"{key}.{column}": _array(table[column]) for key, table in tables.items() for column in table}
    columns = {key: list(table) for key, table in tables.items()}
    return write_archive(path, name, version, {**header, "columns": columns}, arrays)


def read_tables(path: str | Path, name: str, version: int) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Read what `write_tables` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it is truncated or corrupt, or has another format or version.
    """
    header, arrays = read_archive(path, name, version)
    try:
        columns = header.pop("columns")
        tables = {key: pd.DataFrame({c: _values(arrays[f"{key}.{c}"]) for c in columns[key]}) for key in columns}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: not a whole {name} file: {error}") from None
    return header, tables


def _array(values: pd.Series[Any]) -> npt.NDArray[Any]:
    return values.to_numpy() if values.dtype.kind in "biuf" else np.asarray(values.tolist(), np.str_)


def _values(array: npt.NDArray[Any]) -> Any:
    return pd.Series(array.tolist(), dtype=object if not array.size else None) if array.dtype.kind == "U" else array
