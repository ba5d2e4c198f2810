"""Writes the archived store of format version 1, v1.h5 and its unembedding, beside this file.

    python tests/features/data/make_v1.py

Run once. Do not run it again with a later version: the file stands for what programs of version 1 left on disks.
Contents follow from formulas, so that the test that reads it states them anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.features import Dictionary, FeatureStore
from universality.models.unembedding import Unembedding

N_TOKENS, N_FEATURES = 40, 6


def activation(token: int, feature: int) -> float:
    """Feature 5 never fires, feature 4 fires below 0."""
    fires = (token * (feature + 3)) % 5 == 0 and feature < 5
    return (token + 1) / (feature + 1) * (-1 if feature == 4 else 1) if fires else 0.0


def main() -> None:
    """Write both files."""
    dense = [[activation(token, feature) for feature in range(N_FEATURES)] for token in range(N_TOKENS)]
    rows = np.arange(N_TOKENS)
    documents = DocumentTable(
        id=("one", "zwei", "три", "unseen"), kind=("en", "de", "ru", "en"), group=("a", "b", "b", "a"),
        split=("choose", "report", "report", "train"),
    )  # fmt: skip
    provenance = {"model": {"name": "planted", "hash": "0" * 64}, "site": "blocks.0.mlp.out.hook_in", "sae": None}
    writer = FeatureStore.create(Path(__file__).with_name("v1.h5"), N_FEATURES, provenance, documents)
    writer.append(
        sparse.csr_matrix(np.array(dense, np.float32)), token=rows * 7 % 64, document=rows * 3 // N_TOKENS,
        position=rows % 8 + 1, kind=np.array(documents.kind)[rows * 3 // N_TOKENS],
    )  # fmt: skip
    weights = np.arange(N_FEATURES * 4, dtype=np.float32).reshape(N_FEATURES, 4)
    dictionary = Dictionary(decoder=weights, encoder=weights / 2, bias=-weights[:, 0], residual=weights[:, :3])
    vocabulary = np.arange(3 * 10, dtype=np.float32).reshape(3, 10)
    unembedding = Unembedding(vocabulary, np.array([1, 2, 3]), np.arange(10) < 9, center_d_model=True)
    writer.finish(dictionary, unembedding).close()


if __name__ == "__main__":
    main()
