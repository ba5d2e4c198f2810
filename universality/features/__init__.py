"""Feature stores: which features fire on which tokens, in one HDF5 file read by token or by feature."""

from universality.features.storage.moments import Moments
from universality.features.storage.parts import concatenate, cut
from universality.features.storage.selected import select_features
from universality.features.storage.shards import open_shards
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary, TokenTable
from universality.features.storage.writer import FeatureWriter

__all__ = [
    "Dictionary",
    "FeatureStore",
    "FeatureWriter",
    "Moments",
    "TokenTable",
    "concatenate",
    "cut",
    "open_shards",
    "select_features",
]
