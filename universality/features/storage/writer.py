"""Writing a feature store: rows are appended, and one complete file is the result.

Rows go to two places: to the final file, by token, and to `NAME.segments`, by feature, which makes them committed. At
the end the segments are joined to the feature-major copy. The checksums are written last but one, the mark ``complete``
last, and only then does the file get its name: a file under the name is whole, whenever the process was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
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
from universality.features.storage import hdf5
from universality.features.storage.checksums import Checksum
from universality.features.storage.chunks import THREADS, GrowingArray
from universality.features.storage.elements import ELEMENTS, FORMAT, TWO_SITES_VERSION, VERSION
from universality.features.storage.header import MANTISSA, write_checksums, write_tables, write_weights
from universality.features.storage.moments import MomentSums
from universality.features.storage.row_batch import check_batch
from universality.features.storage.row_buffer import Buffer, Kinds
from universality.features.storage.segments import Segment, Segments
from universality.features.storage.token_table import Dictionary, check_weights
from universality.features.storage.unfinished_file import UnfinishedFile
from universality.files import as_path
from universality.models.unembedding import Unembedding

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

BUFFER = 1 << 21  # entries and rows held before they are committed: 16 MiB, and about five times that while they are
MAX_IMPLIED_DOCUMENTS = 1 << 20  # without a table one wrong index would imply billions of documents
_INT32_MAX = np.iinfo(np.int32).max
_GROWING = {
    element.path: element.dtype
    for element in ELEMENTS
    if element.dtype is not None and element.path.startswith(("by_token/", "tokens/"))
}


class FeatureWriter:
    """Appends rows to a store that appears under its name only when it is complete.

    Created by `FeatureStore.create`. Rows are committed whenever rows and firings in memory reach `BUFFER`; memory
    holds a few such buffers, however long the store. As a context manager the writer finishes when the block ends. When
    the block raises, everything it wrote is removed, unless ``resume`` is set: then the committed rows stay, as they do
    when the process is killed.

    Parameters
    ----------
    path
        Name of the finished file.
    n_features
        Columns of the rows to come.
    provenance
        Record of what the features are computed from; any dict that JSON can hold.
    documents
        Table that ``document=`` refers to; None for a table made from the indices seen.
    overwrite
        True to replace a file of this name, and what a stopped writer of another store left under it.
    resume
        Resume from the rows that a stopped writer of this name committed: ``n_tokens`` is their number, and the caller
        appends those that follow. Without such rows the writer starts from the beginning.
    mantissa_bits
        Bits of an activation's fraction to keep, 1 … 23; fewer than 23 are rounded to nearest, and the file says so.

    open_store
        Opens the finished file: `FeatureStore.open`.

    Attributes
    ----------
    n_tokens
        Rows so far, resumed ones included.
    """

    def __init__(
        self,
        path: str | Path,
        n_features: int,
        provenance: Mapping[str, Any],
        documents: DocumentTable | None = None,
        overwrite: bool = False,
        resume: bool = False,
        mantissa_bits: int = MANTISSA,
        *,
        open_store: Callable[[Path], FeatureStore],
    ) -> None:
        self.path = as_path(path)
        self._open_store = open_store  # given, since the reader imports the writer
        if mantissa_bits not in range(1, MANTISSA + 1):
            raise FormatError(f"{path}: mantissa_bits must be an integer in 1 … {MANTISSA}, found {mantissa_bits!r}")
        if not isinstance(n_features, int | np.integer) or not 1 <= n_features <= _INT32_MAX:
            raise FormatError(f"{path}: n_features must be an integer in 1 … {_INT32_MAX}, found {n_features!r}")
        self.n_features = int(n_features)
        self.n_tokens = 0
        self._overwrite = overwrite
        self._provenance = hdf5.to_json(self.path, "provenance", provenance)
        self._two_sites = "site_out" in provenance
        self._documents = documents
        if documents is not None:
            for column in (documents.id, documents.kind, documents.group, documents.split):
                hdf5.check_text(f"{path}: the document table", column)
        self._resume = resume
        self._mantissa_bits = int(mantissa_bits)
        self._kinds = Kinds()
        self._n_named = 0  # kinds that the segments name
        self._buffer = Buffer()
        self._n_stored = 0
        self._moments = MomentSums(self.n_features)
        self._refuse_existing()
        self._unfinished = UnfinishedFile(self.path)
        self._segments = Segments(self.path.with_name(self.path.name + ".segments"), self.n_features, self._begun())
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="compress")
        self._growing: dict[str, GrowingArray] = {}
        self._open = True
        try:
            self._make_groups(self._unfinished.file)
            self._recover()
        except BaseException:
            self._abandon()
            raise

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
        batch = check_batch(
            csr, self.n_features, where, mantissa_bits=self._mantissa_bits,
            token=token, document=document, position=position, kind=kind,
        )  # fmt: skip
        if self.n_tokens + len(batch) > _INT32_MAX:
            raise FormatError(f"{where}: a store holds {_INT32_MAX} tokens at most; begin another")
        self._check_documents(batch.document, where)
        self._buffer.add(batch, self._kinds.add(batch.kind, batch.document, where))
        self.n_tokens += len(batch)
        if len(self._buffer) >= BUFFER:
            try:
                self._flush()
            except BaseException:  # on a full disk rows are lost, and a store without them must not be finished
                self._abandon()
                raise

    def finish(self, dictionary: Dictionary | None = None, unembedding: Unembedding | None = None) -> FeatureStore:
        """Build the feature-major copy, mark the file complete, give it its name, and open it.

        Parameters
        ----------
        dictionary
            Weights behind the features, one row a feature.
        unembedding
            Written to a file beside the store, which all stores there with the same unembedding share.

        Raises
        ------
        MismatchError
            When the dictionary has another number of rows, residual and unembedding another d_model, or encoder and
            decoder two widths though the provenance names no ``site_out``.
        """
        self._check_open()
        check_weights(self.path.name, self.n_features, dictionary, unembedding, self._two_sites)
        self._refuse_existing()
        try:
            self._flush(last=True)
            file = self._unfinished.file
            sums = {path: array.close() for path, array in self._growing.items()}
            moments = self._moments.compute(self.n_tokens)
            documents = self._kinds.documents() if self._documents is None else self._documents
            sums |= self._write_columns(file, moments.count)
            sums |= write_tables(file, moments, self._kinds.names, documents)
            sums |= write_weights(file, self.path, dictionary, unembedding)
            write_checksums(file, self._provenance, sums)
            self._unfinished.complete(scratch=self._segments.path)
        except BaseException:
            self._abandon()
            raise
        self._close()
        self._segments.close()
        return self._open_store(self.path)

    def discard(self) -> None:
        """Remove everything that was written, committed rows too; no effect once the store is finished."""
        if self._open:
            self._close()
            self._segments.remove()
            self._unfinished.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
        elif self._open:
            self.finish().close()

    def _make_groups(self, file: h5py.File) -> None:
        hdf5.label(file, "dict")
        hdf5.set_text(file, "format", FORMAT)
        file.attrs["format-version"] = TWO_SITES_VERSION if self._two_sites else VERSION
        if self._mantissa_bits < MANTISSA:
            file.attrs["mantissa-bits"] = self._mantissa_bits
        hdf5.make_group(file, "by_token", "csr_matrix")
        hdf5.make_group(file, "by_feature", "csc_matrix")
        kind = hdf5.make_group(hdf5.make_group(file, "tokens"), "kind", "categorical")
        kind.attrs["ordered"] = False
        for path, dtype in _GROWING.items():
            self._growing[path] = GrowingArray(file, path, dtype, self._pool)
        self._growing["by_token/indptr"].append(np.zeros(1, np.int64))

    def _begun(self) -> dict[str, Any]:
        table = self._documents
        documents = None if table is None else [table.id, table.kind, table.group, table.split]
        return {
            "n_features": self.n_features,
            "mantissa_bits": self._mantissa_bits,
            "provenance": json.loads(self._provenance),
            "documents": documents and hashlib.sha256(json.dumps(documents).encode()).hexdigest(),
        }

    def _recover(self) -> None:
        """Take over the rows that a stopped writer committed, or delete what it left."""
        if not self._resume or (self._overwrite and not self._segments.fit()):
            self._segments.remove()
        for segment in self._segments.recover():
            names = np.array([*self._kinds.names, *segment.new_kinds])
            self._kinds.add(names[segment.kind], segment.document, str(self._segments.path))
            self._n_named = len(names)
            self.n_tokens += len(segment.token)
            self._take(segment)

    def _flush(self, last: bool = False) -> None:
        """Commit the buffered rows and take them; the last segment stays in memory, as `finish` follows."""
        segments = self._buffer.take(self.n_features, 2 * BUFFER, self._kinds.names[self._n_named :])
        self._n_named = len(self._kinds.names)
        for number, segment in enumerate(segments, 1):
            if last and number == len(segments):
                self._segments.hold(segment)
            else:
                self._segments.append(segment)
            self._take(segment)

    def _take(self, segment: Segment) -> None:
        """Append rows to the file's token-major arrays and to the moments."""
        csr = segment.csr
        for name in ("token", "document", "position"):
            self._growing[f"tokens/{name}"].append(getattr(segment, name))
        self._growing["tokens/kind/codes"].append(segment.kind)
        self._growing["by_token/data"].append(csr.data)
        self._growing["by_token/indices"].append(csr.indices)
        self._growing["by_token/indptr"].append(self._n_stored + csr.indptr[1:].astype(np.int64))
        self._n_stored += csr.nnz
        self._moments.update(csr.indices, csr.data)

    def _write_columns(self, file: h5py.File, count: NDArray[np.int64]) -> dict[str, Checksum]:
        shape = np.array([self.n_tokens, self.n_features], np.int64)
        file["by_token"].attrs["shape"] = shape
        file["by_feature"].attrs["shape"] = shape
        arrays = {
            f"by_feature/{name}": GrowingArray(file, f"by_feature/{name}", dtype, self._pool)
            for name, dtype in (("data", "<f4"), ("indices", "<i4"), ("indptr", "<i8"))
        }
        arrays["by_feature/indptr"].append(np.concatenate([[0], np.cumsum(count)]))
        for block in self._segments.columns(count, BUFFER):
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

    def _check_open(self) -> None:
        if not self._open:
            raise FormatError(f"{self.path.name}: this writer is closed; create the store again")

    def _refuse_existing(self) -> None:
        if self.path.exists() and not self._overwrite:
            raise FileExistsError(f"{self.path}: exists already; pass overwrite=True to replace it")

    def _abandon(self) -> None:
        """Clean up after an error: the file is removed, and committed rows too unless the writer may be resumed."""
        if self._open and self._resume:
            self._close()
            self._segments.close()
            self._unfinished.remove()
        self.discard()

    def _close(self) -> None:
        self._open = False
        self._buffer = Buffer()
        self._pool.shutdown()
