"""Graph of three or more models, with one part per model and one edge per matched pair."""

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
    """Build the graph of several models' features, with an edge for every matched pair.

    Parameters
    ----------
    matches
        (model of the rows, model of the columns) → their match. Every pair of models once, in any order.
    pairs
        The same keys → table of the pairs; see `universality.export.pair_graph.match_graph`.

    Returns
    -------
    networkx.Graph
        Nodes ``(model, feature)`` have ``model``, ``level`` (the model's index), ``feature``, ``dead``, ``degree`` and
        ``agrees`` (whether the feature has a partner in every other model, and these are each other's partners). Edges
        have ``chosen`` (the score that chose the partner) and the columns of ``pairs``; ``weight`` is the held-out
        score.

    Raises
    ------
    MismatchError
        If a pair of models is missing or given twice, or two matches disagree on a model's width.

    Examples
    --------
    >>> import numpy as np
    >>> from universality.matching import match
    >>> from universality.similarity import Similarity
    >>> identity = match(Similarity.from_dense(np.eye(2)))
    >>> graph = partite_graph({("A", "B"): identity, ("A", "C"): identity, ("B", "C"): identity})
    >>> graph.nodes["A", 0]["agrees"], graph.number_of_edges()
    (True, 6)
    """
    import networkx as nx

    models = list(dict.fromkeys(name for pair in matches for name in pair))
    given = [frozenset(pair) for pair in matches]
    wanted = {frozenset(pair) for pair in combinations(models, 2)}
    if len(set(given)) < len(given) or set(given) != wanted:
        names = ", ".join(f"{a}-{b}" for a, b in matches)
        raise MismatchError(f"expected one match for every pair of {', '.join(models)}, found {names}")
    graph: nx.Graph = nx.Graph(models=models)
    for (a, b), match in matches.items():
        for name, dead in ((a, match.dead_rows), (b, match.dead_cols)):
            _add(graph, models.index(name), name, dead.tolist())
        scores = zip(match.rows.tolist(), match.cols.tolist(), match.scores.tolist(), strict=True)
        graph.add_edges_from(((a, row), (b, col), {"chosen": score}) for row, col, score in scores)
        for row, col, values in pair_values(pairs[a, b]) if pairs else ():
            if graph.has_edge((a, row), (b, col)):
                graph.edges[(a, row), (b, col)].update(values)
    for node, attributes in graph.nodes(data=True):
        partners = list(graph[node])
        attributes["degree"] = len(partners)
        attributes["agrees"] = len({name for name, _ in partners}) == len(partners) == len(models) - 1 and all(
            graph.has_edge(x, y) for x, y in combinations(partners, 2)
        )
    return graph


def _add(graph: "nx.Graph", level: int, name: str, dead: list[bool]) -> None:
    before = sum(1 for node in graph if node[0] == name)
    if before not in (0, len(dead)):
        raise MismatchError(f"{name}: {before} features in one match, {len(dead)} in another; match the same stores")
    for feature, is_dead in enumerate(dead):
        # A feature may be dead on the tokens of one comparison alone: it is dead here if no match has it alive.
        dead_before = graph.nodes.get((name, feature), {}).get("dead", True)
        graph.add_node((name, feature), model=name, level=level, feature=feature, dead=is_dead and dead_before)
