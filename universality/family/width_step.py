"""One step from a dictionary to a wider one: the candidate edges, the edges that pass all rules, and the orphans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.devices import Card
from universality.execution import SERIAL, Executor
from universality.family.candidates import Candidates, find_candidates
from universality.family.dictionaries import Level, unit_decoder
from universality.family.edge_rule import EdgeRule, edge_weight
from universality.family.edges import Edges
from universality.family.orphans import Origins, nearest_rows
from universality.family.reconstruction import Trial, TrialResults

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True, eq=False)
class WidthStep:
    """Two dictionaries of one model and the pairs of features that pass rules 1 to 3.

    Parameters
    ----------
    level
        Level of the narrower dictionary.
    stores, levels
        The narrower and the wider dictionary (or another one of equal width).
    candidates
        Pairs that pass the first three rules.
    repaired
        The same for every re-pairing of the tokens.
    nearest, nearest_cosine
        [n_b] for features of the wider dictionary without a pair, the nearest decoder row of the narrower one.
    """

    level: int
    stores: tuple["FeatureStore", "FeatureStore"]
    levels: tuple[Level, Level]
    candidates: Candidates
    repaired: tuple[Candidates, ...]
    nearest: IntArray
    nearest_cosine: FloatArray

    @property
    def trial(self) -> Trial:
        """Input of the reconstruction tests."""
        return Trial(self.stores, self.candidates.parent, self.candidates.child, self.nearest)


def take_step(
    level: int,
    stores: tuple["FeatureStore", "FeatureStore"],
    levels: tuple[Level, Level],
    rule: EdgeRule,
    memory_budget: int,
    repairings: Sequence[tuple[IntArray, IntArray]] = (),
    executor: Executor = SERIAL,
    device: Card | None = None,
) -> WidthStep:
    """Apply the first three rules to all pairs of two stores, and again for every re-pairing of their tokens."""
    meetings = [None, *repairings]
    candidates, *repaired = find_candidates(stores, levels, rule, meetings, memory_budget, executor, device)
    eligible, orphan = (side.eligible(rule.min_firings) for side in levels)
    orphan[candidates.child] = False  # a child by rules 1 to 3 has a parent to be tested against
    nearest = nearest_rows(unit_decoder(stores[0]), unit_decoder(stores[1]), eligible, orphan)
    return WidthStep(level, stores, levels, candidates, tuple(repaired), *nearest)


@dataclass(frozen=True, eq=False)
class LinkedStep:
    """A step with the results of its reconstruction tests, and so its edges.

    Parameters
    ----------
    step
        The step.
    results
        Results of the tests.
    passing
        bool [n_candidates] candidates that pass the fourth rule too.
    """

    step: WidthStep
    results: TrialResults
    passing: BoolArray

    @classmethod
    def of(cls, step: WidthStep, results: TrialResults, rule: EdgeRule) -> "LinkedStep":
        """Apply the fourth rule."""
        return cls(step, results, results.recovered > rule.min_recovered)

    @property
    def ends(self) -> tuple[IntArray, IntArray]:
        """Parent and child of each edge, [n_edges], by parent, then child."""
        return self.step.candidates.parent[self.passing], self.step.candidates.child[self.passing]

    def edges(self, support: FloatArray) -> Edges:
        """Collect the edges with the support [n_edges] of each."""
        candidates, passing = self.step.candidates, self.passing
        parent, child = self.ends
        return Edges(
            level=np.full(parent.size, self.step.level, dtype=np.int64),
            parent=parent,
            child=child,
            decoder_cosine=candidates.decoder_cosine[passing],
            masked_cosine=candidates.masked_cosine[passing],
            coverage=candidates.coverage[passing],
            share=candidates.share[passing],
            recovered=self.results.recovered[passing],
            support=support,
            weight=edge_weight(candidates.decoder_cosine[passing], candidates.masked_cosine[passing]),
        )

    def origins(self) -> Origins:
        """Collect what is known of the wider dictionary's features towards the narrower one."""
        step, results = self.step, self.results
        return Origins(results.missing, step.nearest, step.nearest_cosine, results.covered, results.presence)
