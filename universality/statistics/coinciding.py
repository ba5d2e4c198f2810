"""How often two measures name the same partner, against chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import MismatchError
from universality.matching import Match
from universality.statistics.null_classes import stratify
from universality.statistics.null_settings import NullSettings


@dataclass(frozen=True)
class Coincidence:
    """How often two matches of the same stores give a feature the same partner.

    Parameters
    ----------
    n
        Features of the first side with a partner in both matches.
    n_same
        Those whose two partners are one feature.
    share, low, high
        ``n_same / n`` with its 95% interval (Wilson), in which features count as independent; NaN without any.
    by_chance
        Expected share if the second match named a random living feature.
    by_firings
        Expected share if it named a random one of those that fire about as often as the first match's partner: what
        would be left if the second measure knew how often the partner fires and nothing else.
    """

    n: int
    n_same: int
    share: float
    low: float
    high: float
    by_chance: float
    by_firings: float


def coincidence(first: Match, second: Match, firings: IntArray, n_strata: int = NullSettings.n_strata) -> Coincidence:
    """Count the features to which two measures give the same partner.

    Parameters
    ----------
    first, second
        Matches of the same two stores by two measures, such as activation and logit weights.
    firings
        int64 [n_cols] firings of the second side's features.
    n_strata
        Number of classes of firing counts, fewer where features are few.

    Raises
    ------
    MismatchError
        If the matches or the counts are not of the same features.

    Examples
    --------
    >>> from universality import Similarity, match
    >>> by_activation, by_logit = (match(Similarity.from_dense(s)) for s in (np.eye(4), np.eye(4)[[0, 1, 3, 2]]))
    >>> found = coincidence(by_activation, by_logit, np.array([90, 80, 70, 60]))
    >>> found.n_same, found.share, found.by_chance
    (2, 0.5, 0.25)
    """
    _check(first, second, firings)
    of_first, of_second = (_partner(matched) for matched in (first, second))
    both = (of_first >= 0) & (of_second >= 0)
    n, n_same = int(both.sum()), int((of_first == of_second)[both].sum())
    if not n:
        return Coincidence(0, 0, *[math.nan] * 5)
    interval = binomtest(n_same, n).proportion_ci(method="wilson")
    of_density = _chance_among_alike(firings, ~second.dead_cols, n_strata)[of_first[both]]
    return Coincidence(
        n, n_same, n_same / n, float(interval.low), float(interval.high),
        by_chance=1 / int((~second.dead_cols).sum()), by_firings=float(of_density.mean()),
    )  # fmt: skip


def _partner(matched: Match) -> IntArray:
    """Partner of every row: int64 [n_rows], -1 for none."""
    partner = np.full(matched.shape[0], -1, np.int64)
    partner[matched.rows] = matched.cols
    return partner


def _chance_among_alike(firings: IntArray, living: BoolArray, n_strata: int) -> FloatArray:
    """Chance [n_cols] that a random living feature with about as many firings is the feature itself."""
    code = stratify(np.where(living, firings, 0), 1, n_strata).code
    size = np.bincount(code[code >= 0], minlength=1)
    return np.where(code >= 0, 1 / np.maximum(size, 1)[code], 0.0)


def _check(first: Match, second: Match, firings: IntArray) -> None:
    hashes = [[(m.provenance.get(side) or {}).get("content_hash") for side in ("a", "b")] for m in (first, second)]
    differ = any(x != y for x, y in zip(*hashes, strict=True) if x is not None and y is not None)
    if differ or first.shape != second.shape or firings.shape != first.shape[1:]:
        raise MismatchError(
            f"coincidence: expected two matches of the same stores and the firings of their columns, found matches of "
            f"{first.shape[0]} x {first.shape[1]} and {second.shape[0]} x {second.shape[1]} features"
            f"{' of other stores' if differ else ''}, and {firings.size} counts"
        )
