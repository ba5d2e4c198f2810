"""Do features that fire alike also write alike?

    python analyses/activation_against_logits.py [RUN [COMPARISON]]

Takes pairs matched by activation correlation and asks how alike their direct effects on the logits are (logit-weight
correlation). Bricken et al. found the two to disagree: a pair with activation r 0.98 had negative logit r.
"""

from comparison import opened
from scipy.stats import spearmanr

from universality import Similarity

name, a, b, calibration = opened()
frame = calibration.to_frame()
frame["logit"] = Similarity.logit(a, b).pairs(frame["row"], frame["col"])
known = frame.dropna(subset=["held_out"])
rank = spearmanr(known["held_out"], known["logit"])[0]
print(f"{name}: {len(known)} of {len(frame)} pairs scored, rank correlation of the two measures {rank:.2f}")
for low, high in [(0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5), (-1, 0.3)]:
    part = known[(known["held_out"] >= low) & (known["held_out"] < high)]["logit"]
    if len(part):
        span = f"activation r in [{low:4.1f}, {min(high, 1):3.1f})"
        print(f"{span}: {len(part):5d} pairs, median logit r {part.median():5.2f}, negative in {(part < 0).mean():.0%}")
