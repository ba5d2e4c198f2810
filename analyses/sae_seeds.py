"""What do two SAE seeds of one model share, by activations and by weights?

    python analyses/sae_seeds.py [RUN]

For each width with two SAE seeds of one model (run: default runs/smollm2), the table shows

- the held-out r of the activation partners;
- PW-MCC, the mean cosine of decoder rows matched one to one (Song et al. 2025);
- the share of features whose encoder and decoder rows give the same partner, both with a cosine of at least 0.7
  (Paulo & Belrose 2025);
- the share of features whose partner by activation is also the partner by decoder.

Further tables give the same by how often features fire.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from universality import Calibration, FeatureStore
from universality.config import load_config
from universality.matching.medians import median_of_all
from universality.pipeline import RunFolder
from universality.pipeline.study import comparisons
from universality.statistics import pw_mcc, shared_by_weights

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/smollm2")
if not (run / "config.yaml").is_file():
    sys.exit(f"{run}: no run; make it with: universality run configs/smollm2.yaml --out {run}")
folder = RunFolder(run)
rows, parts = {}, []
for comparison in comparisons(load_config(run / "config.yaml"), folder):
    if comparison.models[0] != comparison.models[1]:
        continue
    pairs = Calibration.load(folder.calibration(comparison.name)).to_frame()
    with FeatureStore.open(comparison.a) as a, FeatureStore.open(comparison.b) as b:
        weights = shared_by_weights(a, b)
        agreement = pw_mcc(a, b)
    both = pairs.merge(weights, on="row", how="right")
    both["same"] = both["col"] == both["decoder_partner"]
    rows[comparison.name] = {
        "living": len(weights),
        "scored": both["held_out"].count(),
        "r held out": median_of_all(both["held_out"].to_numpy(), len(both)),
        "r >= 0.5": (both["held_out"] >= 0.5).mean(),
        "r >= 0.7": (both["held_out"] >= 0.7).mean(),
        "PW-MCC": agreement,
        "shared by weights": weights["shared"].mean(),
        "same partner": both["same"].mean(),
    }
    both["firings"] = pd.cut(both["count_a"], [0, 30, 100, 300, 1000, 3000, 10_000, np.inf], right=False)
    by_firings = both.groupby("firings", observed=True)
    columns = {"r held out": "held_out", "decoder cosine": "decoder_cosine"}
    parts.append(by_firings[list(columns.values())].agg(lambda column: median_of_all(column.to_numpy(), len(column))))
    parts[-1] = parts[-1].set_axis(list(columns), axis=1)
    parts[-1].insert(0, "features", by_firings.size())
    parts[-1].insert(1, "scored", by_firings["held_out"].count())
    parts[-1]["shared by weights"] = by_firings["shared"].mean()
if not rows:
    sys.exit(f"{run}: holds no two SAE seeds of one model")
print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))
for name, part in zip(rows, parts, strict=True):
    print(f"\n{name}, by firings on the held-out tokens (medians of all features; without a score, below every score)")
    print(part.to_string(float_format="{:.2f}".format))
