"""The edges of a family graph as columns."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from features of one level to features of the next; every array ``[n_edges]``.

    Parameters
    ----------
    level
        Level of the parent, counted from the narrowest dictionary; the child's is one more. int64.
    parent, child
        Features of those two levels. int64.
    decoder_cosine
        Cosine of their decoder rows. float64.
    masked_cosine
        Larger of their activations' cosines over the parent's and over the child's tokens. float64.
    coverage
        Share of the child's firings on which the parent fires too. float64.
    share
        Share of the parent's firings on which the child fires too. float64.
    recovered
        Share of the parent's part in the reconstruction that the child makes up for in its place. float64.
    support
        Share of resamples of the documents in which it would still be an edge; NaN if not asked for. float64.
    weight
        Geometric mean of the two cosines. float64.
    """

    level: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]
    child: npt.NDArray[np.int64]
    decoder_cosine: npt.NDArray[np.float64]
    masked_cosine: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    recovered: npt.NDArray[np.float64]
    support: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.level)

    def columns(self) -> dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float64]]:
        """The arrays by name, in the order above."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Edges":
        """Some of the edges, by position or mask."""
        return Edges(**{name: column[index] for name, column in self.columns().items()})  # type: ignore[arg-type]

    def sorted(self) -> "Edges":
        """By level, then parent, then child."""
        return self.take(np.lexsort((self.child, self.parent, self.level)))

    @staticmethod
    def concatenate(parts: Iterable["Edges"]) -> "Edges":
        """The edges of several steps after one another."""
        columns = [part.columns() for part in parts]
        return Edges(**{name: np.concatenate([some[name] for some in columns]) for name in columns[0]})


KINDS = ("persists", "splits into", "merges into")


def edge_kinds(edges: Edges) -> npt.NDArray[np.str_]:
    """What becomes of the parent along each edge: one of ``KINDS``, ``[n_edges]``.

    - *persists*: the parent has no other child and the child no other parent;
    - *merges into*: the child has other parents (whatever else becomes of this one);
    - *splits into*: the parent has other children, and this child no other parent.
    """
    children = _times(edges.level, edges.parent)
    parents = _times(edges.level, edges.child)
    return np.where(parents > 1, KINDS[2], np.where(children > 1, KINDS[1], KINDS[0]))


def _times(level: npt.NDArray[np.int64], feature: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each (level, feature) occurs: ``[n_edges]``."""
    _, back, count = np.unique(np.stack([level, feature]), axis=1, return_inverse=True, return_counts=True)
    return np.asarray(count[back.reshape(-1)], dtype=np.int64)


def best_parents(edges: Edges) -> npt.NDArray[np.int64]:
    """Positions of each child's heaviest edge, in the order of the children.

    As every edge goes from one level to the next, keeping the best edge into each child is the maximum
    spanning forest of the graph (Chu-Liu/Edmonds without a cycle to break). Of equal edges the one from the
    lower parent is kept.
    """
    order = np.lexsort((edges.parent, -edges.weight, edges.child, edges.level))
    child = np.stack([edges.level[order], edges.child[order]])
    first = np.ones(len(order), dtype=bool)
    first[1:] = (child[:, 1:] != child[:, :-1]).any(axis=0)
    return np.asarray(order[first], dtype=np.int64)
