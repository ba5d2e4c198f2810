"""Blocks of the reporting half on which losses are measured, with the rows that feature stores hold for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from universality.arrays import FloatArray, IntArray
from universality.corpus.units import independent_units
from universality.errors import MismatchError
from universality.similarity.engine.token_selection import Selection
from universality.statistics.held_out import evaluation_halves

if TYPE_CHECKING:
    from universality.corpus.blocks import TokenBlocks
    from universality.effects import ModelFeatures
    from universality.features.storage.store import FeatureStore
    from universality.matching import Match


@dataclass(frozen=True, eq=False)
class StoredBlocks:
    """Blocks whose tokens a feature store holds.

    Parameters
    ----------
    blocks
        The blocks.
    first_row
        int64 [n_blocks], row of the store that holds the first text token of each block.
    """

    blocks: TokenBlocks
    first_row: IntArray

    def __len__(self) -> int:
        return len(self.blocks)

    @cached_property
    def unit(self) -> IntArray:
        """Independent unit of each block, as `universality.corpus.units` numbers them: int64 [n_blocks]."""
        code: IntArray = independent_units(self.blocks.documents).code[self.blocks.document]
        return code

    @cached_property
    def units(self) -> IntArray:
        """Units among these blocks, rising: int64 [n_groups]."""
        return np.unique(self.unit)

    @property
    def n_groups(self) -> int:
        """Number of independent units."""
        return int(self.units.size)

    def by_group(self, units: IntArray) -> FloatArray:
        """Return the unit of each block as an indicator, float64 [n_blocks, n_units], for sums over groups."""
        return (self.unit[:, None] == units).astype(np.float64)

    def take(self, index: IntArray) -> StoredBlocks:
        """Return the given blocks in the given order."""
        return StoredBlocks(self.blocks.take(index), self.first_row[index])

    def codes(self, store: FeatureStore) -> sparse.csr_matrix:
        """Read the activations of all features of a store over the same tokens: CSR [n_tokens, n_features]."""
        size = self.blocks.length.astype(np.int64) - 1
        parts = [store.rows(slice(int(row), int(row + n))) for row, n in zip(self.first_row, size, strict=True)]
        return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, store.n_features), dtype="f4")


def stored_blocks(features: ModelFeatures, split: str) -> StoredBlocks:
    """Find the blocks of a split, and where the store holds their tokens.

    Parameters
    ----------
    features
        Features whose store has a row for each token.
    split
        "choose" or "report".

    Raises
    ------
    MismatchError
        If the store holds segments, or no document of the split.
    """
    store, blocks = features.store, features.blocks
    if blocks.segment is not None:
        raise MismatchError(f"{store.path}: its rows are segments of text; losses are measured on a store of tokens")
    size = blocks.length.astype(np.int64) - 1
    chosen = np.flatnonzero(np.asarray(blocks.documents.split)[blocks.document] == split)
    if not chosen.size:
        half = "reports" if split == "report" else "chooses partners"
        raise MismatchError(
            f"{store.path}: no document is of the split {split!r}, the half that {half}; partners are chosen on one "
            "half of the held-out documents and losses are measured on the other, so both are needed"
        )
    return StoredBlocks(blocks.take(chosen), (np.cumsum(size) - size)[chosen])


def check_choosing_half(match: Match, store: FeatureStore) -> None:
    """Refuse a match whose partners were not chosen on the choosing half of a store's documents.

    Raises
    ------
    MismatchError
        If the match records other tokens, or all of them.
    """
    choose = evaluation_halves(store).choose
    expected = Selection(choose, choose, documents=choose).describe()["documents_hash"]
    found = match.provenance.get("tokens", {}).get("documents_hash")
    if found != expected:
        raise MismatchError(
            f"the match was made on {'other documents than' if found else 'all tokens, not only on'} the half of "
            f"{store.path} that chooses partners; match(similarity.restrict(evaluation_halves(store).choose)), or take "
            "the match of a calibration"
        )
