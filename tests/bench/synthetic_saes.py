"""SynthSAEBench: our trainer and SAELens's on the same synthetic data, whose true features are known.

    python tests/bench/synthetic_saes.py [--worlds small full] [--architectures ...] [--rates ...] [--seeds N]

Worlds are drawn by SAELens's own generator from the published configuration of SynthSAEBench-16k (arXiv 2602.14687),
with its published seed. The published instance was drawn on a GPU and lies on a hub: this one has the same law, not the
same numbers. ``full`` is that law, ``small`` a sixteenth of it (1,024 features); the benchmark trains on 200 M samples,
which no CPU does, so figures compare two trainers after equally few samples, and not with published ones.

Both trainers get the same samples once and in one order, the same width, k, batch, nested widths, length of silence
after which a feature counts as dead, and the same learning rates with the same linear rise over a tenth and fall over
the last three tenths of the steps; everything else is each tool's default. The rate of each tool and architecture is
the one of its seed 0 with the largest held-out explained variance, which needs no truth; the other seeds train at that
rate. SAELens's BatchTopK is evaluated as its own runner does, by the k largest of each batch; ours by the threshold
that is saved with the SAE.

Metrics are the benchmark's: MCC (mean |cos| of decoder rows with true features, one to one), uniqueness, F1 of each
feature as a detector of its most similar true one, L0, dead features. They are computed here by the same lines for both
and held against SAELens's own evaluation once a world. The one-to-one matching is ours, exact with its certificate. A
second one matches by activations on the held-out samples, which knows no dictionary, and is held against the first.

Whatever is trained lies in the folder and is not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
from peers.environments import FOLDER, environment
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from similarity import timed, write

from universality.features import FeatureStore
from universality.matching import match
from universality.similarity import Similarity

PEERS = Path(__file__).parent / "peers"
TOOLS = ("universality", "sae_lens")
ARCHITECTURES = ("topk", "batchtopk", "matryoshka")
RECOVERED = 0.7  # |cos| from which a true feature counts as found
BATCH = 1024


@dataclass(frozen=True)
class Plan:
    """One training on a world."""

    samples: int
    held: int
    width: int
    k: int
    nested: tuple[int, ...]
    architectures: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: int
    dead_after: int = 20_480


PLANS = {
    "small": Plan(
        1_024_000, 32_768, 256, 6, (8, 32, 128), ARCHITECTURES, (1e-3, 3e-3, 1e-2), 3
    ),
    "full": Plan(204_800, 16_384, 4096, 25, (128, 512, 2048), ("topk", "batchtopk"), (1e-3, 3e-3, 1e-2), 1),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class World:
    """True features, and the held-out samples in which they are active."""

    truth: np.ndarray
    """[n_features, d_in] unit rows."""
    active: sparse.csr_matrix
    """[n_samples, n_features] strengths."""

    store: FeatureStore
    """The same as a store, so that features can be matched with them by activations."""

    @classmethod
    def load(cls, folder: Path) -> World:
        """Read the world of a folder, and write its store there the first time."""
        active, file = sparse.load_npz(folder / "held.npz"), folder / "truth.h5"
        return cls(
            np.load(folder / "truth.npy"), active, FeatureStore.open(file) if file.exists() else write(file, active)
        )


@dataclass(frozen=True)
class Recovery:
    """How much of the truth a dictionary has found. The mean, where features are concerned, is over all of them."""

    mcc: float
    """Mean |cos| of features and true ones, matched one to one (Song et al. 2025)."""
    recovered: float
    """Share of features whose partner there has |cos| of at least 0.7."""
    uniqueness: float
    """Number of true features that are the most similar one of any, over the number of features."""
    precision: float
    recall: float
    f1: float
    """Mean over features of F1 as a detector of the most similar true feature; 0 for dead ones."""
    l0: float
    dead: float
    """Share of features that fire on no held-out sample."""
    by_activation: float
    """Median correlation of living features with the true ones, matched one to one by activations."""
    same_partner: float
    """Share of the recovered features to which activations give the partner that the dictionary gives."""


def cosines(dictionary: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|cos| of decoder rows and true features: float32 [width, n_features]."""
    norm = np.linalg.norm(dictionary, axis=1, keepdims=True)
    similar = (dictionary / np.maximum(norm, 1e-12)).astype(np.float32) @ truth.T
    return np.abs(similar, out=similar)


def detection(codes: sparse.csr_matrix, active: sparse.csr_matrix, best: np.ndarray) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 of each feature as a detector of its most similar true one."""
    fires, true = (codes != 0).astype(np.float64), (active > 0).astype(np.float64)[:, best]
    both = np.asarray(fires.multiply(true).sum(axis=0)).ravel()
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(both / np.asarray(fires.sum(axis=0)).ravel())
        recall = np.nan_to_num(both / np.asarray(true.sum(axis=0)).ravel())
        return precision, recall, np.nan_to_num(2 * precision * recall / (precision + recall))


def activation_partners(codes: sparse.csr_matrix, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Partner of each feature among the true ones by activations (-1: none), and the correlations of the pairs."""
    with tempfile.TemporaryDirectory() as folder:
        found = match(Similarity.activation(write(Path(folder) / "codes.h5", codes), world.store))
    partner = np.full(codes.shape[1], -1)
    partner[found.rows] = found.cols
    return partner, found.scores


def recovery(dictionary: np.ndarray, codes: sparse.csr_matrix, world: World) -> Recovery:
    """Hold a dictionary and its codes on the held-out samples against the truth."""
    similar = cosines(dictionary, world.truth)
    pairs = match(Similarity.from_dense(similar))
    best = similar.argmax(axis=1)
    precision, recall, f1 = detection(codes, world.active, best)
    partner, correlations = activation_partners(codes, world)
    close = pairs.scores >= RECOVERED
    return Recovery(
        mcc=float(pairs.scores.mean()),
        recovered=float(close.mean()),
        uniqueness=np.unique(best).size / len(best),
        precision=float(precision.mean()),
        recall=float(recall.mean()),
        f1=float(f1.mean()),
        l0=float(codes.count_nonzero() / codes.shape[0]),
        dead=float((np.asarray((codes != 0).sum(axis=0)).ravel() == 0).mean()),
        by_activation=float(np.median(correlations)),
        same_partner=float((partner[pairs.rows[close]] == pairs.cols[close]).mean()) if close.any() else float("nan"),
    )


def run(python: Path, script: str, **options: Any) -> None:
    """Run a script of `peers` and stop with its message if it fails."""
    command = [str(python), str(PEERS / script)]
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        command += [f"--{name.replace('_', '-')}", *map(str, values)] if value is not True else [f"--{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def make_world(folder: Path, name: str, plan: Plan, python: Path, threads: int) -> World:
    """Draw the world unless it lies there, and describe it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "world.json").exists():
        sizes = {"samples": plan.samples, "held": plan.held, "width": plan.width}
        run(python, "synthetic_world.py", scale=name, out=folder, threads=threads, **sizes)
    world, found = World.load(folder), json.loads((folder / "world.json").read_text())
    similar = cosines(world.truth, world.truth)
    np.fill_diagonal(similar, 0)
    n, d_in = world.truth.shape
    print(
        f"\n{name}: {n:,} true features in {d_in} dimensions, {found['true_l0']:.1f} active on a sample, "
        f"{found['true_l0_of_the_width']:.1f} of the {plan.width:,} most frequent; mean squared norm "
        f"{found['mean_squared_norm']:.0f}; the most similar other feature has |cos| {similar.max(axis=1).mean():.3f} "
        f"in the mean. SAELens {found['sae_lens']}, seed {found['configuration']['seed']}; dictionary within "
        f"{found['difference_from_their_orthogonalisation']:.0e} of SAELens's own way of orthogonalising.\n"
        f"{plan.samples:,} samples in batches of {BATCH:,}, width {plan.width:,}, k {plan.k}, "
        f"{plan.held:,} held-out samples, {threads} thread",
        flush=True,
    )
    return world


@dataclass(frozen=True)
class Trained:
    """One SAE: which, what it cost, what it found."""

    architecture: str
    tool: str
    rate: float
    seed: int
    processor: float
    wall: float
    samples: int
    explained_variance: float
    recovery: Recovery
    theirs: dict[str, float] | None

    def row(self) -> dict[str, Any]:
        speed = {"samples/CPU s": self.samples / self.processor, "CPU s": self.processor}
        return {**asdict(self.recovery), "explained_variance": self.explained_variance, **speed}


class Bench:
    """The SAEs of one world; each is trained once and its numbers are kept in the folder."""

    def __init__(self, folder: Path, plan: Plan, world: World, pythons: dict[str, Path], threads: int) -> None:
        self.folder, self.plan, self.world, self.pythons, self.threads = folder, plan, world, pythons, threads

    def trained(self, architecture: str, tool: str, rate: float, seed: int, check: bool = False) -> Trained:
        """Train an SAE and hold it against the truth, or read the numbers of one."""
        file = self.folder / f"{architecture}-{tool}-{rate:g}-{seed}.json"
        if not file.exists():
            with tempfile.TemporaryDirectory() as out:
                self._train(Path(out), architecture, tool, rate, seed, check)
                cost = json.loads((Path(out) / "cost.json").read_text())
                dictionary, codes = np.load(Path(out) / "dictionary.npy"), sparse.load_npz(Path(out) / "codes.npz")
                found = recovery(dictionary, codes, self.world)
            which = {"architecture": architecture, "tool": tool, "rate": rate, "seed": seed}
            file.write_text(json.dumps({**which, **cost, "recovery": asdict(found)}))
        kept = json.loads(file.read_text())
        return Trained(**{**kept, "recovery": Recovery(**kept["recovery"])})

    def _train(self, out: Path, architecture: str, tool: str, rate: float, seed: int, check: bool) -> None:
        plan = self.plan
        nested = {"nested": plan.nested} if architecture == "matryoshka" else {}
        checked = {"check": True} if check else {}
        print(f"training {architecture} with {tool}, rate {rate:g}, seed {seed}", file=sys.stderr, flush=True)
        run(
            self.pythons[tool], "synthetic_trainer.py", tool=tool, architecture=architecture, world=self.folder,
            out=out, rate=rate, seed=seed, width=plan.width, k=plan.k, batch=BATCH, dead_after=plan.dead_after,
            threads=self.threads, **nested, **checked,
        )  # fmt: skip

    def first_seeds(self) -> list[Trained]:
        """Every rate of every tool, the tools in turn, so that a busy machine is busy for both."""
        plan = self.plan
        first = plan.architectures[0], "sae_lens", plan.rates[0], 0
        keys = [(a, t, r, 0) for a, r, t in product(plan.architectures, plan.rates, self.pythons)]
        return [self.trained(*key, check=key == first) for key in keys]

    def all_seeds(self, best: Iterable[Trained]) -> list[list[Trained]]:
        """The further seeds at the best rate of each tool and architecture."""
        seeds = range(1, self.plan.seeds)
        return [[one, *(self.trained(one.architecture, one.tool, one.rate, seed) for seed in seeds)] for one in best]


COLUMNS = {
    "mcc": "{:.3f}", "recovered": "{:.1%}", "uniqueness": "{:.3f}", "f1": "{:.3f}", "precision": "{:.3f}",
    "recall": "{:.3f}", "explained_variance": "{:.4f}", "l0": "{:.1f}", "dead": "{:.1%}", "by_activation": "{:.2f}",
    "same_partner": "{:.1%}", "samples/CPU s": "{:,.0f}", "CPU s": "{:.0f}",
}  # fmt: skip


def shown(name: str, values: list[float]) -> str:
    """Mean over seeds, with the standard deviation where there are several."""
    mean = COLUMNS[name].format(fmean(values))
    alone = len(values) == 1 or name in ("samples/CPU s", "CPU s")
    return mean if alone else f"{mean} ± {COLUMNS[name].format(stdev(values))}"


def table(rows: list[tuple[dict[str, Any], list[Trained]]]) -> str:
    """A line for each group of seeds, named by its first cells."""
    lines = []
    for names, group in rows:
        found = [one.row() for one in group]
        lines.append({**names, **{c: shown(c, [row[c] for row in found]) for c in COLUMNS}})
    return pd.DataFrame(lines).to_string(index=False)


def best_rates(first: list[Trained]) -> list[Trained]:
    """The SAE of each architecture and tool with the largest explained variance."""
    groups: dict[tuple[str, str], list[Trained]] = {}
    for one in first:
        groups.setdefault((one.architecture, one.tool), []).append(one)
    return [max(group, key=lambda one: one.explained_variance) for group in groups.values()]


def check(one: Trained) -> str:
    """Largest difference of our metrics from SAELens's own evaluation of the same SAE."""
    ours, theirs = one.row(), one.theirs or {}
    names = {"mcc": "mcc", "uniqueness": "uniqueness", "f1": "f1_score", "precision": "precision", "recall": "recall",
             "l0": "sae_l0", "explained_variance": "explained_variance"}  # fmt: skip
    return f"{max(abs(ours[name] - theirs[other]) for name, other in names.items()):.1e}"


def chance(world: World, width: int) -> str:
    """Scores of random rows, and the cost of the same matching by SciPy's solver and by ours."""
    rows = np.random.default_rng(0).standard_normal((width, world.truth.shape[1])).astype(np.float32)
    similar = cosines(rows, world.truth)
    match(Similarity.from_dense(similar[:300]))  # so that no figure holds a compiler
    ours, found = timed(lambda: match(Similarity.from_dense(similar)))
    theirs, (i, j) = timed(lambda: linear_sum_assignment(similar, maximize=True))
    lost = float(similar[i, j].sum(dtype=np.float64)) - float(found.scores.sum())
    return (
        f"Random rows have MCC {found.scores.mean():.3f} and {np.mean(found.scores >= RECOVERED):.0%} recovered. The "
        f"matching took {ours.processors:.2f} s of processor, SciPy's solver {theirs.processors:.2f} s; SciPy's sum "
        f"is larger by {lost:.1e}, our certificate bounds that by {found.gap:.1e}."
    )


def report(name: str, plan: Plan, folder: Path, pythons: dict[str, Path], threads: int) -> None:
    """All tables of one world."""
    world = make_world(folder, name, plan, pythons["sae_lens"], threads)
    print(chance(world, plan.width), flush=True)
    bench = Bench(folder, plan, world, pythons, threads)
    first = bench.first_seeds()
    held = next(one for one in first if one.theirs)
    print(f"Metrics differ from SAELens's own evaluation of its first SAE by at most {check(held)}.")
    print("\nEvery learning rate, seed 0")
    print(table([({"architecture": o.architecture, "tool": o.tool, "rate": f"{o.rate:g}"}, [o]) for o in first]))
    print(f"\nThe rate with the largest explained variance, mean ± standard deviation of {plan.seeds} seed(s)")
    groups_of_seeds = bench.all_seeds(best_rates(first))
    print(table([({"architecture": g[0].architecture, "tool": g[0].tool, "rate": f"{g[0].rate:g}"}, g)
                 for g in groups_of_seeds]), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", choices=PLANS, default=["small"])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, help="instead of the plan's")
    parser.add_argument("--samples", type=int, help="training samples instead of the plan's")
    parser.add_argument("--rates", type=float, nargs="+", help="learning rates instead of the plan's")
    parser.add_argument("--seeds", type=int, help="SAE seeds instead of the plan's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER / "synthetic")
    options = parser.parse_args()
    pythons = {tool: python for tool in TOOLS if (python := environment(tool)) is not None}
    if "sae_lens" not in pythons:
        raise SystemExit("the worlds are drawn by SAELens's own generator, so nothing can be measured without it")
    changed = {name: value for name in ("samples", "seeds") if (value := getattr(options, name))}
    changed |= {name: tuple(value) for name in ("rates", "architectures") if (value := getattr(options, name))}
    for name in options.worlds:
        plan = Plan(**{**asdict(PLANS[name]), **changed})
        folder = options.folder / f"{name}-{plan.samples}"
        report(name, plan, folder, pythons, options.threads)


if __name__ == "__main__":
    main()
