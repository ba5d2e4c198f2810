"""What matching costs: exact assignment with its certificate against SciPy's dense solver, and a match of two stores.

    python tests/bench/match.py [--size N ...] [--shared X ...] [--stores N ...] [--tokens N] [--active N] ...

Worlds are factors of 256 numbers a feature, half shared or not at all, and the correlations of two stores on disk.
SciPy's dense solver is timed up to 8,192 features. Asked for by option: --size 65536 (target 5 minutes, 4 GB),
--size 131072 (target 20 minutes, 8 GB), --stores 131072 --tokens 1000000 (the same targets), and the curve up to a
million features (targets there 60 minutes, 16 GB), which resumes from its folder:
--size --replicates 0 --tokens 1000000 --active 64 --folder DIR --stores 16384 65536 262144 1048576
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from similarity import BUDGET, Cost, peak, report, stores, timed, warm_up

from universality.features import FeatureStore
from universality.matching import Match, match
from universality.matching.assignment import CANDIDATES, assign
from universality.similarity import Similarity
from universality.statistics import calibrate

D = 256
DENSE_UP_TO = 8192


def decoder_rows(n: int, shared: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two dictionaries of unit rows, of which a share, the first ones, is the same but for noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, D))
    k = int(shared * n)
    y[:k] = x[:k] + 0.6 * y[:k]
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return x, y


def factors(n: int, shared: float, seed: int = 0) -> Similarity:
    """Cosines of two such dictionaries."""
    return Similarity.from_factors(*decoder_rows(n, shared, seed))


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


@dataclass(frozen=True)
class Stored:
    """Matching of two stores of one size: processor seconds of its parts, and what came out."""

    size: int
    reading: float
    partners: float
    assignment: float
    wall: float
    gap: float
    rounds: int
    n_edges: int
    planted: float
    """Share of the planted pairs that were found, among the matched rows that have one."""
    peak: str

    @property
    def seconds(self) -> float:
        return self.reading + self.partners + self.assignment


def correlations(folder: Path, n_tokens: int, size: int, active: int) -> Stored:
    """Stores on disk to the exact assignment of their correlations: moments, best partners, pairs with their bound."""
    a, b, order = stores(folder, n_tokens, size, active)
    warm_up(a, b)
    assign(factors(300, 0.5), solver="sparse")
    reading, sim = timed(lambda: measured(a, b))
    partners, lists = timed(lambda: sim.topk(CANDIDATES, axis=None))
    cost, found = timed(lambda: assign(sim, candidates=lists))
    shared = order[found.rows] >= 0
    planted = float(np.mean(found.cols[shared] == order[found.rows[shared]]))
    parts = [part.processors for part in (reading, partners, cost)]
    wall = sum(part.wall for part in (reading, partners, cost))
    return Stored(size, *parts, wall, found.gap, found.rounds, found.n_edges, planted, peak())


def measured(a: FeatureStore, b: FeatureStore) -> Similarity:
    """Read two stores, and measure the moments of all features."""
    sim = Similarity.activation(a, b, memory_budget=BUDGET)
    assert sim.dead_rows.size == a.n_features
    return sim


def curve(folder: Path, n_tokens: int, sizes: list[int], active: int) -> None:
    """Match stores of each size, and fit the power of the size with which their cost grows.

    What was measured lies beside the stores, and is not measured again.
    """
    print(f"\nstores of {n_tokens:,} tokens, {active} active: processor seconds")
    print(f"{'features':>10} {'reading':>8} {'partners':>9} {'assignment':>11} {'all':>8} {'wall':>8}")
    done = []
    for size in sizes:
        file = folder / f"{n_tokens}-{size}-{active}.cost.json"
        if not file.exists():
            file.write_text(json.dumps(asdict(correlations(folder, n_tokens, size, active))))
        c = Stored(**json.loads(file.read_text()))
        print(f"{size:>10,} {c.reading:8.1f} {c.partners:9.1f} {c.assignment:11.1f} {c.seconds:8.1f} {c.wall:8.1f}   "
              f"gap {c.gap:.1e}, {c.rounds} rounds, {c.n_edges:,} pairs, planted found {c.planted:.3f}, peak {c.peak}",
              flush=True)  # fmt: skip
        done.append(c)
    if len(done) > 1:
        partners, assignment, seconds = (f"n^{power(done, part):.2f}" for part in ("partners", "assignment", "seconds"))
        print(f"{'grows as':>10} {'':>8} {partners:>9} {assignment:>11} {seconds:>8}")


def power(costs: list[Stored], part: str) -> float:
    """Slope of the logarithm of a cost over that of the size, by least squares."""
    return float(np.polyfit(np.log([c.size for c in costs]), np.log([getattr(c, part) for c in costs]), 1)[0])


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
    parser.add_argument("--active", type=int, default=32)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep stores and costs here and use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        assignments(options.size, options.shared)
        if options.size:
            hard(2048)
        if options.stores:
            curve(folder, options.tokens, options.stores, options.active)
        if options.replicates:
            calibration(*stores(folder, options.tokens, 2048, 32)[:2], options.replicates)


if __name__ == "__main__":
    main()
