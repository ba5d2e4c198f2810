"""What becomes of features as training goes on, or when a model is fine-tuned?

    universality match configs/checkpoints.yaml --out runs/checkpoints
    python analyses/follow_checkpoints.py [RUN]

The models of the run, in their order, must be checkpoints of one training (or a base and its fine-tune): they share a
basis, so decoder rows may be compared beside activations. Each feature is followed to its partner in the next model
while their held-out r is at least 0.5. The control pairs the same features at random.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from universality import Calibration, FeatureStore, Similarity
from universality.config import load_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import headline_width

LEAST = 0.5

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/checkpoints")
if not (run / "config.yaml").exists():
    sys.exit(
        f"{run}: no config.yaml there; make the run with `universality match configs/checkpoints.yaml --out {run}`"
    )
folder, config = RunFolder(run), load_config(run / "config.yaml")
names, width, seed = config.models.names, headline_width(config), config.saes.seeds[0]
if len(names) < 2:
    sys.exit(f"{run}: two models or more are needed, found {', '.join(names)}")

rng = np.random.default_rng(0)
rows, steps = {}, []
for a, b in pairwise(names):
    found = Calibration.load(folder.calibration(f"{a}-{b}.w{width}"))
    with FeatureStore.open(folder.store(a, width, seed)) as x, FeatureStore.open(folder.store(b, width, seed)) as y:
        decoder = Similarity.decoder(x, y, force=True)  # two hashes, one basis: that is what these models have
        i, j = found.match.rows, found.match.cols
        cosine, at_random = decoder.pairs(i, j), decoder.pairs(i, rng.permutation(j))
        nearest = decoder.topk(1)[0][:, 0]
        living = int((~found.match.dead_rows).sum())
    kept = found.held_out >= LEAST
    step = np.full(found.match.shape[0], -1)
    step[i[kept]] = j[kept]
    steps.append(step)
    rows[f"{a} -> {b}"] = {
        "features": living,
        "scored": int((~np.isnan(found.held_out)).sum()),
        "median r": found.summary().held_out_median,
        f"r >= {LEAST}": kept.sum() / max(1, living),
        "decoder cosine": np.median(cosine),
        "at random": np.median(at_random),
        "same by decoder": (nearest[i] == j).mean(),
    }
print(f"width {width}: partners by activation, and what their decoder rows say of them")
print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))

print(f"\nfeatures of each model (rows) that are still followed, with r >= {LEAST}, in a later one:")
lasting = {}
for first in range(len(steps)):
    here = np.arange(len(steps[first]))
    lasting[names[first]] = {}
    for name, step in zip(names[first + 1 :], steps[first:], strict=True):
        here = step[here[here >= 0]]
        lasting[names[first]][name] = int((here >= 0).sum())
print(pd.DataFrame(lasting).T.reindex(columns=names[1:]).to_string(float_format="{:.0f}".format, na_rep=""))
