"""Do two networks trained apart learn the same features?

The public names are imported when first used, so that opening a store and matching from it needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from universality import plot
    from universality.errors import UniversalityError
    from universality.family import Families, families
    from universality.features import FeatureStore
    from universality.matching import Groups, Match, match, match_many
    from universality.pipeline import run
    from universality.sae import SAE
    from universality.similarity import Similarity, all_pairs
    from universality.statistics import Calibration, calibrate

__version__ = "0.1.0"
_HOME = {
    "SAE": "universality.sae",
    "Calibration": "universality.statistics",
    "Families": "universality.family",
    "FeatureStore": "universality.features",
    "Groups": "universality.matching",
    "Match": "universality.matching",
    "Similarity": "universality.similarity",
    "UniversalityError": "universality.errors",
    "all_pairs": "universality.similarity",
    "calibrate": "universality.statistics",
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
    "UniversalityError",
    "all_pairs",
    "calibrate",
    "families",
    "match",
    "match_many",
    "plot",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return importlib.import_module("universality.plot")
    if name not in _HOME:
        raise AttributeError(f"module 'universality' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
