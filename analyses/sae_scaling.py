"""How does an SAE's error fall with width and steps, and what would longer training reach?

    python analyses/sae_scaling.py runs/sae_sweep.jsonl --figure runs/sae_scaling.png

Uses the best learning rate of every (width, steps) that `sae_sweep.py` wrote, and fits

    1 − explained variance = c + a W^−α + b (S / W^γ)^−β,    W = width / 1,000,  S = steps / 100,  all ≥ 0

by least squares of logarithms. The first two terms are what a dictionary of a width can reach (Gao et al. 2024). The
last is what remains to be learnt, which takes W^γ times the steps. Few points determine few parameters: the printed
errors of the fit show how well, and rows marked "predicted" lie outside the measured range.
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

LONGER = 4
"""Predictions are for this many times the largest number of steps; the formula is not trusted beyond."""
Numbers = NDArray[np.float64] | np.float64


def best_of(lines: list[dict], architecture: str) -> NDArray[np.float64]:
    """Return rows (width, steps, learning rate, 1 − explained variance), the best rate of each width and steps."""
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for line in lines:
        if line["architecture"] != architecture:
            continue
        key, result = (line["width"], line["steps"]), (1 - line["explained_variance"], line["learning_rate"])
        best[key] = min(best.get(key, result), result)
    return np.array([(width, steps, rate, loss) for (width, steps), (loss, rate) in sorted(best.items())])


def law(parameters: NDArray[np.float64], width: Numbers, steps: Numbers) -> Numbers:
    """Return the fitted error; parameters are log c, log a, α, log b, β, γ."""
    c, a, alpha, b, beta, gamma = parameters
    size = width / 1000
    return np.exp(c) + np.exp(a) * size**-alpha + np.exp(b) * (steps / 100 / size**gamma) ** -beta


def fit(width: NDArray[np.float64], steps: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit the law by least squares of logarithms, from the best of several starts."""
    starts = [
        (np.log(c), np.log(0.05), alpha, np.log(0.05), beta, 0.5)
        for c in (0.01, 0.1)
        for alpha in (0.2, 0.6)
        for beta in (0.3, 1)
    ]
    bounds = ([-12, -12, 0, -12, 0, 0], [1, 1, 3, 1, 3, 3])
    fits = [least_squares(lambda p: np.log(law(p, width, steps) / loss), start, bounds=bounds) for start in starts]
    return min(fits, key=lambda solution: solution.cost).x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sweep", type=Path, help="the file that sae_sweep.py wrote")
    parser.add_argument("--architecture", default="topk", help="use only the SAEs of this architecture")
    parser.add_argument("--figure", type=Path, help="draw the fit into this file")
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.sweep.read_text(encoding="utf-8").splitlines()]
    width, steps, rate, loss = best_of(lines, options.architecture).T
    if len(loss) < 8:
        raise SystemExit(f"{options.sweep}: {len(loss)} (width, steps) of {options.architecture}; the fit needs 8")
    parameters = fit(width, steps, loss)
    c, a, alpha, b, beta, gamma = (np.exp(p) if i in (0, 1, 3) else p for i, p in enumerate(parameters))
    print(f"1 − EV = {c:.3f} + {a:.3f} W^−{alpha:.2f} + {b:.3f} (S / W^{gamma:.2f})^−{beta:.2f}, W = width / 1,000, "
          "S = steps / 100")  # fmt: skip
    print(f"{'width':>8} {'steps':>6} {'best rate':>10} {'1 − EV':>8} {'fit':>8}")
    for row in zip(width, steps, rate, loss, law(parameters, width, steps), strict=True):
        print("{:>8,.0f} {:>6.0f} {:>10g} {:>8.4f} {:>8.4f}".format(*row))
    off = np.abs(law(parameters, width, steps) / loss - 1)
    print(f"the fit is off by {np.median(off):.1%} of the error in the median, {off.max():.1%} at most")
    longer = LONGER * steps.max()
    for each in np.unique(width):
        print(f"{each:>8,.0f} {longer:>6.0f} {'':>10} {'':>8} {law(parameters, each, longer):>8.4f}  predicted")
    if options.figure:
        draw(parameters, width, steps, loss, options.figure)


def draw(parameters: NDArray[np.float64], width: NDArray[np.float64], steps: NDArray[np.float64],
         loss: NDArray[np.float64], path: Path) -> None:  # fmt: skip
    """Draw measured points and fitted lines; the dashed line is predicted."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    grid = np.geomspace(width.min(), width.max())
    for n_steps in np.unique(steps):
        at_steps = steps == n_steps
        points = axes.plot(width[at_steps], loss[at_steps], "o", label=f"{n_steps:.0f} steps")[0]
        axes.plot(grid, law(parameters, grid, n_steps), color=points.get_color(), lw=1)
    axes.plot(
        grid, law(parameters, grid, LONGER * steps.max()), "k--", lw=1, label=f"{LONGER * steps.max():.0f}, predicted"
    )
    axes.set(xscale="log", xlabel="width", ylabel="1 − explained variance, held out")
    figure.legend(title="lines: fitted law", loc="outside right upper")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
