"""Data files of the explorer about one dictionary, written once however many others it is compared with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.family import Families
from universality.family.edges import Edges, best_parents
from universality.family.orphans import STATUSES, status
from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.features.page_views import STRONGEST, Views, feature_views, seen_by, windows
from universality.labels.label_file import Labels
from universality.pipeline.reporting.label_rows import (
    explored_families,
    explored_label,
    label_column,
    labels_of_widths,
)
from universality.pipeline.reporting.run_results import RunResults
from universality.pipeline.reporting.text_excerpts import logit_extremes
from universality.report.explorer import Words, packed, packed_whole

CHUNK = 256
"""Features, or pairs, in one file: a page loads the files of what is opened."""
SHOWN = 5
"""Tokens of each feature in tables."""
FAMILY_TOKENS = 3
"""Tokens of each feature in families."""
UNKNOWN_EFFECT = -128
"""Stands for an edge along which effects were not compared."""
WEIGHTS = 8
"""Tokens that a feature raises most, and as many that it lowers most."""
Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ExploredSide:
    """One dictionary's features as the explorer shows them.

    Parameters
    ----------
    path
        File of the feature store.
    name
        Name for readers: the model's, or that of one SAE of a model.
    described, labels
        The store with descriptions of its features, and their labels; None without any.
    views
        Examples and histograms.
    families, owner
        Families whose widest dictionary this is, and the name of their model; None where it has none.
    """

    path: Path
    name: str
    described: Described
    views: Views
    labels: Labels | None = None
    families: Families | None = None
    owner: str | None = None

    @property
    def store(self) -> FeatureStore:
        """The feature store."""
        return self.described.store

    @property
    def folder(self) -> str:
        """Name of the folder with this dictionary's files."""
        return self.path.stem

    @property
    def n_examples(self) -> int:
        """Number of examples of a feature."""
        return int(self.views.row.shape[1])


def open_side(results: RunResults, path: Path, name: str, model: str, families: Mapping[str, Families]) -> ExploredSide:
    """Open a dictionary of a run: its store, its labels, and its families where it is the widest of them."""
    own = families.get(model)
    widest = None if own is None else results.folder.store(model, own.levels[-1].width, results.config.saes.seeds[0])
    described = results.described(path)
    shown = own if widest == path else None
    return ExploredSide(
        path,
        name,
        described,
        feature_views(described.store),
        results.labels(path),
        shown,
        None if shown is None else model,
    )


def side_files(
    results: RunResults, side: ExploredSide, words: Words, score: str
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Make the files of a dictionary by name, and the places of its examples' tokens.

    Returns
    -------
    files
        Contents by name. ``features-K`` holds ``CHUNK`` features.
    place
        uint8 [n_features, n_examples, window]: place in the shown text of each token of each example, for
        `partner_columns`.
    """
    place = np.zeros(side.views.own.shape, np.uint8)
    files: dict[str, Any] = {}
    for start in range(0, side.store.n_features, CHUNK):
        features = np.arange(start, min(start + CHUNK, side.store.n_features))
        files[f"features-{start // CHUNK}"] = list(_features(side, features, words, place))
    files["about"] = _about(side, words)
    if side.labels is not None:
        files["labels"] = label_column(side.labels, range(side.store.n_features), score)
    if side.families is not None and side.owner is not None:
        files["families"] = _families(results, side.owner, side.families, words)
        levels = labels_of_widths(results, side.owner, side.families)
        if any(levels):
            starts = _starts([level.width for level in side.families.levels])
            files["family-labels"] = explored_families(levels, starts, score)
    return files, place


def partner_columns(
    side: ExploredSide, place: NDArray[np.uint8], features: NDArray[np.int64], activation: NDArray[np.uint8]
) -> Json:
    """Pack the partners' activations on the examples of some features, without the tokens on which they are silent.

    Parameters
    ----------
    place
        From `side_files`.
    features
        [n] features of the side.
    activation
        uint8 [n, n_examples, window], the partner's activation on each token.

    Returns
    -------
    dict
        ``start`` [n + 1], the range of each feature in ``at`` and ``share``; ``at``: number of the example times the
        window, plus the place in its text; ``share`` of the partner's strongest activation there.
    """
    n, (_, n_examples, window) = len(features), side.views.own.shape
    present = side.views.row[features] >= 0
    rank = np.maximum(np.cumsum(present, axis=1) - 1, 0)  # absent examples are left out of what is shown
    at = rank[:, :, None] * window + place[features]
    shown = np.zeros((n, n_examples * window), np.uint8)
    which = np.broadcast_to(np.arange(n)[:, None, None], at.shape)
    np.maximum.at(shown, (which, at), np.where(present[:, :, None], activation, 0))
    of, places = np.nonzero(shown)
    return {
        "start": packed_whole(np.searchsorted(of, np.arange(n + 1))),
        "at": packed_whole(places),
        "share": packed(shown[of, places], "u1"),
    }


def partner_activation(
    side: ExploredSide, features: NDArray[np.int64], other: FeatureStore, partners: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Look up each feature's partner on the examples of the feature: uint8 [n, n_examples, window]."""
    return seen_by(other, partners, windows(side.store.tokens.block, side.views.row[features]))


def _about(side: ExploredSide, words: Words) -> Json:
    """Pack what tables show of each feature."""
    return {
        "kind": packed_whole(side.described.specificity.kind),
        "tokens": packed_whole(word_places(side.described.tokens[:, :SHOWN], words)),
        "density": packed(side.store.moments().density, "f4"),
    }


def word_places(tokens: NDArray[np.int32], words: Words) -> NDArray[np.int32]:
    """Replace token ids by their places among the words; -1 stays."""
    ids, inverse = np.unique(tokens, return_inverse=True)
    places = np.asarray([-1 if token < 0 else words.token(token) for token in ids.tolist()], np.int32)
    return places[inverse].reshape(tokens.shape)


def _features(
    side: ExploredSide, features: NDArray[np.int64], words: Words, place: NDArray[np.uint8]
) -> Iterator[Json]:
    """Yield what the page of each feature shows, and write the places of its examples' tokens to ``place``."""
    raised, lowered = logit_extremes(side.store, features, WEIGHTS, words.decode)
    density = side.store.moments().density
    around = windows(side.store.tokens.block, side.views.row[features])
    for i, feature in enumerate(features.tolist()):
        examples = [
            None if side.views.row[feature, k] < 0 else _example(side, feature, k, around[i, k], words, place)
            for k in range(side.n_examples)
        ]
        strongest = float(side.views.strongest[feature])
        label = None if side.labels is None else side.labels.labels.get(feature)
        yield {
            "density": round(float(density[feature]), 6),
            "purity": round(float(side.described.specificity.purity[feature]), 3),
            "strongest": round(strongest, 4) if strongest > 0 else None,
            "histogram": side.views.histogram[feature].tolist() if strongest > 0 else [],
            "top": [e for e in examples[:STRONGEST] if e],
            "range": [e for e in examples[STRONGEST:] if e],
            "up": [[words.text(t), round(w, 2)] for t, w in (raised[i] if raised else ())],
            "down": [[words.text(t), round(w, 2)] for t, w in (lowered[i] if lowered else ())],
            **({} if label is None else {"label": explored_label(label)}),
        }


def _example(
    side: ExploredSide, feature: int, k: int, around: NDArray[np.int64], words: Words, place: NDArray[np.uint8]
) -> list[Any]:
    """List words, the activation of the feature on each, the place in focus, and the kind."""
    inside = around >= 0
    row = side.views.row[feature, k]
    ids = side.store.tokens.token[around[inside]].tolist()
    focus = int((around[inside] < row).sum())
    places, at, (activation, last) = words.context(
        ids, focus, side.views.own[feature, k][inside].tolist(), range(len(ids))
    )
    place[feature, k][inside] = np.searchsorted(last, np.arange(len(ids)))
    return [places, activation, at, int(side.store.tokens.kind[row])]


def _starts(widths: Sequence[int]) -> list[int]:
    """Number of the first feature of each width, where all widths are numbered together."""
    return [0, *np.cumsum(widths)[:-1].tolist()]


def _families(results: RunResults, name: str, families: Families, words: Words) -> Json:
    """Number the features of all widths, narrowest first, and pack each one's heaviest parent and the other edges."""
    widths = [level.width for level in families.levels]
    starts = np.asarray(_starts(widths))
    edges = families.edges
    up, down = starts[edges.level] + edges.parent, starts[edges.level + 1] + edges.child
    parent, weight = np.full(sum(widths), -1, np.int64), np.zeros(sum(widths))
    best, supports = best_parents(edges), _hundredths(edges.support)
    support = np.full(sum(widths), -1, np.int64)
    parent[down[best]], weight[down[best]], support[down[best]] = up[best], edges.weight[best], supports[best]
    others = np.setdiff1d(np.arange(len(edges)), best)
    effects = _edge_effects(edges, results.family_effects(name))
    effect = np.full(sum(widths), UNKNOWN_EFFECT, np.int64)
    effect[down[best]] = effects[best]
    seed = results.config.saes.seeds[0]
    descriptions = [results.described(results.folder.store(name, width, seed)) for width in widths]
    tokens = np.concatenate([features.tokens[:, :FAMILY_TOKENS] for features in descriptions])
    return {
        "widths": widths,
        "starts": starts.tolist(),
        "shown": FAMILY_TOKENS,
        "parent": packed_whole(parent),
        "weight": packed(weight, "f4"),
        "support": packed(support, "i1"),
        "more_parent": packed_whole(up[others]),
        "more_child": packed_whole(down[others]),
        "more_weight": packed(edges.weight[others], "f4"),
        "more_support": packed(supports[others], "i1"),
        "effect": packed(effect, "i1"),
        "more_effect": packed(effects[others], "i1"),
        "statuses": list(STATUSES),
        "status": packed(np.concatenate([_statuses(families, k) for k in range(len(widths))]), "i1"),
        "count": packed_whole(np.concatenate([level.count for level in families.levels])),
        "kind": packed_whole(np.concatenate([features.specificity.kind for features in descriptions])),
        "tokens": packed_whole(word_places(tokens, words)),
    }


def _hundredths(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round shares to hundredths; -1 where a share is not known."""
    return np.where(np.isnan(shares), -1, np.rint(100 * np.nan_to_num(shares))).astype(np.int64)


def _edge_effects(edges: Edges, measured: pd.DataFrame | None) -> NDArray[np.int64]:
    """Return r of the effects of parent and child per norm of the gradient, in hundredths, for each edge."""
    if measured is None:
        return np.full(len(edges), UNKNOWN_EFFECT, np.int64)
    ends = ["level", "parent", "child"]
    frame = pd.DataFrame({name: getattr(edges, name) for name in ends}).merge(measured, on=ends, how="left")
    r = frame["effect_r"].to_numpy(np.float64)
    return np.where(np.isnan(r), UNKNOWN_EFFECT, np.rint(100 * np.nan_to_num(r))).astype(np.int64)


def _statuses(families: Families, k: int) -> NDArray[np.int64]:
    """Return the place in ``STATUSES`` of every feature of a width."""
    level, edges = families.levels[k], families.edges
    n_parents = np.bincount(edges.child[edges.level == k - 1], minlength=level.width)
    names = status(k, level, families.origins[k], n_parents, families.rule)
    return np.array([STATUSES.index(name) for name in names.tolist()])
