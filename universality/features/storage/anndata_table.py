"""A store, or a part of it, as an AnnData object in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from universality.errors import MismatchError, MissingExtraError
from universality.features.storage.choices import chosen_indices, chosen_mask

if TYPE_CHECKING:
    import anndata

    from universality.features.storage.store import FeatureStore


def anndata_of(
    store: FeatureStore,
    tokens: slice | ArrayLike | None,
    documents: ArrayLike | None,
    features: slice | ArrayLike | None,
    decode: Callable[[Sequence[int]], Sequence[str]] | None,
    labels: Mapping[int, str] | None,
) -> anndata.AnnData:
    """Read the chosen part; see `FeatureStore.to_anndata`."""
    try:
        from anndata import AnnData
    except ImportError:
        raise MissingExtraError(
            f"{store.path}: to_anndata needs anndata, which is not installed; install it with pip install anndata"
        ) from None
    name = store.path.name
    mask = chosen_mask(name, "tokens", tokens, store.n_tokens)
    if documents is not None:
        mask &= chosen_mask(name, "documents", documents, len(store.documents))[store.tokens.document]
    rows, columns = np.flatnonzero(mask), chosen_indices(name, "features", features, store.n_features)
    described = {
        "content_hash": store.content_hash(),
        "tokens_hash": store.tokens_hash,
        "provenance": json.dumps(store.provenance, sort_keys=True),  # text, since .h5ad holds no None
    }
    return AnnData(
        X=_columns(store, rows, columns) if features is not None else _rows(store, rows),
        obs=_obs(store, rows, decode),
        var=_var(store, columns, labels),
        uns={"universality": described},
    )


def _rows(store: FeatureStore, rows: NDArray[np.int64]) -> sparse.csr_matrix:
    """Read all features of some rows, a part of the file at a time."""
    parts = []
    for span in store.spans():
        inside = rows[np.searchsorted(rows, span.start) : np.searchsorted(rows, span.stop)]
        if len(inside):
            parts.append(store.rows(span)[inside - span.start])
    return sparse.vstack(parts, format="csr") if parts else store.rows(slice(0, 0))


def _columns(store: FeatureStore, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> sparse.csr_matrix:
    """Read some features, each a short read of the feature-major copy."""
    if not len(columns):
        return sparse.csr_matrix((len(rows), 0), dtype=np.float32)
    every = len(rows) == store.n_tokens
    read = (store.columns(int(j), int(j) + 1) for j in columns)
    return sparse.hstack([part if every else part[rows] for part in read], format="csr")


def _obs(
    store: FeatureStore, rows: NDArray[np.int64], decode: Callable[[Sequence[int]], Sequence[str]] | None
) -> pd.DataFrame:
    table, documents = store.tokens, store.documents
    document = table.document[rows]
    columns: dict[str, Any] = {"token": table.token[rows]}
    if decode is not None:
        distinct, place = np.unique(columns["token"], return_inverse=True)
        strings = list(decode(distinct.tolist()))
        if len(strings) != len(distinct):
            raise MismatchError(f"decode: expected one string for each of {len(distinct)} ids, found {len(strings)}")
        columns["string"] = _categories(strings, place)
    columns |= {
        "document": _categories(documents.id, document),
        "group": _categories(documents.group, document),
        "split": _categories(documents.split, document),
        "position": table.position[rows],
        "kind": _categories(table.kinds, table.kind[rows]),
    }
    return pd.DataFrame(columns, index=rows.astype(str))


def _categories(names: Sequence[str], codes: NDArray[Any]) -> pd.Categorical:
    """Return names by code as a categorical: each is held once, of those that occur; equal names are one."""
    first, distinct = pd.factorize(np.asarray(names, object))
    return pd.Categorical.from_codes(first[codes], distinct).remove_unused_categories()


def _var(store: FeatureStore, columns: NDArray[np.int64], labels: Mapping[int, str] | None) -> pd.DataFrame:
    moments = store.moments()
    frame = pd.DataFrame(
        {
            "alive": store.alive[columns],
            "count": moments.count[columns],
            "density": moments.density[columns],
            "mean": moments.sum[columns] / max(1, store.n_tokens),
            "max": moments.max[columns],
        },
        index=columns.astype(str),
    )
    if labels is not None:
        unknown = sorted(set(labels) - set(range(store.n_features)))
        if unknown:
            raise MismatchError(f"labels: feature {unknown[0]} is not in 0 … {store.n_features - 1}")
        frame["label"] = [labels.get(int(j), "") for j in columns]
    return frame
