"""Tables of matches and families as CSV or Parquet: one row a pair, with what a reader needs to judge it.

CSV is RFC 4180 (commas, CRLF, quotes doubled) in UTF-8; ``universality.export.csv_cells`` says what is done to
text cells, and how to undo it. Parquet needs pyarrow, holds the same columns, keeps several tokens in a cell
as a list and needs no guard against formulas.
"""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.errors import MismatchError, UniversalityError
from universality.export.csv_cells import guard, join_tokens, unguard
from universality.export.token_escapes import escape, unescape
from universality.features.descriptions import Described, described
from universality.features.examples import Decode
from universality.files import as_path, replacing_text

if TYPE_CHECKING:
    import pandas as pd

    from universality.features.storage.store import FeatureStore
    from universality.matching import Match

CALIBRATED = (
    "held_out", "ci_low", "ci_high", "p", "q", "observed", "calibrated", "detectable",
    "p_kind", "q_kind", "observed_kind", "calibrated_kind", "detectable_kind",
    "row_nearest_held_out", "col_nearest_held_out", "ceiling_a", "ceiling_b", "note",
)  # fmt: skip
ALWAYS = ("ceiling_a", "ceiling_b")
"""Columns that every table has, NaN where they are not known."""


def match_table(
    match: "Match",
    a: "FeatureStore | Described",
    b: "FeatureStore | Described",
    *,
    calibration: "pd.DataFrame | None" = None,
    logit_r: npt.ArrayLike | None = None,
    decode: Decode | None = None,
    k: int = 5,
) -> "pd.DataFrame":
    """Every matched pair with what is known of both features, strongest pair first, those too rare for a p last.

    Parameters
    ----------
    match
        Pairs of features of ``a`` (rows) and ``b`` (columns).
    a, b
        The stores that were matched, described (`Described`) or to be described here.
    calibration
        Frame with columns ``row col`` and any of those of ``CALIBRATED``
        (``calibrate(…).to_frame()``). A pair that it does not hold gets missing values.
    logit_r
        [n_pairs] r of the two features' logit weights, in the order of the match's pairs.
    decode
        Takes token ids and gives one string for each. None: the cells hold the ids as decimal numbers.
    k
        Tokens of each feature at most, those that hold most of its activation.

    Returns
    -------
    pandas.DataFrame
        ``row col score logit_r``, the score being that which chose the partner; then for each side ``density kind
        purity tokens nearest nearest_score`` with ``row_``/``col_`` in front (tokens a tuple of strings, not escaped
        yet; nearest the best partner with replacement, NA where there is none); then the calibration's columns.
        ``ceiling_a ceiling_b`` are always there.

    Raises
    ------
    MismatchError
        When the stores have other widths than the match, or the calibration lacks ``row`` or ``col`` or names
        a pair twice, or ``logit_r`` has another number of pairs.
    """
    import pandas as pd

    a, b = described(a), described(b)
    if tuple(match.shape) != (a.store.n_features, b.store.n_features):
        raise MismatchError(
            f"the match is of {match.shape[0]} x {match.shape[1]} features, but {a.store.path} has "
            f"{a.store.n_features} and {b.store.path} {b.store.n_features}; pass the two stores that were matched, "
            "in that order"
        )
    rows, cols = np.asarray(match.rows), np.asarray(match.cols)
    frame = pd.DataFrame({"row": rows, "col": cols, "score": np.asarray(match.scores)})
    frame["logit_r"] = _of_pairs(logit_r, len(frame))
    best = match.nearest
    sides = (("row", a, rows, best.best_col, best.best_col_score), ("col", b, cols, best.best_row, best.best_row_score))
    for side, description, index, near, near_score in sides:
        for name, values in _feature_columns(description, index, decode, k).items():
            frame[f"{side}_{name}"] = values
        frame[f"{side}_nearest"] = pd.Series(near[index], dtype="Int64").mask(near[index] < 0)
        frame[f"{side}_nearest_score"] = near_score[index]
    if calibration is not None:
        frame = _calibrated(frame, calibration)
    frame = frame.assign(**{name: np.nan for name in ALWAYS if name not in frame})
    lucky = frame["p"].isna() if "p" in frame else np.zeros(len(frame), dtype=bool)  # too rare to tell: not at the top
    return frame.iloc[np.lexsort((-frame["score"], lucky))].reset_index(drop=True)


def write_csv(frame: "pd.DataFrame", path: str | Path, *, float_format: str | None = None) -> Path:
    """Write a table as CSV, atomically: what all CSV files of this package are written with.

    Parameters
    ----------
    frame
        Columns of numbers, booleans, text, or sequences of token strings; the index is not written. Text is
        escaped and guarded here, so pass it as it is. Missing values become empty cells.
    path
        Replaced if it exists.
    float_format
        Such as ``%.4f``; by default all digits, so that numbers come back as they were.

    Returns
    -------
    Path
        Where it was written.
    """
    cells = frame.apply(lambda column: column if _is_bare(column) else column.map(_csv_cell))
    cells.columns = [guard(escape(str(name))) for name in frame.columns]
    with replacing_text(path) as file:
        cells.to_csv(file, index=False, lineterminator="\r\n", float_format=float_format)
    return as_path(path)


def read_csv(path: str | Path, text: Collection[str] = ()) -> "pd.DataFrame":
    """Read what `write_csv` wrote: numbers to the last digit, text without escapes and guards.

    A column whose cells are all numbers, all ``True`` or ``False``, or empty is not text, unless ``text`` names it. A
    cell of several tokens comes back with `SEPARATOR` between them.

    Raises
    ------
    ValueError
        When a row has another number of cells than the header, or a text is not one that `write_csv` writes.
    """
    import pandas as pd

    with Path(path).open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, strict=True))
    if not lines:
        raise ValueError("the file is empty")
    header, *rows = lines
    if ragged := next((n for n, row in enumerate(rows, 2) if len(row) != len(header)), None):
        raise ValueError(f"row {ragged} has {len(rows[ragged - 2])} cells, the header {len(header)}")
    columns = zip(*rows, strict=True) if rows else ((),) * len(header)
    names = [unescape(unguard(name)) for name in header]
    found = {name: _texts(cells) if name in text else _typed(cells) for name, cells in zip(names, columns, strict=True)}
    return pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in found.items()})


def _typed(cells: Sequence[str]) -> npt.NDArray[Any]:
    """Integers, numbers, truth values or texts, the first that all cells are."""
    if cells and set(cells) <= {"True", "False"}:
        return np.array([cell == "True" for cell in cells])
    for convert, missing in ((int, None), (float, "nan")):
        try:
            return np.array([convert(cell or missing) for cell in cells], convert)  # type: ignore[arg-type]
        except (ValueError, TypeError, OverflowError):
            continue
    return _texts(cells)


def _texts(cells: Sequence[str]) -> npt.NDArray[np.object_]:
    return np.array([unescape(unguard(cell)) for cell in cells], object)


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
    side: Described, index: npt.NDArray[np.int64], decode: Decode | None, k: int
) -> dict[str, Sequence[Any] | npt.NDArray[Any]]:
    known = side.specificity
    kind = known.kind_names
    return {
        "density": side.store.moments().density[index],
        "kind": [kind[int(i)] for i in index],
        "purity": known.purity[index],
        "tokens": side.strings(index, k, decode),
    }


def _of_pairs(values: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64]:
    found = np.full(n, np.nan) if values is None else np.asarray(values, np.float64)
    if found.shape != (n,):
        raise MismatchError(f"logit_r: expected one number for each of {n} pairs, found shape {list(found.shape)}")
    return found


def _calibrated(frame: "pd.DataFrame", calibration: "pd.DataFrame") -> "pd.DataFrame":
    if not hasattr(calibration, "columns"):
        raise MismatchError(f"expected calibrate(...).to_frame(), found {type(calibration).__name__}; pass the table")
    missing = {"row", "col"} - set(calibration.columns)
    if missing:
        raise MismatchError(
            f"the calibration has columns {list(calibration.columns)}: {sorted(missing)} missing; "
            "pass calibrate(...).to_frame()"
        )
    if calibration.duplicated(["row", "col"]).any():
        raise MismatchError("the calibration names a pair twice; pass the calibration of one match")
    known = [name for name in CALIBRATED if name in calibration.columns]
    merged = frame.merge(calibration[["row", "col", *known]], on=["row", "col"], how="left", indicator="side")
    alone = merged.pop("side") == "left_only"
    if alone.any() and "note" in merged:
        unknown = "no pair of this calibration: nothing is known of it"
        merged["note"] = merged["note"].astype(object).where(~alone, unknown)
    return merged


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
