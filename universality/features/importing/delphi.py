"""Latent activations that delphi has cached (``LatentCache.save_splits``): safetensors files of COO entries.

A folder holds one hookpoint: ``START_END.safetensors`` for the latents START … END, both included, and
``config.json``. ``locations`` [nnz, 3] is (sequence, position, latent - START) as uint16 or uint32, ``activations``
[nnz] float16, and ``tokens`` [n_sequences, n_ctx] the token ids, the same in each file. delphi leaves out activations
of at most 1e-5. ``LatentCache.save`` writes one file, of all latents, with the activations' own dtype.
Source: delphi 0.1.3, ``delphi/latents/cache.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from scipy import sparse

from universality.checked_json import Settings
from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features.importing.entry_checks import as_activations, check_index
from universality.features.importing.entry_sorter import EntrySorter
from universality.features.importing.token_source import Create, TokenSource, token_source, write_store
from universality.files import as_path, sha256
from universality.obstacles import check_openable

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

_NAME = re.compile(r"(\d{1,10})_(\d{1,10})\.safetensors")
_SEQUENCES = 4096  # sequences of tokens that are read and compared at a time
_INTEGERS, _REALS = ("U16", "I16", "U32", "I32", "U64", "I64"), ("F16", "F32", "F64")
_HALF_BITS = 10  # bits of fraction of a float16: rounding to them changes nothing, and deflates better


@dataclass(frozen=True)
class LatentFile:
    """One file and the latents that it covers."""

    path: Path
    start: int
    stop: int


def store_from_delphi(
    create: Create,
    source: str | Path,
    path: str | Path,
    *,
    special_tokens: Collection[int],
    n_features: int | None = None,
    tokens: ArrayLike | None = None,
    document: ArrayLike | None = None,
    kind: str | ArrayLike | None = None,
    group: ArrayLike | None = None,
    documents: DocumentTable | None = None,
    memory_budget: int,
    **store: Any,
) -> FeatureStore:
    """Write a store from delphi's cache; see `FeatureStore.from_delphi`."""
    source, path = as_path(source), as_path(path)
    files = latent_files(source, n_features)
    ids = _tokens(source, files) if tokens is None else _given_tokens(source, tokens)
    table = token_source(
        str(source),
        ids.ravel(),
        document=_of_tokens(source, "document", np.arange(len(ids)) if document is None else document, ids.shape),
        position=np.tile(np.arange(ids.shape[1]), len(ids)),
        kind=kind if kind is None or isinstance(kind, str) else _of_tokens(source, "kind", kind, ids.shape),
        group=None if group is None else _of_tokens(source, "group", group, ids.shape),
        documents=documents,
        special_tokens=special_tokens,
    )
    config = source / "config.json"
    imported = {
        "format": "delphi",
        "sha256": _hash(files),
        "files": len(files),
        "config": Settings.read(config).values if source.is_dir() and config.exists() else None,
        "special_tokens": sorted(special_tokens),
        "document": "given" if document is not None else "one a sequence",
    }
    half = all(_dtype(file.path) == "F16" for file in files)
    return write_store(
        create, path, files[-1].stop, table, _blocks(files, table, path.parent, ids.shape, memory_budget),
        imported=imported, mantissa_bits=_HALF_BITS if half else 23, **store,
    )  # fmt: skip


def latent_files(source: Path, n_features: int | None = None) -> list[LatentFile]:
    """List the files of a cache in the order of their latents, which must cover 0 … n_features - 1 once.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    FormatError
        If the files are not those of one hookpoint, or leave out latents.
    """
    if source.is_file():
        if n_features is None:
            raise FormatError(f"{source}: one file does not say how many latents there are; pass n_features=")
        return [LatentFile(source, 0, n_features)]
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; expected a hookpoint's folder of delphi's cache")
    names = sorted(source.glob("*.safetensors"))
    if not names:
        inner = sorted(folder.name for folder in source.iterdir() if folder.is_dir())
        advice = f"; give one hookpoint of {', '.join(inner)}" if inner else ""
        raise FormatError(f"{source}: no START_END.safetensors in this folder{advice}")
    files = []
    for name in names:
        found = _NAME.fullmatch(name.name)
        if not found or int(found[1]) > int(found[2]):
            raise FormatError(f"{name}: expected a name like 0_999.safetensors, the first and the last latent inside")
        files.append(LatentFile(name, int(found[1]), int(found[2]) + 1))
    files.sort(key=lambda file: file.start)
    _check_cover(source, files, n_features)
    return files


def _check_cover(source: Path, files: Sequence[LatentFile], n_features: int | None) -> None:
    end = 0
    for file in files:
        if file.start != end:
            what = f"latents {end} … {file.start - 1} are in no file" if file.start > end else "overlaps the one before"
            raise FormatError(f"{file.path}: {what}; a cache covers each latent once, copy all of its files")
        end = file.stop
    if n_features is not None and n_features != end:
        raise FormatError(f"{source}: the files cover {end} latents, but n_features is {n_features}")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    check_openable(path)
    try:
        file = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise FormatError(f"{path}: cannot be read as safetensors: {error}; it is truncated or corrupt") from None
    with file:
        yield file


def _tensor(file: Any, path: Path, name: str, shape: tuple[int | None, ...]) -> Any:
    """Return a slice of a tensor that is there, of this shape (None: any length)."""
    if not _has(file, name):
        raise FormatError(f"{path}: holds no {name!r}; expected delphi's locations, activations and tokens")
    tensor = file.get_slice(name)
    if tensor.get_dtype() not in (_REALS if name == "activations" else _INTEGERS):
        raise FormatError(f"{path}: {name} of dtype {tensor.get_dtype()} are not what delphi writes")
    found = tuple(tensor.get_shape())
    if len(found) != len(shape) or any(want not in (None, has) for want, has in zip(shape, found, strict=True)):
        wanted = [("n" if want is None else want) for want in shape]
        raise FormatError(f"{path}: {name} must have shape {wanted}, found {list(found)}".replace("'", ""))
    return tensor


def _has(file: Any, name: str) -> bool:
    return name in list(file.keys())


def _dtype(path: Path) -> str:
    with _opened(path) as file:
        return str(_tensor(file, path, "activations", (None,)).get_dtype())


def _tokens(source: Path, files: Sequence[LatentFile]) -> NDArray[np.int32]:
    """Read the tokens [n_sequences, n_ctx] of the first file that has them, and compare with the others."""
    ids: NDArray[np.int32] | None = None
    for latents in files:
        with _opened(latents.path) as file:
            if not _has(file, "tokens"):
                continue
            tensor = _tensor(file, latents.path, "tokens", (None, None))
            shape = tuple(tensor.get_shape())
            if ids is not None and ids.shape != shape:
                raise MismatchError(
                    f"{latents.path}: tokens of shape {shape}, but {files[0].path.name} has {ids.shape}"
                )
            first, ids = ids is None, np.empty(shape, np.int32) if ids is None else ids
            for start in range(0, shape[0], _SEQUENCES):
                part = tensor[start : min(start + _SEQUENCES, shape[0])]
                check_index(f"{latents.path}: tokens", "token", part.ravel(), 1 << 31, start * shape[1])
                if first:
                    ids[start : start + _SEQUENCES] = part
                elif not np.array_equal(ids[start : start + _SEQUENCES], part):
                    raise MismatchError(f"{latents.path}: its tokens are not those of {files[0].path.name}; "
                                        "the files of a cache are of one run")  # fmt: skip
    if ids is None:
        raise FormatError(f"{source}: no file holds the tokens; pass tokens=, [n_sequences, n_ctx] ids, as delphi "
                          "cached them (LatentDataset.load_tokens)")  # fmt: skip
    return ids


def _given_tokens(source: Path, tokens: ArrayLike) -> NDArray[Any]:
    ids = np.asarray(tokens)
    if ids.ndim != 2:
        raise MismatchError(f"{source}: tokens= must be [n_sequences, n_ctx], found shape {list(ids.shape)}")
    return ids


def _of_tokens(source: Path, name: str, given: ArrayLike, shape: tuple[int, int]) -> NDArray[Any]:
    """Return a column of tokens from values for each sequence, or for each token."""
    array = np.asarray(given)
    if array.shape not in (shape, shape[:1]):
        raise MismatchError(f"{source}: {name}= must be one for each of {shape[0]} sequences, or {list(shape)}; "
                            f"found shape {list(array.shape)}")  # fmt: skip
    return np.repeat(array, shape[1]) if array.ndim == 1 else array.ravel()


def _blocks(
    files: Sequence[LatentFile], tokens: TokenSource, folder: Path, shape: tuple[int, int], memory_budget: int
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Sort the entries of all files by token, and yield blocks of rows."""

    def name_row(row: int) -> str:
        return f"{files[0].path.parent}: sequence {row // shape[1]}, position {row % shape[1]}"

    with EntrySorter(folder, len(tokens), files[-1].stop, memory_budget, name_row) as sorter:
        for latents in files:
            with _opened(latents.path) as file:
                _add(file, latents, shape, sorter)
        yield from sorter.blocks()


def _add(file: Any, latents: LatentFile, shape: tuple[int, int], sorter: EntrySorter) -> None:
    path = latents.path
    locations = _tensor(file, path, "locations", (None, 3))
    n = locations.get_shape()[0]
    activations = _tensor(file, path, "activations", (n,))
    if locations.get_dtype() == "U16" and shape[1] > 1 << 16:
        raise FormatError(f"{path}: {shape[1]} positions do not fit uint16 locations: delphi has wrapped them")
    for start in range(0, n, sorter.batch):
        stop = min(start + sorter.batch, n)  # safetensors refuses slices beyond the end
        part = locations[start:stop]
        columns = zip(("sequence", "position", "latent"), part.T, (*shape, latents.stop - latents.start), strict=True)
        for name, values, limit in columns:
            check_index(str(path), name, values, limit, start)
        sequence, position, latent = (column.astype(np.int64) for column in part.T)
        value = as_activations(str(path), activations[start:stop], start)
        sorter.add(sequence * shape[1] + position, latent + latents.start, value)


def _hash(files: Sequence[LatentFile]) -> str:
    """Hash the names and the bytes of all files."""
    sums = [[file.path.name, sha256(file.path)] for file in files]
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()
