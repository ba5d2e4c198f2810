"""Peers' ways of matching features against ours, where the true partners are known: cost, and which pairs they find.

    python tests/bench/matchers.py [--sizes N ...] [--tokens N] [--ways ...] [--memory GiB] [--seconds N]

Three kinds of world. ``activations``: two stores in which half of the features have a partner, with firing rates by
Zipf's law (`similarity.py`). ``text``: two stores with documents, topics, and concepts that are one feature on one side
and two on the other (`universality.statistics.synthetic`). ``decoders``: unit rows of 256 numbers, half of them shared
but for noise (`match.py`).

Every way runs in a process of its own, within the same limits of memory and processor time; where it meets one the
table says so, and it is not tried at larger sizes. Seconds are of the processor, from the files on disk to the pairs.
The peers' ways and their sources are in `peers/matcher.py`.

"planted found" is the share of features with a partner that are given it. "wrong" is the share of all pairs named that
are not of one concept: ways that give every feature a partner are wrong about those that have none, so pairs with a
score of at least 0.5 stand beside.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from match import decoder_rows
from peers.environments import environment
from scipy import sparse
from similarity import stores

from universality.statistics.synthetic import World, plant

WORKER = Path(__file__).parent / "peers" / "matcher.py"
OF_ACTIVATIONS = ("exact", "nearest", "calibrated", "streamed", "corrcoef", "interp_lab", "interp_lab_long")
OF_DECODERS = ("decoder_exact", "cosine")
LIKELY = 0.5  # score from which a pair counts as claimed


@dataclass(frozen=True, eq=False)
class Truth:
    """Concept of each feature; pairs of one concept are right."""

    concept_a: np.ndarray
    concept_b: np.ndarray
    alive_a: np.ndarray
    alive_b: np.ndarray

    def right(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Flag the pairs whose two features are of one concept."""
        return self.concept_a[rows] == self.concept_b[cols]

    @property
    def n_planted(self) -> int:
        """Living features of A whose concept is a living feature of B's, too."""
        return int(np.isin(self.concept_a[self.alive_a], self.concept_b[self.alive_b]).sum())

    def judge(self, pairs: dict[str, np.ndarray], exact: set[tuple[int, int]]) -> dict[str, Any]:
        """How right the pairs of one matcher are, and which share of them the exact assignment has."""
        rows, cols, scores = pairs["rows"], pairs["cols"], pairs["scores"]
        right, likely = self.right(rows, cols), scores >= LIKELY
        same = np.mean([pair in exact for pair in zip(rows, cols, strict=True)]) if exact and len(rows) else np.nan
        return {
            "pairs": f"{len(rows):,}",
            "planted found": f"{np.unique(rows[right & self.alive_a[rows]]).size / self.n_planted:.1%}",
            "wrong": f"{1 - right.mean():.1%}" if len(rows) else "",
            f"pairs >= {LIKELY}": f"{likely.sum():,}",
            "of them wrong": f"{(likely & ~right).sum():,}",
            "as exact": f"{same:.1%}",
        }


def activations(folder: Path, n_tokens: int, size: int) -> Truth:
    """The stores of `similarity.py`, and what the peers read."""
    a, b, order = stores(folder, n_tokens, size, 32)
    for side, store in (("a", a), ("b", b)):
        (folder / f"{side}.h5").symlink_to(store.path.resolve())
        sparse.save_npz(folder / f"{side}.npz", store.csr(), compressed=False)
    concept_b = np.full(size, -2)  # of B's own, which no feature of A is of
    concept_b[order[order >= 0]] = np.flatnonzero(order >= 0)
    return Truth(np.where(order >= 0, np.arange(size), -1), concept_b, a.alive, b.alive)


def text(folder: Path, size: int) -> Truth:
    """Stores of text with topics; an eighth of a side's concepts is split or merged."""
    sixteenth = size // 16
    world = World(n_shared=8 * sixteenth, n_alone=6 * sixteenth, n_split=sixteenth, n_merged=sixteenth)
    planted = plant(world, folder)
    for side, store in (("a", planted.a), ("b", planted.b)):
        sparse.save_npz(folder / f"{side}.npz", store.csr(), compressed=False)
    return Truth(planted.concept_a, planted.concept_b, planted.a.alive, planted.b.alive)


def decoders(folder: Path, size: int) -> Truth:
    """Decoder rows of which the first half is shared."""
    x, y = decoder_rows(size, shared=0.5)
    np.save(folder / "a.npy", x)
    np.save(folder / "b.npy", y)
    concept, alive = np.arange(size), np.ones(size, dtype=bool)
    return Truth(concept, np.where(concept < size // 2, concept, -1), alive, alive)


@dataclass(frozen=True)
class Limits:
    """Limits of a way."""

    memory: float
    """GiB that it may allocate."""
    seconds: int
    """Seconds of processor."""


def outcome(done: subprocess.CompletedProcess[str], limits: Limits) -> str:
    """Why a way stopped; empty if it finished."""
    if done.returncode == 0:
        return ""
    if done.returncode == -signal.SIGXCPU:
        return f"stopped: more than {limits.seconds} s"
    if "MemoryError" in done.stderr or "alloc" in done.stderr.lower():
        return f"stopped: more than {limits.memory:g} GiB"
    raise SystemExit(f"{done.args} failed:\n{done.stderr[-2000:]}")


def measured(way: str, python: Path, folder: Path, limits: Limits) -> tuple[list[dict[str, Any]], str]:
    """Result of a way within the limits, and why it stopped."""
    command = [str(python), str(WORKER), "--way", way, "--folder", str(folder)]
    command += ["--memory", str(limits.memory), "--seconds", str(limits.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], outcome(done, limits)


@dataclass(frozen=True)
class Case:
    """A world of one size."""

    kind: str
    name: str
    make: Callable[[Path], Truth]
    ways: tuple[str, ...]


def table(
    truth: Truth, folder: Path, ways: list[str], pythons: dict[str, Path], limits: Limits
) -> tuple[str, set[str]]:
    """A line for every matcher, the exact assignment first; and the ways that met a limit."""
    exact: set[tuple[int, int]] = set()
    lines, stopped = [], set()
    for way in ways:
        found, reason = measured(way, pythons[tool_of(way)], folder, limits)
        for one in found:
            with np.load(one["pairs"]) as file:
                pairs = dict(file)
            if way in ("exact", "decoder_exact"):
                exact = set(zip(pairs["rows"].tolist(), pairs["cols"].tolist(), strict=True))
            cost = {"CPU s": f"{one['processor']:.2f}", "peak GiB": f"{one['peak']:.2f}"}
            lines.append({"matcher": one["matcher"], **cost, **truth.judge(pairs, exact)})
        if reason:
            lines.append({"matcher": way, "CPU s": reason})
            stopped.add(way)
    return pd.DataFrame(lines).fillna("").to_string(index=False), stopped


def tool_of(way: str) -> str:
    """Whose environment a way runs in."""
    return "interp_lab" if way.startswith("interp_lab") else "universality"


def compare(cases: list[Case], only: list[str], pythons: dict[str, Path], limits: Limits) -> None:
    """A table a case. A way that met a limit is not tried again on larger worlds of the kind."""
    stopped: dict[str, set[str]] = {}
    for case in cases:
        before = stopped.setdefault(case.kind, set())
        asked = [way for way in case.ways if way in only and tool_of(way) in pythons]
        with tempfile.TemporaryDirectory() as folder:
            truth = case.make(Path(folder))
            ways = [way for way in asked if way not in before]
            shown, met = table(truth, Path(folder), ways, pythons, limits)
        print(f"\n{case.name}: {truth.n_planted:,} planted partners\n{shown}", flush=True)
        if left_out := before.intersection(asked):
            print(f"not tried, since stopped before: {', '.join(sorted(left_out))}")
        before |= met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1024, 4096], help="features of a side")
    parser.add_argument("--tokens", type=int, nargs="+", default=[100_000], help="numbers of tokens")
    parser.add_argument("--text", type=int, nargs="*", default=[1024], help="features of a side, in worlds of text")
    parser.add_argument("--decoders", type=int, nargs="*", default=[1024, 4096], help="decoder rows of a side")
    every = (*OF_ACTIVATIONS, *OF_DECODERS)
    parser.add_argument("--ways", nargs="+", choices=every, default=every, help="only these")
    parser.add_argument("--memory", type=float, default=6.0, help="GiB that a way may allocate")
    parser.add_argument("--seconds", type=int, default=300, help="processor seconds that a way may use")
    options = parser.parse_args()
    tools = "universality", "interp_lab"
    pythons = {tool: python for tool in tools if (python := environment(tool)) is not None}
    limits = Limits(options.memory, options.seconds)
    print(f"Limits of each way: {limits.memory:g} GiB allocated, {limits.seconds} s of processor")
    cases = []
    for n in options.tokens:
        for size in options.sizes:
            name = f"Activations of {n:,} tokens, {size:,} features a side, 32 active"
            make = partial(activations, n_tokens=n, size=size)
            cases.append(Case(f"activations of {n}", name, make, OF_ACTIVATIONS))
    for size in options.text:
        name = f"Text with topics, {World().n_tokens:,} tokens, about {size:,} features a side"
        cases.append(Case("text", name, partial(text, size=size), OF_ACTIVATIONS))
    cases += [
        Case("decoders", f"{size:,} decoder rows a side", partial(decoders, size=size), OF_DECODERS)
        for size in options.decoders
    ]
    compare(cases, options.ways, pythons, limits)


if __name__ == "__main__":
    main()
