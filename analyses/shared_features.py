"""What share of one model's features has a partner in the other, and how much would chance give?

    python analyses/shared_features.py [RUN]

Reads a run (default runs/quickstart) and prints one row per comparison. Partners are chosen on one half of the
held-out documents and scored on the other. The null re-pairs whole blocks of text and runs the matcher again. Medians
and shares are over the living features of the first side; a feature without a score lies below every score. A ceiling
is the median r of the matched features with their partners in a second SAE of their own model, where the run has one.
"""

import sys
from pathlib import Path

import pandas as pd

from universality import Calibration
from universality.matching.medians import median_of_all

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
rows = {}
for path in sorted(run.glob("matches/*.activation.npz")):
    calibration = Calibration.load(path)
    frame, numbers = calibration.to_frame(), calibration.summary(q_level=0.05)
    rows[path.name.removesuffix(".activation.npz")] = {
        "living": numbers.n_living,
        "scored": numbers.n_scored,
        "r chosen": numbers.chosen_median,
        "r held out": numbers.held_out_median,
        "best r held out": numbers.nearest_median,
        "r null": numbers.null.median,
        "q <= 0.05": numbers.null.share_significant,
        "r >= 0.5": numbers.shares[0],
        "r >= 0.7": numbers.shares[1],
        "ceiling a": median_of_all(frame["ceiling_a"].to_numpy(), len(frame)),
        "ceiling b": median_of_all(frame["ceiling_b"].to_numpy(), len(frame)),
    }
if not rows:
    sys.exit(f"{run}: no matches; make them with: universality run configs/quickstart.yaml --out {run}")
table = pd.DataFrame(rows).T.astype({"living": int, "scored": int})
print(table.to_string(float_format="{:.3f}".format, na_rep="-"))
