"""What matching costs: exact assignment with its certificate against SciPy's dense solver, and a match of two stores.

    python tests/bench/match.py [--size N ...] [--shared X ...] [--stores N ...] [--tokens N] ...

Worlds are factors of 256 numbers a feature, half shared or not at all, and the correlations of two stores on disk.
SciPy's dense solver is timed up to 8,192 features. Asked for by option: --size 65536 (target 5 minutes, 4 GB),
--size 131072 (target 20 minutes, 8 GB), --stores 131072 --tokens 1000000 (the same targets).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from similarity import BUDGET, Cost, peak, report, stores, timed

from universality.features import FeatureStore
from universality.matching import Match, match
from universality.similarity import Similarity
from universality.statistics import calibrate

D = 256
DENSE_UP_TO = 8192


def factors(n: int, shared: float, seed: int = 0) -> Similarity:
    """Cosines of two dictionaries of unit rows, of which a share is the same but for noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, D))
    k = int(shared * n)
    y[:k] = x[:k] + 0.6 * y[:k]
    return Similarity.from_factors(*(z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y)))


def adversarial(n: int) -> dict[str, np.ndarray]:
    """Matrices on which assignment solvers fail."""
    rng = np.random.default_rng(0)
    duplicates = rng.standard_normal((n // 8, n // 8))
    pick = rng.integers(0, n // 8, (2, n))
    return {
        "all equal": np.full((n, n), 0.5),
        "all random": rng.standard_normal((n, n)),
        "duplicates": duplicates[pick[0]][:, pick[1]],
        "hubs": rng.standard_normal((n, n)) + 5 * (np.arange(n) < 16),
        "rank one": np.outer(*rng.standard_normal((2, n))),
    }


def line(name: str, cost: Cost, found: Match, base: Cost | None) -> None:
    """One assignment: what it cost, how exact it is, how it was found."""
    ratio = f"{base.processors / cost.processors:8.2f} x" if base else f"{'':>10}"
    how = f"{found.rounds} rounds, {found.n_edges:,} pairs" if found.rounds else "dense"
    print(f"{name:<40} {cost.wall:8.2f} s {cost.processors:9.2f} s {ratio}   gap {found.gap:.1e}, {how}, peak {peak()}",
          flush=True)  # fmt: skip


def dense_alone(sim: Similarity) -> Cost:
    """SciPy's solver, with the matrix made beforehand."""
    dense = sim.dense(8 * sim.shape[0] * sim.shape[1])
    return timed(lambda: linear_sum_assignment(dense, maximize=True))[0]


def assignments(sizes: list[int], shares: list[float]) -> None:
    """Exact assignment of factors, from the candidates to the certificate."""
    match(factors(300, 0.5), solver="sparse")
    print(f"\n{'exact assignment':<40} {'wall':>10} {'processors':>11} {'SciPy/ours':>10}")
    for n in sizes:
        for shared in shares:
            sim = factors(n, shared)
            cost, found = timed(partial(match, sim))
            base = dense_alone(sim) if n <= DENSE_UP_TO else None
            line(f"{n:,} factors, {shared:.0%} shared", cost, found, base)


def hard(n: int) -> None:
    """Matrices that defeat solvers, beside SciPy's optimum."""
    for name, scores in adversarial(n).items():
        cost, found = timed(partial(match, Similarity.from_dense(scores)))
        base, best = timed(partial(linear_sum_assignment, scores, maximize=True))
        line(f"{n:,}, {name}", cost, found, base)
        lost = scores[best].sum() - found.scores.sum()
        print(f"{'':<40} lost against SciPy's optimum: {lost:.1e}")


def correlations(folder: Path, n_tokens: int, size: int) -> None:
    """Stores on disk to the exact assignment of their correlations."""
    a, b, order = stores(folder, n_tokens, size, 32)
    sim = Similarity.activation(a, b, memory_budget=BUDGET)
    cost, found = timed(partial(match, sim))
    line(f"{size:,} of stores, {n_tokens:,} tokens", cost, found, None)
    shared = order[found.rows] >= 0
    print(f"{'':<40} planted partners found: {np.mean(found.cols[shared] == order[found.rows[shared]]):.3f}")


def calibration(a: FeatureStore, b: FeatureStore, replicates: int) -> None:
    """The whole protocol on two small stores, beside the correlation alone."""
    Similarity.activation(a, b, documents=np.arange(4)).dense()
    load, sim = timed(lambda: Similarity.activation(a, b))
    base, _ = timed(sim.dense)
    print(f"\n{a.n_tokens:,} tokens, {a.n_features:,} x {b.n_features:,} features")
    print(f"{'':<58} {'wall':>10} {'processors':>11} {'ratio':>10}")
    report("correlation, stores in memory", base, base)
    report("reading both stores", load, base)
    report("masked cosine, with reading", timed(lambda: Similarity.masked_cosine(a, b).dense())[0], base)
    report("match: assignment, certificate, nearest", timed(partial(match, sim))[0], base)
    seconds, c = timed(lambda: calibrate(a, b, replicates=replicates, bootstrap=1000))
    report(f"calibrate on the halves, {replicates} replicates, 1,000 resamples", seconds, base)
    print({key: round(value, 4) for key, value in asdict(c.summary()).items() if isinstance(value, float)}, c.notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="*", default=[2048, 8192], help="factors of so many features")
    parser.add_argument("--shared", type=float, nargs="+", default=[0.5, 0.0], help="share of features in both")
    parser.add_argument("--stores", type=int, nargs="*", default=[16_384], help="stores of so many features")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the stores here and use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        assignments(options.size, options.shared)
        if options.size:
            hard(2048)
        for size in options.stores:
            correlations(folder, options.tokens, size)
        if options.replicates:
            calibration(*stores(folder, options.tokens, 2048, 32)[:2], options.replicates)


if __name__ == "__main__":
    main()
