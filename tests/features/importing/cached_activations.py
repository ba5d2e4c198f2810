"""A store's contents, written as other tools would have cached them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy import sparse

from universality.features import FeatureStore

PAD = 60_000
"""Token id before each block (BOS) and after short ones (padding)."""


@dataclass(frozen=True)
class Sequences:
    """Blocks of a store as sequences of one length: ids and documents [n_sequences, n_ctx], and where rows stand."""

    tokens: NDArray[np.int64]
    document: NDArray[np.int64]
    row: NDArray[np.int64]


def sequences(store: FeatureStore) -> Sequences:
    """Lay out the blocks of a store, PAD where it has no row."""
    table = store.tokens
    n_ctx = int(table.position.max()) + 2
    ids = np.full((int(table.block[-1]) + 1, n_ctx), PAD)
    ids[table.block, table.position] = table.token
    document = np.zeros(len(ids), np.int64)
    document[table.block] = table.document
    return Sequences(ids, document, table.block * n_ctx + table.position)


def in_half_precision(store: FeatureStore, path: Path) -> FeatureStore:
    """Write a store again with activations that delphi keeps: float16, above 1e-5."""
    csr = store.csr()
    data = csr.data.astype(np.float16).astype(np.float32)
    data[np.abs(data) <= 1e-5] = 0
    csr = sparse.csr_matrix((data, csr.indices, csr.indptr), shape=csr.shape)
    table = store.tokens
    writer = FeatureStore.create(path, store.n_features, store.provenance, store.documents)
    writer.append(csr, token=table.token, document=table.document, position=table.position, kind=table.kind_names)
    return writer.finish(store.dictionary, store.unembedding())


def write_delphi(store: FeatureStore, folder: Path, n_splits: int = 3, shuffle: int | None = None) -> Sequences:
    """Write a store as `LatentCache.save_splits` and `save_config` of delphi 0.1.3 do."""
    laid = sequences(store)
    coo = store.csr().tocoo()
    sequence, position = np.divmod(laid.row[coo.row], laid.tokens.shape[1])
    bounds = np.linspace(0, store.n_features, n_splits + 1).astype(int)
    folder.mkdir(parents=True, exist_ok=True)
    for start, end in zip(bounds[:-1], bounds[1:] - 1, strict=True):
        mask = np.flatnonzero((coo.col >= start) & (coo.col <= end))
        if shuffle is not None:
            mask = np.random.default_rng(shuffle).permutation(mask)
        locations = np.stack([sequence[mask], position[mask], coo.col[mask] - start], axis=1)
        cached = {
            "locations": locations.astype(np.uint16),
            "activations": coo.data[mask].astype(np.float16),
            "tokens": laid.tokens,
        }
        save_file(cached, folder / f"{start}_{end}.safetensors")
    (folder / "config.json").write_text(json.dumps({"cache_ctx_len": laid.tokens.shape[1], "model_name": "toy"}))
    return laid


def write_parquet(store: FeatureStore, folder: Path, strings: bool = False) -> tuple[Path, Path]:
    """Write a store as shuffled entries, and a table of its tokens with a BOS token before each block."""
    laid, table = sequences(store), store.tokens
    place = np.sort(np.concatenate([np.flatnonzero(laid.tokens.ravel() != PAD), np.arange(len(laid.tokens)) *
                                    laid.tokens.shape[1]]))  # fmt: skip
    coo = store.csr().tocoo()
    order = np.random.default_rng(0).permutation(coo.nnz)
    entries = {
        "token": np.searchsorted(place, laid.row[coo.row])[order],
        "latent": coo.col[order],
        "value": coo.data[order],
    }
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(entries).to_parquet(folder / "entries.parquet", row_group_size=5000)
    ids, document = laid.tokens.ravel()[place], laid.document[place // laid.tokens.shape[1]]
    columns = {
        "token_string" if strings else "token_id": [f"«{i}»" for i in ids] if strings else ids,
        "document": document,
        "position": place % laid.tokens.shape[1],
        "kind": np.array(store.documents.kind)[document],
    }
    assert table.kind_names.tolist() == np.array(store.documents.kind)[table.document].tolist()
    pd.DataFrame(columns).to_parquet(folder / "tokens.parquet")
    return folder / "entries.parquet", folder / "tokens.parquet"
