"""Edges between the features of two adjacent widths, from their similarities."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from universality.families.edges import Edges
from universality.families.levels import Level
from universality.families.rule import EdgeRule, edge_weight
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.features.store import FeatureStore


class Linked(NamedTuple):
    """Pairs that pass the rule, by parent and child; every array ``[n_edges]``."""

    parent: npt.NDArray[np.int64]
    child: npt.NDArray[np.int64]
    decoder_cosine: npt.NDArray[np.float64]
    masked_cosine: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Step:
    """Two adjacent levels and what compares their features.

    Parameters
    ----------
    level
        Place of the narrower of the two.
    masked, decoder
        Masked cosine and decoder cosine, narrower by wider.
    low, high
        The narrower and the wider level.
    """

    level: int
    masked: Similarity
    decoder: Similarity
    low: Level
    high: Level

    @classmethod
    def of(
        cls,
        level: int,
        stores: tuple["FeatureStore", "FeatureStore"],
        ends: tuple[Level, Level],
        memory_budget: int,
    ) -> Self:
        """Compare the stores of two adjacent levels; ``memory_budget`` as in ``Similarity.masked_cosine``."""
        masked = Similarity.masked_cosine(*stores, memory_budget=memory_budget)
        return cls(level, masked, Similarity.decoder(*stores), *ends)


def linked(step: Step, rule: EdgeRule, masked: Similarity | None = None) -> Linked:
    """The pairs of a step that pass the rule.

    Parameters
    ----------
    step
        Two adjacent levels.
    rule
        What makes an edge.
    masked
        Another masked cosine than the step's: a null's.
    """
    parent, child, masked_cosine = (masked or step.masked).above(rule.min_masked_cosine)
    eligible = step.low.eligible(rule.min_firings)[parent] & step.high.eligible(rule.min_firings)[child]
    parent, child, masked_cosine = parent[eligible], child[eligible], masked_cosine[eligible]
    decoder_cosine = step.decoder.pairs(parent, child)
    keep = decoder_cosine >= rule.min_decoder_cosine
    return Linked(parent[keep], child[keep], decoder_cosine[keep], masked_cosine[keep])


def link(step: Step, rule: EdgeRule) -> Edges:
    """All edges of a step with their attributes, by parent and child."""
    found = linked(step, rule)
    together = step.masked.covered().pairs(found.parent, found.child)
    return Edges(
        level=np.full(len(found.parent), step.level, dtype=np.int64),
        parent=found.parent,
        child=found.child,
        decoder_cosine=found.decoder_cosine,
        masked_cosine=found.masked_cosine,
        coverage=together / step.high.count[found.child],
        share=together / step.low.count[found.parent],
        weight=edge_weight(found.decoder_cosine, found.masked_cosine),
    ).sorted()
