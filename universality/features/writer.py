"""Writing a feature store: rows in, one complete file out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features import hdf5
from universality.features.batch import Batch, check_batch
from universality.features.chunks import GrowingArray
from universality.features.contents import write_checksums, write_tables, write_weights
from universality.features.hdf5 import Checksum
from universality.features.kinds import Kinds
from universality.features.layout import ELEMENTS, FORMAT, VERSION
from universality.features.moments import MomentSums
from universality.features.tables import Dictionary
from universality.features.transpose import Transposer
from universality.features.unfinished import UnfinishedFile
from universality.models.unembedding import Unembedding

if TYPE_CHECKING:
    from universality.features.store import FeatureStore

BUFFER = 1 << 22  # entries held before they go to the file: 32 MiB, and about four times that while they do
MAX_IMPLIED_DOCUMENTS = 1 << 20  # without a table one wrong index would imply billions of documents
_INT32_MAX = np.iinfo(np.int32).max
_GROWING = {
    element.path: element.dtype
    for element in ELEMENTS
    if element.dtype is not None and element.path.startswith(("by_token/", "tokens/"))
}


class FeatureWriter:
    """Appends rows to a store that appears under its name only when it is complete.

    Made by `FeatureStore.create`. As a context manager it finishes when the block ends and removes what it wrote
    when the block raises.

    Parameters
    ----------
    path
        Name of the finished file.
    n_features
        Columns of the rows to come.
    provenance
        What the features were made from; any dict that JSON holds.
    documents
        The table that ``document=`` refers to; None for one made of the indices seen.
    overwrite
        Whether a file of this name may be replaced.
    """

    def __init__(
        self,
        path: str | Path,
        n_features: int,
        provenance: Mapping[str, Any],
        documents: DocumentTable | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        if not isinstance(n_features, int | np.integer) or not 1 <= n_features <= _INT32_MAX:
            raise FormatError(f"{path}: n_features must be an integer in 1 … {_INT32_MAX}, found {n_features!r}")
        self.n_features = int(n_features)
        self.n_tokens = 0
        self._overwrite = overwrite
        self._provenance = hdf5.to_json(self.path, "provenance", provenance)
        self._documents = documents
        if documents is not None:
            for column in (documents.id, documents.kind, documents.group, documents.split):
                hdf5.check_text(f"{path}: the document table", column)
        self._kinds = Kinds()
        self._buffer: list[Batch] = []
        self._codes: list[NDArray[np.int16]] = []
        self._n_buffered = 0
        self._n_stored = 0
        self._moments = MomentSums(self.n_features)
        self._refuse_existing()
        self._unfinished = UnfinishedFile(self.path)
        self._transposer = Transposer(self.n_features, self.path.parent)
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="compress")
        self._growing: dict[str, GrowingArray] = {}
        self._open = True
        self._make_groups(self._unfinished.file)

    def append(
        self,
        csr: sparse.csr_matrix,
        *,
        token: ArrayLike,
        document: ArrayLike,
        position: ArrayLike,
        kind: ArrayLike,
    ) -> None:
        """Add rows at the end; a refused batch leaves the writer as it was.

        Parameters
        ----------
        csr
            SciPy CSR [n, n_features]. Explicit zeros are dropped (stored means fired), rows may be unsorted.
        token, document, position
            Integers [n]: vocabulary id, row of the document table, column in the block. No BOS, no padding.
        kind
            str [n].

        Raises
        ------
        MismatchError
            When a width, a length or a document index does not fit.
        FormatError
            When values cannot be stored, or the writer is closed.
        """
        self._check_open()
        where = f"{self.path.name}, rows from {self.n_tokens}"
        batch = check_batch(csr, self.n_features, where, token=token, document=document, position=position, kind=kind)
        if self.n_tokens + len(batch) > _INT32_MAX:
            raise FormatError(f"{where}: a store holds {_INT32_MAX} tokens at most; begin another")
        self._check_documents(batch.document, where)
        self._codes.append(self._kinds.add(batch.kind, batch.document, where))
        self._buffer.append(batch)
        self.n_tokens += len(batch)
        self._n_buffered += len(batch) + len(batch.data)
        if self._n_buffered >= BUFFER:
            try:
                self._flush()
            except BaseException:  # a full disk: rows are lost, so nothing may be finished after
                self.discard()
                raise

    def finish(self, dictionary: Dictionary | None = None, unembedding: Unembedding | None = None) -> FeatureStore:
        """Build the feature-major copy, mark the file complete, give it its name, and open it.

        Parameters
        ----------
        dictionary
            Weights behind the features, one row a feature.
        unembedding
            Kept in a file beside the store, shared by all stores there that have the same.

        Raises
        ------
        MismatchError
            When the dictionary has another number of rows, or residual and unembedding another d_model.
        """
        from universality.features.store import FeatureStore  # the reader imports the writer

        self._check_open()
        self._check_weights(dictionary, unembedding)
        self._refuse_existing()
        try:
            self._flush()
            file = self._unfinished.file
            sums = {path: array.close() for path, array in self._growing.items()}
            moments = self._moments.compute(self.n_tokens)
            documents = self._kinds.documents() if self._documents is None else self._documents
            sums |= self._write_columns(file, moments.count)
            sums |= write_tables(file, moments, self._kinds.names, documents)
            sums |= write_weights(file, self.path, dictionary, unembedding)
            write_checksums(file, self._provenance, sums)
            self._unfinished.complete()
        except BaseException:
            self.discard()
            raise
        self._close()
        return FeatureStore.open(self.path)

    def discard(self) -> None:
        """Remove the unfinished file. Does nothing once the store is finished."""
        if self._open:
            self._close()
            self._unfinished.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        elif self._open:
            self.finish().close()

    def _make_groups(self, file: h5py.File) -> None:
        hdf5.label(file, "dict")
        hdf5.set_text(file, "format", FORMAT)
        file.attrs["format-version"] = VERSION
        hdf5.make_group(file, "by_token", "csr_matrix")
        hdf5.make_group(file, "by_feature", "csc_matrix")
        kind = hdf5.make_group(hdf5.make_group(file, "tokens"), "kind", "categorical")
        kind.attrs["ordered"] = False
        for path, dtype in _GROWING.items():
            self._growing[path] = GrowingArray(file, path, dtype, self._pool)
        self._growing["by_token/indptr"].append(np.zeros(1, np.int64))

    def _flush(self) -> None:
        """Send the buffered rows to the file, to the moments and to the transposer, in pieces of one buffer."""
        batches, self._buffer, self._n_buffered = self._buffer, [], 0
        codes, self._codes = self._codes, []
        if not batches:
            return
        for name in ("token", "document", "position"):
            self._growing[f"tokens/{name}"].append(np.concatenate([getattr(batch, name) for batch in batches]))
        self._growing["tokens/kind/codes"].append(np.concatenate(codes))
        lengths = np.concatenate([batch.lengths for batch in batches])
        data = np.concatenate([batch.data for batch in batches])
        indices = np.concatenate([batch.indices for batch in batches])
        ends = np.cumsum(lengths)
        row, start = 0, 0
        while row < len(lengths):  # one piece, unless a single append brought more than a buffer
            stop_row = max(row + 1, int(np.searchsorted(ends, start + 2 * BUFFER, side="right")))
            stop = int(ends[stop_row - 1])
            self._flush_rows(data[start:stop], indices[start:stop], lengths[row:stop_row])
            row, start = stop_row, stop

    def _flush_rows(self, data: NDArray[np.float32], indices: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        self._growing["by_token/data"].append(data)
        self._growing["by_token/indices"].append(indices)
        ends = np.cumsum(lengths)
        self._growing["by_token/indptr"].append(self._n_stored + ends)
        self._n_stored += len(data)
        self._moments.update(indices, data)
        indptr = np.concatenate([[0], ends])
        self._transposer.add(sparse.csr_matrix((data, indices, indptr), shape=(len(lengths), self.n_features)))

    def _write_columns(self, file: h5py.File, count: NDArray[np.int64]) -> dict[str, Checksum]:
        shape = np.array([self.n_tokens, self.n_features], np.int64)
        file["by_token"].attrs["shape"] = shape
        file["by_feature"].attrs["shape"] = shape
        arrays = {
            f"by_feature/{name}": GrowingArray(file, f"by_feature/{name}", dtype, self._pool)
            for name, dtype in (("data", "<f4"), ("indices", "<i4"), ("indptr", "<i8"))
        }
        arrays["by_feature/indptr"].append(np.concatenate([[0], np.cumsum(count)]))
        for block in self._transposer.columns(count, BUFFER):
            arrays["by_feature/data"].append(block.data)
            arrays["by_feature/indices"].append(block.indices)
        return {path: array.close() for path, array in arrays.items()}

    def _check_documents(self, document: NDArray[np.int32], where: str) -> None:
        largest = int(document.max(initial=-1))
        if self._documents is not None and largest >= len(self._documents):
            raise MismatchError(f"{where}: document {largest} is not in the table of {len(self._documents)} documents")
        if self._documents is None and largest >= MAX_IMPLIED_DOCUMENTS:
            raise MismatchError(
                f"{where}: document {largest} implies a table of as many rows, {MAX_IMPLIED_DOCUMENTS} are allowed; "
                "give documents= to create()"
            )

    def _check_weights(self, dictionary: Dictionary | None, unembedding: Unembedding | None) -> None:
        if dictionary is not None and len(dictionary) != self.n_features:
            raise MismatchError(
                f"{self.path.name}: the store has {self.n_features} features, the dictionary {len(dictionary)} rows"
            )
        if dictionary is None or dictionary.residual is None or unembedding is None:
            return
        if dictionary.residual.shape[1] != unembedding.d_model:
            raise MismatchError(
                f"{self.path.name}: the unembedding reads d_model {unembedding.d_model}, "
                f"but the dictionary's residual has {dictionary.residual.shape[1]}; they are of different models"
            )

    def _check_open(self) -> None:
        if not self._open:
            raise FormatError(f"{self.path.name}: this writer is closed; create the store anew")

    def _refuse_existing(self) -> None:
        if self.path.exists() and not self._overwrite:
            raise FileExistsError(f"{self.path}: exists already; pass overwrite=True to replace it")

    def _close(self) -> None:
        self._open = False
        self._buffer = []
        self._pool.shutdown()
        self._transposer.close()
