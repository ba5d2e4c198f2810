"""Prompts of many features from a large store: processor and wall seconds, and peak memory.

    python tests/bench/labels.py [--tokens 10000000 --features 10000 --active 30]

The store is synthetic: token ids and firing counts are skewed as in real text and dictionaries, and firings come in
runs. It is written by a process of its own. One pass then finds the examples of every feature; beside it the prompts
that explain, and those that score one explanation by all three methods, are built.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore
from universality.labels.feature_examples import FeatureExamples, find_examples

BLOCK, D_VOCAB, BLOCKS_A_DOCUMENT = 128, 50_000, 20
TARGET = 120.0  # seconds for 10,000 features and 10 million tokens


def write_store(path: Path, n_tokens: int, n_features: int, active: int) -> None:
    """Write a store whose firings per token are ``active`` in the mean."""
    rng = np.random.default_rng(0)
    n_documents = -(-n_tokens // (BLOCK * BLOCKS_A_DOCUMENT))
    names = tuple(f"document {i}" for i in range(n_documents))
    split = tuple("choose" if i % 2 else "report" for i in range(n_documents))
    documents = DocumentTable(names, ("text",) * n_documents, names, split)
    share = 1 / np.arange(1, n_features + 1) ** 0.7
    with FeatureStore.create(path, n_features, {}, documents) as writer:
        for first in range(0, n_tokens, BLOCK * 400):
            row = np.arange(first, min(n_tokens, first + BLOCK * 400))
            n = row.size * active
            feature = rng.choice(n_features, n, p=share / share.sum())
            matrix = sparse.csr_matrix(
                (rng.exponential(1, n).astype(np.float32), (rng.integers(0, row.size, n), feature)),
                shape=(row.size, n_features),
            )
            token = (D_VOCAB * rng.random(row.size) ** 3).astype(np.int32)
            document = row // (BLOCK * BLOCKS_A_DOCUMENT)
            writer.append(matrix, token=token, document=document, position=1 + row % BLOCK, kind=["text"] * row.size)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=30, help="firings a token")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.h5")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(write_store, path, options.tokens, options.features, options.active).result()
        with FeatureStore.open(path) as store:
            print(f"{store.n_tokens:,} tokens, {store.n_features:,} features, {store.n_stored:,} firings")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            kept: list = []
            cpu, wall = seconds(lambda: kept.extend(find_examples(store)))
            print(f"examples: {cpu:.0f} s of processor, {wall:.0f} s of wall")
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"peak memory {after / 1024:.0f} MiB, of which {before / 1024:.0f} MiB before")
            print({name: sum(e.explain.counts()[name] for e in kept) / len(kept) for name in ("top", "interval", "random", "other")})


if __name__ == "__main__":
    main()
