"""Documents on which partners were not chosen, which figures of a calibrated matching show."""

import numpy as np

from universality.arrays import IntArray
from universality.features import FeatureStore


def reporting_half(store: FeatureStore) -> IntArray | None:
    """Return the indices of the documents of the split "report"; None if the store has none."""
    documents = np.flatnonzero(np.asarray(store.documents.split, dtype=np.str_) == "report").astype(np.int64)
    return documents if documents.size else None
