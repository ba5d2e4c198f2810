"""Checksums of a store's elements: one per dataset, compared by `FeatureStore.verify`.

A checksum states dtype, shape and the SHA-256 of the decoded contents, so it does not depend on chunks or compression.
Writers compute it from the values that they are given (`write_array`, `GrowingArray`), not from what the file holds
afterwards: an error on the way to the disk is found too. `header.write_checksums` stores them, `verification.verify`
computes them anew, and a store's hashes (`content_hash`, `tokens_hash`) are hashes of some of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 20  # entries of a dataset that are hashed at a time


@dataclass(frozen=True)
class Checksum:
    """What an element must hold: its dtype ("str" for text), its shape, SHA-256 of its decoded contents."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the checksum as the file stores it."""
        return asdict(self) | {"shape": list(self.shape)}


def checksum_of_array(array: NDArray[Any]) -> Checksum:
    """Checksum of a C-contiguous array of numbers.

    Examples
    --------
    >>> checksum_of_array(np.zeros(2, "<f4")).to_json()["shape"]
    [2]
    """
    return Checksum(array.dtype.str, array.shape, hashlib.sha256(array.data).hexdigest())


def checksum_of_text(value: str | Sequence[str]) -> Checksum:
    """Checksum of a text or a list of texts, hashed as ASCII JSON: no separator that a name could hold."""
    shape = () if isinstance(value, str) else (len(value),)
    text = json.dumps(value if isinstance(value, str) else list(value), separators=(",", ":"))
    return Checksum("str", shape, hashlib.sha256(text.encode()).hexdigest())


def checksum_of_dataset(dataset: h5py.Dataset) -> Checksum:
    """Checksum of what a dataset of the file holds now, read piece by piece."""
    if h5py.check_string_dtype(dataset.dtype) is not None:
        text = dataset.asstr()[()]
        return checksum_of_text(str(text) if dataset.shape == () else [str(value) for value in text])
    digest = hashlib.sha256()
    step = max(1, _PIECE // max(1, int(np.prod(dataset.shape[1:]))))
    for start in range(0, dataset.shape[0], step):
        digest.update(np.ascontiguousarray(dataset[start : start + step]).data)
    return Checksum(dataset.dtype.str, dataset.shape, digest.hexdigest())
