"""What best partners of two very large dictionaries would cost on many machines, computed from parts measured here.

    python tests/bench/cluster.py [--features N] [--tokens N] [--active N] [--machines N] [--memory GB] [--partners N]

The parts are timed with ``--features`` columns on little data, each as the slope between two sizes, so that fixed costs
drop out. A unit of `Similarity.topk` then costs

    tokens x (visit + rows x active^2 / features x product) + rows x features x scan

seconds of one core for reading both stores, adding products, and entering scores into the lists of rows and columns. It
has as many rows as half of ``--memory`` holds scores of.
Units are divided among the machines evenly. Whatever runs on several cores is divided by ``--cores``: products and
lists; the visit (reading, decompressing, sorting by feature) runs on one. Before the first unit the moments of both
stores are summed by shards of tokens. Traffic follows from the sizes of what units take and return; the disk's and the
network's rates are not measured: the table says what they must deliver.
"""

from __future__ import annotations

import argparse
import math
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from similarity import timed, write

from universality.features import FeatureStore
from universality.similarity import Similarity
from universality.similarity.engine.comoments import CoMoments
from universality.similarity.engine.side_moments import SHARD, measure_side
from universality.similarity.engine.store_rows import StoreRows

SMALL, LARGE = 1 << 15, 1 << 17  # tokens of the two sizes
NARROW = 256  # rows of A where products are timed
ROWS = 96, 160  # of a dense block where lists are timed; they still fill, so that this is an upper bound
REPEATS = 3
GB = 1e9


@dataclass(frozen=True)
class Parts:
    """Seconds of one core, and bytes of a stored activation on the disk."""

    visit: float
    """For a token: read both stores, and sort A's rows by feature."""
    measure: float
    """For a token: sum the moments of one store, in two passes."""
    product: float
    scan: float
    """For a score: enter it into a row's and a column's list where it belongs."""
    entry_bytes: float


def random_rows(n_tokens: int, n_features: int, active: int) -> sparse.csr_matrix:
    """Rows with about ``active`` features each, every feature as often."""
    rng = np.random.default_rng(n_features + active)
    columns = np.sort(rng.integers(0, n_features, (n_tokens, active), np.int32), axis=1)
    first = np.diff(columns, axis=1, prepend=-1) != 0
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
    values = rng.gamma(4, 0.25, int(indptr[-1])).astype(np.float32)
    return sparse.csr_matrix((values, columns[first], indptr), (n_tokens, n_features))


def least(action: Callable[[], Any]) -> float:
    """Return the least processor seconds of some calls: other programs only add to them."""
    action()  # compiled before it is timed
    return min(timed(action)[0].processors for _ in range(REPEATS))


def slope(costs: dict[int, float]) -> float:
    """Return what one more costs, from two sizes."""
    (small, less), (large, more) = sorted(costs.items())
    if more <= less:
        raise SystemExit(
            f"{large:,} units took {more:.3f} s and {small:,} took {less:.3f} s: repeat on a quieter machine"
        )
    return (more - less) / (large - small)


def measured(folder: Path, n_features: int, active: int, k: int) -> Parts:
    """Time the parts on this machine."""
    visit, measure, product, scan = {}, {}, {}, {}
    entry_bytes = 0.0
    for n in (SMALL, LARGE):
        stores = [write(folder / f"{n}.{side}.h5", random_rows(n, n_features, active)) for side in "ab"]
        entry_bytes = (folder / f"{n}.a.h5").stat().st_size / stores[0].n_stored
        on_disk = [StoreRows.open(store, in_memory=False) for store in stores]
        every = np.arange(n)
        measure[n] = least(lambda rows=on_disk[0], every=every: measure_side(rows, every))
        streamed = CoMoments(*(measure_side(rows, every) for rows in on_disk), memory_budget=1 << 20)
        visit[n] = least(lambda co=streamed: co.sums("covariance", np.arange(1)))
        narrow = write(folder / f"{n}.narrow.h5", random_rows(n, NARROW, 1))
        loaded = [StoreRows.open(store, in_memory=True) for store in (narrow, stores[1])]
        few = CoMoments(*(measure_side(rows, every) for rows in loaded), memory_budget=1 << 40)
        product[n * active] = least(lambda co=few: co.sums("covariance", np.arange(NARROW)))
    for rows in ROWS:
        sim = Similarity.from_dense(np.random.default_rng(rows).standard_normal((rows, n_features)))
        scan[rows * n_features] = least(lambda sim=sim: sim.topk(k, axis=None))
    return Parts(slope(visit), slope(measure), slope(product), slope(scan), entry_bytes)


def print_parts(parts: Parts, active: int) -> None:
    print(
        f"read both stores and sort one by feature  {1e6 * parts.visit:10.2f} µs a token of {active} + {active} firings"
    )
    print(f"moments of one store, in two passes       {1e6 * parts.measure:10.2f} µs a token")
    print(f"products, added at random places          {1e9 * parts.product:10.2f} ns each")
    print(f"a score into the lists of row and column  {1e9 * parts.scan:10.2f} ns")
    print(f"a stored activation on the disk           {parts.entry_bytes:10.2f} bytes, in two orders")


def print_cost(parts: Parts, given: argparse.Namespace) -> None:
    n, tokens, active, machines = given.features, given.tokens, given.active, given.machines
    rows = min(n, max(1, int(given.memory * GB / 2 / (8 * n))))
    units = math.ceil(n / rows)
    rounds = math.ceil(units / machines)
    visit = tokens * parts.visit
    products = tokens * rows * active**2 / n * parts.product / given.cores
    lists = rows * n * parts.scan / given.cores
    moments = 2 * tokens * parts.measure / machines
    hours = (moments + rounds * (visit + products + lists)) / 3600
    stored = tokens * active * parts.entry_bytes
    read = rounds * stored + 2 * stored / machines  # a pass reads one of the two orders of both stores
    returned = 24 * rows * given.partners + 16 * n * given.partners
    sent = units * 16 * n + machines * 2 * 56 * n
    print(f"\n{n:,} x {n:,} features, {tokens:,} tokens, {active} active")
    print(f"{machines} machines with {given.cores} cores and {given.memory:g} GB for scores")
    lines = {
        "units": f"{units:,} of {rows:,} rows; {rounds} a machine, one after another",
        "seconds of a unit": f"{visit:,.0f} to read and sort, {products:,.0f} for products, {lists:,.0f} for lists",
        "hours of moments, then of one pass": f"{moments / 3600:.2f}, {hours:.1f}",
        "machine hours": f"{hours * machines:,.0f}",
        "a store on the disk": f"{stored / GB:,.0f} GB",
        "read by each machine": f"{read / GB:,.0f} GB; {machines * read / GB / hours / 3600:,.1f} GB/s by all together",
        "sent to all machines": f"{sent / GB:,.1f} GB",
        "returned by a unit, at most": f"{returned / GB:,.2f} GB",
        "shards for moments": f"{math.ceil(tokens / max(SHARD, 16 * n)):,}, with {32 * n / GB:,.3f} GB of sums each",
        "memory beside the scores": f"{(24 * tokens + 112 * n) / GB:,.0f} GB of row numbers and moments",
    }
    for name, value in lines.items():
        print(f"{name:<42}{value}")


def unit_bytes(store: FeatureStore) -> None:
    """Check what travels once to a worker: paths, runs of rows and moments, and no activations."""
    sim = Similarity.activation(store, store)
    size = len(pickle.dumps(sim))
    assert size < 3 * 56 * store.n_features + 100_000, size
    print(f"a comparison as workers receive it        {size / store.n_features:10.1f} bytes a feature")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=1 << 20)
    parser.add_argument("--tokens", type=int, default=10**9)
    parser.add_argument("--active", type=int, default=64)
    parser.add_argument("--machines", type=int, default=64)
    parser.add_argument("--cores", type=int, default=32)
    parser.add_argument("--memory", type=float, default=300.0, help="GB of a machine's memory_budget")
    parser.add_argument("--partners", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = measured(Path(folder), given.features, given.active, given.partners)
        print_parts(parts, given.active)
        with FeatureStore.open(Path(folder) / f"{SMALL}.a.h5") as store:
            unit_bytes(store)
    print_cost(parts, given)


if __name__ == "__main__":
    main()
