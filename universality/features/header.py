"""What opening a store reads: its format, its shape, its moments; and that the parts agree in size."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from universality.errors import FormatError
from universality.features.hdf5 import Checksum, get_text, read_text, reading
from universality.features.layout import ELEMENTS, ENCODINGS, FORMAT, VERSION, Element
from universality.features.tables import Moments
from universality.models.unembedding import file_name

_DATASETS = ("array", "string", "string-array")


@dataclass(frozen=True, eq=False)
class Header:
    """Sizes, moments and names; ``checksums`` has an entry for every dataset but itself."""

    n_tokens: int
    n_features: int
    n_stored: int
    n_documents: int
    moments: Moments
    provenance: str
    unembedding: str | None
    checksums: Mapping[str, Checksum]

    def has(self, path: str) -> bool:
        """Whether an optional element is there: a dataset, or a group with datasets."""
        return any(name == path or name.startswith(f"{path}/") for name in self.checksums)


def open_file(path: Path) -> h5py.File:
    """The HDF5 file of a complete store of a version that this code reads."""
    if not path.exists():
        left = path.with_name(path.name + ".unfinished")
        hint = f"; {left.name} is what a writer left that was stopped or is at work" if left.exists() else ""
        raise FileNotFoundError(f"{path}: no such feature store{hint}")
    if not path.is_file() or not h5py.is_hdf5(path):
        raise FormatError(f"{path}: not an HDF5 file, or one torn at its start; expected a feature store")
    with reading(path, "the file"):
        # Shared by all readers, skipped where a file system has no locks, and what other readers ask for.
        file = h5py.File(path, "r", locking="best-effort")
    try:
        with reading(path, "its attributes"):
            _check_format(path, file)
    except BaseException:
        file.close()
        raise
    return file


def read_header(path: Path, file: h5py.File) -> Header:
    """Check every element's place, encoding, dtype and length; read the small ones."""
    with reading(path, "its layout"):
        found = _elements(path, file)
        n_tokens, n_features = _shape(path, file)
        sizes = {
            "n_stored": len(file["by_token/data"]),
            "n_tokens": n_tokens,
            "n_tokens + 1": n_tokens + 1,
            "n_features": n_features,
            "n_features + 1": n_features + 1,
            "n_documents": len(file["documents/id"]),
        }
        for element, node in found.items():
            _check_length(path, element, node, sizes)
        return Header(
            n_tokens=n_tokens,
            n_features=n_features,
            n_stored=sizes["n_stored"],
            n_documents=sizes["n_documents"],
            moments=_moments(path, file, n_tokens, sizes["n_stored"]),
            provenance=_provenance(path, file),
            unembedding=_unembedding(path, file),
            checksums=_checksums(path, file, found),
        )


def _check_format(path: Path, file: h5py.File) -> None:
    name = get_text(file, "format")
    if name != FORMAT:
        raise FormatError(f"{path}: an HDF5 file, but not a feature store: format is {name!r}, expected {FORMAT!r}")
    version = file.attrs.get("format-version")
    if version != VERSION:
        raise FormatError(f"{path}: written in format version {version}, this program reads {VERSION}; "
                          "update it, or write the store anew")  # fmt: skip
    if not bool(file.attrs.get("complete", False)):
        raise FormatError(f"{path}: incomplete: its writer was stopped before finish(); write it anew")


def _elements(path: Path, file: h5py.File) -> dict[Element, Any]:
    """Every element that is there, each of the right sort; groups are looked at before what is in them."""
    found = {}
    for element in ELEMENTS:
        node = _find(path, file, element)
        if node is not None:
            _check_element(path, element, node)
            found[element] = node
    return found


def _find(path: Path, file: h5py.File, element: Element) -> Any:
    """The group or dataset, None where an optional one is absent; never one in another file."""
    node: Any = file
    for part in element.path.split("/"):
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
    wanted = h5py.Dataset if element.encoding in _DATASETS else h5py.Group
    if not isinstance(node, wanted):
        raise FormatError(f"{path}: {element.path} must be a {wanted.__name__}, found a {type(node).__name__}")
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


def _check_length(path: Path, element: Element, node: Any, sizes: Mapping[str, int]) -> None:
    if not isinstance(node, h5py.Dataset):
        return
    ndim = 0 if element.encoding == "string" else element.ndim
    if node.ndim != ndim:
        raise FormatError(f"{path}: {element.path} must have {ndim} axes, found shape {list(node.shape)}")
    if element.length is not None and len(node) != sizes[element.length]:
        raise FormatError(f"{path}: {element.path} must have {element.length} = {sizes[element.length]} entries, "
                          f"found {len(node)}")  # fmt: skip


def _shape(path: Path, file: h5py.File) -> tuple[int, int]:
    shapes = [tuple(np.asarray(file[name].attrs["shape"]).tolist()) for name in ("by_token", "by_feature")]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] < 0 or shapes[0][1] < 1:
        raise FormatError(f"{path}: by_token and by_feature must have one shape [n_tokens >= 0, n_features >= 1], "
                          f"found {list(shapes[0])} and {list(shapes[1])}")  # fmt: skip
    return int(shapes[0][0]), int(shapes[0][1])


def _moments(path: Path, file: h5py.File, n_tokens: int, n_stored: int) -> Moments:
    arrays = {name: file[f"moments/{name}"][:] for name in ("count", "sum", "sum_sq", "max")}
    moments = Moments(n_tokens, **arrays)
    if not all(np.isfinite(array).all() for array in arrays.values()) or (moments.sum_sq < 0).any():
        raise FormatError(f"{path}: moments hold values that no activations have (NaN, infinite or negative squares)")
    starts = np.concatenate([[0], np.cumsum(moments.count)])
    if (moments.count < 0).any() or (moments.count > n_tokens).any() or starts[-1] != n_stored:
        raise FormatError(
            f"{path}: moments/count must lie in 0 … {n_tokens} and add up to the {n_stored} stored entries"
        )
    if not np.array_equal(file["by_feature/indptr"][:], starts):
        raise FormatError(f"{path}: by_feature/indptr must rise by moments/count, from 0 to {n_stored}")
    ends = file["by_token/indptr"][0], file["by_token/indptr"][-1]
    if ends != (0, n_stored):
        raise FormatError(f"{path}: by_token/indptr must rise from 0 to {n_stored}, found {ends[0]} … {ends[1]}")
    return moments


def _provenance(path: Path, file: h5py.File) -> str:
    with reading(path, "provenance"):
        text = read_text(file["provenance"])
        value = json.loads(text)
    if not isinstance(value, dict):
        raise FormatError(f"{path}: provenance must be a JSON object, found {text[:40]!r}")
    return text


def _unembedding(path: Path, file: h5py.File) -> str | None:
    """The hash; the name must follow from it, so that a store cannot point elsewhere on the disk."""
    if "unembedding" not in file:
        return None
    name, sha256 = read_text(file["unembedding/file"]), read_text(file["unembedding/sha256"])
    if not re.fullmatch("[0-9a-f]{64}", sha256) or name != file_name(sha256):
        raise FormatError(f"{path}: unembedding/file must be {file_name('<sha256>')!r} with the first 12 digits of "
                          f"unembedding/sha256, found {name!r} and {sha256!r}")  # fmt: skip
    return sha256


def _checksums(path: Path, file: h5py.File, found: Mapping[Element, Any]) -> dict[str, Checksum]:
    with reading(path, "checksums"):
        stated = json.loads(read_text(file["checksums"]))
    wanted = {element.path for element, node in found.items() if isinstance(node, h5py.Dataset)} - {"checksums"}
    if not isinstance(stated, dict) or set(stated) != wanted:
        raise FormatError(f"{path}: checksums must name the elements that are there, "
                          f"found a difference in {sorted(wanted ^ set(stated))}")  # fmt: skip
    return {name: Checksum(e["dtype"], tuple(e["shape"]), e["sha256"]) for name, e in sorted(stated.items())}
