"""How many edges chance gives: the same dictionaries on text that does not belong together.

Whole blocks of the wider dictionary's tokens are re-paired with blocks of other documents
(``universality.statistics.null``), the masked cosines are computed again and the same rule is applied.
Decoder rows stay as they are, so what is counted is pairs that write alike and pass the threshold on
unrelated text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from universality.errors import UniversalityError
from universality.families.link import Step, linked
from universality.families.rule import EdgeRule
from universality.similarity.rows import IntArray
from universality.statistics.null import Null, plan_repairing

if TYPE_CHECKING:
    from universality.features.store import FeatureStore


@dataclass(frozen=True)
class Chance:
    """Edges by chance.

    Parameters
    ----------
    null
        "global": over the corpus; "kind": among documents of one kind.
    seed
        Replicate r re-pairs by ``(seed, r)``.
    edges
        Edges of every replicate, one tuple a step from one width to the next.
    share
        Share of the tokens that could take part.
    note
        Why there is no count, or what was left out; empty if nothing.
    """

    null: Null
    seed: int
    edges: tuple[tuple[int, ...], ...]
    share: float
    note: str = ""

    def mean(self, step: int) -> float | None:
        """Mean edges of a step over the replicates, None without any."""
        counts = self.edges[step]
        return sum(counts) / len(counts) if counts else None


def chance_edges(
    store: "FeatureStore", steps: Sequence[Step], rule: EdgeRule, *, null: Null, n_replicates: int, seed: int
) -> Chance:
    """Count the edges of every step on re-paired blocks; without blocks to re-pair say so instead.

    Parameters
    ----------
    store
        Any of the family's stores: they hold the same tokens.
    steps, rule
        What is linked, and how.
    null, n_replicates, seed
        As in ``Chance``.
    """
    if n_replicates < 0:
        raise ValueError(f"n_replicates: expected 0 or more, found {n_replicates}")
    none = ((),) * len(steps)
    if n_replicates == 0:
        return Chance(null, seed, none, 0.0, "not asked for")
    try:
        plan = plan_repairing(store, null)
    except UniversalityError as problem:
        return Chance(null, seed, none, 0.0, str(problem))
    pairings = [plan.draw(seed, replicate) for replicate in range(n_replicates)]
    edges = tuple(_counts(step, rule, pairings) for step in steps)
    return Chance(null, seed, edges, plan.share, "; ".join(plan.notes))


def _counts(step: Step, rule: EdgeRule, pairings: Sequence[tuple[IntArray, IntArray]]) -> tuple[int, ...]:
    """Edges of one step on every pairing; all have the same rows of the narrower side, prepared once."""
    rows = pairings[0][0]
    prepared = step.masked.repaired(rows, rows)
    return tuple(len(linked(step, rule, prepared.repaired(*pairing)).parent) for pairing in pairings)
