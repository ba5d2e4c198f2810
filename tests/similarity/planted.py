"""Feature stores with a known truth: which features of A and B are the same concept, and which are alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.features import Dictionary, FeatureStore
from universality.models.unembedding import Unembedding

Array = npt.NDArray[Any]
BLOCK = 32  # text tokens of a full block


@dataclass(frozen=True)
class Text:
    """Token rows of some documents, and their table."""

    documents: DocumentTable
    document: Array
    position: Array

    @property
    def n_tokens(self) -> int:
        return self.document.size


def text(
    n_documents: int,
    blocks: int = 2,
    kinds: tuple[str, ...] = ("prose", "code"),
    splits: tuple[str, ...] = ("choose", "report"),
    group_size: int = 1,
) -> Text:
    """Documents of ``blocks`` full blocks and half a block; kinds and splits in turn, few documents to a group."""
    lengths = [BLOCK] * blocks + [BLOCK // 2]
    position = np.concatenate([np.arange(1, n + 1) for n in lengths])
    each = range(n_documents)
    table = DocumentTable(
        id=tuple(f"d{d}" for d in each),
        kind=tuple(kinds[d % len(kinds)] for d in each),
        group=tuple(f"g{d // group_size}" for d in each),
        split=tuple(splits[d // len(kinds) % len(splits)] for d in each),
    )
    return Text(table, np.repeat(np.arange(n_documents), position.size), np.tile(position, n_documents))


def concepts(n_tokens: int, density: npt.ArrayLike, rng: np.random.Generator) -> Array:
    """Independent sparse activations [n_tokens, n_concepts], each firing on its share of the tokens."""
    density = np.asarray(density, dtype=np.float64)
    fires = rng.random((n_tokens, density.size)) < density
    return fires * rng.gamma(4.0, 0.25, (n_tokens, density.size))


def noisy(clean: Array, drop: float, rng: np.random.Generator) -> Array:
    """What another dictionary sees of the same concepts: some firings missing, the strengths jittered."""
    return clean * (rng.random(clean.shape) > drop) * rng.uniform(0.7, 1.3, clean.shape)


def write_store(
    path: Path,
    activations: Array | sparse.csr_matrix,
    seen: Text,
    provenance: dict[str, Any] | None = None,
    dictionary: Dictionary | None = None,
    unembedding: Unembedding | None = None,
) -> FeatureStore:
    """A finished store of activations [n_tokens, n_features] over ``seen``."""
    csr = sparse.csr_matrix(activations, dtype=np.float32)
    kind = np.asarray(seen.documents.kind)[seen.document]
    writer = FeatureStore.create(path, csr.shape[1], provenance or {}, documents=seen.documents, overwrite=True)
    writer.append(csr, token=seen.position + 7, document=seen.document, position=seen.position, kind=kind)
    return writer.finish(dictionary=dictionary, unembedding=unembedding)


@dataclass(frozen=True)
class Planted:
    """Two stores and the truth: row ``rows[k]`` of A and column ``cols[k]`` of B are one concept."""

    a: FeatureStore
    b: FeatureStore
    rows: Array
    cols: Array


def planted(
    folder: Path, seen: Text, n_shared: int = 40, n_alone: int = 20, drop: float = 0.1, seed: int = 0
) -> Planted:
    """A and B share ``n_shared`` concepts, hold ``n_alone`` each of their own, and B's order is shuffled."""
    rng = np.random.default_rng(seed)
    shared = concepts(seen.n_tokens, np.geomspace(0.02, 0.2, n_shared), rng)
    own = np.geomspace(0.02, 0.2, n_alone)
    a, b = (np.hstack([noisy(shared, drop, rng), concepts(seen.n_tokens, own, rng)]) for _ in range(2))
    order = rng.permutation(n_shared + n_alone)
    return Planted(
        write_store(folder / "a.h5", a, seen),
        write_store(folder / "b.h5", b[:, order], seen),
        np.arange(n_shared),
        np.argsort(order)[:n_shared],
    )


def dense(store: FeatureStore) -> Array:
    """All activations, float64 [n_tokens, n_features]."""
    return store.csr().toarray().astype(np.float64)


def pearson(x: Array, y: Array) -> Array:
    """Pearson's r of columns by two passes in float64; 0 where a column does not vary."""
    constant_x, constant_y = (np.ptp(m, axis=0) == 0 for m in (x, y))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm_x, norm_y = (np.sqrt((m**2).sum(axis=0)) for m in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (x.T @ y) / np.outer(norm_x, norm_y)
    r[constant_x] = 0
    r[:, constant_y] = 0
    return r
