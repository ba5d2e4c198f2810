"""Partners chosen on one half of the evaluation documents, scores reported on the other.

A best partner is best partly by luck, so its score on the tokens that chose it is too high. The same pair's score
on documents that took no part in choosing is not; the difference is the *optimism*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Halves:
    """Documents of the two evaluation halves that have tokens in a store; either may be empty."""

    choose: IntArray
    report: IntArray


def evaluation_halves(store: FeatureStore) -> Halves:
    """Indices of the documents whose split is "choose" and "report" and that have a token in the store."""
    present = np.zeros(len(store.documents.id), bool)
    present[store.tokens.document] = True
    split = np.asarray(store.documents.split, dtype=np.str_)
    return Halves(*(np.flatnonzero(present & (split == half)).astype(np.int64) for half in ("choose", "report")))


def held_out_scores(report: Similarity | None, rows: IntArray, cols: IntArray, min_firings: int = 1) -> FloatArray:
    """Scores of fixed pairs on the reporting half.

    Parameters
    ----------
    report
        The measure restricted to the reporting half; None when there is none.
    rows, cols
        [n_pairs] chosen elsewhere.
    min_firings
        Firings that each of the two features needs on the reporting half.

    Returns
    -------
    float64 [n_pairs]
        NaN where nothing can be said: no reporting half, or a feature that fires too rarely there.
    """
    if report is None or not rows.size:
        return np.full(rows.size, np.nan)
    scores = report.pairs(rows, cols)
    unknown = report.dead_rows[rows] | report.dead_cols[cols]
    if report.counts is not None:
        unknown |= (report.counts[0][rows] < min_firings) | (report.counts[1][cols] < min_firings)
    return np.where(unknown, np.nan, scores)


def optimism(chosen: FloatArray, held_out: FloatArray) -> float:
    """Mean of (score where chosen - score held out) over the pairs that have both; NaN without any."""
    difference = (chosen - held_out)[~np.isnan(held_out) & ~np.isnan(chosen)]
    return float(difference.mean()) if difference.size else float("nan")
