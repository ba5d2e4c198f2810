"""Loss against width and steps: a law fitted to the small sizes, tested on the large ones."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))
from markdown_table import markdown
from sae_scaling import best_of, fit, law

SWEEP = Path("analyses/results/sae_scaling/sweep.jsonl")
"""Short trainings of all widths at several rates."""
FITTED = 8192
"""Sizes of the ladder up to this one are fitted, with the short trainings; the larger ones are predicted."""
BUDGETS = (1e7, 1e8, 1e9)
"""Steps × width, in proportion to the cost of training."""


def describe_law(quality: pd.DataFrame) -> str:
    """Return the law, its errors on what it was not fitted to, and the best width for each budget, as Markdown."""
    short = best_of([json.loads(line) for line in SWEEP.read_text(encoding="utf-8").splitlines()], "topk")
    ladder = quality[quality["k"] == 32].assign(loss=lambda table: 1 - table["held_out"])
    means = ladder.groupby(["width", "steps"], as_index=False)["loss"].mean()
    seen = means[means["width"] <= FITTED]
    width, steps, loss = (
        np.concatenate([short[:, column], seen[name].to_numpy(float)])
        for column, name in ((0, "width"), (1, "steps"), (3, "loss"))
    )
    parameters = fit(width, steps, loss)
    c, a, alpha, b, beta, gamma = (np.exp(p) if i in (0, 1, 3) else p for i, p in enumerate(parameters))
    means["law"] = law(parameters, means["width"].to_numpy(float), means["steps"].to_numpy(float))
    means["off"] = means["law"] / means["loss"] - 1
    means["fitted"] = np.where(means["width"] <= FITTED, "yes", "no")
    text = (
        f"1 − EV = {c:.3f} + {a:.3f} W^−{alpha:.2f} + {b:.3f} (S / W^{gamma:.2f})^−{beta:.2f}, with W = width / 1,000 "
        f"and S = steps / 100\n\nFitted to {len(short)} short trainings and to sizes up to {FITTED:,}; explained "
        "variance (EV) on held-out text. TopK with 32 active features.\n\n"
    )
    rows = [
        [f"{row.width:,.0f}", f"{row.steps:,.0f}", f"{row.loss:.4f}", f"{row.law:.4f}", f"{row.off:+.1%}", row.fitted]
        for row in means.itertuples()
    ]
    table = markdown(["width", "steps", "1 − EV", "by the law", "off by", "fitted"], rows)
    return f"{text}{table}\n\n{best_widths(parameters)}"


def best_widths(parameters: np.ndarray) -> str:
    """Return the width of the least loss for each budget; the largest width tried means that none is best."""
    widths = 2.0 ** np.arange(9, 18)
    rows = []
    for budget in BUDGETS:
        losses = law(parameters, widths, budget / widths)
        best = int(losses.argmin())
        rows.append([f"{budget:.0e}", f"{widths[best]:,.0f}", f"{budget / widths[best]:,.0f}", f"{losses[best]:.4f}"])
    table = markdown(["steps × width", "best width", "steps", "1 − EV"], rows)
    return f"Width of the least loss by the law, among 512 to 131,072:\n\n{table}\n"
