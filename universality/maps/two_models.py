"""One map of two models' features: near each other across models where they fire alike.

The graph has the features of both models as nodes. Within a model they are linked as in `feature_map`, by decoder
cosine. Between models an edge needs an r above the null of both features, on the half of the documents that chooses
partners, and is the stronger the farther r is above it. Edges within models count a tenth: at full strength they hold
each model's features together and partners apart, and neighbours within a model are kept no better.

On such a map *nearness across models is the match*. How far it shows more is measured by layouts of two other graphs:
one without the edges of some pairs, and one with edges from re-paired text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from universality.archive import read_archive, write_archive
from universality.arrays import BoolArray, FloatArray, IntArray
from universality.checked_settings import Count, Natural, checked
from universality.errors import FormatError, UniversalityError
from universality.execution import Executor, check_executor
from universality.maps.cross_edges import CrossEdges, listed_edges, lone_features
from universality.maps.faithfulness import PartnerRanks, Trust
from universality.maps.fuzzy_graph import fuzzy_graph
from universality.maps.neighbours import Neighbours, nearest_directions, nearest_features
from universality.maps.one_model import MIN_DIST, NEIGHBOURS
from universality.maps.point_clusters import clusters
from universality.maps.point_layout import lay_out
from universality.matching.nearest_partners import Nearest, mutual_pairs
from universality.notebook_card import card
from universality.similarity import DEFAULT_BUDGET, Similarity
from universality.statistics.evaluated_text import EvaluatedText
from universality.statistics.null_classes import stratify
from universality.statistics.null_settings import NullSettings
from universality.statistics.pooled_p import null_quantile

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

FORMAT, VERSION = "universality.map", 2
WITHIN = 0.1
"""Strength of edges within a model beside those between models."""
HELD_OUT, MOST_PAIRS = 0.1, 2000
"""Share of the pairs whose edges the second layout lacks, and the most pairs that are ranked."""
Within = Literal["decoder", "activation"]


@dataclass(frozen=True, eq=False)
class JointMap:
    """Places of two models' features in one plane.

    Parameters
    ----------
    xy_a, xy_b
        float64 [n_a, 2], [n_b, 2]; NaN for features that are not placed, since they do not fire on the choosing half or
        resemble none.
    cluster_a, cluster_b
        int64 [n_a], [n_b] number of the cluster, -1 for none.
    edges
        Edges between the models.
    threshold_a, threshold_b
        float64 [n_a], [n_b] r that a feature's edges must exceed; NaN for features that fire too rarely to tell.
    alone_a, alone_b
        bool [n_a], [n_b] features that fire often enough to tell and resemble none of the other model above chance.
        Those whose r exceeds their threshold with a feature that fires too rarely to tell are not among them.
    trust
        How far neighbours on the map are neighbours within A, and within B.
    partners
        Ranks of the partners that the reporting half gives, on this map. They are chosen on text that the edges were
        not, yet most are pairs with an edge.
    held_out
        The same for a tenth of these pairs on a layout of the graph without their edges: nearness that the graph's
        other edges imply.
    by_chance
        The same pairs as ``partners`` on a layout with as many and as strong edges between the models, but from
        re-paired text. No pairs where no text can be re-paired.
    n_null_edges
        Edges of re-paired text that pass the thresholds.
    settings
        Arguments it was made with.
    notes
        What could not be measured, in words.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from universality.statistics.synthetic import World, plant
    >>> world = World(n_documents=40, n_shared=20, n_alone=10, density=(0.02, 0.05), topic_share=1.0)
    >>> with TemporaryDirectory() as folder:
    ...     planted = plant(world, Path(folder))
    ...     made = joint_map(planted.a, planted.b, within="activation")
    >>> bool((made.alone_a == ~planted.has_partner).mean() > 0.9)
    True
    """

    xy_a: FloatArray
    xy_b: FloatArray
    cluster_a: IntArray
    cluster_b: IntArray
    edges: CrossEdges
    threshold_a: FloatArray
    threshold_b: FloatArray
    alone_a: BoolArray
    alone_b: BoolArray
    trust: tuple[Trust, Trust]
    partners: PartnerRanks
    held_out: PartnerRanks
    by_chance: PartnerRanks
    n_null_edges: int
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Tabulate side ("a" or "b"), feature, x, y, cluster, best_r and alone of every feature that is placed.

        ``best_r`` is the r of a feature's strongest edge to the other model, NaN without one.
        """
        sides = [
            ("a", self.xy_a, self.cluster_a, self.edges.rows, self.alone_a),
            ("b", self.xy_b, self.cluster_b, self.edges.cols, self.alone_b),
        ]
        return pd.concat([self._of_side(*side) for side in sides], ignore_index=True)

    def _of_side(self, side: str, xy: FloatArray, cluster: IntArray, ends: IntArray, alone: BoolArray) -> pd.DataFrame:
        placed, best = np.flatnonzero(~np.isnan(xy[:, 0])), np.full(len(xy), -np.inf)
        np.maximum.at(best, ends, self.edges.r)
        columns = {"x": xy[placed, 0], "y": xy[placed, 1], "cluster": cluster[placed]}
        columns |= {"best_r": np.where(np.isinf(best), np.nan, best)[placed], "alone": alone[placed]}
        return pd.DataFrame({"side": side, "feature": placed, **columns})

    def summary(self) -> dict[str, Any]:
        """Return the numbers that tell how far the map can be believed."""
        return {
            "n_a": int((~np.isnan(self.xy_a[:, 0])).sum()),
            "n_b": int((~np.isnan(self.xy_b[:, 0])).sum()),
            "alone_a": int(self.alone_a.sum()),
            "alone_b": int(self.alone_b.sum()),
            "n_edges": len(self.edges),
            "n_null_edges": self.n_null_edges,
            "trustworthiness": [trust.describe()[0] for trust in self.trust],
            "trustworthiness_features": [trust.n_features for trust in self.trust],
            "partners": self.partners.describe(),
            "held_out": self.held_out.describe(),
            "by_chance": self.by_chance.describe(),
        }

    def __repr__(self) -> str:
        numbers = self.summary()
        return (
            f"JointMap({numbers['n_a']} + {numbers['n_b']} features, {numbers['n_edges']} edges between the models, "
            f"{numbers['alone_a']} + {numbers['alone_b']} alone)"
        )

    def _repr_html_(self) -> str:
        numbers = self.summary()
        shown = {name: numbers[name] for name in ("n_a", "n_b", "alone_a", "alone_b", "n_edges", "n_null_edges")}
        ranks = {"partner among the 10 nearest": self.partners.near(), "by chance": self.partners.near_by_chance()}
        return card("Joint map", shown | ranks)

    def save(self, path: str | Path) -> Path:
        """Write the map to a .json or .npz file."""
        header: dict[str, Any] = {
            "trust": [trust.describe() for trust in self.trust],
            "n_others": {name: list(getattr(self, name).n_others) for name in _RANKS},
            "n_null_edges": self.n_null_edges,
            "settings": self.settings,
            "notes": list(self.notes),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"edge_{name}": getattr(self.edges, name) for name in CrossEdges.__dataclass_fields__}
        arrays |= {f"{name}_nearer": getattr(self, name).nearer for name in _RANKS}
        return write_archive(path, FORMAT, VERSION, header, arrays)

    @classmethod
    def load(cls, path: str | Path) -> JointMap:
        """Read a map that `save` wrote.

        Raises
        ------
        FormatError
            When the file is truncated, corrupt, or of another format or version.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        try:
            edges = CrossEdges(**{name: arrays[f"edge_{name}"] for name in CrossEdges.__dataclass_fields__})
            ranks = {name: PartnerRanks(arrays[f"{name}_nearer"], tuple(header["n_others"][name])) for name in _RANKS}
            trust = [Trust.read(of_side) for of_side in header["trust"]]
            fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS} | ranks
            return cls(
                **fields, edges=edges, trust=(trust[0], trust[1]), n_null_edges=header["n_null_edges"],
                settings=header["settings"], notes=tuple(header["notes"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"{path}: contents contradict themselves ({error}); make the map again") from error


_ARRAYS = ("xy_a", "xy_b", "cluster_a", "cluster_b", "threshold_a", "threshold_b", "alone_a", "alone_b")
_RANKS = ("partners", "held_out", "by_chance")


def joint_map(
    a: FeatureStore,
    b: FeatureStore,
    within: Within | None = None,
    n_neighbours: int = NEIGHBOURS,
    min_dist: float = MIN_DIST,
    alpha: float = NullSettings.alpha,
    min_firings: int = NullSettings.min_firings,
    n_strata: int = NullSettings.n_strata,
    seed: int = 0,
    memory_budget: int = DEFAULT_BUDGET,
    executor: Executor | None = None,
) -> JointMap:
    """Place the features of two models in one plane, by UMAP of the graph that their similarities form.

    The documents of the split "choose" make the graph, those of "report" measure how faithful the map is. One thread
    computes the layout: the same stores and settings give the same bytes on one machine.

    Parameters
    ----------
    a, b
        Stores of the same tokens, whose documents have the splits "choose" and "report".
    within
        What links features of one model: the cosine of their "decoder" rows, or the r of their "activation" on the
        choosing half. None: decoder where both stores have one.
    n_neighbours
        Neighbours of each feature within its model, itself among them, and the most partners in the other model.
    min_dist
        Distance of points that count as together.
    alpha
        A threshold is the (1 - alpha) quantile of the best partner's r on re-paired text, among features that fire
        about as often.
    min_firings
        Features that fire less often on the choosing half get no edge to the other model, and are not called alone.
        Pairs with a feature that fires less often on the reporting half are not ranked.
    n_strata
        Classes of firing counts with thresholds of their own.
    seed
        Seed of the layout, of the re-pairing, and of the pairs that are held out.
    memory_budget, executor
        As for `Similarity.activation`.

    Raises
    ------
    MismatchError
        When the stores saw different tokens.
    UniversalityError
        When a setting is out of range, one half has no document, or ``within`` is "decoder" and a store holds none.
    MissingExtraError
        When umap-learn or hdbscan is not installed.
    """
    checked("n_neighbours", n_neighbours, Count)
    checked("min_firings", min_firings, Natural)
    checked("n_strata", n_strata, Count)
    checked("seed", seed, Natural)
    by = _within(a, b, within)
    settings = {"within": by, "n_neighbours": n_neighbours, "min_dist": min_dist, "alpha": alpha,
                "min_firings": min_firings, "n_strata": n_strata, "seed": seed}  # fmt: skip
    notes: list[str] = []
    text = EvaluatedText.of("activation", a, b, seed, None, memory_budget, check_executor(executor))
    k = min(n_neighbours, *text.choose.shape)
    by_chance, thresholds = _null(text, k, alpha, min_firings, n_strata, notes)
    lists = text.choose.topk(k, axis=None)
    edges = listed_edges(lists, thresholds).above_null()
    alone = lone_features(lists, thresholds, edges)
    dead = text.choose.dead_rows, text.choose.dead_cols
    sides = [_Side.of(store, ~of, by, text, n_neighbours, seed) for store, of in zip((a, b), dead, strict=True)]
    plane = _Plane((sides[0], sides[1]), seed, min_dist)
    xy = plane.place(edges)
    cluster = clusters(np.concatenate(xy))
    trust = [Trust.of(points, side.similarity, n_neighbours) for points, side in zip(xy, sides, strict=True)]
    ranks = _ranks(plane, xy, edges, by_chance, _reported(text, thresholds, min_firings))
    n_null_edges = 0 if by_chance is None else len(by_chance.above_null())
    return JointMap(
        *xy, cluster[: len(xy[0])], cluster[len(xy[0]) :], edges, *thresholds, *alone,
        (trust[0], trust[1]), *ranks, n_null_edges, settings, tuple(notes),
    )  # fmt: skip


def _within(a: FeatureStore, b: FeatureStore, within: Within | None) -> Within:
    if within not in (None, "decoder", "activation"):
        raise UniversalityError(f"within: expected 'decoder', 'activation' or None, found {within!r}")
    both = a.decoder_shape is not None and b.decoder_shape is not None
    return within or ("decoder" if both else "activation")


class _Side(NamedTuple):
    """One model's part of the graph."""

    similarity: Similarity
    """Similarity of its features with each other."""
    neighbours: Neighbours

    @classmethod
    def of(
        cls, store: FeatureStore, living: BoolArray, within: Within, text: EvaluatedText, n: int, seed: int
    ) -> _Side:
        """Find the neighbours of the living features."""
        if within == "decoder":
            rows = store.decoder_rows() * living[:, None]
            unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
            return cls(Similarity.from_factors(unit, unit), nearest_directions(unit, n - 1, seed))
        own = Similarity.activation(store, store, text.choose.memory_budget, text.documents, executor=text.executor)
        return cls(own, nearest_features(own, n - 1))


class _Plane(NamedTuple):
    """The two models' own graphs, and how graphs are laid out."""

    sides: tuple[_Side, _Side]
    seed: int
    min_dist: float

    def place(self, edges: CrossEdges) -> tuple[FloatArray, FloatArray]:
        """Lay out the models' graphs, joined by edges between them."""
        own = [fuzzy_graph(side.neighbours) * WITHIN for side in self.sides]
        n_a, n_b = (graph.shape[0] for graph in own)
        between = sparse.csr_matrix((edges.excess, (edges.rows, edges.cols)), shape=(n_a, n_b))
        xy = lay_out(sparse.bmat([[own[0], between], [between.T, own[1]]], "csr"), self.seed, self.min_dist)
        return xy[:n_a], xy[n_a:]


def _null(
    text: EvaluatedText, k: int, alpha: float, min_firings: int, n_strata: int, notes: list[str]
) -> tuple[CrossEdges | None, tuple[FloatArray, FloatArray]]:
    """Return best partners on re-paired text and each feature's threshold, which another re-pairing gives."""
    strata = [stratify(count, min_firings, n_strata).code for count in text.counts]
    model = text.null_model("global", "rows", notes)
    if model is None:
        notes.append("no null: edges between the models need an r above 0 only, which chance gives, too")
        return None, tuple(np.where(code < 0, np.nan, 0.0) for code in strata)  # type: ignore[return-value]
    (_, of_rows), (_, of_cols) = model.by_chance(0).topk(1, axis=None)
    first, second = (
        np.maximum(null_quantile(best.T, code, np.arange(code.size), 1 - alpha), 0)
        for best, code in zip((of_rows, of_cols), strata, strict=True)
    )
    first[strata[0] < 0], second[strata[1] < 0] = np.nan, np.nan
    return listed_edges(model.by_chance(1).topk(k, axis=None), (first, second)), (first, second)


def _reported(
    text: EvaluatedText, thresholds: tuple[FloatArray, FloatArray], min_firings: int
) -> tuple[IntArray, IntArray]:
    """Find the pairs that are each other's best on the reporting half, and more alike there than by chance."""
    best, counts = Nearest.of(text.report.topk(1, axis=None)), text.report.counts
    assert counts is not None  # a measure over tokens
    rows, cols = mutual_pairs(best)
    often = (counts[0][rows] >= min_firings) & (counts[1][cols] >= min_firings)
    with np.errstate(invalid="ignore"):
        clear = best.best_col_score[rows] > np.maximum(thresholds[0][rows], thresholds[1][cols])
    return rows[often & clear], cols[often & clear]


def _ranks(
    plane: _Plane,
    xy: tuple[FloatArray, FloatArray],
    edges: CrossEdges,
    by_chance: CrossEdges | None,
    pairs: tuple[IntArray, IntArray],
) -> tuple[PartnerRanks, PartnerRanks, PartnerRanks]:
    """Rank the partners of the reporting half on the map, and on layouts without their edges and of chance's edges."""
    order, n = np.random.default_rng((plane.seed, 1)).permutation(pairs[0].size), pairs[0].size
    ranked, held = (
        (pairs[0][chosen], pairs[1][chosen])
        for chosen in (np.sort(order[:MOST_PAIRS]), np.sort(order[: min(MOST_PAIRS, math.ceil(HELD_OUT * n))]))
    )
    nothing = np.zeros(0, np.int64)
    of_chance = xy if by_chance is None else plane.place(by_chance.strongest(like=edges))
    return (
        PartnerRanks.of(*xy, *ranked),
        PartnerRanks.of(*plane.place(edges.without(*held)), *held),
        PartnerRanks.of(*of_chance, *((nothing, nothing) if by_chance is None else ranked)),
    )
