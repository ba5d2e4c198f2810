"""Worlds with a known truth: which features of two stores are one concept, which stand alone, which split or merge.

A world is made of *concepts* that fire on text. Text comes in documents of blocks; a document has topics, so firings
cluster; some concepts belong to one kind of text. Each side, A and B, sees concepts through its own noise (firings
missed, strengths jittered, firings leaked from other concepts) and adds concepts of its own. Concepts are drawn from
one seed and text from another, so the same features can be looked at on more text: what a score is in the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.corpus.documents import DocumentTable
from universality.corpus.splits import MIN_GROUPS
from universality.errors import ConfigError
from universality.features.storage.store import FeatureStore


@dataclass(frozen=True)
class World:
    """What is planted; every share and rate is of the population, samples vary about it."""

    n_documents: int = 400
    """Documents; half choose partners, half report."""
    blocks: int = 4
    """Full blocks of a document."""
    block_length: int = 64
    """Tokens of a block."""
    kinds: int = 3
    """Kinds of text, as many documents of each."""
    works: int = 0
    """Works of each kind, as many documents of each; 0: every document is a work of its own. With fewer than eight a
    kind, documents are the unit, and a work stands in both halves (see `universality.corpus.splits`)."""
    work_topics: bool = False
    """Whether topics belong to works and not to documents: then documents of one work are no independent evidence."""
    short_blocks: float = 0.0
    """Share of the documents whose blocks are cut in two: the same text, but no null re-pairs them as full blocks."""
    n_shared: int = 100
    """Concepts that both sides have as one feature."""
    n_alone: int = 50
    """Concepts of each side that the other lacks."""
    n_split: int = 0
    """Concepts that are one feature of A and two of B: every firing goes to one of the two."""
    n_merged: int = 0
    """The reverse: two features of A, one of B."""
    density: tuple[float, float] = (1e-3, 5e-2)
    """Rarest and most frequent concept's share of tokens; between them firing counts follow Zipf's law."""
    topic_share: float = 0.3
    """Share of the documents in which a concept occurs at all; 1 for no document structure."""
    kind_bound: float = 0.0
    """Share of the concepts that occur in one kind of text only."""
    correlated: float = 0.0
    """Share of a concept's firings that it takes over from its neighbour's, on both sides."""
    missed: float = 0.1
    """Chance that a side does not see a firing."""
    jitter: float = 0.3
    """Standard deviation of the logarithm of a side's strengths."""
    leaked: float = 0.0
    """False firings of a feature where some other concept fires, as a share of its true ones: superposition."""

    def __post_init__(self) -> None:
        low, high = self.density
        if not 0 < low <= high < 1:
            raise ConfigError(f"density: expected 0 < rarest <= most frequent < 1, found {self.density}")
        for name in ("topic_share", "kind_bound", "correlated", "missed", "leaked", "short_blocks"):
            if not 0 <= getattr(self, name) <= 1 or (name == "topic_share" and self.topic_share == 0):
                raise ConfigError(f"{name}: expected a share, found {getattr(self, name)}")
        if self.n_documents < 4 or min(self.blocks, self.block_length, self.kinds) < 1:
            raise ConfigError("a world needs at least 4 documents of 1 block, 1 token and 1 kind")

    @property
    def n_concepts(self) -> int:
        """Concepts of both sides together."""
        return self.n_shared + self.n_split + self.n_merged + 2 * self.n_alone

    @property
    def n_tokens(self) -> int:
        """Tokens of the text."""
        return self.n_documents * self.blocks * self.block_length


@dataclass(frozen=True, eq=False)
class Planted:
    """Two stores and the truth.

    Parameters
    ----------
    a, b
        The stores.
    concept_a, concept_b
        int64 [n_features] the concept of each feature; parts of a split share one.
    firings
        int64 [n_concepts] true firings of each concept in this text.
    """

    a: FeatureStore
    b: FeatureStore
    concept_a: IntArray
    concept_b: IntArray
    firings: IntArray

    def is_true(self, rows: npt.ArrayLike, cols: npt.ArrayLike) -> BoolArray:
        """[n_pairs] whether a pair is one concept."""
        return np.asarray(self.concept_a[np.asarray(rows)] == self.concept_b[np.asarray(cols)])

    @property
    def has_partner(self) -> BoolArray:
        """[n_features of A] whether B has the concept."""
        return np.isin(self.concept_a, self.concept_b)


def plant(world: World, folder: Path, seed: int = 0, text_seed: int = 0) -> Planted:
    """Draw a world and write its two stores, ``a.h5`` and ``b.h5``.

    Parameters
    ----------
    folder
        Made if it is not there.
    seed
        Of the concepts, and of each side's order of features.
    text_seed
        Of the documents and of the noise. The same ``seed`` with another ``text_seed`` has the same features on other
        text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 0])
    shared, split, merged, alone = world.n_shared, world.n_split, world.n_merged, world.n_alone
    ends = np.cumsum([0, shared, split, merged, alone, alone])
    parts = [np.arange(low, high) for low, high in pairwise(ends)]
    concept_a = np.concatenate([parts[0], parts[1], np.repeat(parts[2], 2), parts[3]])
    concept_b = np.concatenate([parts[0], np.repeat(parts[1], 2), parts[2], parts[4]])
    concept_a, concept_b = (rng.permutation(side) for side in (concept_a, concept_b))
    codes = concepts(world, seed, text_seed)

    def write(side: str, concept: IntArray) -> FeatureStore:
        noise = np.random.default_rng([seed, text_seed, 1 + "ab".index(side)])
        return write_view(folder / f"{side}.h5", _seen(codes, concept, world, noise), world)

    a, b = write("a", concept_a), write("b", concept_b)
    return Planted(a, b, concept_a, concept_b, np.diff(codes.indptr).astype(np.int64))


def concepts(world: World, seed: int = 0, text_seed: int = 0) -> sparse.csc_matrix:
    """True activations float32 [n_tokens, n_concepts] on the text of ``text_seed``.

    Which concept is how frequent follows from ``seed`` alone.
    """
    rng = np.random.default_rng([seed, 1])
    n, (low, high) = world.n_concepts, world.density
    density = rng.permutation(np.maximum(high / np.arange(1, n + 1), low)) if n else np.zeros(0)
    bound = np.where(rng.random(n) < world.kind_bound, rng.integers(world.kinds, size=n), -1)
    kind = np.arange(world.n_documents) % world.kinds
    topic_unit = kind * world.n_documents + _work(world) if world.work_topics else np.arange(world.n_documents)
    per_document = world.blocks * world.block_length
    rows: list[IntArray] = []
    for concept in range(n):
        own = np.random.default_rng([seed, text_seed, 10, concept])
        allowed = np.flatnonzero((bound[concept] < 0) | (kind == bound[concept]))
        units, unit = np.unique(topic_unit[allowed], return_inverse=True)
        topical = allowed[(own.random(units.size) < world.topic_share)[unit]]
        rate = min(0.9, density[concept] * world.n_documents / max(1, allowed.size) / world.topic_share)
        count = own.binomial(per_document, rate, size=topical.size)
        fired = [
            document * per_document + own.choice(per_document, size=k, replace=False)
            for document, k in zip(topical.tolist(), count.tolist(), strict=True)
        ]
        found = np.concatenate(fired) if fired else np.zeros(0, np.int64)
        if rows and world.correlated:
            keep = own.random(found.size) >= world.correlated
            borrowed = own.choice(rows[-1], size=min(rows[-1].size, int((~keep).sum())), replace=False)
            found = np.union1d(found[keep], borrowed)
        rows.append(np.sort(found).astype(np.int64))
    strength = np.random.default_rng([seed, text_seed, 11])
    indptr = np.concatenate([[0], np.cumsum([r.size for r in rows])])
    values = strength.gamma(4.0, 0.25, size=int(indptr[-1])).astype(np.float32)
    indices = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    return sparse.csc_matrix((values, indices, indptr), shape=(world.n_tokens, n))


def documents(world: World) -> DocumentTable:
    """Kinds in turn, works of a kind one after the other; halves "choose" and "report" alternate within each kind."""
    each, work = range(world.n_documents), _work(world)
    unit = work if world.works >= MIN_GROUPS else np.arange(world.n_documents) // world.kinds
    return DocumentTable(
        id=tuple(f"document {d}" for d in each),
        kind=tuple(f"kind {d % world.kinds}" for d in each),
        group=tuple(f"work {work[d]} of kind {d % world.kinds}" if world.works else f"document {d}" for d in each),
        split=tuple(("choose", "report")[unit[d] % 2] for d in each),
    )


def _work(world: World) -> IntArray:
    """[n_documents] the work within its kind; without works, the document's place there."""
    place = np.arange(world.n_documents) // world.kinds
    of_kind = -(-world.n_documents // world.kinds)
    return place * world.works // of_kind if world.works else place


def in_superposition(
    codes: sparse.spmatrix, d_in: int, seed: int, noise: float = 0.01
) -> tuple[npt.NDArray[np.float32], FloatArray]:
    """A toy model: more concepts than dimensions, each along a random direction.

    Parameters
    ----------
    codes
        [n_tokens, n_concepts] true activations, as of `concepts`.
    d_in
        Dimensions.
    seed
        Of the directions and the noise: another seed is another model of the same world.
    noise
        Standard deviation of what is added to each activation.

    Returns
    -------
    activations : float32 [n_tokens, d_in]
    directions : float64 [n_concepts, d_in]
        Unit vectors.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(codes.shape[1], d_in))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = codes @ directions + noise * rng.normal(size=(codes.shape[0], d_in))
    return found.astype(np.float32), directions


def write_view(path: Path, seen: sparse.csr_matrix, world: World) -> FeatureStore:
    """A store of what one side sees of a world's text.

    Parameters
    ----------
    path
        Replaced if it exists; its folder must.
    seen
        [n_tokens, n_features] the side's features.
    """
    table = documents(world)
    document = np.repeat(np.arange(world.n_documents), world.blocks * world.block_length)
    position = np.concatenate([np.tile(_positions(world, d), world.blocks) for d in range(world.n_documents)])
    seen.sort_indices()
    writer = FeatureStore.create(path, seen.shape[1], {"site": "planted"}, table, overwrite=True)
    kind = np.array(table.kind)[document]
    writer.append(seen, token=position, document=document, position=position, kind=kind)
    return writer.finish()


def _positions(world: World, document: int) -> IntArray:
    """Positions of a block's tokens; in short blocks they begin anew in the middle. Evenly over kinds and halves."""
    pair = document // (2 * world.kinds)  # of documents of one kind, one in each half
    short = int((pair + 1) * world.short_blocks) > int(pair * world.short_blocks)
    within = np.arange(world.block_length)
    return (within % (world.block_length // 2) if short else within) + 1


def _seen(codes: sparse.csc_matrix, concept: IntArray, world: World, rng: np.random.Generator) -> sparse.csr_matrix:
    """What one side sees of the concepts, a column a feature; parts of one concept share out its firings."""
    total = np.bincount(concept, minlength=codes.shape[1])
    part = np.zeros(codes.shape[1], np.int64)
    anything = np.unique(codes.indices)
    rows, values = [], []
    for c in concept.tolist():
        span = slice(codes.indptr[c], codes.indptr[c + 1])
        fired, strength = codes.indices[span], codes.data[span]
        owner = np.random.default_rng([7, c]).integers(total[c], size=fired.size)  # the same for all parts of a concept
        kept = owner == part[c]
        part[c] += 1
        kept &= rng.random(fired.size) >= world.missed
        n_leaked = rng.binomial(int(kept.sum()), world.leaked) if world.leaked else 0
        false = np.setdiff1d(rng.choice(anything, size=n_leaked), fired) if n_leaked else np.zeros(0, np.int64)
        at = np.concatenate([fired[kept], false])
        size = np.concatenate([strength[kept], rng.gamma(4.0, 0.25, size=false.size)])
        rows.append(at)
        values.append(size * np.exp(world.jitter * rng.normal(size=size.size)))
    indptr = np.concatenate([[0], np.cumsum([r.size for r in rows])])
    flat = (np.concatenate(values).astype(np.float32), np.concatenate(rows), indptr)
    return sparse.csc_matrix(flat, shape=(codes.shape[0], concept.size)).tocsr()
