"""Numbers of matched pairs, from a calibration or from a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np
import pandas as pd

from universality.arrays import FloatArray
from universality.errors import UniversalityError

if TYPE_CHECKING:
    from universality.statistics import Calibration

PairTable: TypeAlias = "Calibration | pd.DataFrame"
"""A calibration, or a table with one row a pair: `Calibration.to_frame`, `Study.pairs`, or a table of ``matches/``."""


def is_calibration(pairs: object) -> TypeGuard[Calibration]:
    """Return whether these are pairs of a calibration; `universality.statistics` need not be imported for it."""
    return hasattr(pairs, "held_out") and hasattr(pairs, "match") and not isinstance(pairs, pd.DataFrame)


def pair_frame(pairs: PairTable, caller: str) -> pd.DataFrame:
    """Return the table of pairs.

    Raises
    ------
    UniversalityError
        If it is neither a calibration nor a table.
    """
    if is_calibration(pairs):
        return pairs.to_frame()
    if not isinstance(pairs, pd.DataFrame):
        raise UniversalityError(
            f"{caller}: expected a calibration or a table with one row a pair (Calibration.to_frame(), Study.pairs), "
            f"found {type(pairs).__name__}"
        )
    return pairs


def pair_columns(pairs: PairTable, columns: Sequence[str], caller: str) -> list[FloatArray]:
    """Return columns of the pairs as numbers, float64 [n_pairs] each.

    Raises
    ------
    UniversalityError
        If it is neither a calibration nor a table, or a column is missing or holds no numbers.
    """
    return frame_columns(pair_frame(pairs, caller), columns, caller)


def frame_columns(frame: pd.DataFrame, columns: Sequence[str], caller: str) -> list[FloatArray]:
    """Return columns of a table as numbers, float64 [n_rows] each; errors as of `pair_columns`."""
    missing = [name for name in columns if name not in frame]
    if missing:
        raise UniversalityError(
            f"{caller}: the table lacks {', '.join(missing)}; it has the columns {', '.join(map(str, frame.columns))}"
        )
    numbers = []
    for name in columns:
        try:
            numbers.append(frame[name].to_numpy(np.float64, na_value=np.nan))
        except (TypeError, ValueError):
            raise UniversalityError(f"{caller}: expected numbers in the column {name}") from None
    return numbers
