"""Similarity of features: one file a measure, all of them used through one class, `Similarity`."""

from universality.similarity.engine.block_source import DEFAULT_BUDGET, BlockSource
from universality.similarity.engine.group_sums import GroupMoments
from universality.similarity.engine.token_source import TokenSource
from universality.similarity.many_stores import all_pairs
from universality.similarity.measures import TOKEN_MEASURES
from universality.similarity.measures.alignment import Alignment, align
from universality.similarity.measures.fingerprint import shared_tokens
from universality.similarity.similarity import Similarity

__all__ = [
    "DEFAULT_BUDGET",
    "TOKEN_MEASURES",
    "Alignment",
    "BlockSource",
    "GroupMoments",
    "Similarity",
    "TokenSource",
    "align",
    "all_pairs",
    "shared_tokens",
]
