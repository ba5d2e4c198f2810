"""Data files of the explorer's map: places, clusters, and how far the map can be believed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.maps import FeatureMap, JointMap, name_clusters
from universality.maps.faithfulness import NEAR, PartnerRanks
from universality.pipeline.reporting.explored_side import FAMILY_TOKENS, ExploredSide
from universality.pipeline.reporting.run_results import RunResults
from universality.pipeline.study import Comparison
from universality.report.explorer import Words, packed_whole
from universality.visible_tokens import visible

Json = dict[str, Any]
SIDE = 32_000
"""Half the side of the square in which places are whole numbers."""
NOWHERE = -32_768
"""Place of a feature that is not on the map."""
_STOP = frozenset(("a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "that",
                   "the", "this", "to", "with"))  # fmt: skip
"""Words of labels that name nothing."""


def side_map(results: RunResults, side: ExploredSide, words: Words) -> Json | None:
    """Pack the map of one dictionary; None where the run has none."""
    path = results.folder.map(side.folder)
    if not path.is_file():
        return None
    made = FeatureMap.load(path)
    names = name_clusters(made.cluster, _kinds(side), _words(side, words))
    return {**_places([made.xy], [made.cluster]), "names": names, "trust": [made.trust.describe()]}


def joint_map_file(
    results: RunResults, comparison: Comparison, sides: tuple[ExploredSide, ExploredSide], words: Words
) -> Json | None:
    """Pack the map of two dictionaries; None where the run has none."""
    path = results.folder.map(comparison.name)
    if not path.is_file():
        return None
    made = JointMap.load(path)
    both = np.concatenate([made.cluster_a, made.cluster_b])
    kinds = [kind for side in sides for kind in _kinds(side)]
    texts = [of_feature for side in sides for of_feature in _words(side, words)]
    return {
        **_places([made.xy_a, made.xy_b], [made.cluster_a, made.cluster_b]),
        "alone": _by_side([made.alone_a, made.alone_b]),
        "names": name_clusters(both, kinds, texts),
        "trust": [trust.describe() for trust in made.trust],
        "within": made.settings["within"],
        "n_edges": len(made.edges),
        "n_null_edges": made.n_null_edges,
        "near": NEAR,
        "ranks": {name: _rank(getattr(made, name)) for name in ("partners", "held_out", "by_chance")},
    }


def _places(xy: list[NDArray[np.float64]], clusters: list[NDArray[np.int64]]) -> Json:
    """Pack places as whole numbers in one square, and the numbers of the clusters."""
    placed = np.concatenate(xy)
    placed = placed[~np.isnan(placed[:, 0])]
    low, high = (placed.min(axis=0), placed.max(axis=0)) if len(placed) else (np.zeros(2), np.ones(2))
    scale = 2 * SIDE / max(float((high - low).max()), np.finfo(float).tiny)
    whole = [np.where(np.isnan(of), NOWHERE, np.rint((of - (low + high) / 2) * scale)) for of in xy]
    return {
        "xy": _by_side(whole),
        "middle": [float(x) for x in (low + high) / 2],  # of the square, in the map's own coordinates
        "unit": 1 / scale,
        "cluster": _by_side(clusters),
    }


def _by_side(columns: list[NDArray[Any]]) -> Json:
    """Pack one column a dictionary, under its place; the script unpacks no columns within lists."""
    return {str(k): packed_whole(column) for k, column in enumerate(columns)}


def _rank(ranks: PartnerRanks) -> Json:
    described = ranks.describe()
    return {
        "n": described["n_pairs"],
        "near": described[f"within_{NEAR}"],
        "chance": described[f"within_{NEAR}_by_chance"],
        "share": described["median_share_nearer"],
    }


def _kinds(side: ExploredSide) -> list[str]:
    """Name the kind of text that each feature fires on; empty for none."""
    kinds = side.store.tokens.kinds
    return [kinds[kind] if kind >= 0 else "" for kind in side.described.specificity.kind.tolist()]


def _words(side: ExploredSide, words: Words) -> list[list[str]]:
    """List the words of each feature's label, or its top tokens where it has none."""
    labels = {} if side.labels is None else side.labels.labels
    tokens = side.described.tokens[:, :FAMILY_TOKENS]
    shown = {t: visible(words.decode([t])[0].strip(" ") or " ") for t in np.unique(tokens).tolist() if t >= 0}
    return [
        [word for word in labels[feature].explanation.lower().split() if word not in _STOP]
        if feature in labels
        else [shown[token] for token in of_feature if token >= 0]
        for feature, of_feature in enumerate(tokens.tolist())
    ]
