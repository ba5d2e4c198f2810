"""Elements of an HDF5 file in AnnData's encodings, with checksums and named errors.

Text has a fixed length everywhere, attributes included. HDF5 keeps text of variable length in "global heaps", its only
structure without a checksum: a flipped bit there can send the library into an endless loop (seen with HDF5 2.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.corpus.documents import name_fault
from universality.errors import FormatError, UniversalityError
from universality.features.storage.checksums import Checksum, checksum_of_array, checksum_of_text
from universality.obstacles import naming_obstacles

# encoding-version of each AnnData encoding-type in use. anndata refuses 0.1.0 for array and string-array.
ENCODINGS = {
    "array": "0.2.0",
    "categorical": "0.2.0",
    "csc_matrix": "0.1.0",
    "csr_matrix": "0.1.0",
    "dict": "0.1.0",
    "string": "0.2.0",
    "string-array": "0.2.0",
}
_TEXT_CHUNK = 1 << 16  # bytes


def label(element: h5py.Group | h5py.Dataset, encoding: str) -> None:
    """Mark an element with its encoding-type and encoding-version."""
    set_text(element, "encoding-type", encoding)
    set_text(element, "encoding-version", ENCODINGS[encoding])


def set_text(element: h5py.Group | h5py.Dataset, name: str, value: str) -> None:
    """Give an element a text attribute."""
    element.attrs.create(name, value.encode(), dtype=_text_dtype([value.encode()]))


def get_text(element: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """Read a text attribute of fixed or variable length, None where there is none."""
    value = element.attrs.get(name)
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


def make_group(parent: h5py.Group, name: str, encoding: str = "dict") -> h5py.Group:
    """Create a group with its encoding."""
    group = parent.create_group(name)
    label(group, encoding)
    return group


def write_array(group: h5py.Group, name: str, values: NDArray[Any], dtype: str) -> Checksum:
    """Write an uncompressed array, for weights and sums that no filter makes smaller."""
    array = np.ascontiguousarray(values, np.dtype(dtype))
    label(group.create_dataset(name, data=array), "array")
    return checksum_of_array(array)


def write_strings(group: h5py.Group, name: str, values: Sequence[str]) -> Checksum:
    """Write a 1-D array of text, compressed where it is longer than a chunk."""
    encoded = [value.encode() for value in values]
    dtype = _text_dtype(encoded)
    chunks = max(1, _TEXT_CHUNK // dtype.itemsize)
    options = {"chunks": (chunks,), "compression": 1} if chunks < len(values) else {}
    label(group.create_dataset(name, data=np.array(encoded, dtype), dtype=dtype, **options), "string-array")
    return checksum_of_text(values)


def write_text(group: h5py.Group, name: str, value: str) -> Checksum:
    """Write one text."""
    dtype = _text_dtype([value.encode()])
    label(group.create_dataset(name, data=np.array(value.encode(), dtype), dtype=dtype), "string")
    return checksum_of_text(value)


def read_strings(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Read a 1-D dataset of text."""
    return tuple(str(value) for value in dataset.asstr()[:])


def read_text(dataset: h5py.Dataset) -> str:
    """Read a dataset that holds one text."""
    return str(dataset.asstr()[()])


def _text_dtype(encoded: Sequence[bytes]) -> np.dtype[Any]:
    return h5py.string_dtype("utf-8", max(1, max(map(len, encoded), default=1)))


def check_text(where: str, values: Sequence[str]) -> None:
    """Refuse names that are too long, or that an HDF5 string cannot hold: NUL ends it, a lone surrogate is no UTF-8."""
    for value in values:
        fault = name_fault(value)
        if fault:
            raise FormatError(f"{where}: {value[:40]!r}{'…' if len(value) > 40 else ''} {fault}")


def to_json(path: Path, what: str, value: Mapping[str, Any]) -> str:
    """Encode as JSON text with sorted keys; an error for what JSON cannot hold."""
    try:
        return json.dumps(dict(value), sort_keys=True, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: {what} must be a dict that JSON can hold: {error}") from None


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever HDF5, JSON or UTF-8 decoding raise on damaged bytes into a `FormatError`.

    Obstacles to reading an intact file (permissions, too many open files) stay a `UniversalityError` that names them
    (`universality.obstacles`).
    """
    try:
        with naming_obstacles(path):
            yield
    except UniversalityError:
        raise
    except (OSError, RuntimeError, LookupError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path}: cannot read {what}: {error}; the file is truncated or corrupt, write it again"
        ) from error
