"""Rows for stores, and ways to damage the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.features import FeatureStore
from universality.features.storage.checksums import checksum_of_dataset
from universality.features.storage.hdf5 import label

KINDS = np.array(["en", "dna", "base64"])


def activations(n_tokens: int, n_features: int = 12, density: float = 0.3, seed: int = 0) -> sparse.csr_matrix:
    """Random activations of both signs; feature 3 never fires."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(n_tokens, n_features)) * (rng.random((n_tokens, n_features)) < density)
    dense[:, 3] = 0
    return sparse.csr_matrix(dense.astype(np.float32))


def token_columns(n_tokens: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Blocks of 7 tokens, two blocks a document, kinds by document."""
    document = np.arange(n_tokens) // 14
    return {
        "token": np.random.default_rng(seed).integers(0, 99, n_tokens),
        "document": document,
        "position": np.arange(n_tokens) % 7 + 1,
        "kind": KINDS[document % 3],
    }


def write(path: Path, matrix: sparse.csr_matrix, batch: int | None = None, **finish: Any) -> FeatureStore:
    """A finished store of these rows, appended ``batch`` at a time."""
    columns = token_columns(matrix.shape[0])
    writer = FeatureStore.create(path, matrix.shape[1], {"seed": 1})
    step = batch or max(1, matrix.shape[0])
    for start in range(0, matrix.shape[0], step):
        part = slice(start, start + step)
        writer.append(matrix[part], **{name: column[part] for name, column in columns.items()})
    return writer.finish(**finish)


def damage(path: Path, edit: Callable[[h5py.File], None], seal: bool = False) -> None:
    """Change a finished file; with ``seal`` its checksums are made to agree again."""
    with h5py.File(path, "r+") as file:
        edit(file)
        if seal:
            stated = json.loads(file["checksums"].asstr()[()])
            sums = {name: checksum_of_dataset(file[name]).to_json() for name in stated}
            replace(file, "checksums", json.dumps(sums))


def replace(file: h5py.File, path: str, values: Any) -> None:
    """Put another dataset in an element's place, encoded as the old one was."""
    encoding = file[path].attrs["encoding-type"].decode()
    del file[path]
    dtype = h5py.string_dtype() if encoding.startswith("string") else None
    label(file.create_dataset(path, data=values, dtype=dtype), encoding)
