"""The elements of a feature store's HDF5 file, and the check that a file has them (see FORMAT.md).

A store may come from anywhere, so nothing in it is trusted: links out of the file are not followed, and nothing is
allocated that the file's own bytes could not hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from universality.errors import FormatError
from universality.features.storage.hdf5 import ENCODINGS, get_text

FORMAT = "universality-features"
VERSION, TWO_SITES_VERSION = 1, 2
"""Format versions: 2 where the provenance names ``site_out``, at which the decoder rows are; otherwise 1."""
ACTIVATION = "activation"
"""Quantity that a store holds unless its provenance names another."""
MAX_CHUNK = 1 << 24  # bytes of a decoded chunk: HDF5 allocates one whole, whatever is read of it
DEFLATE_LIMIT = 1032  # largest ratio that deflate can reach (zlib's technical notes); more is a lie


@dataclass(frozen=True)
class Element:
    """One object of the file: its place, its encoding and the length that it must have.

    Parameters
    ----------
    path
        Place below the root.
    encoding
        AnnData's encoding-type; `ENCODINGS` has its version.
    dtype
        NumPy dtype of an array, None for groups and strings.
    length
        Name of the size of its first axis, None where that is free.
    group
        The optional element that it belongs to or is; None when the element is required.
    ndim
        Axes of an array.
    """

    path: str
    encoding: str
    dtype: str | None = None
    length: str | None = None
    group: str | None = None
    ndim: int = 1


ELEMENTS = (
    Element("by_token", "csr_matrix"),
    Element("by_token/data", "array", "<f4", "n_stored"),
    Element("by_token/indices", "array", "<i4", "n_stored"),
    Element("by_token/indptr", "array", "<i8", "n_tokens + 1"),
    Element("by_feature", "csc_matrix"),
    Element("by_feature/data", "array", "<f4", "n_stored"),
    Element("by_feature/indices", "array", "<i4", "n_stored"),
    Element("by_feature/indptr", "array", "<i8", "n_features + 1"),
    Element("moments", "dict"),
    Element("moments/count", "array", "<i8", "n_features"),
    Element("moments/sum", "array", "<f8", "n_features"),
    Element("moments/sum_sq", "array", "<f8", "n_features"),
    Element("moments/max", "array", "<f4", "n_features"),
    Element("tokens", "dict"),
    Element("tokens/token", "array", "<i4", "n_tokens"),
    Element("tokens/document", "array", "<i4", "n_tokens"),
    Element("tokens/position", "array", "<i4", "n_tokens"),
    Element("tokens/kind", "categorical"),
    Element("tokens/kind/codes", "array", "<i2", "n_tokens"),
    Element("tokens/kind/categories", "string-array"),
    Element("documents", "dict"),
    Element("documents/id", "string-array", None, "n_documents"),
    Element("documents/kind", "string-array", None, "n_documents"),
    Element("documents/group", "string-array", None, "n_documents"),
    Element("documents/split", "string-array", None, "n_documents"),
    Element("dictionary", "dict", group="dictionary"),
    Element("dictionary/decoder", "array", "<f4", "n_features", group="dictionary", ndim=2),
    Element("dictionary/encoder", "array", "<f4", "n_features", group="dictionary/encoder", ndim=2),
    Element("dictionary/bias", "array", "<f4", "n_features", group="dictionary/bias"),
    Element("dictionary/residual", "array", "<f4", "n_features", group="dictionary/residual", ndim=2),
    Element("unembedding", "dict", group="unembedding"),
    Element("unembedding/file", "string", group="unembedding"),
    Element("unembedding/sha256", "string", group="unembedding"),
    Element("provenance", "string"),
    Element("checksums", "string"),
)
_DATASETS = ("array", "string", "string-array")


def check_elements(path: Path, file: h5py.File) -> dict[Element, Any]:
    """Check every element of a file, groups before their contents, and return those that are present.

    Raises
    ------
    FormatError
        When a required one is missing, or one is elsewhere, of another encoding or dtype, or larger than the file
        could hold.
    """
    nodes = {}
    for element in ELEMENTS:
        node = _find(path, file, element)
        if node is not None:
            _check_element(path, element, node)
            nodes[element] = node
    return nodes


def _find(path: Path, file: h5py.File, element: Element) -> Any:
    """Find the group or dataset, None where an optional one is absent; never one in another file."""
    node: Any = file
    for part in element.path.split("/"):
        # The link is asked for before the object: opening a soft or external link would read another place or file.
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            if element.group is not None and (element.path == element.group or element.group not in file):
                return None
            raise FormatError(f"{path}: {element.path} is missing; the file is damaged or not a feature store")
        if not isinstance(link, h5py.HardLink):
            raise FormatError(f"{path}: {element.path} is a link to elsewhere; a store holds its own contents")
        node = node[part]
    return node


def _check_element(path: Path, element: Element, node: Any) -> None:
    h5_type = h5py.Dataset if element.encoding in _DATASETS else h5py.Group
    if not isinstance(node, h5_type):
        raise FormatError(f"{path}: {element.path} must be a {h5_type.__name__}, found a {type(node).__name__}")
    encoding = get_text(node, "encoding-type"), get_text(node, "encoding-version")
    if encoding != (element.encoding, ENCODINGS[element.encoding]):
        raise FormatError(f"{path}: {element.path} must be encoded as {element.encoding} "
                          f"{ENCODINGS[element.encoding]}, found {encoding[0]} {encoding[1]}")  # fmt: skip
    if not isinstance(node, h5py.Dataset):
        return
    if node.is_virtual or node.external:
        raise FormatError(f"{path}: {element.path} keeps its values in another file; a store holds its own contents")
    is_text = h5py.check_string_dtype(node.dtype) is not None
    if is_text != (element.encoding != "array") or (
        element.dtype is not None and node.dtype != np.dtype(element.dtype)
    ):
        raise FormatError(f"{path}: {element.path} must hold {element.dtype or 'text'}, found {node.dtype}")
    _check_stored(path, element, node)


def _check_stored(path: Path, element: Element, node: Any) -> None:
    """Refuse sizes that are merely claimed: nothing is allocated that the file's bytes could not hold."""
    chunk = node.dtype.itemsize * math.prod(node.chunks or (0,))
    claimed, stored = node.dtype.itemsize * node.size, node.id.get_storage_size()
    if chunk > MAX_CHUNK or stored > path.stat().st_size or claimed > DEFLATE_LIMIT * stored + chunk:
        raise FormatError(
            f"{path}: {element.path} claims {claimed:,} bytes in chunks of {chunk:,}, the file holds "
            f"{stored:,} of them; expected at most {DEFLATE_LIMIT} times those, in chunks of at most {MAX_CHUNK:,}"
        )


def check_length(path: Path, element: Element, node: Any, sizes: Mapping[str, int]) -> None:
    """Refuse an array with another number of axes, or with another length than ``sizes`` gives for it."""
    if not isinstance(node, h5py.Dataset):
        return
    ndim = 0 if element.encoding == "string" else element.ndim
    if node.ndim != ndim:
        raise FormatError(f"{path}: {element.path} must have {ndim} axes, found shape {list(node.shape)}")
    if element.length is not None and len(node) != sizes[element.length]:
        raise FormatError(f"{path}: {element.path} must have {element.length} = {sizes[element.length]} entries, "
                          f"found {len(node)}")  # fmt: skip


def read_shape(path: Path, file: h5py.File) -> tuple[int, int]:
    """Read the numbers of rows and columns, on which both matrices must agree."""
    shapes = [tuple(np.asarray(file[name].attrs["shape"]).tolist()) for name in ("by_token", "by_feature")]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] < 0 or shapes[0][1] < 1:
        raise FormatError(f"{path}: by_token and by_feature must have one shape [n_tokens >= 0, n_features >= 1], "
                          f"found {list(shapes[0])} and {list(shapes[1])}")  # fmt: skip
    return int(shapes[0][0]), int(shapes[0][1])
