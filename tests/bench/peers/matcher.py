"""Match the features of two dictionaries in one way, in a process of its own; print what it cost as lines of JSON.

A process of its own, so that its peak of memory is that of one way, and so that its memory and processor time can be
limited. Runs in our environment, or in interp-lab's for its matcher. Pairs are written to the folder. Every line is
printed as soon as it is known: what a limit stops later does not take back what is done.

The ways of others, as their authors publish them:

``corrcoef``
    `numpy.corrcoef` of both dense matrices of activations, as in most notebooks.
``streamed``
    Sums and products over dense batches of tokens in float32, then all correlations: `cal_correlation.py` of Wang et
    al. (2024), arXiv 2410.06672, and in this form `correlations_fast.py` of Gurnee et al. (2024).
``interp_lab``
    `match_feature_cards` of interp-lab 3.1.0: the cosine of two lists of activations, in pure Python for every pair,
    and of all pairs the best k. A feature's list holds its first 128 records by default.
``cosine``
    Cosines of all decoder rows: the mean maximum of them (Sharkey et al. 2022), and one to one by SciPy's solver
    (Paulo & Belrose 2025; PW-MCC of Song et al. 2025).

All correlations are followed by the best partner of each row (``argmax``), by the pairs in falling order of which no
feature occurs twice (``greedy``), and by SciPy's `linear_sum_assignment`.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

BATCH = 4096  # tokens that are made dense at a time
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Found:
    """Pairs of one matcher, and the seconds that they took."""

    matcher: str
    pairs: Pairs
    processor: float
    wall: float


def timed(action: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result of an action, its processor seconds and its wall seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = action()
    return result, time.process_time() - processor, time.perf_counter() - wall


def argmax(scores: np.ndarray) -> Pairs:
    """The best partner of each row."""
    cols = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    return rows, cols, scores[rows, cols]


def greedy(scores: np.ndarray) -> Pairs:
    """Pairs in falling order of their scores, of which no feature occurs twice."""
    order = np.argsort(-scores, axis=None)
    n_rows, n_cols = scores.shape
    free_rows, free_cols, kept = np.ones(n_rows, dtype=bool), np.ones(n_cols, dtype=bool), []
    for flat in order:
        i, j = divmod(int(flat), n_cols)
        if free_rows[i] and free_cols[j]:
            free_rows[i] = free_cols[j] = False
            kept.append((i, j))
            if len(kept) == min(n_rows, n_cols):
                break
    rows, cols = np.array(kept).T
    return rows, cols, scores[rows, cols]


def hungarian(scores: np.ndarray) -> Pairs:
    """The one-to-one pairs with the largest sum, by SciPy's dense solver."""
    rows, cols = linear_sum_assignment(scores, maximize=True)
    return rows, cols, scores[rows, cols]


PAIRINGS = {"argmax": argmax, "hungarian": hungarian, "greedy": greedy}


def paired(name: str, correlate: Callable[[], np.ndarray]) -> Iterator[Found]:
    """All scores once, and every way of pairing by them; each costs the scores and itself."""
    scores, processor, wall = timed(correlate)
    for pairing, pair in PAIRINGS.items():
        found, seconds, passed = timed(lambda pair=pair: pair(scores))
        yield Found(f"{name}, {pairing}", found, processor + seconds, wall + passed)


def corrcoef(folder: Path) -> Iterator[Found]:
    def correlate() -> np.ndarray:
        a, b = (sparse.load_npz(folder / name).toarray() for name in ("a.npz", "b.npz"))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(np.corrcoef(a, b, rowvar=False)[: a.shape[1], a.shape[1] :])

    return paired("numpy.corrcoef", correlate)


def streamed(folder: Path) -> Iterator[Found]:
    def correlate() -> np.ndarray:
        a, b = (sparse.load_npz(folder / name) for name in ("a.npz", "b.npz"))
        n, products = a.shape[0], np.zeros((a.shape[1], b.shape[1]), dtype=np.float32)
        sums, squares = ([np.zeros(m.shape[1]) for m in (a, b)] for _ in range(2))
        for low in range(0, n, BATCH):
            x, y = (m[low : low + BATCH].toarray() for m in (a, b))
            for side, part in enumerate((x, y)):
                sums[side] += part.sum(axis=0)
                squares[side] += np.square(part).sum(axis=0)
            products += x.T @ y
        norms = [np.sqrt(n * q - s**2).astype(np.float32) for q, s in zip(squares, sums, strict=True)]
        for low in range(0, len(products), 1024):  # in blocks, as there
            rows = slice(low, low + 1024)
            products[rows] *= n
            products[rows] -= np.outer(sums[0][rows], sums[1]).astype(np.float32)
            products[rows] /= np.maximum(np.outer(norms[0][rows], norms[1]), 1e-12)
        return products

    return paired("dense batches", correlate)


def cosine(folder: Path) -> Iterator[Found]:
    def correlate() -> np.ndarray:
        x, y = (np.load(folder / name).astype(np.float32) for name in ("a.npy", "b.npy"))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T

    return paired("dense cosines", correlate)


def interp_lab(folder: Path, n_records: int) -> Iterator[Found]:
    from interp_lab.matching import match_feature_cards
    from interp_lab.schema import FeatureCard, FeatureFingerprint

    def cards(side: str) -> list[FeatureCard]:
        """A card a feature, with nothing but activations: what has no text or effect is left out of the score."""
        signatures = sparse.load_npz(folder / f"{side}.npz")[:n_records].toarray().T
        plain = {"label": "", "explanation": "", "examples": [], "source": "", "importance": 0.0, "association": 0.0,
                 "specificity": 0.0, "causal_effect": 0.0, "stability": 0.0}  # fmt: skip
        made = []
        for j, values in enumerate(signatures):
            name = {"feature_id": str(j), "model": side, "layer": None}
            empty = {"text": "", "text_vector": [], "decoder_signature": [], "causal_vector": []}
            print_ = FeatureFingerprint(**name, **empty, activation_signature=values.tolist())
            made.append(FeatureCard(**name, **plain, fingerprint=print_))
        return made

    def match() -> Pairs:
        a, b = cards("a"), cards("b")
        found = match_feature_cards(a, b, top_k=min(len(a), len(b)))
        ends = ([int(getattr(one, end)) for one in found] for end in ("left_feature_id", "right_feature_id"))
        # it maps a cosine c to (1 + c) / 2
        return *(np.array(end) for end in ends), np.array([2 * one.score - 1 for one in found])

    pairs, processor, wall = timed(match)
    yield Found(f"interp-lab, {n_records:,} records", pairs, processor, wall)


def ours(folder: Path, method: str) -> Iterator[Found]:
    from universality.features import FeatureStore
    from universality.matching import match
    from universality.similarity import Similarity

    a, b = (FeatureStore.open(folder / name) for name in ("a.h5", "b.h5"))

    def found() -> Pairs:
        result = match(Similarity.activation(a, b), method)
        return result.rows, result.cols, result.scores

    match(Similarity.activation(a, b, documents=np.arange(4)), method)  # so that no figure holds a compiler
    pairs, processor, wall = timed(found)
    yield Found(f"universality, {'exact' if method == 'hungarian' else method}", pairs, processor, wall)


def calibrated(folder: Path) -> Iterator[Found]:
    """Pairs that chance does not explain, at a false discovery rate of 5%; scores are held-out correlations."""
    from universality.features import FeatureStore
    from universality.statistics import calibrate

    a, b = (FeatureStore.open(folder / name) for name in ("a.h5", "b.h5"))
    frame, processor, wall = timed(lambda: calibrate(a, b, null="global", bootstrap=0).to_frame())
    kept = frame[frame.q <= 0.05]
    pairs = kept.row.to_numpy(), kept.col.to_numpy(), kept.held_out.to_numpy()
    yield Found("universality, exact, q <= 0.05", pairs, processor, wall)


def ours_of_decoders(folder: Path) -> Iterator[Found]:
    from universality.matching import match
    from universality.similarity import Similarity

    def unit(name: str) -> np.ndarray:
        rows = np.load(folder / name)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def found() -> Pairs:
        result = match(Similarity.from_factors(unit("a.npy"), unit("b.npy")))
        return result.rows, result.cols, result.scores

    match(Similarity.from_factors(*np.eye(300)[None].repeat(2, axis=0)), solver="sparse")
    pairs, processor, wall = timed(found)
    yield Found("universality, exact", pairs, processor, wall)


WAYS: dict[str, Callable[[Path], Iterator[Found]]] = {
    "exact": lambda folder: ours(folder, "hungarian"),
    "nearest": lambda folder: ours(folder, "nearest"),
    "calibrated": calibrated,
    "corrcoef": corrcoef,
    "streamed": streamed,
    "interp_lab": lambda folder: interp_lab(folder, 128),
    "interp_lab_long": lambda folder: interp_lab(folder, 1024),
    "decoder_exact": ours_of_decoders,
    "cosine": cosine,
}


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    # ru_maxrss of a child begins with its parent's
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--memory", type=float, required=True, help="GiB that may be allocated")
    parser.add_argument("--seconds", type=int, required=True, help="of processor")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (int(options.memory * 2**30),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (options.seconds, options.seconds + 5))
    for number, found in enumerate(WAYS[options.way](options.folder)):
        file = options.folder / f"{options.way}-{number}.npz"
        np.savez(file, rows=found.pairs[0], cols=found.pairs[1], scores=found.pairs[2])
        cost = {"processor": found.processor, "wall": found.wall, "peak": peak_gib()}
        print(json.dumps({"matcher": found.matcher, "pairs": str(file), **cost}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
