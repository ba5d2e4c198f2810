"""Clusters of points on a map, and names for them from what their features share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.extras import naming_extra

SMALLEST, PER_CLUSTER = 8, 300
"""Points of the smallest cluster: at least 8, and a 300th of the map, so that no map has more clusters than that."""
SHARED = 0.6
"""Share of a cluster's features of one kind for which the cluster is named by that kind."""
NAMES = 2
"""Words in a cluster's name."""
LEAST_SHARE = 0.15
"""Share of a cluster's features that a word must belong to, so as to name the cluster."""


def clusters(xy: FloatArray, smallest: int | None = None) -> IntArray:
    """Find the clusters of points by HDBSCAN, in n log n time.

    Parameters
    ----------
    xy
        [n, 2] points; NaN for those that are not placed.
    smallest
        Points of the smallest cluster; None for a 300th of them, at least 8.

    Returns
    -------
    int64 [n]
        Number of each point's cluster, largest cluster first; -1 for points of none.

    References
    ----------
    Campello, Moulavi & Sander 2013, *Density-based clustering based on hierarchical density estimates*.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> xy = np.concatenate([rng.normal(center, 0.1, (n, 2)) for center, n in ((0, 30), (3, 20))])
    >>> np.unique(clusters(xy), return_counts=True)[1].tolist()[-2:]
    [30, 20]
    """
    code = np.full(len(xy), -1, np.int64)
    placed = np.flatnonzero(~np.isnan(xy[:, 0]))
    smallest = smallest or max(SMALLEST, placed.size // PER_CLUSTER)
    if placed.size <= smallest:
        return code
    with naming_extra("clusters of a map"):
        from hdbscan import HDBSCAN
    # Scikit-learn's own class compares all points with all others; this one takes 9 s for 262,144 points.
    found = HDBSCAN(smallest, min_samples=5, core_dist_n_jobs=1, algorithm="boruvka_kdtree").fit(xy[placed]).labels_
    number, size = np.unique(found[found >= 0], return_counts=True)
    place = np.full(number.size + 1, -1)  # the last place is that of -1, no cluster
    place[number[np.argsort(-size, kind="stable")]] = np.arange(number.size)
    code[placed] = place[found]
    return code


def name_clusters(cluster: IntArray, kinds: Sequence[str], words: Sequence[Sequence[str]]) -> list[str]:
    """Name each cluster by the kind of text and the words that its features share and others do not.

    Parameters
    ----------
    cluster
        [n_features] from `clusters`.
    kinds
        [n_features] kind of text of each feature; empty for none.
    words
        For each feature its top tokens, or the words of its label.

    Returns
    -------
    list of str
        One name a cluster; "mixed" for one whose features share nothing. Names may recur.

    Examples
    --------
    >>> name_clusters(np.array([0, 0, 1, 1]), ["code", "code", "prose", "code"], [["def"], ["def"], ["cat"], ["tree"]])
    ['code: def', 'cat, tree']
    """
    everywhere = Counter(chain.from_iterable(set(of_feature) for of_feature in words))
    members: list[list[int]] = [[] for _ in range(int(cluster.max(initial=-1)) + 1)]
    for feature, number in enumerate(cluster.tolist()):
        if number >= 0:
            members[number].append(feature)
    return [_name([kinds[f] for f in of_cluster], [words[f] for f in of_cluster], everywhere) for of_cluster in members]


def _name(kinds: Sequence[str], words: Iterable[Sequence[str]], everywhere: Counter[str]) -> str:
    kind, n = Counter(kinds).most_common(1)[0]
    here = Counter(chain.from_iterable(set(of_feature) for of_feature in words))
    frequent = [word for word, count in here.items() if count >= max(1, LEAST_SHARE * len(kinds))]
    # Frequent here and rare elsewhere: the share of the cluster times the share of the word's features that are in it.
    best = sorted(frequent, key=lambda word: (-(here[word] ** 2) / everywhere[word], word))[:NAMES]
    of_kind = kind if kind and n >= SHARED * len(kinds) else ""
    return ": ".join(part for part in (of_kind, ", ".join(best)) if part) or "mixed"
