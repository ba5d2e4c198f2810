"""What happens to features during training, or when a model is fine-tuned?

    universality match configs/checkpoints.yaml --out runs/checkpoints
    python analyses/follow_checkpoints.py [RUN]

The models of the run, in their order, must be checkpoints of one training run, or a base model and its fine-tune. They
share a basis, so decoder rows can be compared beside activations. Each feature is followed to its partner in the next
model while their held-out r is at least 0.5. The control pairs the same features at random.
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

THRESHOLD = 0.5

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/checkpoints")
if not (run / "config.yaml").exists():
    sys.exit(f"{run}: no config.yaml; make the run with `universality match configs/checkpoints.yaml --out {run}`")
folder, config = RunFolder(run), load_config(run / "config.yaml")
names, width, seed = config.models.names, headline_width(config), config.saes.seeds[0]
if len(names) < 2:
    sys.exit(f"{run}: two models or more are needed, calibration {', '.join(names)}")

rng = np.random.default_rng(0)
rows, steps = {}, []
for a, b in pairwise(names):
    calibration = Calibration.load(folder.calibration(f"{a}-{b}.w{width}"))
    with FeatureStore.open(folder.store(a, width, seed)) as x, FeatureStore.open(folder.store(b, width, seed)) as y:
        decoder = Similarity.decoder(x, y, force=True)  # the models' hashes differ, but they share a basis
        i, j = calibration.match.rows, calibration.match.cols
        cosine, at_random = decoder.pairs(i, j), decoder.pairs(i, rng.permutation(j))
        nearest = decoder.topk(1)[0][:, 0]
        n_living = int((~calibration.match.dead_rows).sum())
    followed = calibration.held_out >= THRESHOLD
    step = np.full(calibration.match.shape[0], -1)
    step[i[followed]] = j[followed]
    steps.append(step)
    rows[f"{a} -> {b}"] = {
        "features": n_living,
        "scored": int((~np.isnan(calibration.held_out)).sum()),
        "median r": calibration.summary().held_out_median,
        f"r >= {THRESHOLD}": followed.sum() / max(1, n_living),
        "decoder cosine": np.median(cosine),
        "at random": np.median(at_random),
        "same by decoder": (nearest[i] == j).mean(),
    }
print(f"width {width}: partners by activation, compared by their decoder rows")
print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))

print(f"\nfeatures of each model (rows) that are still followed, with r >= {THRESHOLD}, in a later one:")
lasting = {}
for first in range(len(steps)):
    features = np.arange(len(steps[first]))
    lasting[names[first]] = {}
    for name, step in zip(names[first + 1 :], steps[first:], strict=True):
        features = step[features[features >= 0]]
        lasting[names[first]][name] = int((features >= 0).sum())
print(pd.DataFrame(lasting).T.reindex(columns=names[1:]).to_string(float_format="{:.0f}".format, na_rep=""))
