"""From two stores to the edges between them: the three rules, the fourth, and what is known of the orphans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.family.candidates import Found, find_pairs
from universality.family.dictionaries import Level, unit_decoder
from universality.family.edge_rule import EdgeRule, edge_weight
from universality.family.edges import Edges
from universality.family.orphans import Origins, nearest_rows
from universality.family.reconstruction import Tested, Trial

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Step:
    """Two dictionaries of one model and what links them.

    Parameters
    ----------
    level
        Place of the narrower one.
    stores, levels
        The narrower and the wider (or another of equal width).
    found
        Pairs that pass the first three rules.
    by_chance
        The same of every re-pairing.
    nearest, nearest_cosine
        [n_b] of features of the wider one that are in no pair, the nearest decoder row of the narrower one.
    """

    level: int
    stores: tuple["FeatureStore", "FeatureStore"]
    levels: tuple[Level, Level]
    found: Found
    by_chance: tuple[Found, ...]
    nearest: IntArray
    nearest_cosine: FloatArray

    @property
    def trial(self) -> Trial:
        """What the reconstruction tests are asked."""
        return Trial(self.stores, self.found.parent, self.found.child, self.nearest)

    def passing(self, tested: Tested, rule: EdgeRule) -> BoolArray:
        """Which pairs pass the fourth rule too: bool [n_pairs]."""
        return tested.recovered > rule.min_recovered

    def edges(self, tested: Tested, kept: BoolArray, support: FloatArray) -> Edges:
        """The kept pairs, with the support [n_kept] of each."""
        found = self.found
        return Edges(
            level=np.full(int(kept.sum()), self.level, dtype=np.int64),
            parent=found.parent[kept],
            child=found.child[kept],
            decoder_cosine=found.decoder_cosine[kept],
            masked_cosine=found.masked_cosine[kept],
            coverage=found.coverage[kept],
            share=found.share[kept],
            recovered=tested.recovered[kept],
            support=support,
            weight=edge_weight(found.decoder_cosine[kept], found.masked_cosine[kept]),
        )

    def origins(self, tested: Tested) -> Origins:
        """What is known of the wider one's features."""
        return Origins(tested.missing, self.nearest, self.nearest_cosine, tested.covered, tested.presence)


def take_step(
    level: int,
    stores: tuple["FeatureStore", "FeatureStore"],
    levels: tuple[Level, Level],
    rule: EdgeRule,
    memory_budget: int,
    repairings: Sequence[tuple[IntArray, IntArray]] = (),
) -> Step:
    """Ask the first three rules of all pairs of two stores, and again for every re-pairing of their tokens."""
    found, *by_chance = find_pairs(stores, levels, rule, [None, *repairings], memory_budget)
    may_a, may_b = (some.eligible(rule.min_firings) for some in levels)
    may_b[found.child] = False
    nearest = nearest_rows(unit_decoder(stores[0]), unit_decoder(stores[1]), may_a, may_b)
    return Step(level, stores, levels, found, tuple(by_chance), *nearest)
