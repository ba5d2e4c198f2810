"""Match features of two sides: the function, and its result with table, graph and file.

Terms: a *pair* is a row (feature of the first side) with a column (feature of the second side). *Dead* features have no
defined score and are left out. *Unmatched* features are alive but have no partner.
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
from universality.matching.common_start import warn_of_common_start
from universality.matching.medians import known_median
from universality.matching.nearest_partners import Nearest, mutual_pairs, nearest, nearest_pairs
from universality.notebook_card import card, histogram
from universality.similarity import Similarity

if TYPE_CHECKING:
    import networkx as nx

Method = Literal["hungarian", "mutual", "nearest"]
"""Matching methods; see `match`."""
FORMAT, VERSION = "universality.match", 2
DEFAULT_BUDGET = 8 << 30


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of features, and the best partner of every feature.

    Parameters
    ----------
    method
        "hungarian" (one-to-one, largest sum), "mutual" (each other's best) or "nearest" (each row's best; columns may
        repeat).
    floor
        Pairs with a smaller score were left unmatched; None for no floor.
    rows, cols, scores
        [n_pairs] in rising order of rows.
    gap
        Bound on the distance of the sum of scores (over the floor) from the optimum; None where nothing is optimised.
    dead_rows, dead_cols
        bool [n_rows], [n_cols].
    nearest
        The best partner of every feature in both directions, before any floor.
    provenance
        Description of the two sides and the measure, as JSON.
    rounds, n_edges
        Rounds of the exact assignment and pairs in the last one; 0 rounds: solved on the whole matrix.
    row_price, col_price
        [n_rows], [n_cols] prices that prove the assignment optimal, or None; ``match(..., start=...)`` begins with
        them.

    Examples
    --------
    >>> found = match(Similarity.from_dense(np.array([[0.9, 0.1], [0.8, 0.2]])))
    >>> found.to_frame()
       row  col  score  row_best  col_best
    0    0    0    0.9      True      True
    1    1    1    0.2     False      True
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
        """Numbers of rows and columns, dead features included."""
        return self.dead_rows.size, self.dead_cols.size

    def by_quality(self) -> IntArray:
        """Order the pairs by score, best first: int64 [n_pairs]."""
        return np.argsort(-self.scores, kind="stable")

    @property
    def unmatched_rows(self) -> IntArray:
        """Living rows in no pair."""
        return _unmatched(self.dead_rows, self.rows)

    @property
    def unmatched_cols(self) -> IntArray:
        """Living columns in no pair."""
        return _unmatched(self.dead_cols, self.cols)

    @property
    def counted_side(self) -> Literal["rows", "cols"]:
        """Side whose living features medians and shares count.

        It is the smaller dictionary of two, since the features that the larger one has left over could have no partner;
        rows for dictionaries of one width, and for "nearest", which gives every row a partner.
        """
        return "cols" if self.method != "nearest" and self.shape[0] > self.shape[1] else "rows"

    @property
    def n_counted(self) -> int:
        """Number of living features on the counted side."""
        return int((~(self.dead_rows if self.counted_side == "rows" else self.dead_cols)).sum())

    @property
    def n_without_partner(self) -> int:
        """Number of living features on the counted side in no pair."""
        return int((self.unmatched_rows if self.counted_side == "rows" else self.unmatched_cols).size)

    @property
    def collisions(self) -> dict[str, int]:
        """Number of living rows (cols) that would lose their best partner if each could be used only once."""
        return self.nearest.collisions

    @property
    def same_store(self) -> bool:
        """Whether both sides are one store: then every feature is its own partner, and scores are meaningless."""
        hashes = [self.provenance[side].get("content_hash") for side in ("a", "b") if side in self.provenance]
        return len(hashes) == 2 and hashes[0] == hashes[1] is not None

    def to_frame(self) -> pd.DataFrame:
        """Tabulate the pairs: row, col, score, row_best (the column is the row's best), col_best (and the reverse)."""
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

        The graph carries ``method`` and ``measure``.
        Nodes carry ``bipartite`` (0 or 1), ``feature`` and ``dead``; edges carry ``chosen``, the score that chose the
        partner. It flatters the pair, so no edge has a ``weight``: ``universality.export.pair_graph`` adds the
        held-out one.
        """
        import networkx as nx

        graph: nx.Graph = nx.Graph(method=self.method, measure=self.provenance.get("measure", "dense"))
        for side, (letter, dead) in enumerate((("a", self.dead_rows), ("b", self.dead_cols))):
            for feature, is_dead in enumerate(dead.tolist()):
                graph.add_node(f"{letter}:{feature}", bipartite=side, feature=feature, dead=is_dead)
        for row, col, score in zip(self.rows.tolist(), self.cols.tolist(), self.scores.tolist(), strict=True):
            graph.add_edge(f"a:{row}", f"b:{col}", chosen=score)
        return graph

    def summary(self) -> dict[str, Any]:
        """Summarise the match as numbers to print; a median of nothing is NaN."""
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

    def __repr__(self) -> str:
        measure = self.provenance.get("measure", "dense")
        return (
            f"Match({self.method}, {measure}, {self.shape[0]} x {self.shape[1]} features, {self.rows.size} pairs, "
            f"median score {known_median(self.scores):.3f})"
        )

    def _repr_html_(self) -> str:
        scores = histogram(self.scores, "score that chose the pair", low=0, high=1)
        return card(f"{self.method} match", self.summary(), scores)

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz or .json file, atomically, and return the path."""
        return write_archive(path, FORMAT, VERSION, *self.to_parts())

    @classmethod
    def load(cls, path: str | Path) -> Match:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If the file is corrupt, or of another format or version.
        """
        return cls.from_parts(*read_archive(path, FORMAT, VERSION))

    def to_parts(self) -> tuple[dict[str, Any], Arrays]:
        """Split everything into a JSON header and arrays, for a file."""
        header = {name: getattr(self, name) for name in ("method", "floor", "gap", "provenance", "rounds", "n_edges")}
        names = ("rows", "cols", "scores", "dead_rows", "dead_cols", "row_price", "col_price")
        arrays = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return header, arrays | vars(self.nearest)

    @classmethod
    def from_parts(cls, header: dict[str, Any], arrays: dict[str, Any]) -> Match:
        """Rebuild a match from its header and arrays; see `to_parts`."""
        best = {name: arrays[name] for name in Nearest.__dataclass_fields__}
        others = {name: array for name, array in arrays.items() if name not in best}
        return cls(nearest=Nearest(**best), **header, **others)


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
        Scores of the features of two sides.
    method
        "hungarian": one-to-one pairs with the largest sum, complete on the smaller side (or above the floor).
        "mutual": pairs that are each other's best. "nearest": each row's best column, with replacement.
    floor
        Pairs with a smaller score stay unmatched. "hungarian" maximises the sum of (score - floor) over partial
        pairings; the other methods drop such pairs afterwards.
    memory_budget
        Bytes that "hungarian" may use; the other methods work block by block.
    forbidden
        (rows, cols) [n_forbidden] of pairs that "hungarian" must not form.
    start
        Earlier result of the same two sides, whose prices "hungarian" starts from. It affects the run time only.
    solver
        Solver of "hungarian": "sparse", "dense", or "auto" for the faster one; see
        `universality.matching.assignment.assign`.

    Returns
    -------
    Match

    Warns
    -----
    CommonStartWarning
        When the dictionaries of the two stores began from the same weights, as `index_agreement` finds. Their features
        may then agree for this reason alone.

    Raises
    ------
    UniversalityError
        When the method or solver is unknown, the floor is not finite, forbidden pairs do not exist or leave no
        complete pairing, or the assignment does not fit into the budget.
    TypeError
        When ``sim`` is not a Similarity.

    Examples
    --------
    The best columns collide; the one-to-one matching has the largest sum instead:

    >>> sim = Similarity.from_dense(np.array([[0.9, 0.8], [0.7, 0.1]]))
    >>> match(sim).cols, match(sim, "nearest").cols, match(sim, "mutual").rows
    (array([1, 0]), array([0, 0]), array([0]))
    >>> match(sim, floor=0.75).cols  # the second row stays unmatched
    array([0])
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
    warn_of_common_start(sim)
    if method == "hungarian":
        return _hungarian(sim, floor, _checked(forbidden, sim), start, solver, memory_budget)
    if forbidden is not None or start is not None:
        raise UniversalityError(f"forbidden pairs and a start are for method='hungarian', not {method!r}")
    best = nearest(sim)
    rows, cols = mutual_pairs(best) if method == "mutual" else nearest_pairs(best)
    scores = best.best_col_score[rows]
    if floor is not None:
        above = scores >= floor
        rows, cols, scores = rows[above], cols[above], scores[above]
    return Match(method, floor, rows, cols, scores, None, sim.dead_rows, sim.dead_cols, best, sim.provenance)


def _hungarian(
    sim: Similarity,
    floor: float | None,
    forbidden: tuple[IntArray, IntArray] | None,
    start: Match | None,
    solver: Solver,
    memory_budget: int,
) -> Match:
    """Match one to one; the best partners come from the same pass as the assignment's candidates."""
    more_rows = (~sim.dead_rows).sum() > (~sim.dead_cols).sum()
    prices = None if start is None else start.row_price if more_rows else start.col_price
    # With forbidden pairs the assignment needs longer lists, which it requests itself.
    candidates = None if forbidden is not None else sim.topk(CANDIDATES, axis=None)
    best = nearest(sim) if candidates is None else Nearest.of(candidates)
    a = assign(sim, floor, forbidden, prices, solver, memory_budget, candidates)
    sides = sim.dead_rows, sim.dead_cols, best, sim.provenance
    size, final_prices = (a.rounds, a.n_edges), (a.row_price, a.col_price)
    return Match("hungarian", floor, a.rows, a.cols, a.scores, a.gap, *sides, *size, *final_prices)


def _checked(
    forbidden: tuple[npt.ArrayLike, npt.ArrayLike] | None, sim: Similarity
) -> tuple[IntArray, IntArray] | None:
    """Check forbidden pairs and return them as integer arrays; None if there are none."""
    if forbidden is None:
        return None
    rows, cols = (np.asarray(side) for side in forbidden)
    integers = all(side.ndim == 1 and (np.issubdtype(side.dtype, np.integer) or not side.size) for side in (rows, cols))
    if not integers or rows.size != cols.size:
        raise UniversalityError(
            f"forbidden: expected (rows, cols), two arrays of integers [n]; found {rows.dtype} of shape {rows.shape} "
            f"and {cols.dtype} of shape {cols.shape}"
        )
    for side, n, name in ((rows, sim.shape[0], "rows"), (cols, sim.shape[1], "columns")):
        if side.size and not 0 <= side.min() <= side.max() < n:
            raise UniversalityError(f"forbidden: {name} from 0 to {n - 1} exist, found {side.min()} to {side.max()}")
    return (rows.astype(np.int64), cols.astype(np.int64)) if rows.size else None


def _unmatched(dead: BoolArray, matched: IntArray) -> IntArray:
    unmatched = ~dead
    unmatched[matched] = False
    return np.flatnonzero(unmatched).astype(np.int64)
