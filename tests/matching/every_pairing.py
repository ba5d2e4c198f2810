"""Small score matrices whose best pairing is found by trying all."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
from hypothesis import strategies as st

small = {
    "seed": st.integers(0, 10_000),
    "n_rows": st.integers(1, 5),
    "n_cols": st.integers(1, 5),
    "ties": st.booleans(),
}


def scores_of(seed: int, n_rows: int, n_cols: int, ties: bool) -> np.ndarray:
    scores = np.random.default_rng(seed).uniform(-1, 1, (n_rows, n_cols))
    return scores.round(1) if ties else scores


def best_complete(scores: np.ndarray) -> float:
    """The largest sum over pairings complete on the smaller side, by trying all."""
    if scores.shape[0] > scores.shape[1]:
        scores = scores.T
    rows = range(scores.shape[0])
    return max(
        sum(scores[r, c] for r, c in zip(rows, p, strict=True)) for p in permutations(range(scores.shape[1]), len(rows))
    )


def best_partial(scores: np.ndarray, floor: float) -> float:
    """The largest sum of (score - floor) over all one-to-one pairings, the empty one included."""
    n = min(scores.shape)
    sums = [0.0]
    for size in range(1, n + 1):
        for rows in combinations(range(scores.shape[0]), size):
            pairings = permutations(range(scores.shape[1]), size)
            sums.extend(float((scores[rows, cols] - floor).sum()) for cols in pairings)
    return max(sums)
