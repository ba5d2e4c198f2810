"""Cost of a joint map of two dictionaries, from their stores to its clusters and the checks of how far it holds.

    python tests/bench/joint_map.py [--sizes 4096 16384] [--tokens 300000] [--active 32]

Worlds are those of similarity.py, half of whose features are shared, with decoder rows of 256 numbers: partners' rows
are as unlike as those of two models, and rows of one model form groups. For each size: processor seconds, seconds of
the clock, peak memory, the share of the planted partners that are among the 10 nearest of the other model, and the
power of the size with which the cost grows. Target: 10 minutes at 131,072, which is asked for by --sizes 131072.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from similarity import Written, peak, timed, world_in_parts

from universality.features import Dictionary, FeatureStore
from universality.maps import JointMap, joint_map
from universality.maps.faithfulness import PartnerRanks

D_OUT, GROUPS = 256, 64  # features of a group of decoder rows


def decoder(n: int, seed: int) -> NDArray[np.float32]:
    """Rows around n / 64 middles, as features of one subject lie."""
    draw = np.random.default_rng(seed)
    middles = draw.standard_normal((max(1, n // GROUPS), D_OUT), np.float32)
    return middles[draw.integers(0, len(middles), n)] + draw.standard_normal((n, D_OUT), np.float32)


def write_stores(folder: Path, n: int, n_tokens: int, active: int) -> NDArray[np.int64]:
    """Write a.h5 and b.h5, and return the partner of each feature; -1 for those without."""
    parts, partner = world_in_parts(n_tokens, n, active)
    writers = [Written(folder / f"{name}.h5", n_tokens, n) for name in "ab"]
    for sides in parts:
        for writer, rows in zip(writers, sides, strict=True):
            writer.append(rows)
    for seed, writer in enumerate(writers):
        writer.writer.finish(Dictionary(decoder(n, seed))).close()
    return np.asarray(partner)


def near(made: JointMap, partner: NDArray[np.int64]) -> float:
    """Share of 2,000 planted partners among the 10 nearest of the other model."""
    rows = np.flatnonzero(partner >= 0)
    placed = ~np.isnan(made.xy_a[rows, 0]) & ~np.isnan(made.xy_b[partner[rows], 0])
    rows = np.random.default_rng(0).permutation(rows[placed])[:2000]
    return float(PartnerRanks.of(made.xy_a, made.xy_b, rows, partner[rows]).near())


def one(n: int, n_tokens: int, active: int) -> dict[str, float | str]:
    """Measure one size; numba's compilation is paid by a small map before."""
    with tempfile.TemporaryDirectory() as folder:
        for size in (256, n):
            place = Path(folder) / str(size)
            place.mkdir()
            partner = write_stores(place, size, n_tokens if size == n else 20_000, active)
            with FeatureStore.open(place / "a.h5") as a, FeatureStore.open(place / "b.h5") as b:
                cost, made = timed(lambda a=a, b=b: joint_map(a, b))
    return {"wall": cost.wall, "processor": cost.processors, "edges": len(made.edges), "near": near(made, partner),
            "held_out": made.held_out.near(), "by_chance": made.by_chance.near(), "peak": peak()}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--sizes", type=int, nargs="+", default=[4096, 16_384])
    options.add_argument("--tokens", type=int, default=300_000)
    options.add_argument("--active", type=int, default=32)
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)  # in a process of its own, for its peak of memory
    given = options.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.tokens, given.active)))
        return
    print(f"{'a model':>10} {'processor s':>12} {'wall s':>8} {'edges':>10} {'near':>6} {'held out':>9} {'chance':>7}")
    costs = []
    for n in given.sizes:
        command = [
            sys.executable,
            __file__,
            "--one",
            str(n),
            "--tokens",
            str(given.tokens),
            "--active",
            str(given.active),
        ]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        costs.append((n, found["processor"]))
        print(f"{n:>10,} {found['processor']:12.1f} {found['wall']:8.1f} {found['edges']:10,} {found['near']:6.0%} "
              f"{found['held_out']:9.0%} {found['by_chance']:7.1%}  {found['peak']}", flush=True)  # fmt: skip
    for (small, low), (large, high) in pairwise(costs):
        power = log(high / low) / log(large / small)
        print(f"from {small:,} to {large:,}: grows as n^{power:.2f}; at that rate 131,072 take "
              f"{high * (131_072 / large) ** power:,.0f} processor s (target: 600)")  # fmt: skip


if __name__ == "__main__":
    main()
