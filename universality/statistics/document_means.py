"""Means over tokens, with intervals over documents.

Tokens of a document are not independent, so whole documents are resampled. The mean over tokens is a ratio of two sums
over documents, m = Σ_g s_g / Σ_g n_g, with the influence u_g = (s_g − m n_g) / Σ n of document g, and the interval is
studentised and symmetric, as in `universality.statistics.bootstrap`: m ± t s with s² = Σ_g u_g² and t the level's
quantile of |m* − m| / s* over the draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray
from universality.errors import UniversalityError
from universality.statistics.bootstrap import MIN_RESAMPLED_GROUPS


class DocumentMeans(NamedTuple):
    """Means over tokens, and their intervals over documents; NaN where documents are too few to tell."""

    mean: FloatArray
    """[n]"""
    low: FloatArray
    """[n]"""
    high: FloatArray
    """[n]"""
    n_documents: int


def mean_over_documents(
    values: npt.ArrayLike, documents: npt.ArrayLike, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> DocumentMeans:
    """Compute means over the tokens of some documents, with bootstrap intervals over the documents.

    Parameters
    ----------
    values
        [n, n_tokens] n quantities of each token.
    documents
        [n_tokens] the document of each token, or a larger unit: any integers.
    draws
        Number of resamples of the documents.
    seed
        Seed for the resampling.
    level
        Nominal coverage, between 0 and 1.

    Returns
    -------
    DocumentMeans
        Bounds are NaN for fewer than ``MIN_RESAMPLED_GROUPS`` documents.

    Raises
    ------
    UniversalityError
        If shapes disagree, there is no token, or ``draws`` or ``level`` is out of range.

    Examples
    --------
    >>> found = mean_over_documents([[1.0, 2.0, 2.0, 3.0, 5.0]], [7, 8, 8, 9, 11])
    >>> found.mean.tolist(), found.n_documents, bool(found.low[0] < 2.6 < found.high[0])
    ([2.6], 4, True)
    """
    rows, labels = np.atleast_2d(np.asarray(values, np.float64)), np.asarray(documents)
    if labels.ndim != 1 or rows.shape[1:] != labels.shape or not labels.size:
        raise UniversalityError(
            f"mean_over_documents: expected values [n, n_tokens] and the document of each token, found {rows.shape} "
            f"and {labels.shape}"
        )
    if draws < 1 or not 0 < level < 1:
        raise UniversalityError(f"bootstrap: expected draws >= 1 and 0 < level < 1, found {draws} and {level}")
    _, of_token, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    n, mean = sizes.size, rows.mean(axis=1)
    if n < MIN_RESAMPLED_GROUPS:
        return DocumentMeans(mean, np.full(mean.shape, np.nan), np.full(mean.shape, np.nan), n)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    sums = (np.bincount(of_token, row).astype(np.float64) for row in rows)
    reach = np.array([_reach(of_document, sizes.astype(np.float64), weights, level) for of_document in sums])
    return DocumentMeans(mean, mean - reach, mean + reach, n)


def _reach(sums: FloatArray, sizes: FloatArray, weights: FloatArray, level: float) -> float:
    """Return t s of one quantity, for weights [n_draws, n_documents]."""
    total = weights @ sizes
    drawn = weights @ sums / total
    mean = sums.sum() / sizes.sum()
    spread = np.sqrt(((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    if spread == 0:
        return 0.0
    residual = sums - drawn[:, None] * sizes  # [n_draws, n_documents]
    spread_drawn = np.sqrt((weights * residual**2).sum(axis=1)) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (
            np.abs(drawn - mean) / spread_drawn
        )  # infinite for a draw of one document alone, which counts as the largest
    return float(np.nanquantile(t, level, method="higher") * spread)
