"""Match more than two models: groups of features that are each other's partners, and consistency of the matchings.

A *group* holds at most one feature of each model. Matched pairs merge groups, the best pair first, unless that would
put two features of one model together (Kruskal's forest under that constraint). A group found in m of n models has m
members; its *agreement* is the share of its m (m - 1) / 2 pairs of models that were matched to each other directly.
A cycle A → B → C → A is *closed* for a feature of A that returns to itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.archive import read_archive, write_archive
from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.matching.pairing import DEFAULT_BUDGET, Match, Method, match
from universality.notebook_card import card
from universality.similarity import Similarity

if TYPE_CHECKING:
    import networkx as nx

FORMAT, VERSION = "universality.groups", 1


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of matched features of several models.

    Parameters
    ----------
    names
        [n_models] names of the models.
    members
        int64 [n_groups, n_models] a feature of each model or -1; largest groups first, then by score.
    score
        [n_groups] mean score of the group's matched pairs.
    agreement
        [n_groups] share of the group's pairs of models that are matched to each other.
    living
        [n_models] number of features with a defined score.
    edges
        int64 [n_edges, 5] model, feature, model, feature, group (-1 where the two ends are in different groups).
    weights
        [n_edges] scores of the edges.
    cycles
        int64 [n_triples, 5] three models, number of features with a partner on each step, number that return to
        themselves.
    provenance
        Method, floor and provenance of the compared pairs, as JSON.
    """

    names: tuple[str, ...]
    members: IntArray
    score: FloatArray
    agreement: FloatArray
    living: IntArray
    edges: IntArray
    weights: FloatArray
    cycles: IntArray
    provenance: dict[str, Any]

    @property
    def n_models(self) -> IntArray:
        """Number of models in which each group is found: [n_groups]."""
        return (self.members >= 0).sum(axis=1)

    def to_frame(self) -> pd.DataFrame:
        """Tabulate the groups: group, n_models, score, agreement, and a column of features (or NA) for each model."""
        frame = pd.DataFrame(
            {
                "group": np.arange(len(self.members)),
                "n_models": self.n_models,
                "score": self.score,
                "agreement": self.agreement,
            }
        )
        for name, column in zip(self.names, self.members.T, strict=True):
            frame[name] = pd.array(column, dtype="Int64")
            frame.loc[column < 0, name] = pd.NA
        return frame

    def consistency(self) -> pd.DataFrame:
        """Tabulate the triples of models: a, b, c, tried, closed, and share = closed / tried (NaN without any)."""
        i, j, k, tried, closed = self.cycles.T
        names = np.array(self.names)
        frame = pd.DataFrame({"a": names[i], "b": names[j], "c": names[k], "tried": tried, "closed": closed})
        frame["share"] = frame["closed"] / frame["tried"].where(frame["tried"] > 0)
        return frame

    def to_graph(self) -> nx.Graph:
        """Build a networkx graph of the groups: nodes "name:12" with ``model``, ``feature``, ``group``.

        Edges are matched pairs with ``chosen``, the score by which the partner was chosen (not a held-out score).
        """
        import networkx as nx

        graph: nx.Graph = nx.Graph()
        for number, features in enumerate(self.members.tolist()):
            for name, feature in zip(self.names, features, strict=True):
                if feature >= 0:
                    graph.add_node(f"{name}:{feature}", model=name, feature=feature, group=number)
        for (i, row, j, col, inside), weight in zip(self.edges.tolist(), self.weights.tolist(), strict=True):
            if inside >= 0:
                graph.add_edge(f"{self.names[i]}:{row}", f"{self.names[j]}:{col}", chosen=weight)
        return graph

    def __repr__(self) -> str:
        return f"Groups(of {', '.join(self.names)}; {len(self.members)} groups)"

    def _repr_html_(self) -> str:
        return card("Groups of matched features", self.summary())

    def summary(self) -> dict[str, Any]:
        """Summarise as numbers to print: groups by number of models (1: living features in no group), closed cycles."""
        n, n_models = len(self.names), self.n_models
        counts = {m: int((n_models == m).sum()) for m in range(n, 1, -1)}
        tried, closed = (int(self.cycles[:, column].sum()) for column in (3, 4))
        return {
            "models": n,
            "in_models": counts | {1: int(self.living.sum() - (self.members >= 0).sum())},
            "agreeing": int((self.agreement == 1).sum()),
            "cycles_tried": tried,
            "cycles_closed": closed / tried if tried else float("nan"),
        }

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz or .json file, atomically, and return the path."""
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return write_archive(path, FORMAT, VERSION, {"names": list(self.names), "provenance": self.provenance}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Groups:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If the file is corrupt, or of another format or version.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        return cls(names=tuple(header["names"]), provenance=header["provenance"], **arrays)


def match_many(
    similarities: Mapping[tuple[str, str], Similarity],
    method: Method = "hungarian",
    floor: float | None = None,
    memory_budget: int = DEFAULT_BUDGET,
) -> Groups:
    """Match each pair of several models and group the features that are partners.

    Parameters
    ----------
    similarities
        One similarity for each pair of models, by their names, as `universality.similarity.all_pairs` returns them.
    method
        "hungarian" or "mutual": one-to-one, as in `match`.
    floor
        Pairs with a smaller score stay unmatched; without a floor "hungarian" also pairs features that share nothing.
    memory_budget
        As in `match`.

    Raises
    ------
    UniversalityError
        When a pair of models is missing or given twice, sizes contradict each other, or the method is not one-to-one.

    Examples
    --------
    >>> sim = Similarity.from_dense(np.eye(2))
    >>> groups = match_many({("A", "B"): sim, ("A", "C"): sim, ("B", "C"): sim})
    >>> groups.members.tolist(), groups.agreement.tolist()
    ([[0, 0, 0], [1, 1, 1]], [1.0, 1.0])
    """
    if method == "nearest":
        raise UniversalityError("match_many: groups need a one-to-one method, 'hungarian' or 'mutual', found 'nearest'")
    names, sizes = _models(similarities)
    matches = {pair: match(sim, method, floor, memory_budget) for pair, sim in similarities.items()}
    provenance = {
        "method": method,
        "floor": floor,
        "pairs": [{"models": list(pair), **matched.provenance} for pair, matched in matches.items()],
    }
    return group(names, sizes, matches, provenance)


def group(
    names: tuple[str, ...], sizes: dict[str, int], matches: Mapping[tuple[str, str], Match], provenance: dict[str, Any]
) -> Groups:
    """Group features by the one-to-one matches of all pairs of models; see `match_many`."""
    start = np.cumsum([0, *(sizes[name] for name in names)])
    index = {name: k for k, name in enumerate(names)}
    ends, weights = [], []
    for (a, b), matched in matches.items():
        ends.append(np.stack([start[index[a]] + matched.rows, start[index[b]] + matched.cols], axis=1))
        weights.append(matched.scores)
    pairs, scores = np.concatenate(ends).astype(np.int64), np.concatenate(weights)
    model = np.repeat(np.arange(len(names)), np.diff(start))
    root = _roots(pairs, scores, model)
    members, score, agreement, of_edge = _tabulate(root, pairs, scores, model, start)
    edges = np.stack(
        [model[pairs[:, 0]], (pairs - start[model[pairs]])[:, 0], model[pairs[:, 1]],
         (pairs - start[model[pairs]])[:, 1], of_edge], axis=1
    )  # fmt: skip
    living = np.zeros(len(names), np.int64)
    for (a, b), matched in matches.items():
        living[index[a]], living[index[b]] = (~matched.dead_rows).sum(), (~matched.dead_cols).sum()
    cycles = _cycles(names, sizes, matches)
    return Groups(names, members, score, agreement, living, edges, scores, cycles, provenance)


def _models(similarities: Mapping[tuple[str, str], Similarity]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the models' names and widths, after checking that each pair is there once."""
    names = tuple(dict.fromkeys(name for pair in similarities for name in pair))
    given = sorted(tuple(sorted(pair)) for pair in similarities)
    wanted = sorted(tuple(sorted(pair)) for pair in combinations(names, 2))
    if not wanted or given != wanted:
        raise UniversalityError(
            f"match_many: expected each two of {', '.join(names) or 'several models'} once, found "
            + (", ".join(f"{a}-{b}" for a, b in similarities) or "nothing")
        )
    sizes: dict[str, int] = {}
    for pair, sim in similarities.items():
        for name, n in zip(pair, sim.shape, strict=True):
            if sizes.setdefault(name, n) != n:
                raise UniversalityError(f"match_many: {name} has {sizes[name]} features in one pair and {n} in another")
    return names, sizes


def _roots(pairs: IntArray, scores: FloatArray, model: IntArray) -> IntArray:
    """Find the root of each feature's group by union-find: [n_features]."""
    parent = list(range(model.size))
    models = [1 << int(m) for m in model]  # the models of each root's group as a bit set: overlap is one `&`

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]  # path halving
            node = parent[node]
        return node

    for edge in np.argsort(-scores, kind="stable").tolist():
        a, b = find(int(pairs[edge, 0])), find(int(pairs[edge, 1]))
        if a != b and not models[a] & models[b]:
            parent[b] = a
            models[a] |= models[b]
    return np.array([find(node) for node in range(model.size)], np.int64)


def _tabulate(
    root: IntArray, pairs: IntArray, scores: FloatArray, model: IntArray, start: npt.NDArray[np.int64]
) -> tuple[IntArray, FloatArray, FloatArray, IntArray]:
    """Tabulate groups of two or more in their final order: members, score, agreement; and each edge's group."""
    _, code, count = np.unique(root, return_inverse=True, return_counts=True)
    inside = code[pairs[:, 0]] == code[pairs[:, 1]]
    n_pairs = np.bincount(code[pairs[inside, 0]], minlength=count.size)
    total = np.bincount(code[pairs[inside, 0]], weights=scores[inside], minlength=count.size)
    groups = np.flatnonzero(count > 1)
    mean = total[groups] / np.maximum(n_pairs[groups], 1)
    groups = groups[np.lexsort((groups, -mean, -count[groups]))]
    rank = np.full(count.size, -1, np.int64)
    rank[groups] = np.arange(groups.size)
    members = np.full((groups.size, start.size - 1), -1, np.int64)
    grouped = np.flatnonzero(rank[code] >= 0)
    members[rank[code[grouped]], model[grouped]] = grouped - start[model[grouped]]
    m = count[groups]
    agreement = n_pairs[groups] / (m * (m - 1) / 2)
    return members, total[groups] / n_pairs[groups], agreement, np.where(inside, rank[code[pairs[:, 0]]], -1)


def _cycles(names: tuple[str, ...], sizes: dict[str, int], matches: Mapping[tuple[str, str], Match]) -> IntArray:
    """Count for each triple of models the features with a partner on each step, and those that return to themselves."""
    partner = {}
    for (a, b), matched in matches.items():
        for pair, rows, cols in (((a, b), matched.rows, matched.cols), ((b, a), matched.cols, matched.rows)):
            partner[pair] = np.full(sizes[pair[0]], -1, np.int64)
            partner[pair][rows] = cols
    counts = []
    for i, j, k in combinations(range(len(names)), 3):
        a, b, c = names[i], names[j], names[k]
        origin = np.flatnonzero(partner[a, b] >= 0)
        in_c = partner[b, c][partner[a, b][origin]]
        origin, in_c = origin[in_c >= 0], in_c[in_c >= 0]
        back = partner[c, a][in_c]
        counts.append((i, j, k, int((back >= 0).sum()), int((back == origin).sum())))
    return np.array(counts, np.int64).reshape(-1, 5)
