"""Clusters of points on a map, and names for them from what their features share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.extras import naming_extra

SMALLEST, PER_CLUSTER = 8, 300
"""Points of the smallest cluster: at least 8, and a 300th of the map, so that no map has more clusters than that."""
SHARED = 0.6
"""Share of a cluster's features of one kind for which the cluster is named by that kind."""
NAMES, MORE_NAMES = 2, 3
"""Words in a cluster's name, and those that are added to one that would otherwise be another cluster's, too."""
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
        One name a cluster, all of them different; "mixed" for one whose features share nothing. Where clusters would
        have the same name, further words that some of their features share are added, then their commonest kind, then a
        number.

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
    shared = [_shared([kinds[f] for f in some], [words[f] for f in some], everywhere) for some in members]
    names = [one.name(NAMES) for one in shared]
    for more in range(1, MORE_NAMES + 1):
        names = _longer(names, [one.name(NAMES, more) for one in shared])
    names = _longer(names, [one.with_kind(name) for name, one in zip(names, shared, strict=True)])
    return _numbered(names)


class _Shared(NamedTuple):
    """Traits that the features of a cluster share."""

    kind: str
    """Commonest kind of text; empty for none."""
    of_kind: bool
    """True if enough of the features are of that kind to name the cluster by it."""
    words: list[str]
    """Words of at least two features: those that are frequent in the cluster, then others; rare elsewhere first."""
    n_frequent: int
    """Number of words that are frequent in the cluster."""

    def name(self, n_words: int, more: int = 0) -> str:
        """Name the cluster by its kind and at most ``n_words`` frequent words, and ``more`` words, frequent or not."""
        n_words = min(n_words, self.n_frequent) + more
        parts = (self.kind if self.of_kind else "", ", ".join(self.words[:n_words]))
        return ": ".join(part for part in parts if part) or "mixed"

    def with_kind(self, name: str) -> str:
        """Add the commonest kind to a name that lacks it."""
        return f"{name}, mostly {self.kind}" if self.kind and not self.of_kind else name


def _shared(kinds: Sequence[str], words: Iterable[Sequence[str]], everywhere: Counter[str]) -> _Shared:
    kind, n = Counter(kinds).most_common(1)[0]
    here = Counter(chain.from_iterable(set(of_feature) for of_feature in words))
    least = max(1, LEAST_SHARE * len(kinds))
    # Frequent here and rare elsewhere: the share of the cluster times the share of the word's features that are in it.
    best = sorted(here, key=lambda word: (here[word] < least, -(here[word] ** 2) / everywhere[word], word))
    frequent = sum(here[word] >= least for word in best[:NAMES])
    shared = [word for word in best[: NAMES + MORE_NAMES] if here[word] >= min(least, 2)]
    return _Shared(kind, bool(kind) and n >= SHARED * len(kinds), shared, frequent)


def _longer(names: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Replace the names that several clusters have."""
    recurs = Counter(names)
    return [more if recurs[name] > 1 else name for name, more in zip(names, longer, strict=True)]


def _numbered(names: Sequence[str]) -> list[str]:
    """Number the names that several clusters still have, as in "mixed (2)"; the largest cluster keeps its name."""
    taken, seen, numbered = set(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        shown = name
        while seen[name] > 1 and (shown := f"{name} ({seen[name]})") in taken:
            seen[name] += 1
        taken.add(shown)
        numbered.append(shown)
    return numbered
