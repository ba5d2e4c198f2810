"""Families: features of dictionaries of rising width, linked parent to child."""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from universality.families.chance import Chance, Reseeded
from universality.families.edges import Edges
from universality.families.families import Families, families
from universality.families.levels import Level
from universality.families.origins import Origins
from universality.families.paths import PathConsistency
from universality.families.recurrence import Answer, Recurrence, recurrence
from universality.families.rule import EdgeRule

__all__ = [
    "Answer",
    "Chance",
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


class _CallableModule(ModuleType):
    """A package that can be called as its function of the same name.

    Python binds ``universality.families`` to this package as soon as it is imported, over the function that the root
    offers by that name; what ``from universality import families`` gives can be called either way.
    """

    def __call__(self, stores: Sequence[Any], **options: Any) -> Families:
        return families(stores, **options)


sys.modules[__name__].__class__ = _CallableModule
