"""Feature activations in a SciPy sparse matrix, one row a token."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from universality.arrays import runs_within
from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features.importing.entry_checks import as_activations, check_index
from universality.features.importing.token_source import Create, token_source, write_store

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

_BYTES = 48  # memory for an entry of a block: its copies in the block, in the check and in the writer's batch


def store_from_csr(
    create: Create,
    matrix: Any,
    path: str | Path,
    token: ArrayLike,
    *,
    special_tokens: Collection[int],
    document: ArrayLike | None = None,
    position: ArrayLike | None = None,
    kind: str | ArrayLike | None = None,
    group: ArrayLike | None = None,
    documents: DocumentTable | None = None,
    memory_budget: int,
    **store: Any,
) -> FeatureStore:
    """Write a store from a sparse matrix; see `FeatureStore.from_csr`."""
    csr = _as_csr(matrix)
    if len(np.asarray(token)) != csr.shape[0]:
        raise MismatchError(
            f"the matrix has {csr.shape[0]} rows, but token= has {len(np.asarray(token))} entries; give one id a row"
        )
    tokens = token_source(
        "the matrix", token, document=document, position=position, kind=kind, group=group, documents=documents,
        special_tokens=special_tokens,
    )  # fmt: skip
    imported = {"format": "csr", "sha256": _hash(csr), "special_tokens": sorted(special_tokens)}
    blocks = _blocks(csr, memory_budget)
    return write_store(create, path, csr.shape[1], tokens, blocks, imported=imported, **store)


def _as_csr(matrix: Any) -> Any:
    """Return a matrix as CSR; entries that a conversion would add up are refused."""
    if not sparse.issparse(matrix) or matrix.ndim != 2:
        raise FormatError(
            f"expected a two-dimensional SciPy sparse matrix, found {type(matrix).__name__}; convert a dense array "
            "with scipy.sparse.csr_matrix(array)"
        )
    if matrix.format == "csr":
        return matrix
    if matrix.format == "coo":
        check_index("the matrix", "row", matrix.row, matrix.shape[0])
        check_index("the matrix", "feature", matrix.col, matrix.shape[1])
    csr = matrix.tocsr()
    if matrix.format == "coo" and csr.nnz < matrix.nnz:
        key = np.sort(matrix.row.astype(np.int64) * matrix.shape[1] + matrix.col)
        row, feature = divmod(int(key[:-1][key[1:] == key[:-1]][0]), matrix.shape[1])
        raise FormatError(
            f"the matrix, row {row}: feature {feature} is named twice; call sum_duplicates() if they are to be added"
        )
    return csr


def _blocks(csr: Any, memory_budget: int) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    indptr = np.asarray(csr.indptr, np.int64)
    lengths = np.diff(indptr)
    if (lengths < 0).any() or indptr[0] != 0 or indptr[-1] > min(len(csr.data), len(csr.indices)):
        raise FormatError(f"the matrix: indptr must rise from 0 to its {len(csr.data)} values")
    for start, stop in runs_within(lengths + 1, max(1, memory_budget // _BYTES)):
        part = slice(*indptr[[start, stop]].tolist())
        indices, values = csr.indices[part], csr.data[part]
        check_index("the matrix", "feature", indices, csr.shape[1], part.start)
        data = as_activations("the matrix", values, part.start)
        pointers = indptr[start : stop + 1] - indptr[start]
        block = sparse.csr_matrix((data, indices, pointers), shape=(stop - start, csr.shape[1]))
        _check_repeats(block, start)
        yield slice(start, stop), block


def _check_repeats(block: sparse.csr_matrix, start: int) -> None:
    if block.has_sorted_indices and block.has_canonical_format:
        return
    row = np.repeat(np.arange(block.shape[0], dtype=np.int64), np.diff(block.indptr))
    key = np.sort(row * block.shape[1] + block.indices)
    repeated = key[:-1][key[1:] == key[:-1]]
    if len(repeated):
        at, feature = divmod(int(repeated[0]), block.shape[1])
        raise FormatError(
            f"the matrix, row {start + at}: feature {feature} is named twice; call sum_duplicates() if they are to "
            "be added"
        )


def _hash(csr: Any) -> str:
    """Hash the shape and the three arrays as they are given."""
    sha256 = hashlib.sha256(f"{csr.shape} {csr.data.dtype.str} {csr.indices.dtype.str} {csr.indptr.dtype.str}".encode())
    for array in (csr.indptr, csr.indices, csr.data):
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()
