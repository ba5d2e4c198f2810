"""Do features that fire alike also write alike?

    python analyses/activation_against_logits.py [RUN [COMPARISON]]

Compares, for pairs matched by activation correlation, their direct effects on the logits (logit-weight correlation).
Bricken et al. (2023) found that the two can disagree: a pair with activation r 0.98 had a negative logit r.
"""

from comparison import open_comparison
from scipy.stats import spearmanr

from universality import Similarity

name, a, b, calibration = open_comparison()
frame = calibration.to_frame()
frame["logit"] = Similarity.logit(a, b).pairs(frame["row"], frame["col"])
scored = frame.dropna(subset=["held_out"])
rank = spearmanr(scored["held_out"], scored["logit"])[0]
print(f"{name}: {len(scored)} of {len(frame)} pairs scored, rank correlation of the two measures {rank:.2f}")
for low, high in [(0.9, 1.01), (0.7, 0.9), (0.5, 0.7), (0.3, 0.5), (-1, 0.3)]:
    logit = scored[(scored["held_out"] >= low) & (scored["held_out"] < high)]["logit"]
    if len(logit):
        span = f"activation r in [{low:4.1f}, {min(high, 1):3.1f})"
        print(
            f"{span}: {len(logit):5d} pairs, median logit r {logit.median():5.2f}, negative in {(logit < 0).mean():.0%}"
        )
