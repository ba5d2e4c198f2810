"""What a calibrated matching costs: two nulls, intervals and the match itself, from two stores on disk.

    python tests/bench/calibrate.py [--size N] [--tokens N] [--replicates N] [--bootstrap N] [--folder DIR]

By default 1 M tokens of 4,096 features, 20 re-pairings over the corpus and 20 within kinds, 1,000 resamples of the
documents (target 6 minutes on two cores). Beside it one re-pairing done the usual way, SciPy's sparse product and dense
assignment, times the re-pairings. Half of the features planted in both stores. False pairs are not counted here:
features that are no partners fire together a little in these stores (places that the shared ones leave free), which is
no chance; ``analyses/known_worlds.py`` counts them.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from similarity import Cost, peak, report, stores, timed

from universality.features import FeatureStore
from universality.statistics import calibrate, repaired_rows

ACTIVE = 32
NULLS = ("global", "kind")


def usual(a: sparse.csr_matrix, b: sparse.csr_matrix, rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Scores of one re-pairing's one-to-one partners: every correlation as an array, SciPy's dense solver."""
    x, y = a[rows[0]], b[rows[1]]
    n = x.shape[0]
    mean_x, mean_y = (np.asarray(side.mean(axis=0)).ravel() for side in (x, y))
    std_x, std_y = (
        np.sqrt(np.asarray(side.multiply(side).mean(axis=0)).ravel() - mean**2)
        for side, mean in ((x, mean_x), (y, mean_y))
    )
    spread = np.outer(std_x, std_y)
    covariance = (x.T @ y).toarray() / n - np.outer(mean_x, mean_y)
    r = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    return r[linear_sum_assignment(r, maximize=True)]


def once(a: FeatureStore, b: FeatureStore, documents: np.ndarray) -> Cost:
    """One re-pairing, the stores in memory."""
    rows = repaired_rows(a, "global", documents=documents)
    first, second = a.csr(), b.csr()
    return timed(partial(usual, first, second, rows))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--replicates", type=int, default=20, help="of each of the two nulls")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="keep the stores here and use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        a, b, order = stores(options.folder or Path(temporary), options.tokens, options.size, ACTIVE)
        calibrate(*stores(Path(temporary), 20_000, 64, 4)[:2], replicates=1, bootstrap=10)  # compiles
        base = once(a, b, np.flatnonzero(np.array(a.documents.split) == "choose"))
        print(f"\n{options.tokens:,} tokens, {options.size:,} features, {ACTIVE} active")
        print(f"{'':<58} {'wall':>10} {'processors':>11} {'ratio':>10}")
        whole, found = timed(
            partial(calibrate, a, b, null=NULLS, replicates=options.replicates, bootstrap=options.bootstrap)
        )
        nulls = len(NULLS) * options.replicates
        usually = base.scaled(nulls + len(NULLS) + 1)  # each null matches the blocks as they are, too
        report(f"the usual way: {nulls} re-pairings, no intervals", usually, usually)
        report(f"calibrate: {nulls} re-pairings, {options.bootstrap:,} resamples", whole, usually)
        print(f"target: 360 s; peak of memory {peak()}")
        frame = found.to_frame()
        true = order[frame["row"]] == frame["col"]
        passed = frame["q"] <= 0.05
        print(f"of the planted pairs {passed[true].sum() / (order >= 0).sum():.1%} at q <= 0.05")


if __name__ == "__main__":
    main()
