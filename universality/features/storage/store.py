"""Reading a feature store: which features fire on which tokens, by token and by feature.

FORMAT.md specifies the file. Terms: a *feature* is a column (an SAE's or a neuron), a *token* is a row, a feature
*fires* on a token when its activation there is not 0, and exactly the firings are *stored*.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from universality.arrays import runs_within
from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features.importing.delphi import store_from_delphi
from universality.features.importing.parquet import store_from_parquet
from universality.features.importing.sparse_rows import store_from_csr
from universality.features.storage.anndata_table import anndata_of
from universality.features.storage.elements import ACTIVATION
from universality.features.storage.hdf5 import read_strings, reading
from universality.features.storage.header import MANTISSA, Header, open_file, read_header
from universality.features.storage.moments import Moments
from universality.features.storage.sparse_matrix import read_span, row_ranges
from universality.features.storage.token_table import Dictionary, TokenTable, check_one_width
from universality.features.storage.verification import verify
from universality.features.storage.writer import FeatureWriter
from universality.files import as_path
from universality.models.unembedding import Unembedding, file_name
from universality.notebook_card import card, histogram

if TYPE_CHECKING:
    import anndata

IMPORT_BUDGET = 1 << 28
"""Bytes for the entries of another tool's file that are sorted at a time."""
BLOCK_ENTRIES = 2_000_000  # firings in a block of features: 16 MB
_BYTES = 16  # memory for an entry or a row pointer that is read: the value, and room for SciPy's copy


class FeatureStore:
    """A complete feature store, open for reading; made by `open` or by `FeatureWriter.finish`.

    Opening reads the header only. Rows and columns are read on demand; the token table, the documents and the
    dictionary are read once, at their first use. Any number of processes may read one store. A context manager.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> writer = FeatureStore.create(f"{folder.name}/a.h5", n_features=2, provenance={"model": "toy"})
    >>> rows = sparse.csr_matrix(np.array([[1.5, 0], [0, 2], [0, 3]], np.float32))
    >>> writer.append(rows, token=[5, 6, 7], document=[0, 0, 0], position=[1, 2, 3], kind=["prose"] * 3)
    >>> writer.finish().close()
    >>> with FeatureStore.open(f"{folder.name}/a.h5") as store:
    ...     store.n_tokens, store.moments().count.tolist(), store.feature(1)[0].tolist()
    (3, [1, 2], [1, 2])
    >>> folder.cleanup()
    """

    def __init__(self, path: Path, file: h5py.File, header: Header) -> None:
        self.path = path
        self._file = file
        self._header = header

    @classmethod
    def create(
        cls,
        path: str | Path,
        n_features: int,
        provenance: Mapping[str, Any],
        documents: DocumentTable | None = None,
        overwrite: bool = False,
        resume: bool = False,
        mantissa_bits: int = MANTISSA,
    ) -> FeatureWriter:
        """Begin a new store; see `FeatureWriter` for the parameters.

        Raises
        ------
        FileExistsError
            When the file exists and may not be overwritten.
        FileNotFoundError
            When its folder does not exist.
        FormatError
            When n_features or provenance cannot be stored, or another writer is at work on the name.
        MismatchError
            When the rows to be resumed belong to another store.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with FeatureStore.create(f"{folder.name}/a.h5", n_features=4, provenance={}) as writer:
        ...     rows = sparse.csr_matrix(np.eye(2, 4, dtype=np.float32))
        ...     writer.append(rows, token=[5, 6], document=[0, 1], position=[1, 1], kind=["prose", "code"])
        >>> with FeatureStore.open(f"{folder.name}/a.h5") as store:
        ...     store.alive.tolist(), store.tokens.kinds
        ([True, True, False, False], ('prose', 'code'))
        >>> folder.cleanup()
        """
        return FeatureWriter(
            path, n_features, provenance, documents, overwrite, resume, mantissa_bits, open_store=cls.open
        )

    @classmethod
    def open(cls, path: str | Path) -> FeatureStore:
        """Open a store.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        FormatError
            When it is truncated, corrupt or incomplete, of another format or version, or contradicts itself.
        """
        path = as_path(path)
        file = open_file(path)
        try:
            return cls(path, file, read_header(path, file))
        except BaseException:
            file.close()
            raise

    @classmethod
    def from_csr(
        cls,
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
        provenance: Mapping[str, Any] | None = None,
        dictionary: Dictionary | None = None,
        unembedding: Unembedding | None = None,
        overwrite: bool = False,
        memory_budget: int = IMPORT_BUDGET,
    ) -> FeatureStore:
        """Write activations of a SciPy sparse matrix to a store, and open it.

        Parameters
        ----------
        matrix
            SciPy sparse matrix or array [n_rows, n_features] of any format; a row is a token, what is stored is a
            firing. Formats but CSR are converted, which holds a second copy.
        path
            Name of the new store.
        token
            [n_rows] ids in the tokenizer's vocabulary.
        special_tokens
            Ids that are no text: BOS, padding. Their rows are left out of the store. ``()`` if there are none; a
            warning names a token that begins every block.
        document
            [n_rows] text or integers: the document of each token. A document is the unit of independence: it is in one
            half of the evaluation, and nulls and bootstraps keep it together. By default a new document begins where
            ``position`` does not continue, that is, each sequence is one.
        position
            [n_rows] place of each token in its sequence. By default tokens are counted from 0 within each document.
        kind
            One kind for all, or [n_rows] text: the category of the text ("en", "code"). By default "text", or as in
            ``documents``.
        group
            [n_rows] text or integers: the work that each document is part of, where documents of one work are not
            independent. By default each document is a work of its own.
        documents
            Table that ``document`` then refers to by index, with splits of your own. By default one half of the
            documents chooses partners and the other half reports, drawn by `split_documents`.
        provenance
            Record of the source. A key ``imported`` with the hash of the input is added. ``tokenizer_hash`` keeps
            stores of two tokenizers apart; ``model`` = ``{"name": …, "hash": …}`` and ``site`` are needed for decoder
            similarity and `families`.
        dictionary, unembedding
            Weights behind the features, as for `FeatureWriter.finish`.
        overwrite
            Replace a file of this name.
        memory_budget
            Bytes for the entries that are held at a time, beyond the matrix, 25 bytes a token and the writer's 150 MB.

        Raises
        ------
        FormatError
            If an entry is out of range, repeated, NaN or infinite; the message names the row.
        MismatchError
            If lengths disagree, or nothing is left.
        FileExistsError
            If the store exists and may not be replaced.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> matrix = sparse.csr_matrix(np.eye(4, 3, dtype=np.float32))
        >>> store = FeatureStore.from_csr(
        ...     matrix, f"{folder.name}/a.h5", token=[0, 7, 0, 8], position=[0, 1, 0, 1], special_tokens=[0]
        ... )
        >>> store.tokens.token.tolist(), store.tokens.document.tolist(), store.csr().toarray().tolist()
        ([7, 8], [0, 1], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        >>> store.close(), folder.cleanup()
        (None, None)
        """
        return store_from_csr(
            cls.create, matrix, path, token, special_tokens=special_tokens, document=document, position=position,
            kind=kind, group=group, documents=documents, provenance=provenance, dictionary=dictionary,
            unembedding=unembedding, overwrite=overwrite, memory_budget=memory_budget,
        )  # fmt: skip

    @classmethod
    def from_delphi(
        cls,
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
        provenance: Mapping[str, Any] | None = None,
        dictionary: Dictionary | None = None,
        unembedding: Unembedding | None = None,
        overwrite: bool = False,
        memory_budget: int = IMPORT_BUDGET,
    ) -> FeatureStore:
        """Write latents that delphi has cached to a store, and open it.

        Other parameters and errors as for `from_csr`. Entries are sorted by token in a temporary file beside the new
        store, 12 bytes each, unless they fit into the budget.

        Parameters
        ----------
        source
            Folder of one hookpoint, with files such as ``0_999.safetensors`` and ``config.json``; or the one file that
            ``LatentCache.save`` writes.
        path
            Name of the new store.
        n_features
            Width of the SAE; by default what the names of the files say.
        tokens
            [n_sequences, n_ctx] token ids, where the cache does not hold them.
        document, kind, group
            One value for each sequence, or [n_sequences, n_ctx]. By default a sequence is a document. Where texts were
            joined before they were cut into sequences, as delphi does by default, neighbours may be parts of one text:
            give ``document`` or ``group`` if you know them.
        memory_budget
            Bytes for the entries that are sorted at a time, beyond 40 bytes a token and the writer's 150 MB.

        Notes
        -----
        delphi leaves out activations of at most 1e-5 and rounds to float16.

        Examples
        --------
        >>> import tempfile
        >>> from safetensors.numpy import save_file
        >>> folder = tempfile.TemporaryDirectory()
        >>> cached = {
        ...     "locations": np.array([[0, 1, 0], [1, 2, 3]], np.uint16),
        ...     "activations": np.array([0.5, 2.0], np.float16),
        ...     "tokens": np.array([[0, 5, 6], [0, 7, 8]]),
        ... }
        >>> save_file(cached, f"{folder.name}/0_3.safetensors")
        >>> store = FeatureStore.from_delphi(folder.name, f"{folder.name}/a.h5", special_tokens=[0])
        >>> store.tokens.token.tolist(), store.csr().toarray()[:, 3].tolist()
        ([5, 6, 7, 8], [0.0, 0.0, 0.0, 2.0])
        >>> store.close(), folder.cleanup()
        (None, None)
        """
        return store_from_delphi(
            cls.create, source, path, special_tokens=special_tokens, n_features=n_features, tokens=tokens,
            document=document, kind=kind, group=group, documents=documents, provenance=provenance,
            dictionary=dictionary, unembedding=unembedding, overwrite=overwrite, memory_budget=memory_budget,
        )  # fmt: skip

    @classmethod
    def from_parquet(
        cls,
        source: str | Path,
        path: str | Path,
        *,
        n_features: int,
        special_tokens: Collection[int | str],
        tokens: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
        documents: DocumentTable | None = None,
        provenance: Mapping[str, Any] | None = None,
        dictionary: Dictionary | None = None,
        unembedding: Unembedding | None = None,
        overwrite: bool = False,
        memory_budget: int = IMPORT_BUDGET,
    ) -> FeatureStore:
        """Write activations of a Parquet table (token, feature, value) to a store, and open it; needs pyarrow.

        Other parameters and errors as for `from_csr`. Entries are sorted by token in a temporary file beside the new
        store, 12 bytes each, unless they fit into the budget.

        Parameters
        ----------
        source
            Parquet file, or folder of them, with one row an entry: ``token`` counts the tokens of the text from 0,
            ``feature`` the features, ``value`` is the activation. Entries may come in any order.
        path
            Name of the new store.
        n_features
            Width of the SAE, dead features included.
        special_tokens
            As for `from_csr`; texts where the tokens are given as texts.
        tokens
            Parquet file with one row a token, in order: ``token_id`` or ``token_string``, then ``document`` or
            ``position`` or both, and ``kind`` and ``group`` if known. By default each entry repeats these columns, and
            a token without any entry is an error.
        columns
            Names of the columns in the files, where they are other ones: ``{"feature": "latent_index"}``.

        Notes
        -----
        Where only ``token_string`` is given, a token's id is the place of its text among all distinct texts, sorted.
        Ids are then comparable between stores of one text only, and ``imported`` records the hash of that vocabulary.
        """
        return store_from_parquet(
            cls.create, source, path, n_features=n_features, special_tokens=special_tokens, tokens=tokens,
            columns=columns, documents=documents, provenance=provenance, dictionary=dictionary,
            unembedding=unembedding, overwrite=overwrite, memory_budget=memory_budget,
        )  # fmt: skip

    @property
    def n_tokens(self) -> int:
        """Rows."""
        return self._header.n_tokens

    @property
    def n_features(self) -> int:
        """Columns, dead ones included."""
        return self._header.n_features

    @property
    def n_stored(self) -> int:
        """Firings in the whole store."""
        return self._header.n_stored

    @property
    def mantissa_bits(self) -> int:
        """Bits of the activations' fraction that were kept; 23 where nothing was rounded."""
        return self._header.mantissa_bits

    @property
    def nbytes(self) -> int:
        """Bytes of memory that `csr` takes."""
        index = 8 if self.n_stored > np.iinfo(np.int32).max else 4  # SciPy has one dtype for indices and indptr
        return self.n_stored * (4 + index) + (self.n_tokens + 1) * index

    @property
    def alive(self) -> NDArray[np.bool_]:
        """bool [n_features], whether each feature fired at least once."""
        return self._header.moments.count > 0

    def moments(self) -> Moments:
        """Firing counts, sums, sums of squares and maxima of each feature."""
        return self._header.moments

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of what the features were computed from, as given to `create`."""
        return dict(json.loads(self._header.provenance))

    @property
    def quantity(self) -> str:
        """Meaning of the values: "activation", "effect" (first-order effects, in nats) or "gradient_norm"."""
        return str(self.provenance.get("quantity", ACTIVATION))

    def rows(self, rows: slice) -> sparse.csr_matrix:
        """Read some rows, float32 CSR [n, n_features].

        Raises
        ------
        FormatError
            When the rows are damaged; a slice with a step is refused by ValueError.
        """
        start, stop, step = rows.indices(self.n_tokens)
        if step != 1:
            raise ValueError(f"{self.path.name}: rows() reads a contiguous slice, found step {step}")
        stop = max(start, stop)
        return sparse.csr_matrix(self._span("by_token", start, stop), shape=(stop - start, self.n_features))

    def spans(self, memory_budget: int = 1 << 26) -> Iterator[slice]:
        """Cut all rows into successive slices that take at most ``memory_budget`` bytes each to read.

        Raises
        ------
        FormatError
            When row pointers are damaged.
        ValueError
            When the budget is too small for a single row.
        """
        limit = memory_budget // _BYTES
        for start, stop in row_ranges(self.path, self._dataset("by_token"), self.n_tokens, limit):
            if stop - start == 1:
                self._check_budget(start, memory_budget)
            yield slice(start, stop)

    def batches(self, memory_budget: int = 1 << 26) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Iterate over all rows: slices and float32 CSR [n, n_features]; raises as `spans` and `rows` do."""
        for span in self.spans(memory_budget):
            yield span, self.rows(span)

    def csr(self) -> sparse.csr_matrix:
        """Read all rows, float32 CSR [n_tokens, n_features]; `nbytes` is the memory that they take."""
        return self.rows(slice(None))

    def feature(self, feature: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read one feature: the rows on which it fires, rising, int64 [n], and its activations, float32 [n]."""
        if not 0 <= feature < self.n_features:
            raise ValueError(f"{self.path.name}: feature {feature} is not in 0 … {self.n_features - 1}")
        values, rows, _ = self._span("by_feature", feature, feature + 1)
        return rows.astype(np.int64), values

    def columns(self, start: int, stop: int) -> sparse.csc_matrix:
        """Read the features ``start`` up to ``stop``, float32 CSC [n_tokens, stop - start]."""
        if not 0 <= start <= stop <= self.n_features:
            raise ValueError(
                f"{self.path.name}: columns {start} to {stop} are not a range within 0 … {self.n_features}"
            )
        return sparse.csc_matrix(self._span("by_feature", start, stop), shape=(self.n_tokens, stop - start))

    def column_blocks(self, n_entries: int = BLOCK_ENTRIES) -> Iterator[tuple[int, sparse.csc_matrix]]:
        """Iterate over all features in order, many at a time: neighbours share a read.

        Parameters
        ----------
        n_entries
            Largest number of firings in a block; a feature with more makes a block of its own.

        Yields
        ------
        start : int
            The first feature of the block.
        block : float32 CSC [n_tokens, n]
            Activations of the features from ``start`` on.
        """
        for start, stop in runs_within(self.moments().count, n_entries):
            yield start, self.columns(start, stop)

    def each_feature(self) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
        """Iterate over all features: index, rising rows [n] on which it fires, and activations [n] there."""
        for start, block in self.column_blocks():
            for i in range(block.shape[1]):
                entries = slice(*block.indptr[i : i + 2])
                yield start + i, block.indices[entries], block.data[entries]

    @cached_property
    def tokens(self) -> TokenTable:
        """Token, document, position and kind of each row."""
        arrays = [self._dataset(f"tokens/{name}") for name in ("token", "document", "position", "kind/codes")]
        with reading(self.path, "tokens"):
            token, document, position, kind = (array[:] for array in arrays)
            kinds = read_strings(self._dataset("tokens/kind/categories"))
        table = TokenTable(token, document, position, kind, kinds)
        if len(set(kinds)) < len(kinds):
            raise FormatError(f"{self.path}: tokens/kind/categories names a kind twice")
        for name, values, limit in (
            ("document", table.document, self._header.n_documents),
            ("kind", table.kind, len(table.kinds)),
        ):
            if len(values) and not 0 <= values.min() <= values.max() < limit:
                raise FormatError(f"{self.path}: tokens/{name} holds {values.min()} … {values.max()}, "
                                  f"expected 0 … {limit - 1}")  # fmt: skip
        return table

    @cached_property
    def documents(self) -> DocumentTable:
        """The documents that `tokens` refers to."""
        columns = [self._dataset(f"documents/{name}") for name in ("id", "kind", "group", "split")]
        with reading(self.path, "documents"):
            texts = [read_strings(column) for column in columns]
        try:
            return DocumentTable(*texts)
        except ValueError as error:
            raise FormatError(f"{self.path}: documents: {error}") from None

    @cached_property
    def dictionary(self) -> Dictionary | None:
        """Weights behind the features, None when the store has none."""
        return self._dictionary()

    def _dictionary(self, features: NDArray[np.int64] | None = None) -> Dictionary | None:
        """Read the weights of all features, or of some, given in rising order."""
        if not self._header.has("dictionary"):
            return None
        present = [
            name for name in ("decoder", "encoder", "bias", "residual") if self._header.has(f"dictionary/{name}")
        ]
        arrays = {name: self._dataset(f"dictionary/{name}") for name in present}
        with reading(self.path, "dictionary"):
            loaded = {name: array[... if features is None else features] for name, array in arrays.items()}
        try:
            dictionary = Dictionary(**loaded)
        except (FormatError, MismatchError, TypeError) as error:
            raise FormatError(f"{self.path}: {error}") from None
        try:
            check_one_width(str(self.path), dictionary, "site_out" in self.provenance)
        except MismatchError as error:
            raise FormatError(str(error)) from None
        return dictionary

    @property
    def site_written(self) -> str | None:
        """Hook that decoder rows are directions at: where a transcoder writes, else the site; None if unknown."""
        provenance = self.provenance
        site = provenance.get("site_out", provenance.get("site"))
        return site if isinstance(site, str) else None

    @property
    def decoder_shape(self) -> tuple[int, int] | None:
        """(n_features, d_in) of the decoder, None when the store holds no dictionary."""
        if not self._header.has("dictionary"):
            return None
        n_features, d_in = self._dataset("dictionary/decoder").shape
        return int(n_features), int(d_in)

    def decoder_rows(self, step: int = 1) -> NDArray[np.float32]:
        """Directions that the features write at `site_written`, float32 [n_features, d_out].

        Parameters
        ----------
        step
            Read every ``step``-th row only, from the first.

        Raises
        ------
        UniversalityError
            When the store holds no dictionary.
        """
        if self.decoder_shape is None:
            raise UniversalityError(
                f"{self.path}: holds no dictionary, and decoder rows are needed; write the store with "
                "finish(dictionary=...)"
            )
        if step == 1:
            assert self.dictionary is not None
            return self.dictionary.decoder
        with reading(self.path, "dictionary/decoder"):
            rows: NDArray[np.float32] = self._dataset("dictionary/decoder")[::step]
        return rows

    def unembedding(self) -> Unembedding | None:
        """Read the unembedding from the file beside the store, None when the store names none.

        Raises
        ------
        FormatError
            When that file is missing, damaged, or holds another unembedding.
        """
        sha256 = self._header.unembedding
        if sha256 is None:
            return None
        sidecar = self.path.with_name(file_name(sha256))
        try:
            loaded = Unembedding.load(sidecar)
        except FileNotFoundError:
            raise FormatError(
                f"{self.path}: its unembedding {sidecar.name} is missing; a store travels with the file beside it"
            ) from None
        if loaded.hash != sha256:
            raise FormatError(f"{sidecar}: holds unembedding {loaded.hash[:12]}, but {self.path.name} needs "
                              f"{sha256[:12]}; restore the original")  # fmt: skip
        return loaded

    @cached_property
    def tokens_hash(self) -> str:
        """64 hex digits, equal for two stores exactly when they saw the same tokens of the same documents."""
        return self._hash(lambda path: path in ("tokens/token", "tokens/document", "tokens/position")
                          or path.startswith("documents/"))  # fmt: skip

    @cached_property
    def dictionary_hash(self) -> str:
        """64 hex digits over the dictionary and the unembedding, equal too for two stores without any."""
        return self._hash(lambda path: path.partition("/")[0] in ("dictionary", "unembedding"))

    def content_hash(self) -> str:
        """64 hex digits over all contents but provenance; they do not depend on how the writer batched rows."""
        return self._hash(lambda path: path != "provenance")

    def to_anndata(
        self,
        *,
        tokens: slice | ArrayLike | None = None,
        documents: ArrayLike | None = None,
        features: slice | ArrayLike | None = None,
        decode: Callable[[Sequence[int]], Sequence[str]] | None = None,
        labels: Mapping[int, str] | None = None,
    ) -> anndata.AnnData:
        """Return tokens x features as an AnnData object, the data structure of scanpy; needs anndata.

        Parameters
        ----------
        tokens, documents, features
            The part to read, each a mask or integers (a slice too for tokens and features), so that it fits into
            memory; all by default. A token must be in both ``tokens`` and ``documents``.
        decode
            Function from token ids to one string each, for the column ``string``.
        labels
            Feature → label, for the column ``label``.

        Returns
        -------
        anndata.AnnData
            ``X`` float32 CSR; ``obs`` names are rows of the store, with columns ``token document group split position
            kind`` and ``string``; ``var`` names are features, with ``alive count density mean max`` over the whole
            store and ``label``; ``uns["universality"]`` holds hashes, and the provenance as JSON text.

        Raises
        ------
        MissingExtraError
            If anndata is not installed.
        ValueError
            If a choice is not among the tokens, documents or features.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> rows = sparse.csr_matrix(np.eye(3, dtype=np.float32))
        >>> store = FeatureStore.from_csr(
        ...     rows, f"{folder.name}/a.h5", [4, 5, 6], document=["a", "a", "b"], special_tokens=()
        ... )
        >>> table = store.to_anndata(features=[0, 2])
        >>> table.shape, table.obs["document"].tolist(), table.var["count"].tolist()
        ((3, 2), ['a', 'a', 'b'], [1, 1])
        >>> store.close(), folder.cleanup()
        (None, None)
        """
        return anndata_of(self, tokens, documents, features, decode, labels)

    def verify(self) -> None:
        """Read everything and compare it with the checksums (see `checksums`), and the parts with each other.

        Raises
        ------
        FormatError
            At the first contradiction: a flipped bit, or contents that FORMAT.md forbids.
        """
        self._check_open()
        with reading(self.path, "its contents"):
            verify(self.path, self._file, self._header)
        _ = self.tokens, self.documents, self.dictionary, self.unembedding()

    def close(self) -> None:
        """Close the file; tables that were read stay available."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., FeatureStore], tuple[Any, ...]]:
        # Another process opens the file itself, perhaps from another working directory.
        return _reopened, (self.path.absolute(), self.content_hash())

    def __repr__(self) -> str:
        quantity = "" if self.quantity == ACTIVATION else f", quantity={self.quantity!r}"
        return f"FeatureStore({str(self.path)!r}, n_tokens={self.n_tokens}, n_features={self.n_features}{quantity})"

    def _repr_html_(self) -> str:
        moments, provenance = self.moments(), self.provenance  # the header, read when the store was opened
        model, sae = provenance.get("model"), provenance.get("sae")
        numbers = {
            "values": None if self.quantity == ACTIVATION else self.quantity,
            "tokens": self.n_tokens,
            "documents": self._header.n_documents,
            "features": self.n_features,
            "alive": int(self.alive.sum()),
            "firings": self.n_stored,
            "firings a token": self.n_stored / max(1, self.n_tokens),
            "model": model.get("name") if isinstance(model, dict) else None,
            "site": provenance.get("site"),
            "SAE": str(sae.get("hash"))[:12] if isinstance(sae, dict) else None,
            "contents": self.content_hash()[:12],
        }
        densities = np.log10(moments.density[self.alive])
        return card(self.path.name, numbers, histogram(densities, "firing density, log10"))

    def _span(self, group: str, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        n_minor = self.n_features if group == "by_token" else self.n_tokens
        return read_span(self.path, self._dataset(group), start, stop, n_minor)

    def _check_budget(self, row: int, memory_budget: int) -> None:
        with reading(self.path, "by_token"):
            first, last = self._dataset("by_token/indptr")[row : row + 2].tolist()
        if (needed := _BYTES * (last - first + 1)) > memory_budget:
            raise ValueError(f"{self.path.name}: row {row} holds {last - first} activations, which take {needed:,} "
                             f"bytes to read; the memory_budget is {memory_budget:,}, raise it")  # fmt: skip

    def _dataset(self, name: str) -> Any:
        self._check_open()
        with reading(self.path, name):
            return self._file[name]

    def _check_open(self) -> None:
        if not self._file:
            raise ValueError(f"{self.path.name}: this store is closed; open it again")

    def _hash(self, chosen: Callable[[str], bool]) -> str:
        sums = {path: entry.to_json() for path, entry in self._header.checksums.items() if chosen(path)}
        return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def _reopened(path: Path, content_hash: str) -> FeatureStore:
    """Open a store in another process, where the path must lead to the same contents."""
    store = FeatureStore.open(path)
    if store.content_hash() != content_hash:
        store.close()
        raise MismatchError(
            f"{path}: another process names this store with contents {content_hash[:12]}…, found "
            f"{store.content_hash()[:12]}…; all processes must see the same file under this path, unchanged"
        )
    return store
