"""Tables of matches as CSV or Parquet, with one row per pair and the evidence for it.

CSV files follow RFC 4180 (commas, CRLF, doubled quotes) in UTF-8; `universality.export.csv_cells` describes the
encoding of text cells and its inverse. Parquet needs pyarrow. It holds the same columns, stores several tokens as a
list and needs no guard against formulas.
"""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.errors import MismatchError
from universality.export.agreement_columns import PREFIXES
from universality.export.csv_cells import guard, join_tokens, unguard
from universality.export.token_escapes import escape, unescape
from universality.extras import check_installed
from universality.features.descriptions import Described, described
from universality.features.examples import Decode
from universality.files import as_path, replacing_text
from universality.labels.shown import label_columns

if TYPE_CHECKING:
    import pandas as pd

    from universality.features.storage.store import FeatureStore
    from universality.labels import Labels
    from universality.matching import Match

CALIBRATED = (
    "held_out", "ci_low", "ci_high", "p", "q", "observed", "calibrated", "detectable",
    "p_kind", "q_kind", "observed_kind", "calibrated_kind", "detectable_kind",
    "p_directions", "q_directions", "observed_directions", "calibrated_directions", "detectable_directions",
    "row_nearest_held_out", "col_nearest_held_out", "same_by_activation", "ceiling_a", "ceiling_b",
    "count_a", "count_b", "note",
)  # fmt: skip
ALWAYS = ("ceiling_a", "ceiling_b")
"""Columns of every table, NaN if there is no calibration."""


def match_table(
    match: "Match",
    a: "FeatureStore | Described",
    b: "FeatureStore | Described",
    *,
    calibration: "pd.DataFrame | None" = None,
    logit_r: npt.ArrayLike | None = None,
    decode: Decode | None = None,
    k: int = 5,
    labels: "Sequence[Labels | None]" = (),
) -> "pd.DataFrame":
    """Tabulate matched pairs with both features' descriptions, strongest first and pairs without a p last.

    Parameters
    ----------
    match
        Pairs of features of ``a`` (rows) and ``b`` (columns).
    a, b
        The matched stores, `Described` or to be described here.
    calibration
        Frame with columns ``row col`` and any of ``CALIBRATED`` (``calibrate(…).to_frame()``), and of those on effects
        (`universality.export.effect_columns`). Pairs that it does not contain get missing values.
    logit_r
        [n_pairs] r of the two features' logit weights, in the order of the match's pairs.
    decode
        Function from token ids to one string each. None writes ids as decimal numbers.
    k
        Most tokens per feature; those with the largest share of its activation are taken.
    labels
        Explanations of the features of ``a`` and of ``b``; None for a side without.

    Returns
    -------
    pandas.DataFrame
        Columns ``row col score logit_r``, where ``score`` chose the partner; for each side, with prefix ``row_`` or
        ``col_``, ``density kind purity tokens nearest nearest_score`` (``tokens`` is a tuple of unescaped strings;
        ``nearest`` is the best partner with replacement, NA if there is none); then the columns of the calibration,
        always including ``ceiling_a ceiling_b``, and those on effects. Labels add ``label_a label_b`` (at most 200
        characters) and their scores beside the highest of their floors and baselines, such as ``label_detection_a
        label_detection_floor_a``.

    Raises
    ------
    MismatchError
        If widths of stores and match differ, the calibration lacks ``row`` or ``col`` or contains a pair twice, or
        ``logit_r`` has another number of pairs.
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
    for side, features, of_side in zip("ab", (rows, cols), labels, strict=False):
        if of_side is not None:
            frame = frame.join(label_columns(of_side, features.tolist()).add_suffix(f"_{side}"))
    # Features that fire a few times reach high scores by chance; without a p they must not head the table.
    too_rare = frame["p"].isna() if "p" in frame else np.zeros(len(frame), dtype=bool)
    return frame.iloc[np.lexsort((-frame["score"], too_rare))].reset_index(drop=True)


def write_csv(frame: "pd.DataFrame", path: str | Path, *, float_format: str | None = None) -> Path:
    """Write a table as CSV, atomically; all CSV files of this package are written by this function.

    Parameters
    ----------
    frame
        Columns of numbers, booleans, text, or sequences of token strings. The index is not written. Text is escaped and
        guarded by this function. Missing values become empty cells.
    path
        Output file, replaced if it exists.
    float_format
        Format such as ``%.4f``; by default all digits, so that numbers are read back exactly.

    Returns
    -------
    Path
        Path of the file.
    """
    cells = frame.apply(lambda column: column if _is_bare(column) else column.map(_csv_cell))
    cells.columns = [guard(escape(str(name))) for name in frame.columns]
    with replacing_text(path) as file:
        cells.to_csv(file, index=False, lineterminator="\r\n", float_format=float_format)
    return as_path(path)


def read_csv(path: str | Path, text: Collection[str] = ()) -> "pd.DataFrame":
    """Read a file that `write_csv` wrote: exact numbers, and text without escapes and guards.

    A column is text if ``text`` names it or its cells are neither all numbers or empty nor all ``True`` or ``False``. A
    cell of several tokens is returned as one string with `SEPARATOR` between them.

    Raises
    ------
    ValueError
        If a row and the header have different numbers of cells, or `write_csv` cannot have written a text.
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
    arrays = {
        name: _texts(cells) if name in text else _typed(cells) for name, cells in zip(names, columns, strict=True)
    }
    return pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in arrays.items()})


def _typed(cells: Sequence[str]) -> npt.NDArray[Any]:
    """Convert cells to booleans, integers, floats or texts, the first type that fits all of them."""
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
    MissingExtraError
        If pyarrow is not installed.
    """
    check_installed(f"{path}: a Parquet table", ["pyarrow"])
    cells = frame.apply(lambda column: column if _is_bare(column) else column.map(_parquet_cell))
    with replacing_text(path) as file:
        cells.to_parquet(file.buffer, index=False, engine="pyarrow")
    return as_path(path)


def _feature_columns(
    side: Described, index: npt.NDArray[np.int64], decode: Decode | None, k: int
) -> dict[str, Sequence[Any] | npt.NDArray[Any]]:
    specificity = side.specificity
    kind = specificity.kind_names
    return {
        "density": side.store.moments().density[index],
        "kind": [kind[int(i)] for i in index],
        "purity": specificity.purity[index],
        "tokens": side.strings(index, k, decode),
    }


def _of_pairs(values: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64]:
    column = np.full(n, np.nan) if values is None else np.asarray(values, np.float64)
    if column.shape != (n,):
        raise MismatchError(f"logit_r: expected one number for each of {n} pairs, found shape {list(column.shape)}")
    return column


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
    columns = [name for name in CALIBRATED if name in calibration.columns]
    columns += [name for name in calibration.columns if str(name).startswith(PREFIXES)]
    merged = frame.merge(calibration[["row", "col", *columns]], on=["row", "col"], how="left", indicator="side")
    alone = merged.pop("side") == "left_only"
    if alone.any() and "note" in merged:
        unknown = "no pair of this calibration: nothing is known of it"
        merged["note"] = merged["note"].astype(object).where(~alone, unknown)
    return merged


def _is_bare(column: "pd.Series[Any]") -> bool:
    """Return whether a column holds only numbers or booleans, which need no escape."""
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
