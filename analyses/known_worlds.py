"""Do the statistics tell the truth where the truth is known?

    python analyses/known_worlds.py [--draws N] [--json FILE]

Plants pairs of stores (which features are one concept, which stand alone), calibrates them, and reports the share of
false pairs among those with q <= 0.05 (FDR), the share of true pairs found, how often a 95% interval covers the score
that much more text gives, and whether p-values are uniform where nothing is shared. Each world is drawn several times.

In the worlds of toy models nothing is handed to the statistics: more concepts than dimensions are laid along random
directions, other ones in each of two models, an SAE is trained on each, and its features are matched. A feature is a
concept's whose direction its decoder row meets at a cosine of 0.7.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import kstest
from tqdm import tqdm

from universality import SAE, Similarity, calibrate
from universality.sae import SAESpec, SAETrainer
from universality.statistics.worlds import Planted, World, concepts, in_superposition, plant, write_view

REPLICATES, BOOTSTRAP, MORE_TEXT = 20, 1000, 10
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
    "splits and merges": replace(PLAIN, n_split=30, n_merged=30),
    "correlated concepts": replace(PLAIN, correlated=0.3),
    "toy models": replace(PLAIN, n_shared=100, density=(3e-3, 2e-2)),
    "toy models, nothing shared": replace(NOTHING, n_alone=150, density=(3e-3, 2e-2)),
}


def look(world: World, folder: Path, seed: int, toys: bool = False) -> dict[str, float]:
    """One draw of a world: what was found, beside the truth."""
    much = replace(world, n_documents=world.n_documents * MORE_TEXT)
    if toys:
        planted, more = learnt([(world, folder / "some", 0), (much, folder / "more", 1)], seed)
    else:
        planted, more = plant(world, folder / "some", seed), plant(much, folder / "more", seed, text_seed=1)
    found = calibrate(planted.a, planted.b, replicates=REPLICATES, bootstrap=BOOTSTRAP, seed=seed)
    frame = found.to_frame()
    true = planted.is_true(frame["row"], frame["col"])
    often = np.minimum(frame["count_a"], frame["count_b"]) >= 100
    limit = Similarity.activation(more.a, more.b).pairs(frame["row"], frame["col"])
    covered = (frame["ci_low"] <= limit) & (limit <= frame["ci_high"])
    row = {"pairs": len(frame)}
    for name, q, p in (("global", "q", "p"), ("kind", "q_kind", "p_kind")):
        passed = frame[q] <= 0.05
        row[f"FDR {name}"] = (passed & ~true).sum() / max(1, passed.sum())
        row[f"found {name}"] = (passed & true & often).sum()
        row[f"KS {name}"] = kstest(frame[p].dropna(), "uniform").pvalue if world.n_shared == 0 else np.nan
    row["partners"] = _partners(planted)
    row["intervals"] = (often & true & frame["ci_low"].notna()).sum()
    row["cover"] = (covered & often & true).sum()
    return row


def learnt(texts: list[tuple[World, Path, int]], seed: int) -> list[Planted]:
    """Two toy models and their SAEs, looking at each text: (its world, a folder, the text's seed)."""
    world = texts[0][0]
    own = np.arange(world.n_shared)
    saes, known = [], []
    for side in range(2):
        first = world.n_shared + side * world.n_alone
        has = np.concatenate([own, np.arange(first, first + world.n_alone)])
        x, directions = in_superposition(concepts(world, seed, 2)[:, has], D_IN, 2 * seed + side)
        sae = trained(torch.from_numpy(x), seed=2 * seed + side)
        cosine = sae.W_dec.numpy() @ directions.T
        nobody = -1 - np.arange(WIDTH) - side * WIDTH  # a feature of no concept is like no other
        known.append(np.where(cosine.max(axis=1) >= MEETS, has[cosine.argmax(axis=1)], nobody))
        saes.append((sae, has))
    found = []
    for text, folder, text_seed in texts:
        folder.mkdir(parents=True, exist_ok=True)
        codes = concepts(text, seed, text_seed)
        stores = [
            write_view(
                folder / f"{side}.h5", sae.encode(in_superposition(codes[:, has], D_IN, 2 * seed + side)[0]), text
            )
            for side, (sae, has) in enumerate(saes)
        ]
        found.append(Planted(*stores, *known, np.diff(codes.indptr)))
    return found


def trained(x: torch.Tensor, seed: int) -> SAE:
    """An SAE of a toy model."""
    order = torch.from_numpy(
        np.concatenate([np.random.default_rng([seed, e]).permutation(len(x)) for e in range(EPOCHS)])
    )
    batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    trainer = SAETrainer(SAESpec(WIDTH, k=K, seed=seed), x, len(batches))
    for batch in batches:
        trainer.step(x[batch])
    return trainer.finish()


def _partners(planted: Planted) -> int:
    """Features of A that fire often where partners are chosen and have their concept in B, each concept of B once."""
    chosen = np.asarray(planted.a.documents.split)[planted.a.tokens.document] == "choose"
    counts = [
        np.asarray((store.csr()[np.flatnonzero(chosen)] > 0).sum(axis=0)).ravel() for store in (planted.a, planted.b)
    ]
    seen = [side[count >= 100] for side, count in zip((planted.concept_a, planted.concept_b), counts, strict=True)]
    return len(np.intersect1d(*(side[side >= 0] for side in seen)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=5, help="of every world")
    parser.add_argument("--json", type=Path, help="write the table there")
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, world in tqdm(WORLDS.items(), disable=None):
            draws = pd.DataFrame(
                [look(world, Path(folder), seed, name.startswith("toy")) for seed in range(options.draws)]
            )
            rows[name] = {
                "FDR global": draws["FDR global"].mean(),
                "FDR kind": draws["FDR kind"].mean(),
                "recall global": draws["found global"].sum() / max(1, draws["partners"].sum()),
                "recall kind": draws["found kind"].sum() / max(1, draws["partners"].sum()),
                "coverage": draws["cover"].sum() / max(1, draws["intervals"].sum()) if world.n_shared else np.nan,
                "KS global": draws["KS global"].min(),
                "KS kind": draws["KS kind"].min(),
            }
    table = pd.DataFrame(rows).T
    print(table.to_string(float_format="{:.3f}".format, na_rep="–"))
    if options.json:
        options.json.write_text(json.dumps(json.loads(table.to_json(orient="index")), indent=1) + "\n")


if __name__ == "__main__":
    main()
