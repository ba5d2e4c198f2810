"""Who is whose partner: the result of matching, its table, its graph and its file.

Terms: a *pair* is a row (feature of the first side) with a column (feature of the second); *dead* features have no
defined score and are left out; *unmatched* ones are alive but found no partner.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from universality.card import card
from universality.errors import UniversalityError
from universality.matching.archive import Arrays, read_archive, write_archive
from universality.matching.assignment import assign, check_budget
from universality.matching.mutual import mutual_pairs
from universality.matching.nearest import Nearest, nearest, nearest_pairs
from universality.similarity import Similarity
from universality.similarity.rows import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import networkx as nx

Method = Literal["hungarian", "mutual", "nearest"]
FORMAT, VERSION = "universality.match", 1
DEFAULT_BUDGET = 8 << 30  # of the exact assignment, which holds the matrix three times: up to 18,000 features


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of features, and each feature's best partner beside them.

    Parameters
    ----------
    method
        "hungarian" (one-to-one, largest sum), "mutual" (each other's best) or "nearest" (each row's best, columns
        may repeat).
    floor
        Pairs below it were left unmatched; None for no floor.
    rows, cols, scores
        [n_pairs] in rising order of rows.
    gap
        Bound on what the sum of scores (over the floor) falls short of the optimum; None where nothing is optimised.
    dead_rows, dead_cols
        bool [n_rows], [n_cols].
    nearest
        The best partner of every feature in both directions, before any floor.
    provenance
        What was compared, as JSON.
    """

    method: Method
    floor: float | None
    rows: IntArray
    cols: IntArray
    scores: FloatArray
    gap: float | None
    dead_rows: BoolArray
    dead_cols: BoolArray
    nearest: Nearest
    provenance: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols), dead features included."""
        return self.dead_rows.size, self.dead_cols.size

    @property
    def unmatched_rows(self) -> IntArray:
        """Living rows in no pair."""
        return _left(self.dead_rows, self.rows)

    @property
    def unmatched_cols(self) -> IntArray:
        """Living columns in no pair."""
        return _left(self.dead_cols, self.cols)

    @property
    def collisions(self) -> dict[str, int]:
        """How many living rows (cols) would lose their best partner if each could be had once."""
        return self.nearest.collisions

    def to_frame(self) -> pd.DataFrame:
        """One line a pair: row, col, score, row_best (the column is the row's best), col_best (and the reverse)."""
        return pd.DataFrame(
            {
                "row": self.rows,
                "col": self.cols,
                "score": self.scores,
                "row_best": self.nearest.is_row_best(self.rows, self.cols),
                "col_best": self.nearest.is_col_best(self.rows, self.cols),
            }
        )

    def to_graph(self) -> nx.Graph:
        """Bipartite networkx graph of all features: nodes "a:12" and "b:7", an edge a pair.

        Nodes carry ``bipartite`` (0 or 1), ``feature`` and ``dead``; edges carry ``weight`` (the score).
        """
        import networkx as nx

        graph: nx.Graph = nx.Graph(method=self.method)
        for side, (letter, dead) in enumerate((("a", self.dead_rows), ("b", self.dead_cols))):
            for feature, is_dead in enumerate(dead.tolist()):
                graph.add_node(f"{letter}:{feature}", bipartite=side, feature=feature, dead=is_dead)
        for row, col, score in zip(self.rows.tolist(), self.cols.tolist(), self.scores.tolist(), strict=True):
            graph.add_edge(f"a:{row}", f"b:{col}", weight=score)
        return graph

    def summary(self) -> dict[str, Any]:
        """Numbers to print; a median of nothing is NaN."""
        return {
            "measure": self.provenance.get("measure"),
            "method": self.method,
            "floor": self.floor,
            "n_rows": self.shape[0],
            "n_cols": self.shape[1],
            "dead_rows": int(self.dead_rows.sum()),
            "dead_cols": int(self.dead_cols.sum()),
            "n_pairs": int(self.rows.size),
            "unmatched_rows": int(self.unmatched_rows.size),
            "unmatched_cols": int(self.unmatched_cols.size),
            "mean_score": float(self.scores.mean()) if self.scores.size else float("nan"),
            "median_score": _median(self.scores),
            "median_best_of_rows": _median(self.nearest.best_col_score),
            "median_best_of_cols": _median(self.nearest.best_row_score),
            "collisions_rows": self.collisions["rows"],
            "collisions_cols": self.collisions["cols"],
            "gap": self.gap,
        }

    def _repr_html_(self) -> str:
        return card(f"{self.method} match", self.summary())

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz or .json file, whole or not at all; returns the path."""
        return write_archive(path, FORMAT, VERSION, *self.to_parts())

    @classmethod
    def load(cls, path: str | Path) -> Match:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        FormatError
            When it is torn, another format, or of another version.
        """
        return cls.from_parts(*read_archive(path, FORMAT, VERSION))

    def to_parts(self) -> tuple[dict[str, Any], Arrays]:
        """(JSON header, arrays): all of it, for a file."""
        header = {name: getattr(self, name) for name in ("method", "floor", "gap", "provenance")}
        arrays = {name: getattr(self, name) for name in ("rows", "cols", "scores", "dead_rows", "dead_cols")}
        return header, arrays | vars(self.nearest)

    @classmethod
    def from_parts(cls, header: dict[str, Any], arrays: dict[str, Any]) -> Match:
        """Put together what `to_parts` took apart."""
        best = {name: arrays[name] for name in Nearest.__dataclass_fields__}
        own = {name: array for name, array in arrays.items() if name not in best}
        return cls(nearest=Nearest(**best), **header, **own)


def match(
    sim: Similarity, method: Method = "hungarian", floor: float | None = None, memory_budget: int = DEFAULT_BUDGET
) -> Match:
    """Find a partner for each feature.

    Parameters
    ----------
    sim
        Scores between two sides.
    method
        "hungarian": one-to-one with the largest sum, complete on the smaller side (or above the floor).
        "mutual": pairs that are each other's best. "nearest": each row's best column, with replacement.
    floor
        Leave pairs below it unmatched. With "hungarian" the sum of (score - floor) is maximised over partial
        pairings; the other methods drop pairs after the fact.
    memory_budget
        Bytes that "hungarian" may take; the others go block by block.

    Raises
    ------
    UniversalityError
        When the method is unknown, the floor is not finite, or the assignment does not fit into the budget.
    """
    if method not in get_args(Method):
        raise UniversalityError(f"unknown method {method!r}; choose one of {', '.join(get_args(Method))}")
    if floor is not None and not np.isfinite(floor):
        raise UniversalityError(f"floor: expected a finite number or None, found {floor}")
    if method == "hungarian":
        return _hungarian(sim, floor, memory_budget)
    best = nearest(sim)
    rows, cols = mutual_pairs(best) if method == "mutual" else nearest_pairs(best)
    scores = best.best_col_score[rows]
    if floor is not None:
        kept = scores >= floor
        rows, cols, scores = rows[kept], cols[kept], scores[kept]
    return Match(method, floor, rows, cols, scores, None, sim.dead_rows, sim.dead_cols, best, sim.provenance)


def _hungarian(sim: Similarity, floor: float | None, memory_budget: int) -> Match:
    check_budget(*sim.shape, memory_budget)
    dense = sim.dense(memory_budget)
    best = nearest(Similarity.from_dense(dense, sim.dead_rows, sim.dead_cols))
    rows, cols = np.flatnonzero(~sim.dead_rows), np.flatnonzero(~sim.dead_cols)
    scores = dense if rows.size == dense.shape[0] and cols.size == dense.shape[1] else dense[np.ix_(rows, cols)]
    i, j, gap = assign(scores, floor)
    rows, cols = rows[i].astype(np.int64), cols[j].astype(np.int64)
    return Match("hungarian", floor, rows, cols, scores[i, j], gap, sim.dead_rows, sim.dead_cols, best, sim.provenance)


def _left(dead: BoolArray, matched: IntArray) -> IntArray:
    left = ~dead
    left[matched] = False
    return np.flatnonzero(left).astype(np.int64)


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")
