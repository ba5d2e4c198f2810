"""The page of one feature, matched or not: what it fires on, its partner, and its neighbours within the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from universality.errors import UniversalityError
from universality.features.page_views import STRONGEST, Views, feature_view, shares, windows
from universality.pipeline.reporting.explorer_data import WEIGHTS
from universality.pipeline.reporting.label_rows import explored_label
from universality.pipeline.reporting.text_excerpts import logit_extremes
from universality.report.explorer import Words
from universality.serve.live_run import LiveRun, LiveSide, number
from universality.serve.text_answer import SHOWN

NEIGHBOURS = 10
"""Features of the same model that are listed, by the cosine of their decoder rows."""
Json = dict[str, Any]


def feature_answer(run: LiveRun, which: int, feature: int) -> Json:
    """Return what the page shows of a feature, ready for JSON.

    Parameters
    ----------
    which
        Side: 0 or 1.
    feature
        Index in the side's store.

    Returns
    -------
    dict
        ``words``, ``side``, ``feature``; ``pair``, an entry of `LiveRun.pairs` or None; ``view`` as data files hold
        it for a feature of a pair; ``nearest``: those features whose decoder rows have the highest cosine with this
        one's, None for a store without a dictionary.

    Raises
    ------
    UniversalityError
        If there is no such feature.
    """
    side = run.sides[which]
    if not 0 <= feature < side.n_features:
        raise UniversalityError(
            f"feature {feature}: {side.name}, {side.width} wide, has features 0 to {side.n_features - 1}"
        )
    words = Words(run.results.decode)
    pair = int(side.pair_of[feature])
    return {
        "side": which,
        "feature": feature,
        "pair": None if pair < 0 else run.pairs(np.asarray([pair]))[0],
        "view": _view(run, which, feature, words),
        "nearest": nearest_by_decoder(side, feature, words),
        "words": words.texts,
    }


def nearest_by_decoder(side: LiveSide, feature: int, words: Words) -> list[Json] | None:
    """List the features of the same SAE with the highest cosine of decoder rows, those that never fire left out."""
    if side.described.store.decoder_shape is None:
        return None
    cosine = side.directions @ side.directions[feature]
    others = np.flatnonzero(side.described.store.alive)
    others = others[others != feature]
    n = min(NEIGHBOURS, len(others))
    near = others[np.argpartition(-cosine[others], n - 1)[:n]] if n else others
    near = near[np.lexsort((near, -cosine[near]))]
    return [described_feature(side, other, words) | {"cosine": number(cosine[other])} for other in near.tolist()]


def described_feature(side: LiveSide, feature: int, words: Words) -> Json:
    """Return what lists show of a feature: its number, pair, heaviest tokens and label."""
    tokens = side.described.tokens[feature, :SHOWN].tolist()
    return {
        "feature": feature,
        "pair": int(side.pair_of[feature]),
        "tokens": [words.token(token) for token in tokens if token >= 0],
        "label": side.label(feature),
    }


def _view(run: LiveRun, which: int, feature: int, words: Words) -> Json:
    side, other = run.sides[which], run.sides[1 - which]
    store, kinds = side.described.store, side.described.specificity
    block = store.tokens.block
    rows, values = store.feature(feature)
    view = feature_view(rows, values, block)
    around = windows(block, view.row)[0]
    pair, match = int(side.pair_of[feature]), run.compared.calibration.match
    partner = np.zeros(around.shape, np.uint8)
    if pair >= 0:
        rows, values = other.described.store.feature(int((match.cols, match.rows)[which][pair]))
        if len(values) and values.max() > 0:
            partner = shares(rows, values, values.max(), around)
    examples = [
        _example(side, view, k, around[k], partner[k], words) for k in range(len(around)) if view.row[0, k] >= 0
    ]
    n_top = int((view.row[0, :STRONGEST] >= 0).sum())
    raised, lowered = logit_extremes(store, np.asarray([feature]), WEIGHTS, words.decode)
    strongest, kind, label = float(view.strongest[0]), int(kinds.kind[feature]), side.labels.get(feature)
    return {
        "density": round(float(store.moments().density[feature]), 6),
        "purity": round(float(kinds.purity[feature]), 3),
        "kind": kinds.kinds[kind] if kind >= 0 else "",
        "tokens": described_feature(side, feature, words)["tokens"],
        "strongest": round(strongest, 4) if strongest > 0 else None,
        "histogram": view.histogram[0].tolist(),
        "top": examples[:n_top],
        "range": examples[n_top:],
        "up": [[words.text(token), round(weight, 2)] for token, weight in (raised[0] if raised else ())],
        "down": [[words.text(token), round(weight, 2)] for token, weight in (lowered[0] if lowered else ())],
        "near": _near(run, which, feature),
        **({} if label is None else {"label": explored_label(label)}),
    }


def _example(side: LiveSide, view: Views, k: int, around: Any, partner: Any, words: Words) -> list[Any]:
    """List words, the activations of the feature and of its partner on each, the place in focus, and the kind."""
    tokens, inside, row = side.described.store.tokens, around >= 0, view.row[0, k]
    ids, focus = tokens.token[around[inside]].tolist(), int((around[inside] < row).sum())
    own, other = view.own[0, k][inside].tolist(), partner[inside].tolist()
    places, at, columns = words.context(ids, focus, own, other)
    return [places, *columns, at, int(tokens.kind[row])]


def _near(run: LiveRun, which: int, feature: int) -> list[list[Any]]:
    """List the most similar features of the other model with their r, as the run stored them."""
    name, best = "ab"[which], run.compared.calibration.match.nearest
    single = ((best.best_col, best.best_col_score), (best.best_row, best.best_row_score))[which]
    arrays = run.compared.arrays
    near = arrays.get(f"near_{name}", single[0][:, None])[feature]
    r = arrays.get(f"near_{name}_r", single[1][:, None])[feature]
    return [[int(other), round(float(value), 3)] for other, value in zip(near, r, strict=True) if other >= 0]
