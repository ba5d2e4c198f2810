"""Cutting a part out of a store, and concatenating stores; both stream in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import MismatchError
from universality.features.storage.choices import chosen_indices, chosen_mask
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary
from universality.features.storage.writer import FeatureWriter

_MEMORY = 1 << 26  # bytes of rows read at a time


def cut(
    store: FeatureStore,
    path: str | Path,
    *,
    tokens: slice | ArrayLike | None = None,
    documents: ArrayLike | None = None,
    features: slice | ArrayLike | None = None,
    overwrite: bool = False,
    unembedding: bool = True,
) -> FeatureStore:
    """Write some of a store's tokens and features to a new store, and open it.

    The document table stays whole, so document indices agree; rows stay in order.

    Parameters
    ----------
    path, overwrite
        Name of the new store, and whether a file of this name may be replaced.
    tokens
        Rows to keep: a slice, a mask bool [n_tokens], or distinct integers. None: all.
    documents
        Documents whose rows to keep, as a mask bool [n_documents] or integers; with ``tokens``, rows in both.
    features
        Columns to keep, in the given order: a slice, a mask bool [n_features], or distinct integers. None: all.
    unembedding
        Whether to keep the model's unembedding, a file beside the new store.

    Raises
    ------
    MismatchError
        When nothing is left.
    ValueError
        When a choice is neither a mask of the right length nor distinct integers in range.
    """
    rows = chosen_mask(store.path.name, "tokens", tokens, store.n_tokens)
    if documents is not None:
        rows &= chosen_mask(store.path.name, "documents", documents, len(store.documents))[store.tokens.document]
    if not rows.any():
        raise MismatchError(f"{store.path.name}: none of its {store.n_tokens} tokens is in what tokens= and documents= "
                            "name together; choose others")  # fmt: skip
    columns = chosen_indices(store.path.name, "features", features, store.n_features)
    if not len(columns):
        raise MismatchError(f"{store.path.name}: features= names none of its {store.n_features} features")
    record = {"from": store.content_hash(), "n_tokens": int(rows.sum()), "n_features": len(columns)}
    writer = FeatureStore.create(
        path, len(columns), store.provenance | {"cut": record}, store.documents, overwrite,
        mantissa_bits=store.mantissa_bits,
    )  # fmt: skip
    with writer:
        for span in store.spans(_MEMORY):
            chosen = np.flatnonzero(rows[span]) + span.start
            if len(chosen):
                part = store.rows(span)[chosen - span.start]
                _append(writer, store, chosen, part if features is None else part[:, columns])
        return writer.finish(_rows_of(store.dictionary, columns), store.unembedding() if unembedding else None)


def concatenate(paths: Sequence[str | Path], path: str | Path, *, overwrite: bool = False) -> FeatureStore:
    """Write the rows of several stores, one after the other, to a new store, and open it.

    The stores are shards, written by processes that divided the tokens of one run: the same features, consecutive
    tokens. The result has the contents of a store written by one process. Document tables that differ are joined:
    documents with the same id are one document, in the order in which they first appear, and a kind that only one shard
    has seen is taken from it.

    Parameters
    ----------
    paths
        The shards, in the order of their tokens.
    path, overwrite
        Name of the new store, and whether a file of this name may be replaced.

    Raises
    ------
    MismatchError
        When the shards have different features, share tokens, or contradict each other about a document.
    """
    if not paths:
        raise ValueError("concatenate: expected at least one store, found none")
    with ExitStack() as stack:
        stores = [stack.enter_context(FeatureStore.open(part)) for part in paths]
        check_features(stores)
        documents, places = join_documents([(store.path, store.documents) for store in stores])
        first = stores[0]
        bits = max(store.mantissa_bits for store in stores)
        provenance = join_provenance([store.provenance for store in stores])
        writer = FeatureStore.create(
            path, first.n_features, provenance, documents, overwrite, mantissa_bits=bits
        )  # fmt: skip
        with writer:
            for store, place in zip(stores, places, strict=True):
                for span in store.spans(_MEMORY):
                    _append(writer, store, np.arange(span.start, span.stop), store.rows(span), place)
            return writer.finish(first.dictionary, first.unembedding())


def _append(
    writer: FeatureWriter,
    store: FeatureStore,
    rows: NDArray[np.int64],
    csr: sparse.csr_matrix,
    place: NDArray[np.int64] | None = None,
) -> None:
    table = store.tokens
    document = table.document[rows]
    writer.append(
        csr,
        token=table.token[rows],
        document=document if place is None else place[document],
        position=table.position[rows],
        kind=np.asarray(table.kinds, dtype=np.str_)[table.kind[rows]],
    )


def _rows_of(dictionary: Dictionary | None, rows: NDArray[np.int64]) -> Dictionary | None:
    if dictionary is None:
        return None
    present: dict[str, Any] = {field.name: getattr(dictionary, field.name) for field in fields(dictionary)}
    return Dictionary(**{name: array[rows] for name, array in present.items() if array is not None})


def check_features(stores: Sequence[FeatureStore]) -> None:
    first, seen = stores[0], dict[str, Path]()
    for store in stores:
        if store.n_features != first.n_features:
            raise MismatchError(f"{store.path}: has {store.n_features} features, but {first.path} has "
                                f"{first.n_features}; shards are of one dictionary")  # fmt: skip
        if store.dictionary_hash != first.dictionary_hash:
            raise MismatchError(f"{store.path}: its dictionary or unembedding is not that of {first.path}; "
                                "shards are of one dictionary")  # fmt: skip
        if store.n_tokens and seen.setdefault(store.tokens_hash, store.path) is not store.path:
            raise MismatchError(f"{store.path}: has the same tokens as {seen[store.tokens_hash]}; "
                                "name each shard once")  # fmt: skip


def join_documents(
    tables: Sequence[tuple[Path, DocumentTable]],
) -> tuple[DocumentTable, list[NDArray[np.int64] | None]]:
    """Join document tables; return the table and each shard's places in it (None where its indices stay valid)."""
    first = tables[0][1]
    if all(table == first for _, table in tables):
        return first, [None] * len(tables)
    joined: dict[str, tuple[str, ...]] = {}
    places = []
    for path, table in tables:
        if len(set(table.id)) < len(table):
            raise MismatchError(f"{path}: two documents have one id, so its table cannot be joined with others; "
                                "write all shards with one table")  # fmt: skip
        for name, *row in _records(table):
            joined[name] = _same_document(path, name, joined.get(name), tuple(row))
        number = {name: i for i, name in enumerate(joined)}
        places.append(np.array([number[name] for name in table.id], np.int64))
    kind, group, split = (tuple(column) for column in zip(*joined.values(), strict=True))
    return DocumentTable(tuple(joined), kind, group, split), list(places)


def _records(table: DocumentTable) -> Iterator[tuple[str, str, str, str]]:
    return zip(table.id, table.kind, table.group, table.split, strict=True)


def _same_document(path: Path, name: str, before: tuple[str, ...] | None, row: tuple[str, ...]) -> tuple[str, ...]:
    if before is None or before == row:
        return row
    kinds = {before[0], row[0]} - {""}  # a shard that saw none of a document's rows does not know its kind
    if len(kinds) > 1 or before[1:] != row[1:]:
        raise MismatchError(f"{path}: document {name!r} is {row} (kind, group, split), {before} in the shards before")
    return (kinds.pop(), *row[1:])


def join_provenance(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Provenance on which all shards agree, and under ``parts`` where they differ."""
    shared = {key: value for key, value in parts[0].items() if all(key in p and p[key] == value for p in parts)}
    differing = [{key: value for key, value in part.items() if key not in shared} for part in parts]
    return shared | ({"parts": differing} if any(differing) else {})
