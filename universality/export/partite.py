"""One graph of three models or more: a part a model, an edge a matched pair."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from universality.errors import MismatchError

if TYPE_CHECKING:
    import networkx as nx

    from universality.matching import Match


def partite_graph(matches: Mapping[tuple[str, str], "Match"]) -> "nx.Graph":
    """The features of several models, joined where two models' matching paired them.

    Parameters
    ----------
    matches
        (model of the rows, model of the columns) → their match. Every pair of models once, in any order.

    Returns
    -------
    networkx.Graph
        Nodes ``(model, feature)`` with ``model``, ``level`` (the model's place), ``feature``, ``dead`` and ``degree``;
        ``agrees``: it has a partner in every other model, and those are each other's partners too. Edges carry
        ``weight`` (the score).

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
        graph.add_edges_from(((a, row), (b, col), {"weight": score}) for row, col, score in scores)
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
