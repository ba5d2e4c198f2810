"""Shards of one run as one store, without a copy: each process wrote some of the tokens to a file of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.features.storage.checksums import Checksum, checksum_of_array, checksum_of_text
from universality.features.storage.header import Header
from universality.features.storage.moments import Moments
from universality.features.storage.parts import check_features, join_documents, join_provenance
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import TokenTable


def open_shards(paths: Sequence[str | Path]) -> FeatureStore:
    """Open several stores as one, which measures, matchings and families take; nothing is copied.

    Rows follow each other in the order of the paths, as in the store that `concatenate` writes. Token tables are read
    at once, activations when they are needed.

    Parameters
    ----------
    paths
        The shards, in the order of their tokens: the same features, consecutive tokens.

    Returns
    -------
    FeatureStore
        With the ``path`` of the first shard. Its ``tokens_hash`` is that of the concatenated store, its
        ``content_hash()`` is not. Closing it closes all shards.

    Raises
    ------
    MismatchError
        When the shards have different features, share tokens, or contradict each other about a document.
    FormatError, FileNotFoundError
        As `FeatureStore.open`.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> paths = [f"{folder.name}/rank{i}.h5" for i in range(2)]
    >>> for i, path in enumerate(paths):
    ...     rows = sparse.csr_matrix(np.eye(2, dtype=np.float32) * (i + 1))
    ...     FeatureStore.from_csr(rows, path, token=[5 + i, 6], document=[str(i)] * 2, special_tokens=()).close()
    >>> with open_shards(paths) as store:
    ...     store.csr().toarray().tolist(), store.documents.id
    ([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]], ('0', '1'))
    >>> folder.cleanup()
    """
    if not paths:
        raise ValueError("open_shards: expected at least one store, found none")
    with ExitStack() as stack:
        shards = tuple(stack.enter_context(FeatureStore.open(path)) for path in paths)
        check_features(shards)
        joined = _Joined(shards)
        stack.pop_all()  # from here on the joined store closes them
    return joined


class _Joined(FeatureStore):
    """A store whose rows are those of several files."""

    def __init__(self, shards: tuple[FeatureStore, ...]) -> None:
        first = shards[0]
        documents, places = join_documents([(shard.path, shard.documents) for shard in shards])
        tokens = _joined_tokens(shards, places)
        super().__init__(first.path, first._file, _joined_header(shards, tokens, documents))
        self._shards = shards
        self._starts = np.cumsum([0, *(shard.n_tokens for shard in shards)])
        self._tokens, self._documents = tokens, documents

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance on which all shards agree, and under ``parts`` where they differ."""
        return join_provenance([shard.provenance for shard in self._shards])

    @cached_property
    def tokens(self) -> TokenTable:
        """Token, document, position and kind of each row."""
        return self._tokens

    @cached_property
    def documents(self) -> DocumentTable:
        """The documents that `tokens` refers to."""
        return self._documents

    def spans(self, memory_budget: int = 1 << 26) -> Iterator[slice]:
        """Cut all rows into successive slices; see `FeatureStore.spans`. None spans two shards."""
        for start, shard in zip(self._starts.tolist(), self._shards, strict=False):
            for span in shard.spans(memory_budget):
                yield slice(start + span.start, start + span.stop)

    def content_hash(self) -> str:
        """64 hex digits over the contents of all shards, in order."""
        return hashlib.sha256("".join(shard.content_hash() for shard in self._shards).encode()).hexdigest()

    def verify(self) -> None:
        """Verify all shards; see `FeatureStore.verify`."""
        for shard in self._shards:
            shard.verify()

    def close(self) -> None:
        """Close all shards."""
        for shard in self._shards:
            shard.close()

    def __reduce__(self) -> tuple[Callable[..., FeatureStore], tuple[Any, ...]]:
        return _Joined, (self._shards,)

    def _span(self, group: str, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        if group == "by_feature":
            parts = [shard.columns(start, stop) for shard in self._shards]
            joined = sparse.vstack(parts, format="csc")
        else:
            parts = [
                shard.rows(slice(max(0, start - low), max(0, stop - low)))
                for low, shard in zip(self._starts.tolist(), self._shards, strict=False)
                if low < stop and low + shard.n_tokens > start
            ]
            if not parts:
                return np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(stop - start + 1, np.int64)
            joined = sparse.vstack(parts, format="csr")
        return joined.data, joined.indices.astype(np.int32, copy=False), joined.indptr.astype(np.int64)


def _joined_tokens(shards: Sequence[FeatureStore], places: Sequence[NDArray[np.int64] | None]) -> TokenTable:
    """Join token tables; documents and kinds are numbered as in the joined store."""
    kinds: dict[str, int] = {}
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("token", "document", "position", "kind")}
    for shard, place in zip(shards, places, strict=True):
        table = shard.tokens
        code = np.array([kinds.setdefault(name, len(kinds)) for name in table.kinds], np.int16)
        columns["token"].append(table.token)
        columns["document"].append(table.document if place is None else place[table.document].astype(np.int32))
        columns["position"].append(table.position)
        columns["kind"].append(code[table.kind])
    return TokenTable(**{name: np.concatenate(parts) for name, parts in columns.items()}, kinds=tuple(kinds))


def _joined_header(shards: Sequence[FeatureStore], tokens: TokenTable, documents: DocumentTable) -> Header:
    """Sizes and moments of all shards; the weights are those of the first, which all shards have."""
    headers = [shard._header for shard in shards]
    moments = [header.moments for header in headers]
    largest = np.max([np.where(m.count > 0, m.max, -np.inf) for m in moments], axis=0)
    count = np.sum([m.count for m in moments], axis=0)
    sums: dict[str, Checksum] = {
        **{
            f"documents/{name}": checksum_of_text(getattr(documents, name)) for name in ("id", "kind", "group", "split")
        },
        **{f"tokens/{name}": checksum_of_array(getattr(tokens, name)) for name in ("token", "document", "position")},
    }
    return replace(
        headers[0],
        n_tokens=len(tokens),
        n_stored=int(count.sum()),
        n_documents=len(documents),
        mantissa_bits=max(header.mantissa_bits for header in headers),
        moments=Moments(
            len(tokens),
            count,
            np.sum([m.sum for m in moments], axis=0),
            np.sum([m.sum_sq for m in moments], axis=0),
            np.where(count > 0, largest, 0).astype(np.float32),
        ),
        checksums=dict(headers[0].checksums) | sums,
    )
