"""Sides of random sparse stores, for tests of the loops over tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from planted import dense, text, write_store

from universality.features import FeatureStore
from universality.similarity.engine.side_moments import Side, measure_side
from universality.similarity.engine.store_rows import StoreRows

SEEN = text(3)


def stores(folder: Path, n_a: int = 7, n_b: int = 5, density: float = 0.3) -> tuple[FeatureStore, FeatureStore]:
    """Two stores over the same tokens; feature 2 of A never fires."""
    rng = np.random.default_rng(0)
    shapes = ((SEEN.n_tokens, n_a), (SEEN.n_tokens, n_b))
    a, b = ((rng.random(shape) < density) * rng.uniform(0.1, 9, shape) for shape in shapes)
    a[:, 2] = 0
    return write_store(folder / "a.h5", a, SEEN), write_store(folder / "b.h5", b, SEEN)


def sides(folder: Path, **shape: float) -> tuple[Side, Side, np.ndarray, np.ndarray]:
    """Both sides over all tokens, and their activations as dense arrays."""
    pair = stores(folder, **shape)  # type: ignore[arg-type]
    rows = np.arange(SEEN.n_tokens)
    a, b = (measure_side(StoreRows.open(store, in_memory=True), rows) for store in pair)
    return a, b, *(dense(store) for store in pair)
