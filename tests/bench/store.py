"""What storing features costs: bytes and speed beside other writers, choice of chunks and filters, and the full size.

    python tests/bench/store.py [--run runs/quickstart] [--tokens 10000000 --features 131072 --active 50]

The first two tables use real activations: those of a finished run where one is named, else of a shipped model through
an SAE whose directions are activations themselves. The last part writes a synthetic store in a process of its own (10
million tokens take about 10 GB of the temporary folder's disk meanwhile) and reads single features from it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import anndata
import h5py
import numpy as np
from safetensors.numpy import save_file
from scipy import sparse

from universality.features import FeatureStore
from universality.features.examples import examples
from universality.features.storage.chunks import compressed
from universality.features.storage.row_batch import rounded

ROWS, BLOCK = 200_000, 8128  # rows of the tables; rows of an append, as `collect` makes them


def real_rows(run: Path | None, folder: Path) -> sparse.csr_matrix:
    """CSR [n, d_sae] of SAE features on text."""
    if run is not None:
        widest = max((run / "features").glob("*.w*-s0.h5"), key=lambda path: int(path.stem.split(".w")[1][:-3]))
        with FeatureStore.open(widest) as store:
            return store.rows(slice(ROWS))
    import torch

    from universality.activations import ModelSite, harvest
    from universality.corpus import build_corpus
    from universality.features.collection import collect
    from universality.models.language_model import load_model
    from universality.sae import SAE

    site = ModelSite(load_model("starter/seed0"), "blocks.0.mlp.hook_post")
    blocks = build_corpus(tokenizer="starter").blocks.select("choose", "report")
    blocks = blocks.take(np.arange(0, len(blocks), len(blocks) // 500))
    acts = torch.cat([acts["A"] for _, acts in harvest({"A": site}, blocks.take(np.arange(40)))])
    centre = acts.mean(0)
    directions = torch.nn.functional.normalize(acts[:2048] - centre, dim=1)
    sae = SAE(directions.T.contiguous(), torch.zeros(2048), directions, centre, "topk", 32)
    collect(site, {folder / "real.h5": sae}, blocks)
    with FeatureStore.open(folder / "real.h5") as store:
        return store.csr()


def write_store(path: Path, matrix: sparse.csr_matrix, mantissa_bits: int = 23) -> None:
    """Append block by block, as a model that streams does."""
    writer = FeatureStore.create(path, matrix.shape[1], {"bench": True}, overwrite=True, mantissa_bits=mantissa_bits)
    for start in range(0, matrix.shape[0], BLOCK):
        rows = matrix[start : start + BLOCK]
        at = np.arange(start, start + rows.shape[0])
        writer.append(rows, token=at % 4096, document=at // 1016, position=at % 127 + 1, kind=np.full(len(at), "en"))
    writer.finish().close()


def write_anndata(path: Path, matrix: sparse.csr_matrix, **options: object) -> None:
    """AnnData's writer, rows only."""
    with h5py.File(path, "w") as file:
        anndata.io.write_elem(file, "by_token", matrix, dataset_kwargs=options)


def write_coo(path: Path, matrix: sparse.csr_matrix) -> None:
    """Coordinates and values in safetensors, as feature caches of other tools are."""
    coo = matrix.tocoo()
    save_file({"locations": np.stack([coo.row, coo.col], 1).astype(np.int32), "activations": coo.data}, path)


def write_h5py(path: Path, matrix: sparse.csr_matrix) -> None:
    """Both orders through HDF5's own filters, on its one thread."""
    with h5py.File(path, "w") as file:
        for group, form in (("by_token", matrix), ("by_feature", matrix.tocsc())):
            for name in ("data", "indices", "indptr"):
                file.create_dataset(f"{group}/{name}", data=getattr(form, name), compression="gzip", shuffle=True)


def writers_table(matrix: sparse.csr_matrix, folder: Path) -> None:
    """Each way of writing, by bytes and speed of one order of the entries."""
    ways: list[tuple[str, int, Callable[[Path], None]]] = [
        ("FeatureStore, rows and columns", 2, lambda path: write_store(path, matrix)),
        ("FeatureStore, 10 bits of fraction", 2, lambda path: write_store(path, matrix, 10)),
        ("AnnData write_elem, rows", 1, lambda path: write_anndata(path, matrix)),
        ("AnnData write_elem, rows, gzip", 1, lambda path: write_anndata(path, matrix, compression="gzip")),
        ("COO in safetensors, unordered", 1, lambda path: write_coo(path, matrix)),
        ("h5py, shuffle and gzip, rows and columns", 2, lambda path: write_h5py(path, matrix)),
    ]
    print(f"\n{matrix.nnz / 1e6:.1f} M activations, {matrix.shape[0]:,} tokens x {matrix.shape[1]:,} features")
    print(f"{'':44}{'orders':>7}{'bytes an activation and order':>31}{'MB/s of 8 bytes':>17}{'CPU s':>7}")
    for name, orders, write in ways:
        path = folder / "way"
        wall, processors = timed(lambda write=write, path=path: write(path))  # type: ignore[misc]
        size, raw = path.stat().st_size / matrix.nnz / orders, 8 * matrix.nnz * orders / 1e6
        print(f"{name:44}{orders:7}{size:31.2f}{raw / wall:17.0f}{processors:7.1f}", flush=True)
        path.unlink()


def choices_table(matrix: sparse.csr_matrix, folder: Path) -> None:
    """Chunks, strategies of deflate and rounding, in both orders."""
    print("\nchunks and filters, all arrays of both orders, two threads")
    print(f"{'entries a chunk':>16}{'strategy':>15}{'bits':>6}{'bytes':>8}{'write MB/s':>12}{'one feature, ms':>17}")
    columns = matrix.tocsc()
    strategies = {"run lengths": zlib.Z_RLE, "Huffman only": zlib.Z_HUFFMAN_ONLY, "deflate 1": zlib.Z_DEFAULT_STRATEGY}
    for chunk, (name, strategy), bits in [
        *((1 << n, ("run lengths", zlib.Z_RLE), 23) for n in (13, 14, 16, 18)),
        *((1 << 16, item, bits) for item in strategies.items() for bits in (23, 10)),
    ]:
        path = folder / "choice.h5"
        wall, _ = timed(lambda: write_chunks(path, (matrix, columns), chunk, strategy, bits))  # noqa: B023
        size = path.stat().st_size / matrix.nnz / 2
        one = read_features(path, columns.indptr)
        print(f"{chunk:16,}{name:>15}{bits:6}{size:8.2f}{16 * matrix.nnz / 1e6 / wall:12.0f}{one:17.2f}", flush=True)


def write_chunks(
    path: Path, forms: tuple[sparse.csr_matrix, sparse.csc_matrix], chunk: int, strategy: int, bits: int
) -> None:
    """Both matrices with whole chunks shuffled and deflated in threads."""
    with h5py.File(path, "w") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        for group, form in zip(("by_token", "by_feature"), forms, strict=True):
            for name, array in (("data", rounded(form.data, bits)), ("indices", form.indices)):
                dataset = file.create_dataset(
                    f"{group}/{name}", array.shape, array.dtype, chunks=(chunk,), shuffle=True, compression="gzip"
                )
                starts = range(0, len(array) // chunk * chunk, chunk)
                pieces = (array[start : start + chunk] for start in starts)
                for start, piece in zip(starts, pool.map(compressed, pieces, [strategy] * len(starts)), strict=True):
                    dataset.id.write_direct_chunk((start,), piece)


def read_features(path: Path, indptr: np.ndarray) -> float:
    """Milliseconds to read one feature, of a hundred."""
    chosen = np.random.default_rng(2).permutation(len(indptr) - 1)[:100]
    with h5py.File(path) as file:
        data, indices = file["by_feature/data"], file["by_feature/indices"]
        start = time.perf_counter()
        for j in chosen.tolist():
            _ = data[indptr[j] : indptr[j + 1]], indices[indptr[j] : indptr[j + 1]]
        return (time.perf_counter() - start) / len(chosen) * 1e3


def synthetic(n_tokens: int, n_features: int, active: int) -> Iterator[sparse.csr_matrix]:
    """Rows with firing rates that fall as a power law (rate ~ rank^-2/3) and log-normal activations."""
    rng = np.random.default_rng(0)
    for start in range(0, n_tokens, BLOCK):
        n = min(BLOCK, n_tokens - start)
        uniform = rng.random((n, active), np.float32)
        indices = (uniform**3 * (n_features - active)).astype(np.int32)
        indices.sort(axis=1)
        indices += np.arange(active, dtype=np.int32)  # no feature twice
        data = np.exp(rng.standard_normal(n * active, np.float32))
        yield sparse.csr_matrix((data, indices.ravel(), np.arange(0, n * active + 1, active)), shape=(n, n_features))


def write_synthetic(path: Path, n_tokens: int, n_features: int, active: int) -> tuple[float, float, float, float]:
    """Seconds to generate alone, to append and to finish, and peak memory of this process in MiB."""
    writer = FeatureStore.create(path, n_features, {"bench": True})
    at, generated, clock = 0, 0.0, time.perf_counter()
    rows = synthetic(n_tokens, n_features, active)
    while True:
        before = time.perf_counter()
        part = next(rows, None)
        generated += time.perf_counter() - before
        if part is None:
            break
        row = np.arange(at, at + part.shape[0])
        writer.append(
            part, token=row * 7919 % 50_257, document=row // 1016, position=row % 127 + 1, kind=np.full(len(row), "en")
        )  # fmt: skip
        at += part.shape[0]
    appended = time.perf_counter()
    writer.finish().close()
    # Not getrusage: its maximum counts what the parent held when it started this process.
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return generated, appended - clock - generated, time.perf_counter() - appended, peak


def at_size(folder: Path, n_tokens: int, n_features: int, active: int) -> None:
    """Write a store, then read single features of it, from disk and again from the page cache."""
    path, raw = folder / "size.h5", 16 * n_tokens * active / 1e6
    print(f"\n{n_tokens:,} tokens x {n_features:,} features, {active} active; both orders raw: {raw:,.0f} MB")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        generated, append, finish, peak = pool.submit(write_synthetic, path, n_tokens, n_features, active).result()
    size = path.stat().st_size / 2 / n_tokens / active
    print(f"written in {append + finish:.0f} s ({append:.0f} append, {finish:.0f} finish; {generated:.0f} to generate "
          f"come on top): {raw / (append + finish):.0f} MB/s, {size:.2f} bytes an activation and order")  # fmt: skip
    print(f"peak memory of the writing process: {peak:.0f} MiB", flush=True)
    with FeatureStore.open(path) as store:
        read_back(store)


def read_back(store: FeatureStore) -> None:
    """Time single features, their examples, and the stream of rows."""
    count = store.moments().count
    order = np.argsort(-count, kind="stable")
    title = f"one feature out of {store.n_tokens:,}"
    print(f"{title:42}{'firings':>10}{'from disk, ms':>15}{'cached, ms':>12}")
    chosen = np.random.default_rng(1).permutation(np.flatnonzero(count))[:100].tolist()
    picks = {"100 at random (target: 50 ms)": chosen}
    picks |= {f"the {rank}. most frequent": [int(order[rank - 1])] for rank in (1, 10, 100, 1000) if rank < len(order)}
    for name, features in picks.items():
        forget(store.path)
        cold = [milliseconds(lambda j=j: store.feature(j)) for j in features]  # type: ignore[misc]
        warm = [milliseconds(lambda j=j: store.feature(j)) for j in features]  # type: ignore[misc]
        for what, pick in (("median", np.median), ("slowest", np.max))[: len(features)]:
            label = f"{name}, {what}" if len(features) > 1 else name
            print(f"{label:42}{pick(count[features]):10,.0f}{pick(cold):15.1f}{pick(warm):12.1f}", flush=True)
    first, again = (milliseconds(lambda j=j: examples(store, [j], 10)) for j in chosen[:2])  # type: ignore[misc]
    print(f"ten strongest examples with text: {first:.0f} ms with the token table, then {again:.0f} ms a feature")
    clock, entries = time.perf_counter(), 0
    for _, (_, rows) in zip(range(20), store.batches(), strict=False):
        entries += rows.nnz
    print(f"streamed by rows: {entries * 8 / 1e6 / (time.perf_counter() - clock):.0f} MB/s of 8 bytes")


def forget(path: Path) -> None:
    """Ask the system to drop a file from its page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    return timed(work)[0] * 1e3


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall clock and of processors."""
    wall, processors = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processors


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=131_072)
    parser.add_argument("--active", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        matrix = real_rows(given.run, folder)
        write_store(folder / "warm.h5", matrix[:100])  # compiled loops are loaded before the clock starts
        writers_table(matrix, folder)
        choices_table(matrix, folder)
        at_size(folder, given.tokens, given.features, given.active)


if __name__ == "__main__":
    sys.exit(main())
