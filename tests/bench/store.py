"""What writing and reading a feature store costs, and what other ways to compress it would.

    python tests/bench/store.py [n_tokens]

Rows are realistic: the 32 largest of 2,048 features under a Zipf-like firing rate, log-normal activations, blocks
of 127 rows to an append. One table holds every choice from one run, so that ratios do not depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from universality.features import FeatureStore
from universality.features.chunks import compressed

N_FEATURES, K, BLOCK = 2048, 32, 127
CHUNK = 1 << 16


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock on the wall, and of all processors."""

    wall: float
    processors: float


def topk_rows(n_tokens: int, seed: int = 0) -> sparse.csr_matrix:
    """TopK activations: Gumbel noise on log rates, so that rates fall as a power law."""
    rng = np.random.default_rng(seed)
    rates = -0.8 * np.log(np.arange(N_FEATURES) + 20.0)
    parts = []
    for start in range(0, n_tokens, 4096):
        n = min(4096, n_tokens - start)
        noise = rng.gumbel(size=(n, N_FEATURES)).astype(np.float32)
        parts.append(np.sort(np.argpartition(rates - noise, -K, axis=1)[:, -K:], axis=1))
    indices = np.concatenate(parts).astype(np.int32).ravel()
    data = np.exp(rng.normal(size=len(indices))).astype(np.float32)
    return sparse.csr_matrix((data, indices, np.arange(0, len(indices) + 1, K)), shape=(n_tokens, N_FEATURES))


def write_store(path: Path, matrix: sparse.csr_matrix, block: int = BLOCK) -> None:
    """Append block by block, as a model that streams does."""
    writer = FeatureStore.create(path, matrix.shape[1], {"bench": True}, overwrite=True)
    rng = np.random.default_rng(1)
    token = rng.integers(0, 4096, matrix.shape[0])
    kind = np.full(block, "en")
    for number, start in enumerate(range(0, matrix.shape[0], block)):
        rows = matrix[start : start + block]
        n = rows.shape[0]
        writer.append(
            rows, token=token[start : start + n], document=np.full(n, number // 8), position=np.arange(1, n + 1),
            kind=kind[:n],
        )  # fmt: skip
    writer.finish().close()


def write_plain(path: Path, matrix: sparse.csr_matrix, **options: object) -> None:
    """Both matrices through HDF5's own filters, on its one thread."""
    columns = matrix.tocsc()
    with h5py.File(path, "w") as file:
        for group, form in (("by_token", matrix), ("by_feature", columns)):
            for name in ("data", "indices"):
                file.create_dataset(f"{group}/{name}", data=getattr(form, name), chunks=(CHUNK,), **options)


def write_threads(path: Path, matrix: sparse.csr_matrix, strategies: dict[str, int]) -> None:
    """Both matrices with chunks shuffled and deflated at level 1 in threads, by these zlib strategies."""
    columns = matrix.tocsc()
    with h5py.File(path, "w") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        for group, form in (("by_token", matrix), ("by_feature", columns)):
            for name, strategy in strategies.items():
                array = getattr(form, name)
                dataset = file.create_dataset(
                    f"{group}/{name}",
                    array.shape,
                    array.dtype,
                    chunks=(CHUNK,),
                    shuffle=True,
                    compression="gzip",
                )
                starts = range(0, len(array) // CHUNK * CHUNK, CHUNK)
                pieces = (array[start : start + CHUNK] for start in starts)
                deflated = pool.map(compressed, pieces, [strategy] * len(starts))
                for start, piece in zip(starts, deflated, strict=True):
                    dataset.id.write_direct_chunk((start,), piece)


def read_rows(path: Path) -> None:
    """Every row, in pieces of 65,536."""
    with FeatureStore.open(path) as store:
        for start in range(0, store.n_tokens, CHUNK):
            store.rows(slice(start, start + CHUNK))


def read_features(path: Path) -> None:
    """One hundred features, one at a time, in random order."""
    with FeatureStore.open(path) as store:
        for j in np.random.default_rng(2).permutation(store.n_features)[:100]:
            store.feature(int(j))


def verify(path: Path) -> None:
    """Read and check everything."""
    with FeatureStore.open(path) as store:
        store.verify()


def measure(folder: Path, n_tokens: int) -> Iterator[tuple[str, Cost, float]]:
    """Name, cost and megabytes of each choice."""
    write_store(folder / "warm.h5", topk_rows(BLOCK))  # compiled loops are loaded before the clock starts
    matrix = topk_rows(n_tokens)
    raw = 2 * (matrix.data.nbytes + matrix.indices.nbytes) / 1e6
    path = folder / "store.h5"
    plain: dict[str, dict[str, object]] = {
        "h5py, shuffle + gzip 1": {"shuffle": True, "compression": "gzip", "compression_opts": 1},
        "h5py, no filter": {},
        "h5py, shuffle + lzf": {"shuffle": True, "compression": "lzf"},
    }
    for name, options in plain.items():
        cost = timed(lambda options=options: write_plain(folder / "plain.h5", matrix, **options))  # type: ignore[misc]
        yield name, cost, (folder / "plain.h5").stat().st_size / 1e6
    for title, indices, data in (
        ("threads, deflate 1", zlib.Z_DEFAULT_STRATEGY, zlib.Z_DEFAULT_STRATEGY),
        ("threads, run lengths", zlib.Z_RLE, zlib.Z_RLE),
        ("threads, run lengths and Huffman (chosen)", zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY),
    ):
        strategies = {"indices": indices, "data": data}
        cost = timed(lambda strategies=strategies: write_threads(folder / "plain.h5", matrix, strategies))  # type: ignore[misc]
        yield title, cost, (folder / "plain.h5").stat().st_size / 1e6
    yield "FeatureWriter, all it does", timed(lambda: write_store(path, matrix)), path.stat().st_size / 1e6
    yield (
        "FeatureWriter, 8,192 rows an append",
        timed(lambda: write_store(path, matrix, 8192)),
        path.stat().st_size / 1e6,
    )
    yield "read all rows", timed(lambda: read_rows(path)), raw / 2
    yield "read 100 features", timed(lambda: read_features(path)), float("nan")
    yield "verify", timed(lambda: verify(path)), raw
    neurons = sparse.random(n_tokens // 4, 512, 0.4, "csr", np.float32, np.random.default_rng(3))
    cost = timed(lambda: write_store(path, neurons))
    yield "FeatureWriter, neurons (n_tokens / 4 x 512, 40 %)", cost, path.stat().st_size / 1e6


def timed(work: Callable[[], None]) -> Cost:
    """Seconds of wall clock and of processors."""
    wall, processors = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - processors)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_tokens", type=int, nargs="?", default=200_000)
    n_tokens = parser.parse_args().n_tokens
    print(f"{n_tokens} tokens, {K} of {N_FEATURES} features; both matrices raw: {n_tokens * K * 16 / 1e6:.0f} MB")
    print(f"{'':50}{'wall s':>8}{'CPU s':>8}{'MB':>7}{'CPU, of gzip 1':>16}")
    with tempfile.TemporaryDirectory() as folder:
        gzip = float("nan")
        for name, cost, megabytes in measure(Path(folder), n_tokens):
            gzip = cost.processors if "gzip" in name else gzip
            ratio = cost.processors / gzip
            print(f"{name:50}{cost.wall:8.2f}{cost.processors:8.2f}{megabytes:7.0f}{ratio:15.2f}x", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
