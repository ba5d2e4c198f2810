"""Which features fire on which tokens: collected once, kept in one HDF5 file, read by token or by feature."""

from universality.features.moments import Moments
from universality.features.parts import concatenate, cut
from universality.features.store import FeatureStore
from universality.features.tables import Dictionary, TokenTable
from universality.features.writer import FeatureWriter

__all__ = ["Dictionary", "FeatureStore", "FeatureWriter", "Moments", "TokenTable", "concatenate", "cut"]
