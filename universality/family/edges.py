"""Edges of a family graph as columns, their types, and each child's best parent."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from features of one level to features of the next; every array ``[n_edges]``.

    Parameters
    ----------
    level
        Level of the parent, counted from the narrowest dictionary; the child's level is one more. int64.
    parent, child
        Features of those two levels. int64.
    decoder_cosine
        Cosine of their decoder rows. float64.
    masked_cosine
        Larger one of their activations' cosines over the parent's tokens and over the child's. float64.
    coverage
        Share of the child's firings on which the parent fires too. float64.
    share
        Share of the parent's firings on which the child fires too. float64.
    recovered
        Share of the error from removing the parent that the child compensates for in its place. float64.
    support
        Share of resamples of the documents in which the edge still passes; NaN if not computed. float64.
    weight
        Geometric mean of the two cosines. float64.
    """

    level: IntArray
    parent: IntArray
    child: IntArray
    decoder_cosine: FloatArray
    masked_cosine: FloatArray
    coverage: FloatArray
    share: FloatArray
    recovered: FloatArray
    support: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.level)

    def columns(self) -> dict[str, IntArray | FloatArray]:
        """Return the arrays by name, in the order above."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, index: IntArray | BoolArray) -> "Edges":
        """Select edges by position or mask."""
        return Edges(**{name: column[index] for name, column in self.columns().items()})  # type: ignore[arg-type]

    def sorted(self) -> "Edges":
        """Sort by level, then parent, then child."""
        return self.take(np.lexsort((self.child, self.parent, self.level)))

    @staticmethod
    def concatenate(parts: Iterable["Edges"]) -> "Edges":
        """Concatenate the edges of several steps."""
        columns = [part.columns() for part in parts]
        return Edges(**{name: np.concatenate([part[name] for part in columns]) for name in columns[0]})


KINDS = ("persists", "splits into", "merges into")


def edge_kinds(edges: Edges) -> npt.NDArray[np.str_]:
    """Classify each edge by what becomes of the parent: one of ``KINDS``, ``[n_edges]``.

    - *persists*: the parent has no other child, and the child has no other parent;
    - *merges into*: the child has other parents (and the parent may have other children);
    - *splits into*: the parent has other children, and this child has no other parent.
    """
    children = _times(edges.level, edges.parent)
    parents = _times(edges.level, edges.child)
    return np.where(parents > 1, KINDS[2], np.where(children > 1, KINDS[1], KINDS[0]))


def _times(level: IntArray, feature: IntArray) -> IntArray:
    """Count the occurrences of each (level, feature): ``[n_edges]``."""
    _, back, count = np.unique(np.stack([level, feature]), axis=1, return_inverse=True, return_counts=True)
    return np.asarray(count[back.reshape(-1)], dtype=np.int64)


def best_parents(edges: Edges) -> IntArray:
    """Find the position of each child's heaviest edge, in the order of the children.

    Because every edge goes from one level to the next, the best edge into each child is the maximum spanning forest of
    the graph (Chu-Liu/Edmonds without cycles to break). Of equally heavy edges, the one from the lower parent is taken.
    """
    order = np.lexsort((edges.parent, -edges.weight, edges.child, edges.level))  # the last key sorts first
    child = np.stack([edges.level[order], edges.child[order]])
    first = np.ones(len(order), dtype=bool)
    first[1:] = (child[:, 1:] != child[:, :-1]).any(axis=0)
    return np.asarray(order[first], dtype=np.int64)
