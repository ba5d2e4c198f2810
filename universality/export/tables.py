"""Tables of matches and families as CSV or Parquet: one row a pair, with what a reader needs to judge it.

CSV is RFC 4180 (commas, CRLF, quotes doubled) in UTF-8; ``universality.export.cells`` says what is done to
text cells, and how to undo it. Parquet needs pyarrow, holds the same columns, keeps several tokens in a cell
as a list and needs no guard against formulas.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.errors import MismatchError, UniversalityError
from universality.export.cells import guard, join_tokens
from universality.export.escape import escape
from universality.features.about import about, shown_tokens
from universality.features.examples import Decode
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import pandas as pd

    from universality.features.store import FeatureStore
    from universality.matching import Match

CALIBRATED = (
    "held_out", "ci_low", "ci_high", "p", "q", "calibrated", "detectable",
    "p_kind", "q_kind", "calibrated_kind", "detectable_kind", "note",
)  # fmt: skip


def match_table(
    match: "Match",
    a: "FeatureStore",
    b: "FeatureStore",
    *,
    calibration: "pd.DataFrame | None" = None,
    decode: Decode | None = None,
    k: int = 5,
) -> "pd.DataFrame":
    """Every matched pair with what is known of both features, strongest pair first, those too rare for a p last.

    Parameters
    ----------
    match
        Pairs of features of ``a`` (rows) and ``b`` (columns).
    a, b
        The stores that were matched.
    calibration
        Frame with columns ``row col`` and any of those of ``CALIBRATED``
        (``calibrate(…).to_frame()``). A pair that it does not hold gets missing values.
    decode
        Takes token ids and gives one string for each. None: the cells hold the ids as decimal numbers.
    k
        Top tokens of each feature: distinct, by largest activation.

    Returns
    -------
    pandas.DataFrame
        ``row col score``, then for each side ``density kind purity tokens`` with ``row_``/``col_`` in front
        (tokens a tuple of strings, not escaped yet), then the calibration's columns.

    Raises
    ------
    MismatchError
        When the stores have other widths than the match, or the calibration lacks ``row`` or ``col`` or names
        a pair twice.
    """
    import pandas as pd

    if tuple(match.shape) != (a.n_features, b.n_features):
        raise MismatchError(
            f"the match is of {match.shape[0]} x {match.shape[1]} features, but {a.path} has {a.n_features} "
            f"and {b.path} {b.n_features}; pass the two stores that were matched, in that order"
        )
    rows, cols = np.asarray(match.rows), np.asarray(match.cols)
    frame = pd.DataFrame({"row": rows, "col": cols, "score": np.asarray(match.scores)})
    for side, store, index in (("row", a, rows), ("col", b, cols)):
        for name, values in _feature_columns(store, index, decode, k).items():
            frame[f"{side}_{name}"] = values
    if calibration is not None:
        frame = _calibrated(frame, calibration)
    lucky = frame["p"].isna() if "p" in frame else np.zeros(len(frame), dtype=bool)  # too rare to tell: not at the top
    return frame.iloc[np.lexsort((-frame["score"], lucky))].reset_index(drop=True)


def write_csv(frame: "pd.DataFrame", path: str | Path) -> Path:
    """Write a table as CSV, atomically.

    Parameters
    ----------
    frame
        Columns of numbers, booleans, text, or sequences of token strings; the index is not written. Text is
        escaped and guarded here, so pass it as it is. Missing values become empty cells.
    path
        Replaced if it exists.

    Returns
    -------
    Path
        Where it was written.
    """
    cells = frame.apply(lambda column: column if _is_bare(column) else column.map(_csv_cell))
    cells.columns = [guard(escape(str(name))) for name in frame.columns]
    with replacing_text(path) as file:
        cells.to_csv(file, index=False, lineterminator="\r\n")
    return as_path(path)


def write_parquet(frame: "pd.DataFrame", path: str | Path) -> Path:
    """Write a table as Parquet, atomically; text is escaped as in the CSV, but neither joined nor guarded.

    Raises
    ------
    UniversalityError
        When pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UniversalityError(
            f"{path}: Parquet needs pyarrow, which is not installed; install it or write the table as CSV"
        ) from None
    cells = frame.apply(lambda column: column if _is_bare(column) else column.map(_parquet_cell))
    with replacing_text(path) as file:
        cells.to_parquet(file.buffer, index=False, engine="pyarrow")
    return as_path(path)


def _feature_columns(
    store: "FeatureStore", index: npt.NDArray[np.int64], decode: Decode | None, k: int
) -> dict[str, Sequence[Any] | npt.NDArray[Any]]:
    known = about(store).specificity
    kind = known.kind_names
    return {
        "density": store.moments().density[index],
        "kind": [kind[int(i)] for i in index],
        "purity": known.purity[index],
        "tokens": shown_tokens(store, index, k, decode),
    }


def _calibrated(frame: "pd.DataFrame", calibration: "pd.DataFrame") -> "pd.DataFrame":
    missing = {"row", "col"} - set(calibration.columns)
    if missing:
        raise MismatchError(
            f"the calibration has columns {list(calibration.columns)}: {sorted(missing)} missing; "
            "pass calibrate(...).to_frame()"
        )
    if calibration.duplicated(["row", "col"]).any():
        raise MismatchError("the calibration names a pair twice; pass the calibration of one match")
    known = [name for name in CALIBRATED if name in calibration.columns]
    return frame.merge(calibration[["row", "col", *known]], on=["row", "col"], how="left")


def _is_bare(column: "pd.Series[Any]") -> bool:
    """Whether a column holds numbers or booleans only, which need no escape."""
    return column.dtype.kind in "biuf"


def _csv_cell(value: object) -> object:
    if isinstance(value, str | bytes):
        return guard(escape(value))
    if isinstance(value, list | tuple | np.ndarray):
        return guard(join_tokens(value))
    return value


def _parquet_cell(value: object) -> object:
    if isinstance(value, str | bytes):
        return escape(value)
    if isinstance(value, list | tuple | np.ndarray):
        return [escape(token) for token in value]
    return value
