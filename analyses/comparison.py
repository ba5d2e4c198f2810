"""Open the comparison that a script is called with: `[RUN [COMPARISON]]`, by default the quickstart's widest."""

import sys
from pathlib import Path

from universality import Calibration, FeatureStore


def open_comparison() -> tuple[str, FeatureStore, FeatureStore, Calibration]:
    """Return the comparison's name, both stores and the calibration; exit if the run has no such comparison."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    name = sys.argv[2] if len(sys.argv) > 2 else "A-B.w2048"
    path = run / "matches" / f"{name}.activation.npz"
    if not path.exists():
        names = sorted(path.name.removesuffix(".activation.npz") for path in run.glob("matches/*.w*.activation.npz"))
        sys.exit(f"{run}: no comparison {name}; available: {', '.join(names) or 'none'}")
    models, _, width = name.partition(".w")
    width, _, seeds = width.partition(".")  # .s0-s1, where two SAE seeds of one model are compared
    sides = zip(models.split("-"), seeds.split("-") if seeds else ("s0", "s0"), strict=True)
    a, b = (FeatureStore.open(run / "features" / f"{model}.w{width}-{seed}.h5") for model, seed in sides)
    return name, a, b, Calibration.load(path)
