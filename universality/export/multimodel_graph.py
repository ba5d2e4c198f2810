"""One graph of three models or more: a part a model, an edge a matched pair."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from universality.errors import MismatchError
from universality.export.pair_graph import pair_values

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from universality.matching import Match


def partite_graph(
    matches: Mapping[tuple[str, str], "Match"], pairs: "Mapping[tuple[str, str], pd.DataFrame] | None" = None
) -> "nx.Graph":
    """The features of several models, joined where two models' matching paired them.

    Parameters
    ----------
    matches
        (model of the rows, model of the columns) → their match. Every pair of models once, in any order.
    pairs
        The same keys → what is known of the pairs, as for `universality.export.pair_graph`.

    Returns
    -------
    networkx.Graph
        Nodes ``(model, feature)`` with ``model``, ``level`` (the model's place), ``feature``, ``dead`` and ``degree``;
        ``agrees``: it has a partner in every other model, and those are each other's partners too. Edges carry
        ``chosen`` (the score that chose the partner) and what ``pairs`` knows: ``weight`` is the held-out score.

    Raises
    ------
    MismatchError
        When a pair of models is missing or given twice, or two matches disagree on a model's width.
    """
    import networkx as nx

    models = list(dict.fromkeys(name for pair in matches for name in pair))
    given = [frozenset(pair) for pair in matches]
    wanted = {frozenset(pair) for pair in combinations(models, 2)}
    if len(set(given)) < len(given) or set(given) != wanted:
        found = ", ".join(f"{a}-{b}" for a, b in matches)
        raise MismatchError(f"expected one match for every pair of {', '.join(models)}, found {found}")
    graph: nx.Graph = nx.Graph(models=models)
    for (a, b), match in matches.items():
        for name, dead in ((a, match.dead_rows), (b, match.dead_cols)):
            _add(graph, models.index(name), name, dead.tolist())
        scores = zip(match.rows.tolist(), match.cols.tolist(), match.scores.tolist(), strict=True)
        graph.add_edges_from(((a, row), (b, col), {"chosen": score}) for row, col, score in scores)
        for row, col, known in pair_values(pairs[a, b]) if pairs else ():
            if graph.has_edge((a, row), (b, col)):
                graph.edges[(a, row), (b, col)].update(known)
    for node, values in graph.nodes(data=True):
        partners = list(graph[node])
        values["degree"] = len(partners)
        values["agrees"] = len({name for name, _ in partners}) == len(partners) == len(models) - 1 and all(
            graph.has_edge(x, y) for x, y in combinations(partners, 2)
        )
    return graph


def _add(graph: "nx.Graph", level: int, name: str, dead: list[bool]) -> None:
    before = sum(1 for node in graph if node[0] == name)
    if before not in (0, len(dead)):
        raise MismatchError(f"{name}: {before} features in one match, {len(dead)} in another; match the same stores")
    for feature, is_dead in enumerate(dead):
        known_dead = graph.nodes.get((name, feature), {}).get("dead", True)
        graph.add_node((name, feature), model=name, level=level, feature=feature, dead=is_dead and known_dead)
