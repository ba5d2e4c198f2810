"""Choice of the tokens at which features are changed: seeded samples of firings, and of positions of text.

Firings of a feature are taken one a block as far as possible, from blocks in one random order that all features share:
contexts of one feature are then of different texts, and features share blocks, which makes forward passes fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.arrays import FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.model_features import ModelFeatures
from universality.errors import MismatchError, UniversalityError
from universality.features.storage.selected import read_features

_CANDIDATES = 64  # firings considered per context: a feature that fires on each of 64 tokens a block fills all contexts
_HELD = 30_000_000  # firings of B's features that are held at a time, 120 MB
Positions = tuple[IntArray, IntArray]
"""Blocks and columns, both int64 [n]."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """Pairs of a feature and a token at which it is changed.

    Parameters
    ----------
    row
        int64 [n], row of the result to which each contributes.
    feature
        int64 [n].
    block, column
        int64 [n], place of the token in the blocks.
    """

    row: IntArray
    feature: IntArray
    block: IntArray
    column: IntArray

    def __len__(self) -> int:
        return int(self.row.size)

    def take(self, which: npt.NDArray[np.generic]) -> Contexts:
        """Select some of them by a mask or indices."""
        return Contexts(self.row[which], self.feature[which], self.block[which], self.column[which])


def firings(
    features: ModelFeatures,
    n_contexts: int,
    *,
    chosen: npt.ArrayLike | None = None,
    documents: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Contexts:
    """Sample firings of features; the row of the result is the feature.

    Parameters
    ----------
    features
        The model's features.
    n_contexts
        Firings of each feature; all where it has fewer.
    chosen
        Features; all by default.
    documents
        Indices of the documents whose tokens may be taken; all by default.
    seed
        Seed of the order of blocks and of tokens within a block.

    Raises
    ------
    UniversalityError
        If a number, a feature or a document is out of range.
    """
    wanted = check_features(features, chosen)
    pick = _Picker(features, n_contexts, documents, seed)
    return pick.contexts((j, j, rows) for j, rows, _ in read_features(features.store, wanted))


def joint_firings(
    a: ModelFeatures,
    b: ModelFeatures,
    rows: npt.ArrayLike,
    cols: npt.ArrayLike,
    n_contexts: int,
    *,
    documents: npt.ArrayLike | None = None,
    seed: int = 0,
) -> tuple[Contexts, Contexts]:
    """Sample tokens where both features of a pair fire; the row of the result is the pair. Parameters as `firings`.

    Raises
    ------
    MismatchError
        If the stores saw different tokens, or there are not as many features of A as of B.
    """
    pair, store_row = joint_rows(a, b, rows, cols, n_contexts, documents=documents, seed=seed)
    features = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    return place(a, pair, features[0][pair], store_row), place(b, pair, features[1][pair], store_row)


def joint_rows(
    a: ModelFeatures,
    b: ModelFeatures,
    rows: npt.ArrayLike,
    cols: npt.ArrayLike,
    n_contexts: int,
    *,
    documents: npt.ArrayLike | None = None,
    seed: int = 0,
) -> tuple[IntArray, IntArray]:
    """Sample rows of the stores where both features of a pair fire: pair and row, both int64 [n].

    Parameters and errors as for `joint_firings`.
    """
    i, j = np.asarray(rows), np.asarray(cols)
    if i.shape != j.shape or i.ndim != 1:
        raise MismatchError(f"pairs: expected as many features of A as of B, found {list(i.shape)} and {list(j.shape)}")
    if a.store.tokens_hash != b.store.tokens_hash:
        raise MismatchError(f"{a.store.path} and {b.store.path} saw different tokens; collect both on the same text")
    for side, wanted in ((a, i), (b, j)):
        check_features(side, np.unique(wanted))
    pick, count = _Picker(a, n_contexts, documents, seed), b.store.moments().count
    order = np.argsort(i, kind="stable")
    group = np.cumsum(count[j[order]]) // _HELD
    taken: list[IntArray] = [np.zeros(0, np.int64)] * i.size
    fires = np.zeros(a.store.n_tokens, bool)
    for pairs in np.split(order, np.flatnonzero(np.diff(group)) + 1) if i.size else []:
        partner = {y: rows[pick.allowed[rows]] for y, rows, _ in read_features(b.store, np.unique(j[pairs]))}
        for x, of_feature, _ in read_features(a.store, np.unique(i[pairs])):
            fires[of_feature] = True
            for p in pairs[np.searchsorted(i[pairs], x) : np.searchsorted(i[pairs], x, side="right")].tolist():
                of_partner = partner[int(j[p])]
                taken[p] = pick(of_partner[fires[of_partner]])
            fires[of_feature] = False
    return np.repeat(np.arange(i.size), [part.size for part in taken]), np.concatenate([np.zeros(0, np.int64), *taken])


def firing_alike(
    features: ModelFeatures, pair: IntArray, store_row: IntArray, partners: IntArray
) -> tuple[IntArray, FloatArray]:
    """Find for each pair a feature other than the partner that fires at its tokens, too.

    It is the one whose density is nearest to the partner's among those that fire at half of the tokens or more: a
    feature that fires nearly everywhere would be an easy one to beat. If there are none, it fires at the most tokens.

    Parameters
    ----------
    features
        Features of the partners' model.
    pair, store_row
        int64 [n], tokens of the pairs: `joint_rows`.
    partners
        int64 [n_pairs], the features that are left out.

    Returns
    -------
    feature : int64 [n_pairs]
        -1 where no other feature fires at any of the tokens.
    share : float64 [n_pairs]
        Share of the pair's tokens at which it fires.
    """
    n_pairs, store = partners.size, features.store
    used, place_of = np.unique(store_row, return_inverse=True)
    at = np.full(store.n_tokens, -1)
    at[used] = np.arange(used.size)
    parts = [(j, at[rows]) for j, rows, _ in read_features(store, np.arange(store.n_features))]
    token = np.concatenate([places[places >= 0] for _, places in parts])
    feature = np.repeat(np.arange(store.n_features), [(places >= 0).sum() for _, places in parts])
    fires = sparse.csr_matrix((np.ones(token.size), (token, feature)), shape=(used.size, store.n_features))
    of_pair = sparse.csr_matrix((np.ones(pair.size), (pair, place_of)), shape=(n_pairs, used.size))
    together = (of_pair @ fires).tocoo()
    count = np.log(np.maximum(store.moments().count, 1))
    other = together.col != partners[together.row]
    row, found, n = together.row[other], together.col[other], together.data[other]
    share = n / np.bincount(pair, minlength=n_pairs)[row]
    unlike = np.abs(count[found] - count[partners[row]])
    order = np.lexsort((found, unlike, -np.minimum(share, 0.5), row))
    first = order[rank_in_group(row[order]) == 0]
    best, of_best = np.full(n_pairs, -1), np.zeros(n_pairs)
    best[row[first]], of_best[row[first]] = found[first], share[first]
    return best, of_best


def random_positions(
    blocks: TokenBlocks, n_positions: int, *, per_block: int = 4, common: TokenBlocks | None = None, seed: int = 0
) -> Positions:
    """Sample positions of text, the same for all models that read it.

    Parameters
    ----------
    blocks
        Text in a model's own tokens.
    n_positions
        Number of positions.
    per_block
        Positions of one block.
    common
        The same blocks in segments, where models have different tokenizers: positions are then the last tokens of the
        same random segments in each model.
    seed
        Seed of the sample.

    Raises
    ------
    UniversalityError
        If there are not as many positions.

    Examples
    --------
    >>> from universality.corpus.documents import DocumentTable
    >>> table = DocumentTable(("a",), ("text",), ("a",), ("report",))
    >>> tokens = np.arange(12, dtype=np.int32).reshape(3, 4)
    >>> text = TokenBlocks(tokens, np.full(3, 4, np.int32), np.zeros(3, np.int32), table, 12, "")
    >>> block, column = random_positions(text, 4, per_block=2)
    >>> len(block), bool((column > 0).all())
    (4, True)
    """
    rng, shared = np.random.default_rng(seed), common if common is not None else blocks
    if n_positions < 1 or per_block < 1:
        raise UniversalityError(f"positions: expected at least 1, found {n_positions} with {per_block} of a block")
    keys = np.where(shared.valid, rng.random(shared.tokens.shape), np.inf)
    order = np.argsort(keys, axis=1, kind="stable")[:, :per_block]
    exists = np.isfinite(np.take_along_axis(keys, order, axis=1))
    from_blocks = rng.permutation(len(shared))
    block = np.repeat(from_blocks, exists[from_blocks].sum(axis=1))[:n_positions]
    column = order[from_blocks][exists[from_blocks]][:n_positions]
    if block.size < n_positions:
        raise UniversalityError(
            f"positions: {n_positions} are wanted, and the {len(shared)} blocks have {block.size} with at most "
            f"{per_block} of a block; give more text or raise per_block"
        )
    return (block, column) if common is None else (block, _last_columns(blocks, block, column))


def check_features(features: ModelFeatures, chosen: npt.ArrayLike | None) -> IntArray:
    """Return rising indices of features that exist.

    Raises
    ------
    UniversalityError
        If one does not exist or is named twice, or there are none.
    """
    if chosen is None:
        return np.arange(features.store.n_features)
    wanted = np.unique(np.asarray(chosen))
    if not wanted.size or not np.issubdtype(wanted.dtype, np.integer):
        raise UniversalityError(f"features: expected indices [n], found {wanted.dtype} of shape {wanted.shape}")
    if wanted.size < np.asarray(chosen).size:
        raise UniversalityError("features: one is named twice; name each once, as with numpy.unique")
    if wanted[0] < 0 or wanted[-1] >= features.store.n_features:
        raise UniversalityError(
            f"features from 0 to {features.store.n_features - 1} exist in {features.store.path.name}, found "
            f"{wanted[0]} to {wanted[-1]}"
        )
    return wanted.astype(np.int64)


class _Picker:
    """Choose rows of a store among those where a feature fires, and find their tokens."""

    def __init__(self, features: ModelFeatures, n_contexts: int, documents: npt.ArrayLike | None, seed: int) -> None:
        if n_contexts < 1:
            raise UniversalityError(f"n_contexts: expected at least 1, found {n_contexts}")
        rng, self.features, self.n = np.random.default_rng(seed), features, n_contexts
        self.block = features.token_place[0][features.first_token]
        self.rank = rng.permutation(len(features.blocks))[self.block]  # of a row's block in the common order
        self.key: FloatArray = rng.random(self.block.size)
        self.allowed = np.ones(self.block.size, bool)
        if documents is not None:
            given, n_documents = np.asarray(documents), len(features.blocks.documents.id)
            if given.size and not 0 <= given.min() <= given.max() < n_documents:
                raise UniversalityError(f"documents: indices from 0 to {n_documents - 1} exist, found others")
            self.allowed = np.isin(features.blocks.document[self.block], given)

    def __call__(self, rows: npt.NDArray[np.integer[Any]]) -> IntArray:
        """Return at most n of the rows: the first of each block in the common order, then second ones, and so on."""
        firing = rows[self.allowed[rows]]
        if firing.size > self.n * _CANDIDATES:
            firing = firing[np.argpartition(self.rank[firing], self.n * _CANDIDATES)[: self.n * _CANDIDATES]]
        firing = firing[np.lexsort((self.key[firing], self.rank[firing]))]
        turn = rank_in_group(self.rank[firing])
        return firing[np.lexsort((self.rank[firing], turn))][: self.n].astype(np.int64)

    def contexts(self, firing: Iterator[tuple[int, int, npt.NDArray[np.integer[Any]]]]) -> Contexts:
        """Choose contexts for (row of the result, feature, rows where it fires)."""
        return place(self.features, *_joined((row, feature, self(rows)) for row, feature, rows in firing))


def rank_in_group(keys: npt.NDArray[np.generic]) -> IntArray:
    """Count equal neighbours: the place of each element in its run.

    Examples
    --------
    >>> rank_in_group(np.array([5, 5, 5, 7, 9, 9])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if keys.size else np.zeros(0, np.int64)
    return np.arange(keys.size) - np.repeat(starts, np.diff(starts, append=keys.size))


def place(features: ModelFeatures, row: IntArray, feature: IntArray, store_row: IntArray) -> Contexts:
    """Find the token of each store row; of a segment, the token on which the feature's activation is largest."""
    token = features.first_token[store_row]
    n_tokens = np.diff(features.first_token, append=features.blocks.n_tokens)[store_row]
    if (n_tokens > 1).any():
        token = token + _strongest(features, feature, token, n_tokens)
    block, column = features.token_place
    return Contexts(row, feature, block[token], column[token])


def _strongest(features: ModelFeatures, feature: IntArray, token: IntArray, n_tokens: IntArray) -> IntArray:
    """Place within its segment of the token with the largest activation, int64 [n]; 0 for single tokens."""
    best = np.zeros(token.size, np.int64)
    largest = np.zeros(token.size)
    block = features.token_place[0][token]
    for low in range(0, len(features.blocks), 64):
        blocks = np.unique(block[(n_tokens > 1) & (block >= low) & (block < low + 64)])
        if not blocks.size:
            continue
        codes = features.require_sae().encode(features.site.read(features.blocks.take(blocks)))
        start = np.concatenate([[0], np.cumsum(features.blocks.length - 1)])  # first token of each block
        here = np.flatnonzero(np.isin(block, blocks) & (n_tokens > 1))
        in_part = np.concatenate([[0], np.cumsum(features.blocks.length[blocks] - 1)])
        moved = token[here] - start[block[here]] + in_part[np.searchsorted(blocks, block[here])]
        for step in range(int(n_tokens[here].max())):
            inside = here[n_tokens[here] > step]
            value = np.asarray(codes[moved[n_tokens[here] > step] + step, feature[inside]]).ravel()
            better = value > largest[inside]
            best[inside[better]], largest[inside[better]] = step, value[better]
    return best


def _last_columns(blocks: TokenBlocks, block: IntArray, segment: IntArray) -> IntArray:
    if blocks.segment is None:
        raise MismatchError(
            "positions: the blocks have no segments; give common for models with different tokenizers only"
        )
    belongs = blocks.segment[block] == segment[:, None]
    if not belongs.any(axis=1).all():
        raise MismatchError("positions: the common blocks are not those of these blocks' segments")
    return blocks.n_ctx - 1 - np.argmax(belongs[:, ::-1], axis=1)


def _joined(parts: Iterator[tuple[int, int, IntArray]]) -> tuple[IntArray, IntArray, IntArray]:
    row, feature, taken = [], [], [np.zeros(0, np.int64)]
    for result_row, j, rows in parts:
        row += [result_row] * rows.size
        feature += [j] * rows.size
        taken.append(rows)
    return np.array(row, np.int64), np.array(feature, np.int64), np.concatenate(taken)
