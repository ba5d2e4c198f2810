"""Node annotations: the tokens on which a feature fires most, its density and its text category."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.errors import MismatchError
from universality.features.descriptions import Described, described
from universality.features.examples import Decode
from universality.labels.shown import label_columns

_SHORT = 80
"""Characters of an explanation in the name of a node, which programs draw beside it."""

if TYPE_CHECKING:
    import networkx as nx

    from universality.features.storage.store import FeatureStore
    from universality.labels import Labels


def annotate(
    graph: "nx.Graph",
    stores: Sequence["FeatureStore | Described"],
    *,
    names: Sequence[str] = (),
    decode: Decode | None = None,
    k: int = 5,
    labels: Sequence["Labels | None"] = (),
    columns: Sequence[Mapping[str, npt.ArrayLike]] = (),
) -> "nx.Graph":
    """Copy the graph of a match or family and annotate each node with its feature's tokens, density and category.

    Parameters
    ----------
    graph
        Graph from ``Match.to_graph()``, ``Families.graph`` or ``Families.tree()``; its nodes have ``feature`` and
        ``bipartite`` or ``level``.
    stores
        The two matched stores, or the stores of the family, in this order: `Described`, or to be described here.
    names
        Name of each store's model.
    decode
        Function from token ids to one string each. None shows tokens as their ids.
    k
        Most tokens per feature; those with the largest share of its activation are taken.
    labels
        Explanations of each store's features; None for a store without.
    columns
        For each store, numbers of its features by name, [n_features]; they become attributes of nodes, NaN left out.

    Returns
    -------
    networkx.Graph
        Every node has ``tokens`` (a list of strings, heaviest first), ``density``, ``kind`` (None for a dead feature)
        and ``purity``. With ``names`` it also has ``model``, and a node without a ``label`` gets one from model,
        feature and heaviest token, such as ``A/12: the``. An explained feature's ``label`` has the explanation instead
        of the token, and it has ``explanation`` (at most 200 characters) and its scores beside the highest of their
        floors and baselines, such as ``label_detection`` and ``label_detection_floor``.

    Raises
    ------
    MismatchError
        If a node lacks these attributes or is in no store, a store has no name, or a column has another length.
    """
    if names and len(names) != len(stores):
        raise MismatchError(f"names: expected one for each of {len(stores)} stores, found {len(names)}")
    result = graph.copy()
    for side, members in _by_store(graph, [_store(one) for one in stores]).items():
        description = described(stores[side])
        density = description.store.moments().density
        specificity = description.specificity
        purity, kind = specificity.purity, specificity.kind_names
        tokens = description.strings(members.values(), k, decode)
        for (node, feature), shown in zip(members.items(), tokens, strict=True):
            result.nodes[node].update(
                tokens=list(shown),
                density=float(density[feature]),
                kind=kind[feature],
                purity=float(purity[feature]),
            )
            if names:
                _name(result.nodes[node], names[side], feature, shown)
        if side < len(labels) and (of_side := labels[side]) is not None:
            _explain([result.nodes[node] for node in members], list(members.values()), of_side)
        for name, values in (columns[side] if side < len(columns) else {}).items():
            _add_column(result, members, name, np.asarray(values, np.float64), description.store.n_features)
    return result


def _add_column(
    graph: "nx.Graph", members: Mapping[Hashable, int], name: str, values: npt.NDArray[np.float64], n_features: int
) -> None:
    """Add one number of each feature to its node, where it is known."""
    if values.shape != (n_features,):
        raise MismatchError(f"{name}: expected a number for each of {n_features} features, found {list(values.shape)}")
    for node, feature in members.items():
        if not np.isnan(values[feature]):
            graph.nodes[node][name] = float(values[feature])


def _explain(nodes: Sequence[dict[str, Any]], features: Sequence[int], labels: "Labels") -> None:
    """Add the explanations of features, and their scores, to the attributes of their nodes."""
    columns = label_columns(labels, features)
    texts = columns.pop("label").tolist()
    for values, feature, text, scores in zip(nodes, features, texts, columns.to_dict("records"), strict=True):
        if text:
            values.update(explanation=text, **scores)
            values["label"] = f"{values.get('model', '')}/{feature}: {text[:_SHORT]}".lstrip("/")


def _store(side: "FeatureStore | Described") -> "FeatureStore":
    return side.store if isinstance(side, Described) else side


def _name(values: dict[str, Any], model: str, feature: int, tokens: Sequence[str]) -> None:
    values["model"] = model
    heaviest = f":{tokens[0]}" if tokens else ""
    values.setdefault("label", f"{model}/{feature}{heaviest}")


def _by_store(graph: "nx.Graph", stores: Sequence["FeatureStore"]) -> dict[int, dict[Hashable, int]]:
    """Map each store to its nodes and their features."""
    members: dict[int, dict[Hashable, int]] = {}
    for node, values in graph.nodes(data=True):
        side, feature = values.get("level", values.get("bipartite")), values.get("feature")
        if side is None or feature is None:
            raise MismatchError(
                f"node {node!r} has no 'feature' with a 'level' or 'bipartite'; "
                "pass the graph of a match or of families"
            )
        if side >= len(stores) or feature >= stores[side].n_features:
            raise MismatchError(
                f"node {node!r} is feature {feature} of store {side}, but the stores given have "
                f"{[s.n_features for s in stores]} features; pass those the graph was made from, in order"
            )
        members.setdefault(side, {})[node] = feature
    return members
