"""Who is whose partner: the result of matching, its table, its graph and its file.

Terms: a *pair* is a row (feature of the first side) with a column (feature of the second); *dead* features have no
defined score and are left out; *unmatched* ones are alive but found no partner.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.archive import Arrays, read_archive, write_archive
from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import UniversalityError
from universality.matching.assignment import CANDIDATES, Solver, assign
from universality.matching.medians import known_median
from universality.matching.mutual_partners import mutual_pairs
from universality.matching.nearest_partners import Nearest, nearest, nearest_pairs
from universality.notebook_card import card
from universality.similarity import Similarity

if TYPE_CHECKING:
    import networkx as nx

Method = Literal["hungarian", "mutual", "nearest"]
"""How partners are found; see `match`."""
FORMAT, VERSION = "universality.match", 2
DEFAULT_BUDGET = 8 << 30


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
    rounds, n_edges
        How often the exact assignment was solved and on how many pairs at last; 0 rounds: on the whole matrix.
    row_price, col_price
        [n_rows], [n_cols] the prices that prove it, None without; ``match(..., start=...)`` begins with them.
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
    rounds: int = 0
    n_edges: int = 0
    row_price: FloatArray | None = None
    col_price: FloatArray | None = None

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

    @property
    def same_store(self) -> bool:
        """Whether both sides were one store: then every feature is its own partner, and the scores say nothing."""
        hashes = [self.provenance[side].get("content_hash") for side in ("a", "b") if side in self.provenance]
        return len(hashes) == 2 and hashes[0] == hashes[1] is not None

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

        Nodes carry ``bipartite`` (0 or 1), ``feature`` and ``dead``; edges carry ``chosen``, the score that chose the
        partner. It flatters the pair, so no edge has a ``weight``: ``universality.export.pair_graph`` adds the
        held-out one.
        """
        import networkx as nx

        graph: nx.Graph = nx.Graph(method=self.method)
        for side, (letter, dead) in enumerate((("a", self.dead_rows), ("b", self.dead_cols))):
            for feature, is_dead in enumerate(dead.tolist()):
                graph.add_node(f"{letter}:{feature}", bipartite=side, feature=feature, dead=is_dead)
        for row, col, score in zip(self.rows.tolist(), self.cols.tolist(), self.scores.tolist(), strict=True):
            graph.add_edge(f"a:{row}", f"b:{col}", chosen=score)
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
            "median_score": known_median(self.scores),
            "median_best_of_rows": known_median(self.nearest.best_col_score),
            "median_best_of_cols": known_median(self.nearest.best_row_score),
            "collisions_rows": self.collisions["rows"],
            "collisions_cols": self.collisions["cols"],
            "gap": self.gap,
            "rounds": self.rounds,
            "same_store": self.same_store,
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
        header = {name: getattr(self, name) for name in ("method", "floor", "gap", "provenance", "rounds", "n_edges")}
        names = ("rows", "cols", "scores", "dead_rows", "dead_cols", "row_price", "col_price")
        arrays = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return header, arrays | vars(self.nearest)

    @classmethod
    def from_parts(cls, header: dict[str, Any], arrays: dict[str, Any]) -> Match:
        """Put together what `to_parts` took apart."""
        best = {name: arrays[name] for name in Nearest.__dataclass_fields__}
        own = {name: array for name, array in arrays.items() if name not in best}
        return cls(nearest=Nearest(**best), **header, **own)


def match(
    sim: Similarity,
    method: Method = "hungarian",
    floor: float | None = None,
    memory_budget: int = DEFAULT_BUDGET,
    forbidden: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    start: Match | None = None,
    solver: Solver = "auto",
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
    forbidden
        (rows, cols) [n_forbidden] of pairs that "hungarian" must not make.
    start
        An earlier result of the same two sides, whose prices "hungarian" begins with: it changes the time it takes.
    solver
        Of "hungarian": "sparse", "dense", or "auto" for the faster; see `universality.matching.assignment.assign`.

    Raises
    ------
    UniversalityError
        When the method or solver is unknown, the floor is not finite, forbidden pairs do not exist or leave no
        complete pairing, or the assignment does not fit into the budget.
    TypeError
        When ``sim`` is something else.
    """
    if not isinstance(sim, Similarity):
        raise TypeError(
            f"match: expected a Similarity, found {type(sim).__name__}; give an array of scores as "
            "match(Similarity.from_dense(array)), two stores as match(Similarity.activation(a, b))"
        )
    if method not in get_args(Method):
        raise UniversalityError(f"unknown method {method!r}; choose one of {', '.join(get_args(Method))}")
    if solver not in get_args(Solver):
        raise UniversalityError(f"unknown solver {solver!r}; choose one of {', '.join(get_args(Solver))}")
    if floor is not None and not np.isfinite(floor):
        raise UniversalityError(f"floor: expected a finite number or None, found {floor}")
    if method == "hungarian":
        return _hungarian(sim, floor, _checked(forbidden, sim), start, solver, memory_budget)
    if forbidden is not None or start is not None:
        raise UniversalityError(f"forbidden pairs and a start are for method='hungarian', not {method!r}")
    best = nearest(sim)
    rows, cols = mutual_pairs(best) if method == "mutual" else nearest_pairs(best)
    scores = best.best_col_score[rows]
    if floor is not None:
        kept = scores >= floor
        rows, cols, scores = rows[kept], cols[kept], scores[kept]
    return Match(method, floor, rows, cols, scores, None, sim.dead_rows, sim.dead_cols, best, sim.provenance)


def _hungarian(
    sim: Similarity,
    floor: float | None,
    forbidden: tuple[IntArray, IntArray] | None,
    start: Match | None,
    solver: Solver,
    memory_budget: int,
) -> Match:
    turned = (~sim.dead_rows).sum() > (~sim.dead_cols).sum()
    prices = None if start is None else start.row_price if turned else start.col_price
    known = None if forbidden is not None else sim.topk(CANDIDATES, axis=None)
    best = nearest(sim) if known is None else Nearest.of(known)
    found = assign(sim, floor, forbidden, prices, solver, memory_budget, known)
    proof = found.gap, sim.dead_rows, sim.dead_cols, best, sim.provenance
    prices_found = found.row_price, found.col_price
    return Match(
        "hungarian", floor, found.rows, found.cols, found.scores, *proof, found.rounds, found.n_edges, *prices_found
    )


def _checked(
    forbidden: tuple[npt.ArrayLike, npt.ArrayLike] | None, sim: Similarity
) -> tuple[IntArray, IntArray] | None:
    if forbidden is None:
        return None
    rows, cols = (np.asarray(side) for side in forbidden)
    whole = all(side.ndim == 1 and (np.issubdtype(side.dtype, np.integer) or not side.size) for side in (rows, cols))
    if not whole or rows.size != cols.size:
        raise UniversalityError(
            f"forbidden: expected (rows, cols), two arrays of integers [n]; found {rows.dtype} of shape {rows.shape} "
            f"and {cols.dtype} of shape {cols.shape}"
        )
    for side, n, what in ((rows, sim.shape[0], "rows"), (cols, sim.shape[1], "columns")):
        if side.size and not 0 <= side.min() <= side.max() < n:
            raise UniversalityError(f"forbidden: {what} from 0 to {n - 1} exist, found {side.min()} to {side.max()}")
    return (rows.astype(np.int64), cols.astype(np.int64)) if rows.size else None


def _left(dead: BoolArray, matched: IntArray) -> IntArray:
    left = ~dead
    left[matched] = False
    return np.flatnonzero(left).astype(np.int64)
