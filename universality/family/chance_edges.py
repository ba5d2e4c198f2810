"""Count the pairs that the rules let through by chance, in two ways.

*Re-paired documents*: whole blocks of the wider dictionary's tokens meet blocks of other documents
(``universality.statistics.repairing``), and rules 1 to 3 are applied again. Decoder rows stay as they are, so the
counted pairs write alike and pass on unrelated text. Rule 4 could only lower these counts. It is not applied, because
the activations would belong to neither text.

*Another seed*: a dictionary of the same width, trained from another seed, takes the wider one's place, and all rules
are applied. A dictionary that has not grown cannot split. Splits, merges and novel features found there are the
difference between two SAEs of one size; a step to a wider dictionary shows growth only where it exceeds them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from universality.arrays import IntArray
from universality.errors import UniversalityError
from universality.family.candidates import RuleCounts
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.statistics.repairing import Null, plan_repairing

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True)
class Reseeded:
    """Edges from a dictionary to one of the same width and another seed.

    Parameters
    ----------
    level
        Level of the dictionary.
    name
        File name of the other dictionary's store.
    counts
        Pairs that pass the first three rules, rule by rule.
    edges
        Pairs that pass all four rules.
    eligible_parents, eligible_children
        Features of the dictionary, and of the other one, that may have edges.
    split, childless
        Number of those parents with two children or more, and with none.
    merged, novel
        Number of those children with two parents or more, and with none.
    """

    level: int
    name: str
    counts: RuleCounts
    edges: int
    eligible_parents: int
    eligible_children: int
    split: int
    childless: int
    merged: int
    novel: int


@dataclass(frozen=True)
class ChanceCounts:
    """Pairs that each rule lets through, and how many of them by chance.

    Parameters
    ----------
    null
        "global": blocks are re-paired across the corpus; "kind": among documents of one kind.
    seed
        Replicate r re-pairs with seed ``(seed, r)``.
    observed
        Pairs that pass the rules on the text as it is, one entry per step from one width to the next.
    repaired
        The same for every replicate on re-paired text, one tuple per step.
    share
        Share of the tokens that could be re-paired.
    note
        Why there is no count, or what was left out; empty if nothing.
    reseeded
        Edges to dictionaries of equal width.
    """

    null: Null
    seed: int
    observed: tuple[RuleCounts, ...]
    repaired: tuple[tuple[RuleCounts, ...], ...]
    share: float
    note: str = ""
    reseeded: tuple[Reseeded, ...] = ()

    def mean(self, step: int, rule: str = "linked") -> float | None:
        """Average a step's count over the replicates, None without any; ``rule`` is a field of ``RuleCounts``."""
        counts = [getattr(replicate, rule) for replicate in self.repaired[step]]
        return sum(counts) / len(counts) if counts else None


class Repairings(NamedTuple):
    """Row pairs ``(rows_a, rows_b)`` of every replicate; none, with a note, where nothing can be re-paired."""

    rows: tuple[tuple[IntArray, IntArray], ...]
    share: float
    note: str


def plan_chance(store: "FeatureStore", null: Null, n_replicates: int, seed: int) -> Repairings:
    """Draw the re-pairings of all replicates.

    Parameters
    ----------
    store
        Any of the family's stores, which hold the same tokens.
    null, n_replicates, seed
        As for ``universality.families``.
    """
    if n_replicates == 0:
        return Repairings((), 0.0, "not asked for")
    try:
        plan = plan_repairing(store, null)
    except UniversalityError as problem:
        return Repairings((), 0.0, str(problem))
    rows = tuple(plan.draw(seed, replicate) for replicate in range(n_replicates))
    return Repairings(rows, plan.share, "; ".join(plan.notes))


def count_reseeded(
    level: int, levels: tuple[Level, Level], rule: EdgeRule, counts: RuleCounts, parent: IntArray, child: IntArray
) -> Reseeded:
    """Count splits, merges and novel features between two dictionaries of one width, given their edges."""
    eligible_a, eligible_b = (level.eligible(rule.min_firings) for level in levels)
    children = np.bincount(parent, minlength=eligible_a.size)
    parents = np.bincount(child, minlength=eligible_b.size)
    return Reseeded(
        level=level,
        name=levels[1].name,
        counts=counts,
        edges=parent.size,
        eligible_parents=int(eligible_a.sum()),
        eligible_children=int(eligible_b.sum()),
        split=int((children > 1).sum()),
        childless=int((eligible_a & (children == 0)).sum()),
        merged=int((parents > 1).sum()),
        novel=int((eligible_b & (parents == 0)).sum()),
    )
