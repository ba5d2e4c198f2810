"""The graph of a match: who is whose partner, and what speaks for it."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from universality.export.node_annotations import annotate
from universality.features.descriptions import Described
from universality.features.examples import Decode

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from universality.features.storage.store import FeatureStore
    from universality.matching import Match

ON_EDGES = ("ci_low", "ci_high", "p", "q", "p_kind", "q_kind", "logit_r", "ceiling_a", "ceiling_b")
"""Columns of a table of pairs that an edge carries under their own names."""


def match_graph(
    match: "Match",
    a: "FeatureStore | Described",
    b: "FeatureStore | Described",
    *,
    pairs: "pd.DataFrame | None" = None,
    names: tuple[str, str] = ("A", "B"),
    decode: Decode | None = None,
    k: int = 5,
) -> "nx.Graph":
    """``match.to_graph()`` with what is known of its pairs and of their features.

    Parameters
    ----------
    match
        Pairs of features of ``a`` (rows) and ``b`` (columns).
    a, b
        The stores that were matched.
    pairs
        Frame with columns ``row col`` and any of ``held_out`` and `ON_EDGES`: ``calibrate(...).to_frame()``, or
        `universality.export.match_table`, which knows more.
    names
        Of the models that ``a`` and ``b`` are of.
    decode, k
        As for `universality.export.node_annotations`.

    Returns
    -------
    networkx.Graph
        Nodes as `universality.export.node_annotations` makes them. Edges carry ``chosen``, the score that chose the
        partner; ``weight``, the score on held-out documents; and of `ON_EDGES` what is known. What is not known is left
        out.
    """
    graph = annotate(match.to_graph(), (a, b), names=names, decode=decode, k=k)
    if pairs is not None:
        for row, col, values in pair_values(pairs):
            if graph.has_edge(f"a:{row}", f"b:{col}"):
                graph.edges[f"a:{row}", f"b:{col}"].update(values)
    return graph


def pair_values(pairs: "pd.DataFrame") -> Iterator[tuple[int, int, dict[str, float]]]:
    """Row, column and the edge's attributes of every pair of a table; NaN is left out."""
    columns = {"weight": "held_out"} | {name: name for name in ON_EDGES}
    known = {name: pairs[column].to_numpy(float) for name, column in columns.items() if column in pairs}
    for place, (row, col) in enumerate(zip(pairs["row"].tolist(), pairs["col"].tolist(), strict=True)):
        values = {name: float(column[place]) for name, column in known.items()}
        yield row, col, {name: value for name, value in values.items() if not math.isnan(value)}
