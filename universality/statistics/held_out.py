"""Held-out scores: partners are chosen on one half of the evaluation documents and scored on the other.

A best partner is best partly by luck, so its score on the tokens that were used to choose it is too high. Its score on
held-out documents is not; the difference of the two is the *optimism*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.corpus.units import independent_units
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Halves:
    """Indices of the documents of two halves that have tokens in a store; either may be empty.

    Parameters
    ----------
    choose
        int64 [n_choose], documents that choose partners.
    report
        int64 [n_report], documents that score them.
    """

    choose: IntArray
    report: IntArray


def evaluation_halves(store: FeatureStore) -> Halves:
    """Find the documents of the splits "choose" and "report" that have a token in the store."""
    present = np.zeros(len(store.documents.id), bool)
    present[store.tokens.document] = True
    split = np.asarray(store.documents.split, dtype=np.str_)
    return Halves(*(np.flatnonzero(present & (split == half)).astype(np.int64) for half in ("choose", "report")))


def equal_halves(store: FeatureStore, seed: int = 0) -> Halves:
    """Divide the documents of a store into two halves, whatever their splits.

    Use it for a store of the reporting half alone, such as one of effects: `calibrate` then chooses partners on a part
    of that half and reports on the rest. Independent units (`universality.corpus.units`) stay whole, and each kind is
    divided by itself as evenly as its units allow. Units beyond an even number go to the two halves in turn.

    Parameters
    ----------
    store
        Documents without a token in it are in neither half.
    seed
        Seed of the division.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from universality.statistics.synthetic import World, plant
    >>> with TemporaryDirectory() as folder:
    ...     halves = equal_halves(plant(World(n_documents=60), Path(folder)).a)
    >>> halves.choose.size, halves.report.size, np.intersect1d(halves.choose, halves.report).size
    (30, 30, 0)
    """
    documents = np.unique(store.tokens.document).astype(np.int64)
    units = independent_units(store.documents).code[documents]
    kinds = np.array(store.documents.kind)[documents]
    _, first = np.unique(units, return_index=True)  # a unit of several kinds counts among those of its first document
    drawn = np.random.default_rng(seed).permutation(first.size)
    by_kind = first[drawn][np.argsort(kinds[first[drawn]], kind="stable")]
    # Alternating through the kinds one after another divides each of them evenly.
    reports = np.isin(units, units[by_kind[1::2]])
    return Halves(documents[~reports], documents[reports])


def held_out_scores(report: Similarity | None, rows: IntArray, cols: IntArray, min_firings: int = 1) -> FloatArray:
    """Score fixed pairs on the reporting half.

    Parameters
    ----------
    report
        The measure restricted to the reporting half; None if there is no such half.
    rows, cols
        [n_pairs] pairs that were chosen on other tokens.
    min_firings
        Firings that each of the two features needs on the reporting half.

    Returns
    -------
    float64 [n_pairs]
        NaN where there is no reporting half or a feature fires too rarely there.

    Examples
    --------
    >>> report = Similarity.from_dense(np.array([[0.9, 0.1], [0.2, 0.7]]))
    >>> held_out_scores(report, np.array([0, 1]), np.array([0, 1]))
    array([0.9, 0.7])
    """
    if report is None or not rows.size:
        return np.full(rows.size, np.nan)
    scores = report.pairs(rows, cols)
    unknown = report.dead_rows[rows] | report.dead_cols[cols]
    if report.counts is not None:
        unknown |= (report.counts[0][rows] < min_firings) | (report.counts[1][cols] < min_firings)
    return np.where(unknown, np.nan, scores)


def optimism(chosen: FloatArray, held_out: FloatArray) -> float:
    """Compute the mean of (score where chosen - held-out score) over pairs that have both; NaN without any.

    >>> round(optimism(np.array([0.9, 0.5, 0.4]), np.array([0.8, 0.5, np.nan])), 2)
    0.05
    """
    difference = (chosen - held_out)[~np.isnan(held_out) & ~np.isnan(chosen)]
    return float(difference.mean()) if difference.size else float("nan")
