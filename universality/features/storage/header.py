"""The small elements of a store, read at opening: moments, tables, weights and checksums."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError
from universality.features.storage.checksums import Checksum
from universality.features.storage.elements import (
    FORMAT,
    TWO_SITES_VERSION,
    VERSION,
    Element,
    check_elements,
    check_length,
    read_shape,
)
from universality.features.storage.hdf5 import (
    get_text,
    make_group,
    read_text,
    reading,
    write_array,
    write_strings,
    write_text,
)
from universality.features.storage.moments import Moments
from universality.features.storage.token_table import Dictionary
from universality.models.unembedding import Unembedding, file_name
from universality.obstacles import check_openable

MANTISSA = 23  # bits of a float32's fraction


@dataclass(frozen=True, eq=False)
class Header:
    """Sizes, moments and names of a store; ``checksums`` has an entry for every dataset but itself."""

    n_tokens: int
    n_features: int
    n_stored: int
    n_documents: int
    mantissa_bits: int
    moments: Moments
    provenance: str
    unembedding: str | None
    checksums: Mapping[str, Checksum]

    def has(self, path: str) -> bool:
        """True where an optional element is present: a dataset, or a group with datasets."""
        return any(name == path or name.startswith(f"{path}/") for name in self.checksums)


def open_file(path: Path) -> h5py.File:
    """Open the HDF5 file of a complete store of a version that this code reads."""
    if not path.exists():
        left = [path.name + suffix for suffix in (".unfinished", ".segments")]
        left = [name for name in left if path.with_name(name).exists()]
        hint = f"; {left[0]} was left by a writer that was stopped, or is being written" if left else ""
        hint += "; create(…, resume=True) resumes from it" if path.name + ".segments" in left else ""
        raise FileNotFoundError(f"{path}: no such feature store{hint}")
    if path.is_file():
        check_openable(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        raise FormatError(f"{path}: not an HDF5 file, or one with a corrupt beginning; expected a feature store")
    with reading(path, "the file"):
        # A shared lock where the file system has locks, as other readers request; none where it has not.
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
        nodes = check_elements(path, file)
        n_tokens, n_features = read_shape(path, file)
        sizes = {
            "n_stored": len(file["by_token/data"]),
            "n_tokens": n_tokens,
            "n_tokens + 1": n_tokens + 1,
            "n_features": n_features,
            "n_features + 1": n_features + 1,
            "n_documents": len(file["documents/id"]),
        }
        for element, node in nodes.items():
            check_length(path, element, node, sizes)
        return Header(
            n_tokens=n_tokens,
            n_features=n_features,
            n_stored=sizes["n_stored"],
            n_documents=sizes["n_documents"],
            mantissa_bits=_mantissa_bits(path, file),
            moments=_moments(path, file, n_tokens, sizes["n_stored"]),
            provenance=_provenance(path, file),
            unembedding=_unembedding(path, file),
            checksums=_checksums(path, file, nodes),
        )


def _check_format(path: Path, file: h5py.File) -> None:
    name = get_text(file, "format")
    if name != FORMAT:
        raise FormatError(f"{path}: an HDF5 file, but not a feature store: format is {name!r}, expected {FORMAT!r}")
    version = file.attrs.get("format-version")
    if version not in (VERSION, TWO_SITES_VERSION):
        raise FormatError(f"{path}: written in format version {version}, this program reads {VERSION} and "
                          f"{TWO_SITES_VERSION}; update it, or write the store again")  # fmt: skip
    if not bool(file.attrs.get("complete", False)):
        raise FormatError(f"{path}: incomplete: its writer was stopped before finish(); write it again")


def _mantissa_bits(path: Path, file: h5py.File) -> int:
    bits = int(file.attrs.get("mantissa-bits", MANTISSA))
    if not 1 <= bits <= MANTISSA:
        raise FormatError(f"{path}: mantissa-bits must lie in 1 … {MANTISSA}, found {bits}")
    return bits


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
    # Read at every opening: with them, a feature's entries are found without trusting the file further.
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
    """Read the hash; the file's name must follow from it, so that a store cannot point elsewhere on the disk."""
    if "unembedding" not in file:
        return None
    name, sha256 = read_text(file["unembedding/file"]), read_text(file["unembedding/sha256"])
    if not re.fullmatch("[0-9a-f]{64}", sha256) or name != file_name(sha256):
        raise FormatError(f"{path}: unembedding/file must be {file_name('<sha256>')!r} with the first 12 digits of "
                          f"unembedding/sha256, found {name!r} and {sha256!r}")  # fmt: skip
    return sha256


def _checksums(path: Path, file: h5py.File, nodes: Mapping[Element, Any]) -> dict[str, Checksum]:
    with reading(path, "checksums"):
        stated = json.loads(read_text(file["checksums"]))
    expected = {element.path for element, node in nodes.items() if isinstance(node, h5py.Dataset)} - {"checksums"}
    if not isinstance(stated, dict) or set(stated) != expected:
        raise FormatError(f"{path}: checksums must name the elements that are there, "
                          f"found a difference in {sorted(expected ^ set(stated))}")  # fmt: skip
    return {name: Checksum(e["dtype"], tuple(e["shape"]), e["sha256"]) for name, e in sorted(stated.items())}


def write_tables(
    file: h5py.File, moments: Moments, kinds: tuple[str, ...], documents: DocumentTable
) -> dict[str, Checksum]:
    """Write moments, names of kinds and documents; return their checksums by path."""
    make_group(file, "moments")
    make_group(file, "documents")
    sums = {
        f"moments/{name}": write_array(file, f"moments/{name}", getattr(moments, name), dtype)
        for name, dtype in (("count", "<i8"), ("sum", "<f8"), ("sum_sq", "<f8"), ("max", "<f4"))
    }
    sums["tokens/kind/categories"] = write_strings(file, "tokens/kind/categories", kinds)
    for name in ("id", "kind", "group", "split"):
        sums[f"documents/{name}"] = write_strings(file, f"documents/{name}", getattr(documents, name))
    return sums


def write_weights(
    file: h5py.File, path: Path, dictionary: Dictionary | None, unembedding: Unembedding | None
) -> dict[str, Checksum]:
    """Write the dictionary, and the unembedding to its own file beside ``path``; return checksums by path."""
    sums = {}
    if dictionary is not None:
        make_group(file, "dictionary")
        for name in ("decoder", "encoder", "bias", "residual"):
            array = getattr(dictionary, name)
            if array is not None:
                sums[f"dictionary/{name}"] = write_array(file, f"dictionary/{name}", array, "<f4")
    if unembedding is not None:
        _share(unembedding, path.with_name(unembedding.file_name))
        make_group(file, "unembedding")
        sums["unembedding/file"] = write_text(file, "unembedding/file", unembedding.file_name)
        sums["unembedding/sha256"] = write_text(file, "unembedding/sha256", unembedding.hash)
    return sums


def write_checksums(file: h5py.File, provenance: str, sums: Mapping[str, Checksum]) -> None:
    """Write provenance (JSON text), and last the checksums, the one element that no checksum covers."""
    every = {**sums, "provenance": write_text(file, "provenance", provenance)}
    text = json.dumps({path: every[path].to_json() for path in every}, sort_keys=True)
    write_text(file, "checksums", text)


def _share(unembedding: Unembedding, sidecar: Path) -> None:
    """Write the unembedding unless an intact file is there; a damaged one is replaced."""
    try:
        if Unembedding.load(sidecar).hash == unembedding.hash:
            return
    except (FileNotFoundError, FormatError):
        pass
    unembedding.save(sidecar)
