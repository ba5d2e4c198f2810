"""UMAP's graph of nearest neighbours: the strength of an edge is a membership between 0 and 1.

Feature i is linked to its neighbour j with strength w_ij = exp(-max(0, d_ij - rho_i) / sigma_i), where rho_i is the
distance of its nearest neighbour and sigma_i makes the strengths of i's k - 1 neighbours sum to log2(k). The graph
holds w_ij + w_ji - w_ij w_ji (McInnes, Healy & Melville 2018, *UMAP*, section 3.1). That is what
``fuzzy_simplicial_set`` of umap-learn returns, which every process compiles anew for 4 seconds.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from universality.arrays import FloatArray
from universality.maps.neighbours import Neighbours

HALVINGS = 64
"""Steps of the search for sigma."""
LEAST_SIGMA = 1e-3
"""Smallest sigma, as a share of the mean distance."""


def fuzzy_graph(neighbours: Neighbours) -> sparse.csr_matrix:
    """Return the symmetric graph [n_features, n_features] of strengths; a feature without neighbours has no edge.

    Examples
    --------
    >>> three = Neighbours(np.array([[1, 2], [0, 2], [0, 1]]), np.array([[0.9, 0.2], [0.9, 0.3], [0.2, 0.3]]))
    >>> fuzzy_graph(three).toarray().round(2).tolist()
    [[0.0, 1.0, 0.83], [1.0, 0.0, 1.0], [0.83, 1.0, 0.0]]
    """
    n, k = neighbours.index.shape
    known = neighbours.index >= 0
    entries = membership(1 - neighbours.similarity)[known], (np.repeat(np.arange(n), k)[known.ravel()],
                                                             neighbours.index[known])  # fmt: skip
    directed = sparse.csr_matrix(entries, shape=(n, n))
    other = directed.T.tocsr()
    return (directed + other - directed.multiply(other)).tocsr()


def membership(distance: FloatArray) -> FloatArray:
    """Turn distances to neighbours, nearest first, into strengths in [0, 1].

    Parameters
    ----------
    distance
        [n_features, k - 1]; NaN where a feature has fewer neighbours.

    Returns
    -------
    float64 [n_features, k - 1]
        1 for the nearest neighbour; NaN where there is none.
    """
    distance = np.maximum(distance, 0)  # a cosine may exceed 1 by rounding
    known = ~np.isnan(distance)
    # The nearest neighbour at a distance above 0 has strength 1, as have all that are nearer.
    rho = np.where(known & (distance > 0), distance, np.inf).min(axis=1, initial=np.inf)
    excess = np.where(known, np.maximum(distance - np.where(np.isfinite(rho), rho, 0)[:, None], 0), np.inf)
    wanted = np.log2(distance.shape[1] + 1)
    low, high, sigma = np.zeros(len(excess)), np.full(len(excess), np.inf), np.ones(len(excess))
    for _ in range(HALVINGS):
        above = np.exp(-excess / sigma[:, None]).sum(axis=1) > wanted
        low, high = np.where(above, low, sigma), np.where(above, sigma, high)
        # Features with few neighbours never reach the sum: their sigma stops doubling where every strength is 1.
        sigma = np.where(np.isinf(high), np.minimum(2 * sigma, 1e12), (low + high) / 2)
    total = np.where(known, distance, 0).sum(axis=1)
    # umap-learn counts the feature itself, at a distance of 0, in this mean
    mean = total / np.maximum(known.sum(axis=1) + 1, 1)
    everywhere = float(mean.mean()) if mean.size else 0.0
    sigma = np.maximum(sigma, LEAST_SIGMA * np.where(np.isfinite(rho), mean, everywhere))
    strength: FloatArray = np.where(known, np.exp(-excess / sigma[:, None]), np.nan)
    return strength
