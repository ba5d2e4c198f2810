"""What correlating and matching two feature stores costs, against NumPy, SciPy sparse and SciPy's assignment alone.

    python tests/bench/match.py [n_tokens] [--replicates N] [--folder DIR]

Rows are realistic: the 32 largest of 2,048 features under a Zipf-like firing rate, and half of B's features see what
one of A's sees. The dense and the sparse alternative run on a slice of the tokens and are scaled up. One table holds
every figure from one run, so that ratios do not depend on the machine.
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore
from universality.matching import match
from universality.matching.assignment import gap
from universality.similarity import Similarity
from universality.statistics import calibrate

N_FEATURES, K, BLOCK, BLOCKS = 2048, 32, 127, 4
SLICE = 16_384


def pair_of_rows(n_tokens: int, seed: int = 0) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """TopK activations of two dictionaries; feature j < N/2 of B follows feature j of A."""
    rng = np.random.default_rng(seed)
    rates = (-0.8 * np.log(np.arange(N_FEATURES) + 20.0)).astype(np.float32)
    rates = rng.permutation(rates)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    values: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, n_tokens, 4096):
        n = min(4096, n_tokens - start)
        seen = rng.standard_normal((n, N_FEATURES), dtype=np.float32)
        own = rng.standard_normal((n, N_FEATURES), dtype=np.float32)
        other = 0.9 * seen + 0.4 * own
        other[:, N_FEATURES // 2 :] = own[:, N_FEATURES // 2 :]
        for side, noise in enumerate((seen, other)):
            score = rates + 1.3 * noise
            top = np.sort(np.argpartition(score, -K, axis=1)[:, -K:], axis=1)
            parts[side].append(top.astype(np.int32))
            values[side].append(np.exp(np.take_along_axis(noise, top, axis=1)))
    indptr = np.arange(0, n_tokens * K + 1, K)
    a, b = (
        sparse.csr_matrix((np.concatenate(v).ravel(), np.concatenate(p).ravel(), indptr), shape=(n_tokens, N_FEATURES))
        for p, v in zip(parts, values, strict=True)
    )
    return a, b


def write(path: Path, matrix: sparse.csr_matrix) -> FeatureStore:
    """A store whose documents hold four full blocks each; every other document is of the choosing half."""
    n = matrix.shape[0]
    document = np.arange(n) // (BLOCK * BLOCKS)
    n_documents = int(document[-1]) + 1
    names = tuple(f"d{d}" for d in range(n_documents))
    split = tuple(("choose", "report")[d % 2] for d in range(n_documents))
    table = DocumentTable(id=names, kind=("en",) * n_documents, group=names, split=split)
    writer = FeatureStore.create(path, N_FEATURES, {"bench": True}, documents=table)
    position = np.arange(n) % BLOCK + 1
    for start in range(0, n, 1 << 16):
        part = slice(start, min(n, start + (1 << 16)))
        kind = np.full(part.stop - start, "en")
        writer.append(matrix[part], token=position[part], document=document[part], position=position[part], kind=kind)
    return writer.finish()


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock on the wall, and of all processors."""

    wall: float
    processors: float

    def scaled(self, by: float) -> Cost:
        return Cost(self.wall * by, self.processors * by)


def timed(action: Callable[[], Any]) -> tuple[Cost, Any]:
    """What an action costs, and its result."""
    gc.collect()
    wall, processors = time.perf_counter(), time.process_time()
    result = action()
    return Cost(time.perf_counter() - wall, time.process_time() - processors), result


def dense_pearson(a: sparse.csr_matrix, b: sparse.csr_matrix) -> np.ndarray:
    """NumPy on dense float32, the usual script: standardise, multiply."""
    x, y = (np.asarray(m.todense(), dtype=np.float32) for m in (a, b))
    x -= x.mean(0)
    y -= y.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x.T @ y) / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))


def sparse_product(a: sparse.csr_matrix, b: sparse.csr_matrix) -> np.ndarray:
    return (a.T @ b).toarray()


def dense_masked(a: FeatureStore, b: FeatureStore) -> np.ndarray:
    return Similarity.masked_cosine(a, b).dense()


def report(name: str, cost: Cost, base: Cost) -> None:
    ratio = cost.processors / base.processors
    print(f"{name:<58} {cost.wall:7.2f} s {cost.processors:9.2f} s {ratio:8.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_tokens", nargs="?", type=int, default=300_000)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the stores here and use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        paths = [folder / f"{side}-{options.n_tokens}.h5" for side in "ab"]
        if not all(path.exists() for path in paths):
            for path, matrix in zip(paths, pair_of_rows(options.n_tokens), strict=True):
                write(path, matrix).close()
        compare(*(FeatureStore.open(path) for path in paths), options.replicates)


def compare(a: FeatureStore, b: FeatureStore, replicates: int) -> None:
    """Print the table."""
    warm_up(a, b)
    print(f"{a.n_tokens:,} tokens, {N_FEATURES:,} x {N_FEATURES:,} features, {K} active")
    print(f"{'':<58} {'wall':>9} {'processors':>11} {'ratio':>10}")
    load, sim = timed(lambda: Similarity.activation(a, b))
    base, dense = timed(sim.dense)
    report("correlation, stores in memory", base, base)
    report("reading both stores", load, base)
    report("masked cosine (four co-moments), with reading", timed(partial(dense_masked, a, b))[0], base)
    i = np.arange(N_FEATURES)
    report("given pairs, 2,048 of them", timed(partial(sim.pairs, i, i))[0], base)
    small = 1 << 28
    report("correlation, streamed within 256 MiB", timed(lambda: Similarity.activation(a, b, small).dense())[0], base)
    part_a, part_b = a.rows(slice(0, SLICE)), b.rows(slice(0, SLICE))
    scale = a.n_tokens / min(SLICE, a.n_tokens)
    numpy_time, _ = timed(partial(dense_pearson, part_a, part_b))
    report("the same in NumPy, dense float32 (scaled)", numpy_time.scaled(scale), base)
    scipy_time, _ = timed(partial(sparse_product, part_a, part_b))
    report("A.T @ B in SciPy, sparse float32 (scaled)", scipy_time.scaled(scale), base)
    whole, found = timed(partial(match, sim))
    report("match: assignment, certificate, nearest", whole, base)
    report("SciPy's assignment alone", timed(lambda: linear_sum_assignment(dense, maximize=True))[0], base)
    report("certificate alone", timed(lambda: gap(dense, found.rows, found.cols))[0], base)
    print(f"gap {found.gap:.1e}, sum {found.scores.sum():.6f}, planted {np.mean(found.cols == found.rows):.3f}")
    seconds, c = timed(lambda: calibrate(a, b, replicates=replicates))
    report(f"calibrate on the halves, {replicates} replicates, 1,000 resamples", seconds, base)
    print({key: round(value, 4) for key, value in c.summary().items() if isinstance(value, float)}, c.notes)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def warm_up(a: FeatureStore, b: FeatureStore) -> None:
    """Compile everything on a few documents, so that no figure holds a compiler."""
    few = np.arange(4)
    sim = Similarity.activation(a, b, documents=few)
    match(sim)
    sim.pairs([0], [0], by="group")
    sim.repaired(np.arange(10), np.arange(10, 20)).dense()
    Similarity.masked_cosine(a, b, documents=few).dense()


if __name__ == "__main__":
    main()
