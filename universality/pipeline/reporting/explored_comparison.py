"""Data files of the explorer about one comparison: its pairs, and what no single dictionary knows."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from universality.pipeline.reporting.effect_views import EffectViews, loss_columns, token_effects
from universality.pipeline.reporting.explored_map import joint_map_file
from universality.pipeline.reporting.explored_side import (
    CHUNK,
    ExploredSide,
    partner_activation,
    partner_columns,
)
from universality.pipeline.reporting.report_rows import logit_rows
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.reporting.transfer_rows import explored_transfer, transfer_of
from universality.report.explorer import Words, packed, packed_whole
from universality.report.logit_narrative import logit_chance

SHOWN_EFFECTS = ("effect_r", "effect_q", "effect_sign_agreement", "effect_control_rank", "effect_n")
"""Columns of `universality.export.effect_columns` in the table of pairs, beside fingerprints."""
Json = dict[str, Any]
Places = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def comparison_files(
    results: RunResults,
    compared: ComparisonResult,
    sides: tuple[ExploredSide, ExploredSide],
    places: Places,
    words: Words,
) -> tuple[dict[str, Any], Json]:
    """Make the files of a comparison by name, and its entry in the explorer's index.

    Parameters
    ----------
    sides
        The two dictionaries.
    places
        Places of their examples' tokens, from `side_files`.
    """
    effects = EffectViews.open(results, compared)
    files: dict[str, Any] = {"matched": _matched(compared), "pairs": _pairs(compared), "heatmap": _heatmap(compared)}
    files |= dict(_partners(compared, sides, places))
    files |= dict(token_effects(effects, CHUNK, words))
    if effects.loss is not None:
        files["effects"] = loss_columns(effects.loss)
    transfer = transfer_of(results, compared)
    if transfer is not None and transfer.names:
        files["label-transfer"] = explored_transfer(transfer, compared)
    placed = joint_map_file(results, compared.comparison, sides, words)
    files |= {} if placed is None else {"map": placed}
    summary = compared.summary
    entry = {
        "name": compared.comparison.name,
        "n_pairs": len(compared.frame),
        "median": _number(summary.held_out_median),
        "shares": [_number(share) for share in summary.shares],
        "effects": _effect_names(compared),
        "ceilings": [bool(compared.frame[f"ceiling_{side}"].notna().any()) for side in "ab"],
        "nulls": [chance.null for chance in compared.calibration.chances],
        "logit_chance": logit_chance(logit_rows(results, compared)),
        "transfer": "label-transfer" in files,
        "map": placed is not None,
        **effects.index(),
    }
    return files, entry


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _matched(compared: ComparisonResult) -> Json:
    """Pack who is matched with whom and how well, which is all that the map needs of the pairs."""
    frame = compared.frame
    columns: Json = {name: packed_whole(frame[name]) for name in ("row", "col")}
    return columns | {name: packed(frame[name], "f4") for name in ("held_out", "effect_r") if name in frame}


def _pairs(compared: ComparisonResult) -> Json:
    """Pack the other columns of the table of pairs."""
    frame = compared.frame
    columns: Json = {name: packed_whole(frame[name]) for name in ("count_a", "count_b")}
    scores = ("score", "ci_low", "ci_high", "q", "q_kind", "ceiling_a", "ceiling_b", "logit")
    fingerprints = [name for name in _effect_names(compared) if name not in SHOWN_EFFECTS]
    return columns | {name: packed(frame[name], "f4") for name in (*scores, *fingerprints) if name in frame}


def _effect_names(compared: ComparisonResult) -> list[str]:
    """List the columns on effects that the table of pairs shows; none where effects were not compared."""
    shown = [*SHOWN_EFFECTS, *(name for name in compared.frame if name.startswith("fingerprint_"))]
    return [] if compared.effects is None else [name for name in shown if name in compared.frame]


def _partners(
    compared: ComparisonResult, sides: tuple[ExploredSide, ExploredSide], places: Places
) -> Iterator[tuple[str, Any]]:
    """Yield name and content of the files of ``CHUNK`` pairs each, on what a feature has in the other dictionary.

    For each side: its partners' activations on its examples, and its most similar features of the other dictionary.
    """
    match = compared.calibration.match
    features = match.rows, match.cols
    seen = [partner_activation(sides[k], features[k], sides[1 - k].store, features[1 - k]) for k in range(len(sides))]
    nearest = _nearest(compared, "a"), _nearest(compared, "b")
    for start in range(0, len(match.rows), CHUNK):
        pairs = slice(start, start + CHUNK)
        yield (
            f"partners-{start // CHUNK}",
            {
                letter: partner_columns(sides[k], places[k], features[k][pairs], seen[k][pairs])
                | _packed_nearest(*(x[features[k][pairs]] for x in nearest[k]))
                for k, letter in enumerate("ab")
            },
        )


def _nearest(compared: ComparisonResult, letter: Literal["a", "b"]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the most similar features of the other dictionary and their r, each [n_features, n_shown]; -1 for none."""
    best = compared.calibration.match.nearest
    single = (best.best_col, best.best_col_score) if letter == "a" else (best.best_row, best.best_row_score)
    # files of earlier versions hold no list of nearest features: show the single best one
    return (
        compared.arrays.get(f"near_{letter}", single[0][:, None]),
        compared.arrays.get(f"near_{letter}_r", single[1][:, None]),
    )


def _packed_nearest(nearest: NDArray[Any], r: NDArray[Any]) -> Json:
    hundredths = np.rint(np.clip(np.nan_to_num(r), -1, 1) * 100)
    return {"n_near": nearest.shape[1], "near": packed_whole(nearest), "near_r": packed(hundredths, "i1")}


def _heatmap(compared: ComparisonResult) -> Json:
    """Pack submatrices of the matched similarity matrix in hundredths, NaN as -128."""

    def packed_matrix(name: str) -> Json:
        matrix = compared.arrays[f"{name}_matrix"]
        hundredths = np.where(np.isnan(matrix), -128, np.rint(np.clip(np.nan_to_num(matrix), -1, 1) * 100))
        return {"pair": packed_whole(compared.arrays[name]), "matrix": packed(hundredths, "i1")}

    return {name: packed_matrix(name) for name in ("sample", "best")}
