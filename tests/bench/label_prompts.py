"""Prompts of many features from a large store: processor and wall seconds, and peak memory.

    python tests/bench/label_prompts.py [--tokens 10000000 --features 10000 --active 30]

The store is synthetic: token ids and firing counts are skewed as in real text and dictionaries, and firings come in
runs. It is written by a process of its own. One pass then finds the examples of every feature; beside it the prompts
that explain, and those that score one explanation by all three methods, are built.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore
from universality.labels import LabelSettings, TokenText, explanation_prompts, find_examples, scoring_prompts

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


def report(what: str, cpu: float, wall: float) -> float:
    """Print seconds and peak memory; return the processor seconds since."""
    spent = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {spent:.0f} s of processor, {time.perf_counter() - wall:.0f} s of wall, peak {peak:.0f} MiB",
        flush=True,
    )
    return spent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=30, help="firings a token")
    options = parser.parse_args()
    settings = LabelSettings()
    text = TokenText(lambda ids: [f" w{i}" for i in ids])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.h5")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(write_store, path, options.tokens, options.features, options.active).result()
        with FeatureStore.open(path) as store:
            print(f"{store.n_tokens:,} tokens, {store.n_features:,} features, {store.n_stored:,} firings", flush=True)
            report("before", time.process_time(), time.perf_counter())
            start = time.process_time(), time.perf_counter()
            kept = list(find_examples(store, settings=settings))
            total = report("examples, kept", *start)
        print(f"examples a feature: {np.mean([len(e.explain) for e in kept]):.1f} and "
              f"{np.mean([len(e.score) for e in kept]):.1f}")  # fmt: skip
        start = time.process_time(), time.perf_counter()
        n = sum(len(prompt.messages) > 0 for _, prompt in explanation_prompts(kept, text, settings))
        total += report(f"{n:,} prompts that explain", *start)
        start = time.process_time(), time.perf_counter()
        n = sum(len(scoring_prompts(one, "a word of some kind", text, settings)) for one in kept)
        total += report(f"{n:,} prompts that score one explanation of each", *start)
    print(f"{total:.0f} s of processor in all; target {TARGET:.0f} s: {'reached' if total <= TARGET else 'missed'}")


if __name__ == "__main__":
    main()
