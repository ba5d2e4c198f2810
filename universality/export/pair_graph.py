"""Graph of a match: an edge for each pair of partners, with the evidence for it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy.typing as npt

from universality.export.agreement_columns import PREFIXES
from universality.export.node_annotations import annotate
from universality.features.descriptions import Described
from universality.features.examples import Decode

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from universality.features.storage.store import FeatureStore
    from universality.labels import Labels
    from universality.matching import Match

ON_EDGES = (
    "ci_low", "ci_high", "p", "q", "p_kind", "q_kind", "p_directions", "q_directions", "logit_r", "ceiling_a",
    "ceiling_b", "same_by_activation",
)  # fmt: skip
"""Columns of a table of pairs that become attributes of edges under their own names, beside those on effects."""


def match_graph(
    match: "Match",
    a: "FeatureStore | Described",
    b: "FeatureStore | Described",
    *,
    pairs: "pd.DataFrame | None" = None,
    names: tuple[str, str] = ("A", "B"),
    decode: Decode | None = None,
    k: int = 5,
    labels: Sequence["Labels | None"] = (),
    columns: Sequence[Mapping[str, npt.ArrayLike]] = (),
) -> "nx.Graph":
    """Build the graph of a match, with annotated features and the calibration of its pairs.

    Parameters
    ----------
    match
        Pairs of features of ``a`` (rows) and ``b`` (columns).
    a, b
        The stores that were matched.
    pairs
        Frame with columns ``row col`` and any of ``held_out``, `ON_EDGES` and
        `universality.export.effect_columns`: ``calibrate(...).to_frame()``, or `universality.export.match_table`, which
        has more of them.
    names
        Names of the models of ``a`` and ``b``.
    decode, k, labels, columns
        See `universality.export.node_annotations.annotate`.

    Returns
    -------
    networkx.Graph
        Nodes are those of `universality.export.node_annotations.annotate`. Edges have ``chosen`` (the score that chose
        the partner), ``weight`` (the score on held-out documents), the columns `ON_EDGES` and those on effects; missing
        values are omitted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> from universality import FeatureStore, Similarity, match
    >>> x = np.array([[1, 0], [2, 0], [0, 3], [0, 1]], np.float32)
    >>> writer = FeatureStore.create(Path(tempfile.mkdtemp()) / "a.h5", 2, {})
    >>> writer.append(csr_matrix(x), token=[5, 5, 6, 6], document=[0, 0, 1, 1], position=[1, 2, 1, 2], kind=["en"] * 4)
    >>> with writer.finish() as store:
    ...     graph = match_graph(match(Similarity.activation(store, store)), store, store)
    >>> graph.nodes["a:0"]["label"], round(graph.edges["a:0", "b:0"]["chosen"], 6)
    ('A/0:5', 1.0)
    """
    graph = annotate(match.to_graph(), (a, b), names=names, decode=decode, k=k, labels=labels, columns=columns)
    if pairs is not None:
        for row, col, values in pair_values(pairs):
            if graph.has_edge(f"a:{row}", f"b:{col}"):
                graph.edges[f"a:{row}", f"b:{col}"].update(values)
    return graph


def pair_values(pairs: "pd.DataFrame") -> Iterator[tuple[int, int, dict[str, float]]]:
    """Yield row, column and edge attributes of each pair of a table, without NaN."""
    on_effects = [name for name in pairs if str(name).startswith(PREFIXES)]
    columns = {"weight": "held_out"} | {name: name for name in (*ON_EDGES, *on_effects)}
    present = {name: pairs[column].to_numpy(float) for name, column in columns.items() if column in pairs}
    for place, (row, col) in enumerate(zip(pairs["row"].tolist(), pairs["col"].tolist(), strict=True)):
        values = {name: float(column[place]) for name, column in present.items()}
        yield row, col, {name: value for name, value in values.items() if not math.isnan(value)}
