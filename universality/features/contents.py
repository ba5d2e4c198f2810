"""The small elements of a store, written once all rows are in: tables, weights, provenance, checksums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import h5py

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError
from universality.features.hdf5 import Checksum, make_group, write_array, write_strings, write_text
from universality.features.tables import Dictionary, Moments
from universality.models.unembedding import Unembedding


def write_tables(
    file: h5py.File, moments: Moments, kinds: tuple[str, ...], documents: DocumentTable
) -> dict[str, Checksum]:
    """Moments, the names of kinds, and the documents; returns their checksums by path."""
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
    """The dictionary, and the unembedding in its own file beside ``path``; returns checksums by path."""
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
    """Provenance (JSON text), then the checksums of it and of everything before it."""
    every = {**sums, "provenance": write_text(file, "provenance", provenance)}
    text = json.dumps({path: every[path].to_json() for path in every}, sort_keys=True)
    write_text(file, "checksums", text)


def _share(unembedding: Unembedding, sidecar: Path) -> None:
    """Write the file unless a whole one is there; a damaged one is replaced."""
    try:
        if Unembedding.load(sidecar).hash == unembedding.hash:
            return
    except (FileNotFoundError, FormatError):
        pass
    unembedding.save(sidecar)
