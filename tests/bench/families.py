"""What families cost: time, memory and accuracy, on dictionaries whose families are known.

    python tests/bench/families.py [--tokens N] [--ladder] [--ladder-tokens N]

Each leaf of the widest dictionary belongs to one feature of every narrower one; a feature fires where its leaves do,
and its decoder row is its parent's with noise. Leaves fire at Zipf-like rates, 32 a token. Every row runs in a process
of its own, so that its peak of memory is its own. Beside the families stands, in the same run, the pass that they do
not take: masked cosines as an array of features x features, of the first step alone. `--ladder` adds nine widths, 512
to 131,072.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import sparse

from universality.family import Families, families
from universality.features import FeatureStore
from universality.features.storage.token_table import Dictionary
from universality.similarity import Similarity

THREE = (512, 2048, 8192)
LADDER = tuple(512 << i for i in range(9))
FIRING, D_IN, BATCH = 32, 128, 1 << 15


def write_stores(folder: Path, widths: tuple[int, ...], n_tokens: int) -> None:
    """One store a width; the features of a width are numbered so that i's children are those of equal i // ratio."""
    rng = np.random.default_rng(0)
    rates = 1 / (rng.permutation(widths[-1]) + 20.0)
    edges = np.cumsum(rates / rates.sum())
    writers = [FeatureStore.create(folder / f"{w}.h5", w, {"model": {"hash": "m"}}) for w in widths]
    for start in range(0, n_tokens, BATCH):
        row = np.arange(start, min(start + BATCH, n_tokens))
        leaf = np.searchsorted(edges, rng.random((row.size, FIRING)), side="right").clip(max=widths[-1] - 1)
        strength = rng.gamma(4, 0.25, leaf.shape).astype(np.float32)
        for width, writer in zip(widths, writers, strict=True):
            feature = leaf // (widths[-1] // width)
            indptr = np.arange(0, feature.size + 1, FIRING)
            x = sparse.csr_matrix((strength.ravel(), feature.ravel(), indptr), shape=(row.size, width))
            x.sum_duplicates()
            kind = np.array([f"k{i % 20}" for i in row // 128])
            writer.append(x, token=row % 4096, document=row // 128, position=row % 128 + 1, kind=kind)
    decoder = rng.standard_normal((widths[0], D_IN)) / np.sqrt(D_IN)
    for width, writer in zip(widths, writers, strict=True):
        if width > len(decoder):
            noise = rng.standard_normal((width, D_IN)) / np.sqrt(D_IN)
            decoder = np.repeat(decoder, width // len(decoder), axis=0) + 0.8 * noise
            decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        writer.finish(dictionary=Dictionary(decoder=decoder)).close()


def accuracy(found: Families) -> tuple[float, float]:
    """Precision and recall of the edges, among features that fire often enough."""
    widths = np.array([level.width for level in found.levels])
    e = found.edges
    ratio = widths[e.level + 1] // widths[e.level]
    right = int((e.child // ratio == e.parent).sum())
    planted = sum(int(level.eligible(found.rule.min_firings).sum()) for level in found.levels[1:])
    return right / max(1, len(e)), right / max(1, planted)


def measure(folder: Path, widths: tuple[int, ...], what: str) -> str:
    """One row of the table, run in this process."""
    stores = [FeatureStore.open(folder / f"{width}.h5") for width in widths]
    wall, processors = time.perf_counter(), time.process_time()
    said = ""
    if what == "array":
        sim = Similarity.masked_cosine(*stores[:2], memory_budget=4 << 30)
        kept = sim.above(0.4)
        said = f"{len(kept[0]):,} pairs"
    else:
        found = families(stores, n_replicates=0 if what == "alone" else 3, bootstrap=0 if what == "alone" else 100)
        precision, recall = accuracy(found)
        said = f"{len(found.edges):,} edges, precision {precision:.3f}, recall {recall:.3f}"
    wall, processors = time.perf_counter() - wall, time.process_time() - processors
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss would keep the parent's peak
    peak = int(status.split("VmHWM:")[1].split()[0])
    return f"{wall:8.1f} {processors:10.1f} {peak / 2**20:9.2f}  {said}"


def table(title: str, widths: tuple[int, ...], n_tokens: int, rows: dict[str, str]) -> None:
    """Write the stores, then run every row in a process of its own."""
    print(f"\n{title}: widths {', '.join(map(str, widths))}, {n_tokens:,} tokens, {FIRING} leaves a token")
    print(f"{'':<44} {'wall, s':>8} {'all CPU, s':>10} {'peak, GB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        write_stores(Path(folder), widths, n_tokens)
        for what, label in rows.items():
            command = [sys.executable, __file__, "--measure", what, "--folder", folder, "--widths", *map(str, widths)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"{label:<44} {done.stdout.rstrip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--ladder", action="store_true")
    parser.add_argument("--ladder-tokens", type=int, default=300_000)
    parser.add_argument("--measure", choices=["whole", "alone", "array"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--widths", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure(options.folder, tuple(options.widths), options.measure))
        return
    rows = {
        "whole": "families, 3 nulls, support (target: 60 s)",
        "alone": "families alone",
        "array": "masked cosines of the first step, as an array",
    }
    table("Three widths", THREE, options.tokens, rows)
    if options.ladder:
        table("A ladder", LADDER, options.ladder_tokens, {"alone": "families alone (target: 6 GB)"})


if __name__ == "__main__":
    main()
