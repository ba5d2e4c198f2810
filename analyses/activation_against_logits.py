"""Do features that fire alike also write alike?

    python analyses/activation_against_logits.py [RUN [COMPARISON]]

Takes pairs matched by activation correlation and asks how alike their direct effects on the logits are (logit-weight
correlation). Bricken et al. found the two to disagree: a pair with activation r 0.98 had negative logit r.
"""

import sys
from pathlib import Path

from scipy.stats import spearmanr

from universality import Calibration, FeatureStore, Similarity

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
name = sys.argv[2] if len(sys.argv) > 2 else "A-B.w2048"
if not (run / "matches" / f"{name}.activation.npz").exists():
    there = sorted(path.name.removesuffix(".activation.npz") for path in run.glob("matches/*.w*.activation.npz"))
    sys.exit(f"{run}: no comparison {name}; there are: {', '.join(there) or 'none'}")
models, width = name.split(".w")
a, b = (FeatureStore.open(run / "features" / f"{model}.w{width}-s0.h5") for model in models.split("-"))
frame = Calibration.load(run / "matches" / f"{name}.activation.npz").to_frame()
frame["logit"] = Similarity.logit(a, b).pairs(frame["row"], frame["col"])
known = frame.dropna(subset=["held_out"])
rank = spearmanr(known["held_out"], known["logit"])[0]
print(f"{name}: {len(known)} pairs, rank correlation of the two measures {rank:.2f}")
for low, high in [(0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5), (-1, 0.3)]:
    part = known[(known["held_out"] >= low) & (known["held_out"] < high)]["logit"]
    if len(part):
        span = f"activation r in [{low:4.1f}, {min(high, 1):3.1f})"
        print(f"{span}: {len(part):5d} pairs, median logit r {part.median():5.2f}, negative in {(part < 0).mean():.0%}")
