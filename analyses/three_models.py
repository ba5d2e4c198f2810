"""Which features do three models share, and do their partners agree with each other?

    python analyses/three_models.py [RUN]

Reads the matches of a run (default runs/three, with three or more models) at its largest width. Two matchings can each
find a partner and disagree on the third feature. A feature is shared by all three models only if its partners in the
second and the third model are also each other's partners. The control shuffles the pairs of those two models.
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from universality import Calibration

THRESHOLDS = (0.0, 0.3, 0.5, 0.7)


def partners(calibration: Calibration, least: float, shuffled: bool = False) -> np.ndarray:
    """Return each row's column; -1 without a partner or with a held-out r below ``least``."""
    partner_of = np.full(calibration.match.shape[0], -1)
    above = calibration.held_out >= least
    cols = calibration.match.cols[above]
    partner_of[calibration.match.rows[above]] = np.random.default_rng(0).permutation(cols) if shuffled else cols
    return partner_of


def agreeing(ab: np.ndarray, ac: np.ndarray, bc: np.ndarray) -> int:
    """Count features of the first model whose partners are each other's partners."""
    both = (ab >= 0) & (ac >= 0)
    return int((bc[ab[both]] == ac[both]).sum())


run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/three")
by_width: dict[int, dict[tuple[str, str], Calibration]] = {}
for path in sorted(run.glob("matches/*.w*.activation.npz")):
    pair, width = path.name.removesuffix(".activation.npz").rsplit(".w", 1)
    a, _, b = pair.partition("-")
    if width.isdigit() and a != b:
        by_width.setdefault(int(width), {})[a, b] = Calibration.load(path)
matches = by_width[max(by_width)] if by_width else {}
names = list(dict.fromkeys(name for pair in matches for name in pair))
if len(names) < 3:
    sys.exit(f"{run}: matches of three models or more are needed, found those of {', '.join(names) or 'none'}")

print(f"width {max(by_width)}, held-out r and q of every pair of models, of the first's living features:")
rows = {
    f"{a}-{b}": {
        "living": (numbers := c.summary(q_level=0.05)).n_living,
        "scored": numbers.n_scored,
        "median r": numbers.held_out_median,
        "r >= 0.5": numbers.shares[0],
        "q <= 0.05": numbers.null.share_significant,
    }
    for (a, b), c in matches.items()
}
print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))

table = {}
for a, b, c in combinations(names, 3):
    for least in THRESHOLDS:
        ab, ac, bc = (partners(matches[pair], least) for pair in ((a, b), (a, c), (b, c)))
        table[f"{a}, {b}, {c}", f"r >= {least}"] = {
            f"in {b}": (ab >= 0).sum(),
            f"in {c}": (ac >= 0).sum(),
            "in both": ((ab >= 0) & (ac >= 0)).sum(),
            "agreeing": agreeing(ab, ac, bc),
            "shuffled": agreeing(ab, ac, partners(matches[b, c], least, shuffled=True)),
        }
print("\nfeatures of the first model with a partner in the others, and those whose partners are each other's:")
print(pd.DataFrame(table).T.fillna("").to_string())
