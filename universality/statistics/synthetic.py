"""Synthetic stores with a known truth: which features are one concept, stand alone, split or merge.

A world consists of *concepts* that fire on text. Text comes in documents of blocks. Documents have topics, so firings
cluster, and some concepts belong to one kind of text. Each side, A and B, sees the concepts through its own noise
(missed firings, jittered strengths, firings leaked from other concepts) and has concepts of its own. Concepts and text
have separate seeds, so the same features can be observed on more text, which gives the limit of a score.
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
    """Parameters of a synthetic world. Shares and rates are those of the population; samples vary about them."""

    n_documents: int = 400
    """Number of documents; half are in the split "choose", half in "report"."""
    blocks: int = 4
    """Full blocks per document."""
    block_length: int = 64
    """Tokens per block."""
    kinds: int = 3
    """Kinds of text, each with equally many documents."""
    works: int = 0
    """Works per kind, each with equally many documents; 0: every document is a work of its own. With fewer than eight
    works per kind, documents are the unit, and a work occurs in both halves (see `universality.corpus.splits`)."""
    work_topics: bool = False
    """Whether topics belong to works instead of documents; documents of one work are then not independent."""
    short_blocks: float = 0.0
    """Share of the documents whose blocks are cut in two: the same text, but no null re-pairs them as full blocks."""
    n_shared: int = 100
    """Concepts that are one feature on both sides."""
    n_alone: int = 50
    """Concepts of each side that the other side lacks."""
    n_split: int = 0
    """Concepts that are one feature of A and two of B; every firing goes to one of the two."""
    n_merged: int = 0
    """Concepts that are two features of A and one of B."""
    density: tuple[float, float] = (1e-3, 5e-2)
    """Share of tokens of the rarest and of the most frequent concept; in between, firing counts follow Zipf's law."""
    topic_share: float = 0.3
    """Share of the documents in which a concept occurs at all; 1 for no document structure."""
    kind_bound: float = 0.0
    """Share of the concepts that occur in one kind of text only."""
    correlated: float = 0.0
    """Share of a concept's firings that coincide with those of the preceding concept, on both sides."""
    missed: float = 0.1
    """Probability that a side misses a firing."""
    jitter: float = 0.3
    """Standard deviation of the logarithm of a side's multiplicative error."""
    leaked: float = 0.0
    """False firings of a feature on tokens of other concepts, as a share of its true firings (superposition)."""

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
        """Number of concepts of both sides together."""
        return self.n_shared + self.n_split + self.n_merged + 2 * self.n_alone

    @property
    def n_tokens(self) -> int:
        """Number of tokens of the text."""
        return self.n_documents * self.blocks * self.block_length


@dataclass(frozen=True, eq=False)
class Planted:
    """Two stores and the truth about their features.

    Parameters
    ----------
    a, b
        The stores.
    concept_a, concept_b
        int64 [n_features] concept of each feature; the parts of a split concept share one.
    firings
        int64 [n_concepts] number of true firings of each concept in this text.
    """

    a: FeatureStore
    b: FeatureStore
    concept_a: IntArray
    concept_b: IntArray
    firings: IntArray

    def is_true(self, rows: npt.ArrayLike, cols: npt.ArrayLike) -> BoolArray:
        """Tell for each pair whether its two features are one concept: [n_pairs]."""
        return np.asarray(self.concept_a[np.asarray(rows)] == self.concept_b[np.asarray(cols)])

    @property
    def has_partner(self) -> BoolArray:
        """Whether B has the concept, for each feature of A."""
        return np.isin(self.concept_a, self.concept_b)


def plant(world: World, folder: Path, seed: int = 0, text_seed: int = 0) -> Planted:
    """Draw a world and write its two stores, ``a.h5`` and ``b.h5``.

    Parameters
    ----------
    world
        What to plant.
    folder
        Created if it does not exist.
    seed
        Seed for the concepts and for each side's order of features.
    text_seed
        Seed for the documents and the noise. The same ``seed`` with another ``text_seed`` gives the same features on
        other text.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> world = World(n_documents=8, blocks=1, n_shared=5, n_alone=2)
    >>> with TemporaryDirectory() as folder:
    ...     planted = plant(world, Path(folder))
    >>> planted.a.n_features, int(planted.has_partner.sum())
    (7, 5)
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
    """Draw the true activations, float32 [n_tokens, n_concepts], on the text of ``text_seed``.

    The frequency of each concept depends on ``seed`` alone.
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
        # A generator of its own: a concept's firings do not depend on how many others there are.
        of_concept = np.random.default_rng([seed, text_seed, 10, concept])
        allowed = np.flatnonzero((bound[concept] < 0) | (kind == bound[concept]))
        units, unit = np.unique(topic_unit[allowed], return_inverse=True)
        topical = allowed[(of_concept.random(units.size) < world.topic_share)[unit]]
        rate = min(0.9, density[concept] * world.n_documents / max(1, allowed.size) / world.topic_share)
        count = of_concept.binomial(per_document, rate, size=topical.size)
        fired = [
            document * per_document + of_concept.choice(per_document, size=k, replace=False)
            for document, k in zip(topical.tolist(), count.tolist(), strict=True)
        ]
        firings = np.concatenate(fired) if fired else np.zeros(0, np.int64)
        if rows and world.correlated:
            keep = of_concept.random(firings.size) >= world.correlated
            borrowed = of_concept.choice(rows[-1], size=min(rows[-1].size, int((~keep).sum())), replace=False)
            firings = np.union1d(firings[keep], borrowed)
        rows.append(np.sort(firings).astype(np.int64))
    strength = np.random.default_rng([seed, text_seed, 11])
    indptr = np.concatenate([[0], np.cumsum([r.size for r in rows])])
    values = strength.gamma(4.0, 0.25, size=int(indptr[-1])).astype(np.float32)
    indices = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    return sparse.csc_matrix((values, indices, indptr), shape=(world.n_tokens, n))


def documents(world: World) -> DocumentTable:
    """Tabulate the documents: kinds in turn, the halves "choose" and "report" alternating within each kind."""
    each, work = range(world.n_documents), _work(world)
    unit = work if world.works >= MIN_GROUPS else np.arange(world.n_documents) // world.kinds
    return DocumentTable(
        id=tuple(f"document {d}" for d in each),
        kind=tuple(f"kind {d % world.kinds}" for d in each),
        group=tuple(f"work {work[d]} of kind {d % world.kinds}" if world.works else f"document {d}" for d in each),
        split=tuple(("choose", "report")[unit[d] % 2] for d in each),
    )


def _work(world: World) -> IntArray:
    """Number each document's work within its kind: [n_documents]; without works, the document itself."""
    rank = np.arange(world.n_documents) // world.kinds
    of_kind = -(-world.n_documents // world.kinds)
    return rank * world.works // of_kind if world.works else rank


def in_superposition(
    codes: sparse.spmatrix, d_in: int, seed: int, noise: float = 0.01
) -> tuple[npt.NDArray[np.float32], FloatArray]:
    """Simulate a toy model that represents more concepts than it has dimensions, each along a random direction.

    Parameters
    ----------
    codes
        [n_tokens, n_concepts] true activations, as returned by `concepts`.
    d_in
        Dimensions of the model.
    seed
        Seed for the directions and the noise; another seed gives another model of the same world.
    noise
        Standard deviation of Gaussian noise that is added to each activation.

    Returns
    -------
    activations : float32 [n_tokens, d_in]
    directions : float64 [n_concepts, d_in]
        Unit vectors.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(codes.shape[1], d_in))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    activations = codes @ directions + noise * rng.normal(size=(codes.shape[0], d_in))
    return activations.astype(np.float32), directions


def write_view(path: Path, seen: sparse.csr_matrix, world: World) -> FeatureStore:
    """Write the features of one side on a world's text as a store.

    Parameters
    ----------
    path
        File to write, replaced if it exists; its folder must exist.
    seen
        [n_tokens, n_features] activations of the side's features.
    world
        The world, which gives documents and positions.
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
    """Number the tokens of a block, restarting in the middle of short blocks, which kinds and halves share evenly."""
    pair = document // (2 * world.kinds)  # pairs of documents of one kind, one in each half
    short = int((pair + 1) * world.short_blocks) > int(pair * world.short_blocks)
    within = np.arange(world.block_length)
    return (within % (world.block_length // 2) if short else within) + 1


def _seen(codes: sparse.csc_matrix, concept: IntArray, world: World, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draw one side's view of the concepts, [n_tokens, n_features]; parts of one concept share its firings."""
    total = np.bincount(concept, minlength=codes.shape[1])
    part = np.zeros(codes.shape[1], np.int64)
    anything = np.unique(codes.indices)
    rows, values = [], []
    for c in concept.tolist():
        span = slice(codes.indptr[c], codes.indptr[c + 1])
        fired, strength = codes.indices[span], codes.data[span]
        owner = np.random.default_rng([7, c]).integers(total[c], size=fired.size)  # the same for all parts of a concept
        visible = owner == part[c]
        part[c] += 1
        visible &= rng.random(fired.size) >= world.missed
        n_leaked = rng.binomial(int(visible.sum()), world.leaked) if world.leaked else 0
        false = np.setdiff1d(rng.choice(anything, size=n_leaked), fired) if n_leaked else np.zeros(0, np.int64)
        size = np.concatenate([strength[visible], rng.gamma(4.0, 0.25, size=false.size)])
        rows.append(np.concatenate([fired[visible], false]))
        values.append(size * np.exp(world.jitter * rng.normal(size=size.size)))
    indptr = np.concatenate([[0], np.cumsum([r.size for r in rows])])
    flat = (np.concatenate(values).astype(np.float32), np.concatenate(rows), indptr)
    return sparse.csc_matrix(flat, shape=(codes.shape[0], concept.size)).tocsr()
