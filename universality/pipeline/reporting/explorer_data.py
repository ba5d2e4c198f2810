"""The data files of the report's explorer, made from a comparison of a run and its families."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.family import Families
from universality.family.edges import best_parents
from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.features.page_views import STRONGEST, Views, feature_views, seen_by, windows
from universality.pipeline.reporting.run_results import Compared, Findings
from universality.report.explorer import Words, packed, write_data

CHUNK = 256
"""Pairs in one file of views."""
SHOWN = 5
"""Tokens of a feature in the table."""
WEIGHTS = 8
"""Tokens that a feature raises most, and as many that it lowers."""
Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Side:
    """One model's features as the explorer shows them; ``features`` are those of the pairs, in the pairs' order."""

    store: FeatureStore
    known: Described
    views: Views
    features: NDArray[np.int64]
    near: NDArray[np.int32]
    near_r: NDArray[np.float32]
    block: NDArray[np.int64]


def write_explorer(found: Findings, head: Compared, folder: Path, grown: Mapping[str, Families]) -> list[Path]:
    """Write ``folder/data/*.js``.

    Parameters
    ----------
    found
        A run.
    head
        The comparison that the page is about.
    folder
        The page's.
    grown
        Families of the models that have them.
    """
    words = Words(found.decode)
    models = head.comparison.sides
    owners = [name if name in grown else None for name in dict.fromkeys(head.comparison.models)]  # one of two seeds
    files = [write_data(folder, name, value) for name, value in _views(found, head, words)]
    files.append(write_data(folder, "pairs", _pairs(head, _known(found, head), words)))
    files.append(write_data(folder, "heatmap", _heatmap(head)))
    files += [write_data(folder, f"map-{k}", _map(store)) for k, store in enumerate(_stores(found, head))]
    for k, name in enumerate(owners):
        if name is not None:
            files.append(write_data(folder, f"families-{k}", _families(found, name, grown[name], words)))
    files.append(write_data(folder, "words", words.texts))
    index = {
        "title": found.config.name,
        "models": models,
        "width": head.comparison.width,
        "n_pairs": len(head.frame),
        "chunk": CHUNK,
        "tokens_shown": SHOWN,
        "kinds": list(_stores(found, head)[0].tokens.kinds),
        "ceilings": [bool(head.frame[f"ceiling_{side}"].notna().any()) for side in "ab"],
        "nulls": [chance.null for chance in head.calibration.chances],
        "families": [k < len(owners) and owners[k] is not None for k in range(2)],
    }
    return [*files, write_data(folder, "index", index)]


def _stores(found: Findings, head: Compared) -> tuple[FeatureStore, FeatureStore]:
    return found.store(head.comparison.a), found.store(head.comparison.b)


def _known(found: Findings, head: Compared) -> tuple[Described, Described]:
    return found.described(head.comparison.a), found.described(head.comparison.b)


def _pairs(head: Compared, known: tuple[Described, Described], words: Words) -> Json:
    """The table's columns."""
    frame = head.frame
    columns: Json = {name: packed(frame[name], "i4") for name in ("row", "col", "count_a", "count_b")}
    for name in ("score", "held_out", "ci_low", "ci_high", "q", "q_kind", "ceiling_a", "ceiling_b", "logit"):
        if name in frame:
            columns[name] = packed(frame[name], "f4")
    for side, name, one in (("a", "row", known[0]), ("b", "col", known[1])):
        features = frame[name].to_numpy()
        columns[f"kind_{side}"] = packed(one.specificity.kind[features], "i2")
        columns[f"tokens_{side}"] = packed(_placed(one.tokens[features, :SHOWN], words), "i4")
    return columns


def _placed(tokens: NDArray[np.int32], words: Words) -> NDArray[np.int32]:
    """Token ids as places among the words, -1 as it is."""
    ids, inverse = np.unique(tokens, return_inverse=True)
    places = np.asarray([-1 if token < 0 else words.token(token) for token in ids.tolist()], np.int32)
    return places[inverse].reshape(tokens.shape)


def _views(found: Findings, head: Compared, words: Words) -> Iterator[tuple[str, Any]]:
    """Files of ``CHUNK`` pairs each."""
    sides = [_side(found, head, which) for which in range(2)]
    partner = [
        seen_by(other.store, other.features, windows(side.block, side.views.row[side.features]))
        for side, other in (sides, sides[::-1])
    ]
    n = len(head.frame)
    for start in range(0, n, CHUNK):
        chunk = slice(start, min(start + CHUNK, n))
        shown = [list(_features(side, seen[chunk], chunk, words)) for side, seen in zip(sides, partner, strict=True)]
        yield f"views-{start // CHUNK}", [{"a": a, "b": b} for a, b in zip(*shown, strict=True)]


def _side(found: Findings, head: Compared, which: int) -> Side:
    store, match = _stores(found, head)[which], head.calibration.match
    best = match.nearest
    known = ((best.best_col, best.best_col_score), (best.best_row, best.best_row_score))[which]
    near, near_r = (
        head.drawn.get(name, some[:, None])
        for name, some in zip((f"near_{'ab'[which]}", f"near_{'ab'[which]}_r"), known, strict=True)
    )
    features = (match.rows, match.cols)[which]
    return Side(store, _known(found, head)[which], feature_views(store), features, near, near_r, store.tokens.block)


def _features(side: Side, seen: NDArray[np.uint8], chunk: slice, words: Words) -> Iterator[Json]:
    """What the view of a pair shows of one model's features."""
    features = side.features[chunk]
    raised, lowered = _logit_extremes(side.store, features)
    density = side.store.moments().density
    around = windows(side.block, side.views.row[features])
    for i, feature in enumerate(features.tolist()):
        examples = [
            None if side.views.row[feature, k] < 0 else _example(side, feature, k, around[i, k], seen[i, k], words)
            for k in range(side.views.row.shape[1])
        ]
        strongest = float(side.views.strongest[feature])
        near = zip(side.near[feature].tolist(), side.near_r[feature].tolist(), strict=True)
        yield {
            "density": round(float(density[feature]), 6),
            "purity": round(float(side.known.specificity.purity[feature]), 3),
            "strongest": round(strongest, 4) if strongest > 0 else None,
            "histogram": side.views.histogram[feature].tolist(),
            "top": [e for e in examples[:STRONGEST] if e],
            "range": [e for e in examples[STRONGEST:] if e],
            "up": [[words.token(t), round(w, 2)] for t, w in (raised[i] if raised else ())],
            "down": [[words.token(t), round(w, 2)] for t, w in (lowered[i] if lowered else ())],
            "near": [[partner, round(r, 3)] for partner, r in near if partner >= 0],
        }


def _example(
    side: Side, feature: int, k: int, around: NDArray[np.int64], seen: NDArray[np.uint8], words: Words
) -> list[Any]:
    """Words, the feature and its partner on each, the place in focus, and the kind of the text."""
    inside = around >= 0
    row = side.views.row[feature, k]
    ids = side.store.tokens.token[around[inside]].tolist()
    own, other = side.views.own[feature, k][inside].tolist(), seen[inside].tolist()
    focus = int((around[inside] < row).sum())
    places, at, (own, other) = words.context(ids, focus, own, other)
    return [places, own, other, at, int(side.store.tokens.kind[row])]


Weights = list[list[tuple[int, float]]]


def _logit_extremes(store: FeatureStore, features: NDArray[np.int64]) -> tuple[Weights, Weights]:
    """Tokens whose logits each feature raises and lowers most by its direct path; empty where the site has none.

    Weights are those of `Unembedding.logit_weights`, centred over the vocabulary that counts.
    """
    dictionary, unembedding = store.dictionary, store.unembedding()
    if dictionary is None or dictionary.residual is None or unembedding is None:
        return [], []
    counts = np.flatnonzero(unembedding.mask)
    weights = unembedding.logit_weights(dictionary.residual[features], centred_over=unembedding.mask)[:, counts]
    k = min(WEIGHTS, len(counts))
    return _largest(weights, counts, k, 1.0), _largest(weights, counts, k, -1.0)


def _largest(weights: NDArray[np.float32], tokens: NDArray[np.int64], k: int, sign: float) -> Weights:
    near = np.argpartition(-sign * weights, k - 1, axis=1)[:, :k]
    value = np.take_along_axis(weights, near, axis=1)
    order = np.argsort(-sign * value, axis=1, kind="stable")
    near, value = np.take_along_axis(near, order, axis=1), np.take_along_axis(value, order, axis=1)
    return [list(zip(tokens[i].tolist(), v.tolist(), strict=True)) for i, v in zip(near, value, strict=True)]


def _heatmap(head: Compared) -> Json:
    """Samples of the matched matrix in hundredths, -128 for none."""

    def of(name: str) -> Json:
        matrix = head.drawn[f"{name}_matrix"]
        hundredths = np.where(np.isnan(matrix), -128, np.rint(np.clip(np.nan_to_num(matrix), -1, 1) * 100))
        return {"pair": packed(head.drawn[name], "i4"), "matrix": packed(hundredths, "i1")}

    return {name: of(name) for name in ("sample", "best")}


def _map(store: FeatureStore) -> Json:
    """Living features by the first two principal axes of their unit decoder rows, each axis over ±32767."""
    xy = np.full((store.n_features, 2), -32768, np.int16)
    alive = np.flatnonzero(store.alive)
    dictionary = store.dictionary
    if dictionary is None or len(alive) < 2:
        return {"xy": packed(xy, "i2"), "explained": 0.0}
    rows = dictionary.decoder[alive]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    rows -= rows.mean(axis=0)
    variance, axes = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    place = rows @ axes[:, :-3:-1]
    place *= np.where(place[np.abs(place).argmax(axis=0), np.arange(place.shape[1])] < 0, -1, 1)  # no free sign
    place /= np.maximum(np.abs(place).max(axis=0), 1e-12)
    xy[alive, : place.shape[1]] = np.rint(place * 32767)
    total = float(variance.sum())
    return {"xy": packed(xy, "i2"), "explained": round(float(variance[-2:].sum()) / total, 3) if total > 0 else 0.0}


def _families(found: Findings, name: str, grown: Families, words: Words) -> Json:
    """Features of all widths in one numbering, narrowest first; every child's heaviest parent, and the others."""
    widths = [level.width for level in grown.levels]
    starts = np.concatenate([[0], np.cumsum(widths)])
    edges = grown.edges
    up, down = starts[edges.level] + edges.parent, starts[edges.level + 1] + edges.child
    parent, weight = np.full(starts[-1], -1, np.int64), np.zeros(starts[-1])
    best = best_parents(edges)
    parent[down[best]], weight[down[best]] = up[best], edges.weight[best]
    more = np.setdiff1d(np.arange(len(edges)), best)
    seed = found.config.saes.seeds[0]
    known = [found.described(found.folder.store(name, width, seed)) for width in widths]
    return {
        "widths": widths,
        "starts": starts[:-1].tolist(),
        "shown": 3,
        "parent": packed(parent, "i4"),
        "weight": packed(weight, "f4"),
        "more_parent": packed(up[more], "i4"),
        "more_child": packed(down[more], "i4"),
        "count": packed(np.concatenate([level.count for level in grown.levels]), "i4"),
        "kind": packed(np.concatenate([one.specificity.kind for one in known]), "i2"),
        "tokens": packed(_placed(np.concatenate([one.tokens[:, :3] for one in known]), words), "i4"),
    }
