"""Families: features of dictionaries of rising width, linked from parent to child."""

from universality.family.building import families
from universality.family.chance_edges import ChanceCounts, Reseeded
from universality.family.consistent_paths import PathConsistency
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.family.edges import Edges
from universality.family.orphans import Origins
from universality.family.recurring import Answer, Recurrence, recurrence
from universality.family.tree import Families

__all__ = [
    "Answer",
    "ChanceCounts",
    "EdgeRule",
    "Edges",
    "Families",
    "Level",
    "Origins",
    "PathConsistency",
    "Recurrence",
    "Reseeded",
    "families",
    "recurrence",
]
