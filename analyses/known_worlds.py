"""Do the statistics tell the truth where the truth is known?

    python analyses/known_worlds.py [OUT.json]

Plants pairs of stores (which features are one concept, which stand alone), calibrates them, and reports the share of
false pairs among those with q <= 0.05 (FDR), the share of true pairs found, how often a 95% interval covers the score
that much more text gives, and whether p-values are uniform where nothing is shared. Each world is drawn several times.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kstest
from tqdm import tqdm

from universality import Similarity, calibrate
from universality.statistics.worlds import World, plant

DRAWS, REPLICATES, BOOTSTRAP, MORE_TEXT = 5, 20, 1000, 10
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
}


def look(world: World, folder: Path, seed: int) -> dict[str, float]:
    """One draw of a world: what was found, beside the truth."""
    planted, more = (
        plant(world, folder / "some", seed),
        plant(replace(world, n_documents=world.n_documents * MORE_TEXT), folder / "more", seed, text_seed=1),
    )
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


def _partners(planted) -> int:
    """Features of A that fire often where partners are chosen and have their concept in B, each concept of B once."""
    chosen = np.asarray(planted.a.documents.split)[planted.a.tokens.document] == "choose"
    counts = [
        np.asarray((store.csr()[np.flatnonzero(chosen)] > 0).sum(axis=0)).ravel() for store in (planted.a, planted.b)
    ]
    concepts = [side[count >= 100] for side, count in zip((planted.concept_a, planted.concept_b), counts, strict=True)]
    return len(np.intersect1d(*concepts))


rows = {}
with tempfile.TemporaryDirectory() as folder:
    for name, world in tqdm(WORLDS.items(), disable=None):
        draws = pd.DataFrame([look(world, Path(folder), seed) for seed in range(DRAWS)])
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
if len(sys.argv) > 1:
    Path(sys.argv[1]).write_text(json.dumps(json.loads(table.to_json(orient="index")), indent=1) + "\n")
