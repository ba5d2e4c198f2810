"""Are the statistics right where the truth is known?

    python analyses/known_worlds.py [--draws N] [--json FILE] [--worlds TEXT] [--power | --few-groups]

Plants pairs of stores with known shared and unshared concepts, draws each world several times, calibrates the pairs,
and reports

- the share of false pairs among those with q <= 0.05 (FDR), and the share of true pairs found;
- how often the 95% interval of a pair covers its score on much more text;
- how often the interval of the median covers the average median on as much other text, and how far that median is from
  the one on much more text;
- where nothing is shared, how often p is at most 0.01, 0.05 and 0.2, and whether p-values are uniform.

In worlds of "kind alone", unshared features fire on the text of one kind and are driven by nothing else. They beat the
global null; the null within kinds exists for them. In "topics of works" two works fill a kind, and topics belong to
works. Documents, which replace works as the unit there, are not independent evidence, and the result is flagged.

In worlds of toy models the statistics receive only trained SAEs. More concepts than dimensions are placed along random
directions, different ones in the two models, an SAE is trained on each model, and their features are matched. A feature
represents a concept if its decoder row has a cosine of 0.7 with the concept's direction.

``--power`` shows what is lost where half of the documents lie in blocks that no null can re-pair: the same text, cut
into other blocks. ``--few-groups`` shows how often intervals cover where few documents can be resampled.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import kstest
from tqdm import tqdm

from universality import SAE, Calibration, Similarity, calibrate
from universality.matching.medians import median_of_all
from universality.sae import SAESpec, SAETrainer
from universality.statistics import bootstrap_intervals
from universality.statistics.synthetic import Planted, World, concepts, in_superposition, plant, write_view

REPLICATES, BOOTSTRAP, MORE_TEXT = 20, 1000, 10
LEVELS = (0.01, 0.05, 0.2)  # of p
D_IN, WIDTH, K, BATCH, EPOCHS, MEETS = 64, 256, 2, 512, 4, 0.7  # of the toy models and their SAEs
PLAIN = World(n_shared=150, density=(3e-3, 5e-2))
NOTHING = replace(PLAIN, n_shared=0, n_alone=150)
WORLDS = {
    "plain": PLAIN,
    "nothing shared": NOTHING,
    "bursty documents": replace(PLAIN, topic_share=0.05),
    "nothing shared, bursty": replace(NOTHING, topic_share=0.05),
    "noisy": replace(PLAIN, missed=0.5, jitter=0.8),
    "superposition": replace(PLAIN, leaked=0.3),
    "kinds": replace(PLAIN, kind_bound=0.5),
    "nothing shared, kinds": replace(NOTHING, kind_bound=0.5),
    "kind alone": replace(PLAIN, kind_bound=1.0, topic_share=1.0, density=(3e-2, 1e-1)),
    "nothing shared, kind alone": replace(NOTHING, kind_bound=1.0, topic_share=1.0, density=(3e-2, 1e-1)),
    "20 kinds": replace(PLAIN, kinds=20, kind_bound=0.5),
    "nothing shared, 20 kinds": replace(NOTHING, kinds=20, kind_bound=0.5),
    "nothing shared, 20 kinds alone": replace(NOTHING, kinds=20, kind_bound=1.0, topic_share=1.0),
    "two works a kind": replace(PLAIN, kinds=10, works=2, kind_bound=0.5),
    "nothing shared, two works a kind": replace(NOTHING, kinds=10, works=2, kind_bound=0.5),
    "nothing shared, topics of works": replace(NOTHING, kinds=10, works=2, kind_bound=0.5, work_topics=True),
    "half of the blocks": replace(PLAIN, short_blocks=0.5),
    "nothing shared, half of the blocks": replace(NOTHING, short_blocks=0.5),
    "splits and merges": replace(PLAIN, n_split=30, n_merged=30),
    "correlated concepts": replace(PLAIN, correlated=0.3),
    "toy models": replace(PLAIN, n_shared=100, density=(3e-3, 2e-2)),
    "toy models, nothing shared": replace(NOTHING, n_alone=150, density=(3e-3, 2e-2)),
}
WEAK = replace(PLAIN, n_documents=240, density=(2e-3, 2e-2), jitter=0.8)  # pairs that chance may hide ...
MISSED = (0.4, 0.5, 0.6, 0.7)  # ... the more so, the more firings either side misses


def look(world: World, folder: Path, seed: int, toys: bool = False) -> dict[str, float]:
    """Draw a world once, calibrate it, and compare the result with the truth."""
    much = replace(world, n_documents=world.n_documents * MORE_TEXT)
    if toys:
        planted, more = learnt([(world, folder / "little", 0), (much, folder / "more", 1)], seed)
    else:
        planted, more = plant(world, folder / "little", seed), plant(much, folder / "more", seed, text_seed=1)
    calibration = calibrate(planted.a, planted.b, replicates=REPLICATES, bootstrap=BOOTSTRAP, seed=seed)
    frame = calibration.to_frame()
    true = planted.is_true(frame["row"], frame["col"])
    often = np.minimum(frame["count_a"], frame["count_b"]) >= 100
    limit = Similarity.activation(more.a, more.b).pairs(frame["row"], frame["col"])
    covered = (frame["ci_low"] <= limit) & (limit <= frame["ci_high"])
    row = {"pairs": len(frame), "flagged": any("few groups" in note for note in calibration.notes)}
    for name, q, p in (("global", "q", "p"), ("kind", "q_kind", "p_kind")):
        passed = frame[q] <= 0.05
        row[f"FDR {name}"] = (passed & ~true).sum() / max(1, passed.sum())
        row[f"found {name}"] = (passed & true & often).sum()
        p_values = frame[p].dropna()
        row[f"KS {name}"] = kstest(p_values, "uniform").pvalue if world.n_shared == 0 else np.nan
        row |= {f"{name} p<={x}": (p_values <= x).mean() if world.n_shared == 0 else np.nan for x in LEVELS}
    row["partners"] = _partners(planted)
    row["intervals"] = (often & true & frame["ci_low"].notna()).sum()
    row["cover"] = (covered & often & true).sum()
    scored = frame["held_out"].notna().to_numpy()
    elsewhere = _medians_elsewhere(calibration, more, scored)
    row["median"] = calibration.median_ci[0] <= np.mean(elsewhere) <= calibration.median_ci[1]
    row["rise"] = _median(calibration, limit, scored) - np.mean(elsewhere)
    return row


def _medians_elsewhere(calibration: Calibration, more: Planted, scored: np.ndarray) -> list[float]:
    """Return medians of the same pairs on other texts, each with as many documents as the reporting half."""
    everything = Similarity.activation(more.a, more.b)
    n_documents = len(more.a.documents.id)
    size = n_documents // (2 * MORE_TEXT)
    chunks = (np.arange(first, first + size) for first in range(0, n_documents - size + 1, size))
    rows, cols = calibration.match.rows, calibration.match.cols
    return [_median(calibration, everything.restrict(chunk).pairs(rows, cols), scored) for chunk in chunks]


def _median(calibration: Calibration, scores: np.ndarray, scored: np.ndarray) -> float:
    """Return the median over all living rows, as the calibration does."""
    return median_of_all(np.where(scored, scores, np.nan), int((~calibration.match.dead_rows).sum()))


def power(draws: int, folder: Path) -> pd.DataFrame:
    """Return the share of true partners with q <= 0.05 where all blocks, or half of them, can be re-paired."""
    rows = {}
    for missed in MISSED:
        shares: dict[str, list[float]] = {}
        for seed in range(draws):
            for blocks, share in (("all", 0.0), ("half", 0.5)):
                planted = plant(replace(WEAK, missed=missed, short_blocks=share), folder / "power", seed)
                frame = calibrate(planted.a, planted.b, replicates=REPLICATES, bootstrap=0, seed=seed).to_frame()
                true = planted.is_true(frame["row"], frame["col"])
                for null, q in (("global", "q"), ("kind", "q_kind")):
                    shares.setdefault(f"{null}, {blocks} blocks", []).append(((frame[q] <= 0.05) & true).sum())
                shares.setdefault("paired rightly", []).append(true.sum())
        rows[missed] = {name: np.mean(values) / WEAK.n_shared for name, values in shares.items()}
    return pd.DataFrame(rows).T.rename_axis("missed")


def few_groups(draws: int, folder: Path) -> pd.DataFrame:
    """Return how many intervals are given, and how often they cover, where 1 to 12 documents can be resampled."""
    world = replace(PLAIN, n_documents=120, n_alone=0, topic_share=0.3, density=(1e-2, 5e-2))
    counted = dict.fromkeys(range(1, 13), (0, 0, 0))
    for seed in range(draws):
        planted = plant(world, folder / "few", seed)
        more = plant(replace(world, n_documents=10 * world.n_documents), folder / "limit", seed, text_seed=1)
        rows, cols = (side.argsort() for side in (planted.concept_a, planted.concept_b))
        limit = Similarity.activation(more.a, more.b).pairs(rows, cols)
        everything = Similarity.activation(planted.a, planted.b)
        for n, before in counted.items():
            low, high = bootstrap_intervals(everything.restrict(np.arange(n) + 12 * seed % 100), rows, cols, BOOTSTRAP)
            new = rows.size, (~np.isnan(low)).sum(), ((low <= limit) & (limit <= high)).sum()
            counted[n] = tuple(np.add(before, new).tolist())
    shares = {n: (given / asked, cover / given if given else np.nan) for n, (asked, given, cover) in counted.items()}
    return pd.DataFrame(shares, index=["given", "cover"]).T.rename_axis("documents")


def learnt(texts: list[tuple[World, Path, int]], seed: int) -> list[Planted]:
    """Train SAEs on two toy models and store their features on each text: (its world, a folder, the text's seed)."""
    world = texts[0][0]
    shared = np.arange(world.n_shared)
    saes, concept_of = [], []
    for side in range(2):
        first = world.n_shared + side * world.n_alone
        ids = np.concatenate([shared, np.arange(first, first + world.n_alone)])
        x, directions = in_superposition(concepts(world, seed, 2)[:, ids], D_IN, 2 * seed + side)
        sae = trained(torch.from_numpy(x), seed=2 * seed + side)
        cosine = sae.W_dec.numpy() @ directions.T
        no_concept = -1 - np.arange(WIDTH) - side * WIDTH  # a feature without a concept equals no other
        concept_of.append(np.where(cosine.max(axis=1) >= MEETS, ids[cosine.argmax(axis=1)], no_concept))
        saes.append((sae, ids))
    planted = []
    for text, folder, text_seed in texts:
        folder.mkdir(parents=True, exist_ok=True)
        codes = concepts(text, seed, text_seed)
        stores = [
            write_view(
                folder / f"{side}.h5", sae.encode(in_superposition(codes[:, ids], D_IN, 2 * seed + side)[0]), text
            )
            for side, (sae, ids) in enumerate(saes)
        ]
        planted.append(Planted(*stores, *concept_of, np.diff(codes.indptr)))
    return planted


def trained(x: torch.Tensor, seed: int) -> SAE:
    """Train an SAE on the activations of a toy model."""
    order = torch.from_numpy(
        np.concatenate([np.random.default_rng([seed, e]).permutation(len(x)) for e in range(EPOCHS)])
    )
    batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    trainer = SAETrainer(SAESpec(WIDTH, k=K, seed=seed), x, len(batches))
    for batch in batches:
        trainer.step(x[batch])
    return trainer.finish()


def _partners(planted: Planted) -> int:
    """Count features of A that fire often on the choosing half and share a concept with B, each concept once."""
    chosen = np.asarray(planted.a.documents.split)[planted.a.tokens.document] == "choose"
    counts = [
        np.asarray((store.csr()[np.flatnonzero(chosen)] > 0).sum(axis=0)).ravel() for store in (planted.a, planted.b)
    ]
    frequent = [side[count >= 100] for side, count in zip((planted.concept_a, planted.concept_b), counts, strict=True)]
    return len(np.intersect1d(*(side[side >= 0] for side in frequent)))


def summary(draws: pd.DataFrame, shared: bool) -> dict[str, float]:
    """Average the draws of a world into one line of the table."""
    partners = max(1, draws["partners"].sum())
    return {
        "FDR global": draws["FDR global"].mean(),
        "FDR kind": draws["FDR kind"].mean(),
        "recall global": draws["found global"].sum() / partners if shared else np.nan,
        "recall kind": draws["found kind"].sum() / partners if shared else np.nan,
        "coverage": draws["cover"].sum() / max(1, draws["intervals"].sum()) if shared else np.nan,
        "median covers": draws["median"].mean() if shared else np.nan,
        "rise": draws["rise"].mean() if shared else np.nan,
        "KS global": draws["KS global"].min(),
        "KS kind": draws["KS kind"].min(),
        **{f"{null} p<={x}": draws[f"{null} p<={x}"].mean() for null in ("global", "kind") for x in LEVELS},
        "flagged": draws["flagged"].mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=5, help="draws of every world")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    parser.add_argument("--worlds", default="", help="only worlds whose name contains this")
    parser.add_argument(
        "--power", action="store_true", help="measure the power lost where only half of the blocks can be re-paired"
    )
    parser.add_argument(
        "--few-groups", action="store_true", help="measure the coverage of intervals over 1 to 12 documents"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.power or options.few_groups:
            table = (power if options.power else few_groups)(options.draws, folder)
        else:
            lines = {name: _lines(world, folder, name, options.draws) for name, world in _wanted(options)}
            table = pd.DataFrame(lines).T
    print(table.to_string(float_format="{:.3f}".format, na_rep="–"))
    if options.json:
        options.json.write_text(json.dumps(json.loads(table.to_json(orient="index")), indent=1) + "\n")


def _wanted(options: argparse.Namespace) -> Iterable[tuple[str, World]]:
    return tqdm([item for item in WORLDS.items() if options.worlds in item[0]], disable=None)


def _lines(world: World, folder: Path, name: str, draws: int) -> dict[str, float]:
    results = [look(world, folder, seed, name.startswith("toy")) for seed in range(draws)]
    return summary(pd.DataFrame(results), world.n_shared > 0)


if __name__ == "__main__":
    main()
