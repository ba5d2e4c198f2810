"""What the rules let through by chance, counted in two ways.

*Re-paired documents*: whole blocks of the wider dictionary's tokens meet blocks of other documents
(``universality.statistics.repairing``), and rules 1 to 3 are asked again. Decoder rows stay as they are, so what is
counted is pairs that write alike and pass on unrelated text. Rule 4 can only lower these counts; it is not asked, as
the activations belong to neither text.

*Another seed*: a dictionary of the same width and another SAE seed takes the wider one's place, and all rules are
asked. A dictionary that has not grown cannot split: splits, merges and novel features found there are what two SAEs
of one size differ by, and a step to a wider dictionary shows growth only in what goes beyond them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from universality.arrays import IntArray
from universality.errors import UniversalityError
from universality.family.candidates import Met
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
        Of the dictionary.
    name
        File name of the other's store.
    met
        Pairs that pass the first three rules, one by one.
    edges
        Pairs that pass all four.
    eligible_parents, eligible_children
        Features of the one and of the other that may have edges.
    split, childless
        Of the parents: those with two children or more; with none.
    merged, novel
        Of the children: those with two parents or more; with none.
    """

    level: int
    name: str
    met: Met
    edges: int
    eligible_parents: int
    eligible_children: int
    split: int
    childless: int
    merged: int
    novel: int


@dataclass(frozen=True)
class Chance:
    """What each rule lets through, and what it lets through by chance.

    Parameters
    ----------
    null
        "global": blocks are re-paired over the corpus; "kind": among documents of one kind.
    seed
        Replicate r re-pairs by ``(seed, r)``.
    found
        Pairs that pass the rules where tokens belong together, one a step from one width to the next.
    repaired
        The same of every replicate, one tuple a step.
    share
        Share of the tokens that could take part.
    note
        Why there is no count, or what was left out; empty if nothing.
    reseeded
        Edges to dictionaries of equal width.
    """

    null: Null
    seed: int
    found: tuple[Met, ...]
    repaired: tuple[tuple[Met, ...], ...]
    share: float
    note: str = ""
    reseeded: tuple[Reseeded, ...] = ()

    def mean(self, step: int, rule: str = "linked") -> float | None:
        """Mean count of a step over the replicates, None without any; ``rule`` is a field of ``Met``."""
        counts = [getattr(met, rule) for met in self.repaired[step]]
        return sum(counts) / len(counts) if counts else None


class Repairings(NamedTuple):
    """Row pairs ``(rows_a, rows_b)`` of every replicate; none, with a note, where nothing can be re-paired."""

    rows: tuple[tuple[IntArray, IntArray], ...]
    share: float
    note: str


def plan_chance(store: "FeatureStore", null: Null, n_replicates: int, seed: int) -> Repairings:
    """Draw the re-pairings of all replicates; the parameters are those of ``Chance``.

    Parameters
    ----------
    store
        Any of the family's stores: they hold the same tokens.
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
    level: int, levels: tuple[Level, Level], rule: EdgeRule, met: Met, parent: IntArray, child: IntArray
) -> Reseeded:
    """Splits, merges and novel features between two dictionaries of one width, from the edges that pass all rules."""
    may_a, may_b = (some.eligible(rule.min_firings) for some in levels)
    children, parents = np.bincount(parent, minlength=may_a.size), np.bincount(child, minlength=may_b.size)
    return Reseeded(
        level=level,
        name=levels[1].name,
        met=met,
        edges=parent.size,
        eligible_parents=int(may_a.sum()),
        eligible_children=int(may_b.sum()),
        split=int((children > 1).sum()),
        childless=int((may_a & (children == 0)).sum()),
        merged=int((parents > 1).sum()),
        novel=int((may_b & (parents == 0)).sum()),
    )
