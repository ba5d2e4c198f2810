"""How alike two features are: one file a measure, all of them a `Similarity`."""

from universality.similarity.alignment import Alignment, align
from universality.similarity.base import Similarity
from universality.similarity.groups import GroupMoments
from universality.similarity.many import all_pairs
from universality.similarity.source import DEFAULT_BUDGET, BlockSource
from universality.similarity.tokens import TokenSource

__all__ = [
    "DEFAULT_BUDGET",
    "Alignment",
    "BlockSource",
    "GroupMoments",
    "Similarity",
    "TokenSource",
    "align",
    "all_pairs",
]
