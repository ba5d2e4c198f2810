"""The picture of a family is of the largest tree that fits, with each feature once and children under their parent."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from universality.family import family_picture as module
from universality.family.family_picture import family_picture


class Tree(SimpleNamespace):
    """Edges with the columns that the picture reads."""

    def take(self, rows: Any) -> "Tree":
        return Tree(**{name: values[rows] for name, values in vars(self).items()})

    def __len__(self) -> int:
        return len(self.level)


def tree(*edges: tuple[int, int, int, float]) -> Any:
    level, parent, child, weight = (np.array(column) for column in zip(*edges, strict=True))
    return Tree(level=level, parent=parent, child=child, weight=weight)


LEVELS: Any = [SimpleNamespace(width=width) for width in (2, 4, 8)]
EDGES = tree(
    (0, 0, 0, 1.0), (0, 0, 1, 1.0), (0, 1, 1, 0.5), (0, 1, 2, 1.0), (1, 0, 0, 1.0), (1, 0, 1, 1.0), (1, 1, 2, 1.0)
)


def test_the_largest_family_is_drawn() -> None:
    drawn = family_picture(LEVELS, EDGES)
    assert "family of feature 0: 6 features" in drawn  # 1 → 2 → 3; the weaker edge into feature 1 is not of the tree
    assert drawn.count("<circle") == 6
    assert drawn.count("L") == 5
    assert "width 2" in drawn
    assert "width 8" in drawn
    # Leaves are at the heights 0, 1/2 and 1, their parents between them.
    assert 'cx="315" cy="5"' in drawn
    assert 'cx="315" cy="40"' in drawn
    assert 'cx="160" cy="23"' in drawn


def test_families_too_large_to_see_and_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 5)
    assert "family of feature 1: 2 features" in family_picture(LEVELS, EDGES)
    monkeypatch.setattr(module, "LARGEST", 1)
    assert family_picture(LEVELS, EDGES) == ""
