"""The tokens of another tool's cache: what each row is, which rows count, and how documents are split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from universality.arrays import BoolArray
from universality.corpus.documents import DocumentTable
from universality.corpus.splits import REPORT, TRAIN, split_documents
from universality.errors import FormatError, MismatchError
from universality.progress import progress

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.features.storage.token_table import Dictionary
    from universality.features.storage.writer import FeatureWriter
    from universality.models.unembedding import Unembedding

Create = Callable[..., "FeatureWriter"]
"""`FeatureStore.create`, given as an argument since the store imports these modules."""
_EVALUATED = 0.999_999  # of the documents are held out, which is all of them: nothing here is trained
_FEWEST_BLOCKS = 8  # with fewer, equal first tokens may be a coincidence
_INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class TokenSource:
    """All rows of the source, special tokens included.

    Parameters
    ----------
    token, document, position
        int32 [n_rows].
    kind
        int32 [n_rows], codes into ``kinds``.
    kinds
        Names of the kinds.
    kept
        bool [n_rows], False for special tokens.
    documents
        Table that ``document`` refers to.
    """

    token: NDArray[np.int32]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    kind: NDArray[np.int32]
    kinds: NDArray[np.str_]
    kept: BoolArray
    documents: DocumentTable

    def __len__(self) -> int:
        return len(self.token)


def token_source(
    where: str,
    token: ArrayLike,
    *,
    document: ArrayLike | None,
    position: ArrayLike | None,
    kind: str | ArrayLike | None,
    group: ArrayLike | None,
    documents: DocumentTable | None,
    special_tokens: Collection[int],
) -> TokenSource:
    """Check the columns of the rows, name documents, and split them; see `FeatureStore.from_csr` for the parameters.

    Raises
    ------
    FormatError
        If a column holds what its name does not allow.
    MismatchError
        If columns contradict each other.
    """
    ids = _integers(where, "token", token)
    n = len(ids)
    if not n:
        raise MismatchError(f"{where}: holds no tokens")
    if position is None and document is None:
        raise FormatError(
            f"{where}: give document= (the document of each token), or position= (a new document begins where "
            "positions do not continue): without them all tokens would be one document, and nothing could be held out"
        )
    at = None if position is None else _integers(where, "position", position, n)
    codes, names = _documents(where, document, at, documents, n)
    if at is None:
        at = _places(codes)
    kinds, kind_codes = _kinds(where, kind, codes, documents, n)
    special = np.asarray(sorted(set(special_tokens)), np.int64)
    kept = ~np.isin(ids, special)
    if not kept.any():
        raise MismatchError(f"{where}: all {n} tokens are among special_tokens={special.tolist()}; nothing is left")
    _warn_of_first_token(where, ids, codes, at, kept)
    table = documents or _table(where, names, codes, kinds[kind_codes], group)
    return TokenSource(ids, codes, at, kind_codes, kinds, kept, table)


def write_store(
    create: Create,
    path: str | Path,
    n_features: int,
    tokens: TokenSource,
    blocks: Iterable[tuple[slice, sparse.csr_matrix]],
    *,
    provenance: Mapping[str, Any] | None,
    imported: Mapping[str, Any],
    dictionary: Dictionary | None,
    unembedding: Unembedding | None,
    overwrite: bool,
    mantissa_bits: int = 23,
) -> FeatureStore:
    """Write blocks that cover all rows of the source, without its special tokens, and open the store."""
    record = {**imported, "n_rows": len(tokens), "left_out": int((~tokens.kept).sum())}
    described = {**(provenance or {}), "imported": record}
    writer = create(path, n_features, described, tokens.documents, overwrite, mantissa_bits=mantissa_bits)
    with writer, progress(total=len(tokens), desc=f"import {Path(path).name}", unit="token", unit_scale=True) as bar:
        for rows, csr in blocks:
            kept = np.flatnonzero(tokens.kept[rows])
            whole = len(kept) == csr.shape[0]
            writer.append(
                csr if whole else csr[kept],
                token=tokens.token[rows][kept],
                document=tokens.document[rows][kept],
                position=tokens.position[rows][kept],
                kind=tokens.kinds[tokens.kind[rows][kept]],
            )
            bar.update(csr.shape[0])
        return writer.finish(dictionary, unembedding)


def _integers(where: str, name: str, given: ArrayLike, n: int | None = None) -> NDArray[np.int32]:
    array = np.asarray(given)
    if array.ndim != 1 or (n is not None and len(array) != n):
        raise MismatchError(f"{where}: {name} needs one entry for each of the {'' if n is None else f'{n} '}rows, "
                            f"found shape {list(array.shape)}")  # fmt: skip
    if array.size and array.dtype.kind not in "iu":
        raise FormatError(f"{where}: {name} must be integers, found {array.dtype}")
    if len(array) and not 0 <= array.min() <= array.max() <= _INT32_MAX:
        wrong = int(np.flatnonzero((array < 0) | (array > _INT32_MAX))[0])
        raise FormatError(f"{where}, row {wrong}: {name} {array[wrong]} is not in 0 … {_INT32_MAX}")
    return array.astype(np.int32)


def _coded(where: str, name: str, given: ArrayLike, n: int) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    """Number the distinct values of a column of text or integers in the order of their first row."""
    array = np.asarray(given)
    if array.shape != (n,):
        raise MismatchError(f"{where}: {name} needs one entry for each of the {n} rows, found shape {array.shape}")
    codes, names = pd.factorize(array)
    if (codes < 0).any():
        raise FormatError(f"{where}, row {int(np.flatnonzero(codes < 0)[0])}: {name} is missing")
    wrong = next((value for value in names.tolist() if not isinstance(value, str | int)), None)
    if wrong is not None:
        raise FormatError(f"{where}: {name} must be text or integers, found {wrong!r}")
    texts = np.array([str(value) for value in names.tolist()], np.str_)
    return codes.astype(np.int32), texts


def _documents(
    where: str,
    document: ArrayLike | None,
    position: NDArray[np.int32] | None,
    documents: DocumentTable | None,
    n: int,
) -> tuple[NDArray[np.int32], NDArray[np.str_]]:
    """Return the document of each row, and the names of the documents."""
    if documents is not None:
        if document is None:
            raise MismatchError(f"{where}: documents= is a table; document= must say which of its rows each token is")
        codes = _integers(where, "document", document, n)
        if n and codes.max() >= len(documents):
            wrong = int(np.flatnonzero(codes >= len(documents))[0])
            raise MismatchError(f"{where}, row {wrong}: document {codes[wrong]} is not in the table of "
                                f"{len(documents)} documents")  # fmt: skip
        return codes, np.array(documents.id, np.str_)
    if document is not None:
        return _coded(where, "document", document, n)
    assert position is not None
    starts = np.ones(n, np.int32)
    starts[1:] = position[1:] != position[:-1] + 1
    codes = (np.cumsum(starts) - 1).astype(np.int32)
    return codes, np.arange(codes.max(initial=-1) + 1).astype(np.str_)


def _places(document: NDArray[np.int32]) -> NDArray[np.int32]:
    """Count rows from 0 within each run of one document."""
    new = np.append(True, document[1:] != document[:-1])
    starts = np.flatnonzero(new)
    return (np.arange(len(document)) - np.repeat(starts, np.diff(np.append(starts, len(document))))).astype(np.int32)


def _kinds(
    where: str, kind: str | ArrayLike | None, document: NDArray[np.int32], documents: DocumentTable | None, n: int
) -> tuple[NDArray[np.str_], NDArray[np.int32]]:
    if kind is None and documents is not None:
        codes, names = pd.factorize(np.array(documents.kind, object))
        return np.array(names, np.str_), codes.astype(np.int32)[document]
    if kind is None or isinstance(kind, str):
        return np.array([kind or "text"], np.str_), np.zeros(n, np.int32)
    codes, texts = _coded(where, "kind", kind, n)
    return texts, codes


def _table(
    where: str,
    names: NDArray[np.str_],
    document: NDArray[np.int32],
    kind: NDArray[np.str_],
    group: ArrayLike | None,
) -> DocumentTable:
    """Make the document table: half of the documents choose partners, the other half report."""
    first = np.zeros(len(names), np.int64)
    first[document[::-1]] = np.arange(len(document) - 1, -1, -1)
    groups = names
    if group is not None:
        codes, texts = _coded(where, "group", group, len(document))
        of_document = codes[first]
        if (wrong := np.flatnonzero(codes != of_document[document])).size:
            row = int(wrong[0])
            raise MismatchError(
                f"{where}, row {row}: document {str(names[document[row]])!r} is of group {str(texts[codes[row]])!r}, "
                f"but of {str(texts[of_document[document[row]]])!r} in its first row; a document has one group"
            )
        groups = texts[of_document]
    ids, kinds, works = (tuple(column.tolist()) for column in (names, kind[first], groups))
    splits = split_documents(kinds, works, ids, held_out=_EVALUATED).split
    # An odd document, and kinds with too few to divide: they report, since no SAE was trained on them here.
    return DocumentTable(ids, kinds, works, tuple(REPORT if split == TRAIN else split for split in splits))


def _warn_of_first_token(
    where: str,
    token: NDArray[np.int32],
    document: NDArray[np.int32],
    position: NDArray[np.int32],
    kept: BoolArray,
) -> None:
    """Warn where all blocks begin with one token that counts: a BOS token that was not named."""
    begins = np.ones(len(token), bool)
    begins[1:] = (document[1:] != document[:-1]) | (position[1:] != position[:-1] + 1)
    first = token[begins & kept]
    constant = len(first) >= _FEWEST_BLOCKS and len(first) == begins.sum() and (first == first[0]).all()
    if constant and (token != first[0]).any():
        warnings.warn(
            f"{where}: each of its {len(first)} blocks begins with token {first[0]}, which looks like BOS; if it is, "
            f"pass special_tokens=[{first[0]}]: BOS and padding must enter no moment and no correlation",
            stacklevel=4,
        )
