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
    frame, numbers = calibration.to_frame(), calibration.summary()
    rows[path.name.removesuffix(".activation.npz")] = {
        "living": numbers["n_living"],
        "scored": numbers["n_scored"],
        "r chosen": numbers["matched_choose"],
        "r held out": numbers["matched_report"],
        "best r held out": numbers["best_of_rows_report"],
        "r null": numbers["null_matched_median"],
        "q <= 0.05": (frame["q"] <= 0.05).sum() / max(1, numbers["n_living"]),
        "r >= 0.5": (frame["held_out"] >= 0.5).sum() / max(1, numbers["n_living"]),
        "r >= 0.7": (frame["held_out"] >= 0.7).sum() / max(1, numbers["n_living"]),
        "ceiling a": median_of_all(frame["ceiling_a"].to_numpy(), len(frame)),
        "ceiling b": median_of_all(frame["ceiling_b"].to_numpy(), len(frame)),
    }
if not rows:
    sys.exit(f"{run}: no matches; make them with: universality run configs/quickstart.yaml --out {run}")
table = pd.DataFrame(rows).T.astype({"living": int, "scored": int})
print(table.to_string(float_format="{:.3f}".format, na_rep="-"))
