"""What best partners cost from two stores on disk: tokens x active^2, whatever the number of features.

    python tests/bench/similarity.py [--size N ...] [--tokens N] [--active N] [--folder DIR]

Rows are realistic: firing rates fall off as Zipf's law has it, and half of B's features see what one of A's sees. The
usual ways, NumPy on dense float32 and SciPy's sparse product, run on a part and are scaled up. Asked for by option:
--size 16384 --tokens 1000000 (target 5 ns a product, 4 x SciPy), --size 131072 --tokens 1000000 (4 x SciPy, 6 GB).
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore
from universality.similarity import Similarity
from universality.similarity.engine import comoments

BLOCK, BLOCKS = 127, 4
PART = 1 << 15  # tokens drawn at a time
K = 64  # partners of each row and column
BUDGET = 4 << 30
SCIPY_BLOCKS = 32  # of about a thousand


def world(
    n_tokens: int, n_features: int, active: int, shared: float = 0.5, seed: int = 0
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, np.ndarray]:
    """Activations of two dictionaries of one text, and the place in B of each of A's features (-1: A's alone)."""
    parts, partner = world_in_parts(n_tokens, n_features, active, shared, seed)
    a, b = (sparse.vstack(side, format="csr") for side in zip(*parts, strict=True))
    return a, b, partner


def world_in_parts(
    n_tokens: int, n_features: int, active: int, shared: float = 0.5, seed: int = 0
) -> tuple[Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix]], np.ndarray]:
    """The rows of a world, some tokens of both dictionaries at a time, and the place in B of each of A's features."""
    rng = np.random.default_rng(seed)
    cdf = np.cumsum(rng.permutation((np.arange(n_features) + 20.0) ** -0.8))
    order = rng.permutation(n_features)
    n_shared = int(shared * n_features)

    def drawn(shape: tuple[int, int]) -> np.ndarray:
        return np.searchsorted(cdf, rng.random(shape) * cdf[-1]).clip(0, n_features - 1)

    def parts() -> Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix]]:
        for low in range(0, n_tokens, PART):
            shape = (min(PART, n_tokens - low), active)
            seen, own = drawn(shape), drawn(shape)
            both = (seen < n_shared) & (rng.random(shape) < 0.85)
            strength = rng.gamma(4, 0.25, shape)
            fires = seen, order[np.where(both, seen, own)]
            a, b = (_rows(side, strength * rng.uniform(0.7, 1.3, shape), n_features) for side in fires)
            yield a, b

    return parts(), np.where(np.arange(n_features) < n_shared, order, -1)


def _rows(fires: np.ndarray, strength: np.ndarray, n_features: int) -> sparse.csr_matrix:
    by = np.argsort(fires, axis=1)
    fires, strength = np.take_along_axis(fires, by, axis=1), np.take_along_axis(strength, by, axis=1)
    first = np.diff(fires, axis=1, prepend=-1) != 0  # a feature drawn twice fires once
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
    return sparse.csr_matrix((strength[first].astype(np.float32), fires[first].astype(np.int32), indptr),
                             (len(fires), n_features))  # fmt: skip


def write(path: Path, matrix: sparse.csr_matrix) -> FeatureStore:
    """A store of a matrix in memory."""
    writer = Written(path, *matrix.shape)
    for start in range(0, matrix.shape[0], 1 << 16):
        writer.append(matrix[start : start + (1 << 16)])
    return writer.finish()


class Written:
    """A store whose documents hold four full blocks each; every other document is of the choosing half."""

    def __init__(self, path: Path, n_tokens: int, n_features: int) -> None:
        self.document, self.done = np.arange(n_tokens) // (BLOCK * BLOCKS), 0
        n = int(self.document[-1]) + 1
        names = tuple(f"d{d}" for d in range(n))
        split = tuple(("choose", "report")[d % 2] for d in range(n))
        table = DocumentTable(id=names, kind=("en",) * n, group=names, split=split)
        self.writer = FeatureStore.create(path, n_features, {"bench": True}, documents=table)

    def append(self, rows: sparse.csr_matrix) -> None:
        n, low = rows.shape[0], self.done
        self.done += n
        position = np.arange(low, low + n) % BLOCK + 1
        document, kind = self.document[low : low + n], np.full(n, "en")
        self.writer.append(rows, token=position, document=document, position=position, kind=kind)

    def finish(self) -> FeatureStore:
        return self.writer.finish()


def stores(folder: Path, n_tokens: int, n_features: int, active: int) -> tuple[FeatureStore, FeatureStore, np.ndarray]:
    """The two stores of a world, written to ``folder`` unless they lie there."""
    paths = [folder / f"{n_tokens}-{n_features}-{active}.{end}" for end in ("a.h5", "b.h5", "order.npy")]
    if not paths[2].exists():
        parts, order = world_in_parts(n_tokens, n_features, active)
        writers = [Written(path, n_tokens, n_features) for path in paths[:2]]
        for sides in parts:
            for writer, rows in zip(writers, sides, strict=True):
                writer.append(rows)
        for writer in writers:
            writer.finish().close()
        np.save(paths[2], order)
    return FeatureStore.open(paths[0]), FeatureStore.open(paths[1]), np.load(paths[2])


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


def report(name: str, cost: Cost, base: Cost) -> None:
    ratio = cost.processors / base.processors
    print(f"{name:<58} {cost.wall:8.2f} s {cost.processors:9.2f} s {ratio:8.2f} x", flush=True)


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"


def dense_pearson(a: sparse.csr_matrix, b: sparse.csr_matrix) -> np.ndarray:
    """NumPy on dense float32, the usual script: standardise, multiply."""
    x, y = (np.asarray(m.todense(), dtype=np.float32) for m in (a, b))
    x -= x.mean(0)
    y -= y.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x.T @ y) / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))


def exact_rows(a: FeatureStore, b: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """r of a few of A's features with all of B's by two passes in float64, from means and centred sums."""
    x, y = a.csr()[:, rows].toarray().astype(np.float64), b.csr().astype(np.float64)
    n, mean = a.n_tokens, np.asarray(y.mean(axis=0)).ravel()
    x -= x.mean(axis=0)
    norm = np.sqrt(np.asarray(y.multiply(y).sum(axis=0)).ravel() - n * mean**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num((y.T @ x).T / np.outer(np.linalg.norm(x, axis=0), norm))


def warm_up(a: FeatureStore, b: FeatureStore) -> None:
    """Compile everything on a few documents, so that no figure holds a compiler."""
    kept, comoments.LISTED_ABOVE = comoments.LISTED_ABOVE, 0
    Similarity.activation(a, b, documents=np.arange(2)).topk(2, axis=None)
    comoments.LISTED_ABOVE = kept
    Similarity.activation(a, b, documents=np.arange(2)).topk(2, axis=None)


def best_partners(a: FeatureStore, b: FeatureStore) -> Any:
    """From stores on disk to the best partners of all features."""
    return Similarity.activation(a, b, memory_budget=BUDGET).topk(K, axis=None)


def compare(a: FeatureStore, b: FeatureStore, order: np.ndarray) -> None:
    """One size: ours, whether it is right, and the usual ways on a slice."""
    n, m = a.n_features, a.n_stored / a.n_tokens
    warm_up(a, b)
    base, ((partner, score), _) = timed(lambda: best_partners(a, b))
    hits = a.n_tokens * m * m
    print(f"\n{a.n_tokens:,} tokens, {n:,} x {n:,} features, {m:.1f} active: {hits:.2g} products at most")
    report(f"best {K} of each row and column, stores on disk", base, base)
    print(f"{'':<58} {base.processors / hits * 1e9:8.2f} ns a product, peak {peak()}")
    rows = np.random.default_rng(0).integers(0, n, 8)
    exact = exact_rows(a, b, rows)
    off = np.abs(np.take_along_axis(exact, partner[rows], axis=1) - score[rows])
    best = np.abs(-np.sort(-exact, axis=1)[:, :K] - score[rows])
    print(f"{'largest difference from float64 in two passes, 8 rows':<58} {np.nanmax([off, best]):8.1e}")
    alive = (order >= 0) & a.alive & b.alive[order]
    print(f"{'planted partner is the best one':<58} {np.mean(partner[alive, 0] == order[alive]):8.3f}")
    small = max(64, min(a.n_tokens, (1 << 28) // (4 * n)))
    part_a, part_b = a.rows(slice(0, small)), b.rows(slice(0, small))
    if n <= 16_384:
        dense, _ = timed(lambda: dense_pearson(part_a, part_b))
        report(f"NumPy, dense float32 ({small:,} tokens, scaled)", dense.scaled(a.n_tokens / small), base)
    product, share = scipy_product(a, b)
    report(
        f"A.T @ B in SciPy, by blocks of rows ({share:.1%} of the products, scaled)", product.scaled(1 / share), base
    )


def scipy_product(a: FeatureStore, b: FeatureStore) -> tuple[Cost, float]:
    """SciPy's plain product of all tokens, without reading and without a search for partners.

    It is timed on a few blocks of rows, as the whole result would not fit into memory; returned with their share.
    """
    x, y = a.csr().T.tocsr(), b.csr()
    products = (x != 0).astype(np.float32) @ np.diff(y.indptr).astype(np.float64)
    size = -(-a.n_features // 1024)
    starts = np.linspace(0, a.n_features - size, min(SCIPY_BLOCKS, a.n_features)).astype(int)
    cost, _ = timed(lambda: [x[start : start + size] @ y for start in starts])
    return cost, float(sum(products[start : start + size].sum() for start in starts) / products.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[4096, 16_384, 65_536], help="features of each side")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--active", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="keep the stores here and use them again")
    options = parser.parse_args()
    print(f"{'':<58} {'wall':>10} {'processors':>11} {'ratio':>10}")
    for size in options.size:
        with tempfile.TemporaryDirectory() as temporary:
            compare(*stores(options.folder or Path(temporary), options.tokens, size, options.active))


if __name__ == "__main__":
    main()
