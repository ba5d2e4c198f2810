"""Do two networks trained apart learn the same features?

The public names are imported when first used, so that opening a store and matching from it needs no torch.
"""

import os
from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality import plot
    from universality.errors import UniversalityError
    from universality.family import Families, families
    from universality.features import FeatureStore
    from universality.matching import Groups, Match, match, match_many
    from universality.pipeline import run
    from universality.pipeline.compare_models import compare
    from universality.pipeline.finished_study import Study
    from universality.sae import SAE
    from universality.similarity import Similarity, all_pairs
    from universality.statistics import Calibration, calibrate

__version__ = "0.1.0"

# Before PyTorch is loaded: its threads wait for each other by spinning, and where other programs use the cores, too, a
# small model then takes many times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME = {
    "SAE": "universality.sae",
    "Calibration": "universality.statistics",
    "Families": "universality.family",
    "FeatureStore": "universality.features",
    "Groups": "universality.matching",
    "Match": "universality.matching",
    "Similarity": "universality.similarity",
    "Study": "universality.pipeline.finished_study",
    "UniversalityError": "universality.errors",
    "all_pairs": "universality.similarity",
    "calibrate": "universality.statistics",
    "compare": "universality.pipeline.compare_models",
    "families": "universality.family",
    "match": "universality.matching",
    "match_many": "universality.matching",
    "run": "universality.pipeline",
}
__all__ = [
    "SAE",
    "Calibration",
    "Families",
    "FeatureStore",
    "Groups",
    "Match",
    "Similarity",
    "Study",
    "UniversalityError",
    "all_pairs",
    "calibrate",
    "compare",
    "families",
    "match",
    "match_many",
    "plot",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "plot":
        from importlib import import_module

        return import_module("universality.plot")
    return import_name(__name__, name, _HOME)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
