"""How many edges chance gives: the same dictionaries on text that does not belong together.

Whole blocks of the wider dictionary's tokens are re-paired with blocks of other documents
(``universality.statistics.null``), the masked cosines are computed again and the same rule is applied.
Decoder rows stay as they are, so what is counted is pairs that write alike and pass the threshold on
unrelated text.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
    if n_replicates < 0:
        raise ValueError(f"n_replicates: expected 0 or more, found {n_replicates}")
    if n_replicates == 0:
        return Repairings((), 0.0, "not asked for")
    try:
        plan = plan_repairing(store, null)
    except UniversalityError as problem:
        return Repairings((), 0.0, str(problem))
    rows = tuple(plan.draw(seed, replicate) for replicate in range(n_replicates))
    return Repairings(rows, plan.share, "; ".join(plan.notes))


def count_by_chance(step: Step, rule: EdgeRule, repairings: Repairings) -> tuple[int, ...]:
    """Edges of one step in every replicate; all have the same rows of the narrower side, prepared once."""
    if not repairings.rows:
        return ()
    rows = repairings.rows[0][0]
    prepared = step.masked.repaired(rows, rows)
    return tuple(len(linked(step, rule, prepared.repaired(*pair)).parent) for pair in repairings.rows)
