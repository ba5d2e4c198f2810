"""Which matcher names pairs that do the same? Agreement of effects on held-out text for each matcher's best pairs.

    python analyses/effects.py [RUN] [--pairs 100 500 2000] [--contexts 8] [--seeds MODEL]

Every matcher names pairs from the half of the held-out documents that chooses partners (default RUN: runs/quickstart,
its first two models at the largest width). On the half that reports, each pair gets

- r of the two features' first-order effects over the tokens where both fire, divided by the norms of the gradient;
- r of their ablation fingerprints, by equal weight of all tokens and by their probability.

A row of the table is a matcher at its N best pairs, by its own score: medians with 95% intervals from resampled pairs,
the number of pairs whose features fire together often enough, and Spearman's correlation of the matcher's score with
the agreement. ``--seeds`` compares two SAE seeds of one model instead of two models. Soft matching needs POT
(``pip install POT==0.9.7.post1``), and is left out without it.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from universality import SAE, FeatureStore, Match, Similarity, Study, match
from universality.corpus import TokenBlocks
from universality.effects import (
    Fingerprints,
    ModelFeatures,
    ablation_fingerprints,
    collect_effects,
    mean_probabilities,
    read_gradient_norms,
)
from universality.pipeline.paths import RunFolder
from universality.similarity import shared_tokens
from universality.similarity.measures.alignment import align
from universality.statistics import compare_effects, evaluation_halves

FLOOR = 0.5
SINKHORN = 0.05
"""Entropic regularisation of the soft matching, in units of r."""
PROBABILITY_BLOCKS = 128
MEASURES = ("r_per_norm", "equal_r", "probability_r")


def named_pairs(a: FeatureStore, b: FeatureStore, choose: np.ndarray) -> Iterator[tuple[str, Match]]:
    """Match by each method on the choosing half."""
    activation = Similarity.activation(a, b, documents=choose)
    hungarian = match(activation)
    yield "activation, Hungarian", hungarian
    yield f"activation, Hungarian with floor {FLOOR}", match(activation, floor=FLOOR)
    yield "activation, mutual", match(activation, "mutual")
    yield "activation, nearest", match(activation, "nearest")
    if find_spec("ot") is not None:
        yield "activation, soft (Sinkhorn)", soft(activation, hungarian)
    yield "logit weights, Hungarian", match(Similarity.logit(a, b))
    yield "decoder after Procrustes, Hungarian", match(Similarity.decoder(a, b, alignment=align(a, b, choose)))
    rng = np.random.default_rng(0)
    yield "random", replace(hungarian, cols=rng.permutation(hungarian.cols), scores=rng.random(hungarian.rows.size))


def soft(activation: Similarity, like: Match) -> Match:
    """Name each row's column with most mass in the transport plan of entropic optimal transport."""
    import ot

    rows, cols = np.flatnonzero(~activation.dead_rows), np.flatnonzero(~activation.dead_cols)
    scores = activation.dense()[np.ix_(rows, cols)]
    plan = ot.sinkhorn(ot.unif(rows.size), ot.unif(cols.size), 1 - scores, SINKHORN, method="sinkhorn_log")
    best = plan.argmax(axis=1)
    mass = plan[np.arange(rows.size), best]
    return replace(like, method="nearest", rows=rows, cols=cols[best], scores=mass, gap=None)


def best(matched: Match, n: int) -> Match:
    """Keep the n best pairs by score."""
    kept = np.argsort(-matched.scores, kind="stable")[:n]
    return replace(matched, rows=matched.rows[kept], cols=matched.cols[kept], scores=matched.scores[kept])


def median_with_interval(values: np.ndarray) -> str:
    """Median of the known values, with the 95% interval over resampled pairs."""
    known = values[~np.isnan(values)]
    if known.size < 2:
        return "–"
    drawn = np.random.default_rng(0).choice(known, (1000, known.size))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return f"{np.median(known):.2f} ({low:.2f} to {high:.2f})"


def ranking(table: pd.DataFrame, name: str, matched: Match, sizes: list[int]) -> Iterator[dict[str, object]]:
    """Summarise the agreement of a matcher's best pairs, for each number of pairs."""
    order = np.argsort(-matched.scores, kind="stable")
    for n in (size for size in sizes if size <= order.size):
        top = table.iloc[order[:n]]
        row: dict[str, object] = {"matcher": name, "pairs": n, "with effects": int(top["r_per_norm"].notna().sum())}
        for measure in MEASURES:
            row[measure] = median_with_interval(top[measure].to_numpy())
            known = top[measure].notna().to_numpy()
            row[f"{measure} ~ score"] = round(
                float(spearmanr(matched.scores[order[:n]][known], top[measure][known])[0]), 2
            )
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--pairs", nargs="+", type=int, default=[100, 500, 2000])
    parser.add_argument("--contexts", type=int, default=8)
    parser.add_argument("--seeds", metavar="MODEL")
    given = parser.parse_args()
    begin = time.perf_counter()
    with Study.open(given.run) as study, TemporaryDirectory() as scratch:
        folder = RunFolder(given.run)
        sides = (
            [(given.seeds, 0), (given.seeds, 1)]
            if given.seeds
            else [(name, None) for name in study.config.models.names[:2]]
        )
        held_out = TokenBlocks.load(folder.blocks).select("choose", "report")
        features, effects, norms = [], [], []
        for i, (name, seed) in enumerate(sides):
            store = study.store(name, seed=seed)
            sae = SAE.load(given.run / "saes" / name / store.path.stem.removeprefix(f"{name}."))
            features.append(ModelFeatures(study.site(name), sae, store, held_out))
            paths = Path(scratch) / f"{i}.h5", Path(scratch) / f"{i}.norms.h5"
            collect_effects(study.site(name), {paths[0]: sae}, held_out, gradient_norms=paths[1])
            effects.append(FeatureStore.open(paths[0]))
            norms.append(read_gradient_norms(FeatureStore.open(paths[1])))
        a, b = (side.store for side in features)
        halves = evaluation_halves(a)
        few = held_out.select("choose").take(np.arange(min(PROBABILITY_BLOCKS, len(held_out.select("choose")))))
        tokens = shared_tokens(a, b, *(mean_probabilities(side.site, few) for side in features))
        prints: list[Fingerprints] = [
            ablation_fingerprints(side, of, n_contexts=given.contexts, documents=halves.report)
            for side, of in zip(features, tokens, strict=True)
        ]
        by_weight = {weight: Similarity.fingerprint(*prints, weight) for weight in ("equal", "probability")}
        rows = []
        for name, matched in named_pairs(a, b, halves.choose):
            named = best(matched, max(given.pairs))
            found = compare_effects(
                named, a, b, *effects, *norms, fingerprints=by_weight, permutations=0, controls=0, bootstrap=0
            )
            rows += ranking(found.to_frame(), name, named, [*given.pairs, named.rows.size])
    table = pd.DataFrame(rows).drop_duplicates(["matcher", "pairs"])
    print(table.to_string(index=False))
    print(f"\n{time.perf_counter() - begin:.0f} s wall, {time.process_time():.0f} processor s")


if __name__ == "__main__":
    main()
