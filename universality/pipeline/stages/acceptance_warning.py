"""A word on stderr before features are matched that stand for little."""

import math
import sys
from collections.abc import Sequence

from universality.features import FeatureStore
from universality.files import read_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import Comparison
from universality.statistics.sae_acceptance import faults


def warn_of_unfit(folder: RunFolder, comparison: Comparison, stores: Sequence[FeatureStore]) -> None:
    """Say which SAEs of a comparison are not good enough to match, and why."""
    for model, store in zip(comparison.models, stores, strict=True):
        path = folder.root / "saes" / model / store.path.stem.removeprefix(f"{model}.")
        if comparison.of == "neurons" or not (path / "quality.json").is_file():  # never measured
            continue
        quality = read_json(path / "quality.json")
        recovered = quality["loss"]["recovered_over_zero"]
        found = faults(
            width=store.n_features,
            explained_variance=quality["explained_variance"],
            l0=quality["l0"],
            dead_share=1 - float(store.alive.mean()),
            loss_recovered=math.nan if recovered is None else recovered,
            typical_explained_variance=quality.get("typical_explained_variance", math.nan),  # younger than some runs
        )
        if found:
            print(
                f"warning: {path.relative_to(folder.root)} is not good enough to match: "
                f"{'; '.join(fault.text for fault in found)}",
                file=sys.stderr,
                flush=True,
            )
