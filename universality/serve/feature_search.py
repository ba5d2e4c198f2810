"""Search through all features of both models, matched or not: by number, label, token and kind of text."""

from __future__ import annotations

from typing import Any

import numpy as np

from universality.arrays import BoolArray
from universality.errors import UniversalityError
from universality.report.explorer import Words
from universality.serve.live_run import LiveComparison, LiveSide, number
from universality.serve.near_features import described_feature

MOST_RESULTS = 100
"""Features of each model that are listed."""
MOST_QUERY = 200
"""Longest query in characters."""
Json = dict[str, Any]


def search_answer(live: LiveComparison, query: str) -> Json:
    """Return the features of both models that a query finds, ready for JSON.

    A feature is found by its number, or if its label, one of the tokens that hold most of its activation, or its kind
    of text contains the query; capitals do not matter. Found numbers stand first, then labels, tokens and kinds; within
    each, features that fire more often.

    Raises
    ------
    UniversalityError
        If the query is empty or too long.
    """
    wanted = query.strip().lower()
    if not 0 < len(wanted) <= MOST_QUERY:
        raise UniversalityError(f"search: expected 1 to {MOST_QUERY} characters, found {len(wanted)}")
    words = live.run.words()
    return {"sides": [_side(side, wanted, words) for side in live.sides], "most": MOST_RESULTS, "words": words.texts}


def _side(side: LiveSide, wanted: str, words: Words) -> Json:
    ways = {
        "number": _numbered(side, wanted),
        "label": _labelled(side, wanted),
        "token": _with_token(side, wanted, words),
        "kind": _of_kind(side, wanted),
    }
    rank = np.select(list(ways.values()), range(len(ways)), len(ways))
    found = np.flatnonzero(rank < len(ways))
    density = side.described.store.moments().density
    order = found[np.lexsort((found, -density[found], rank[found]))][:MOST_RESULTS]
    kinds, names = side.described.specificity, list(ways)
    features = [
        described_feature(side, feature, words)
        | {
            "by": names[rank[feature]],
            "density": number(density[feature]),
            "kind": kinds.kinds[kinds.kind[feature]] if kinds.kind[feature] >= 0 else "",
        }
        for feature in order.tolist()
    ]
    return {"n": len(found), "features": features}


def _numbered(side: LiveSide, wanted: str) -> BoolArray:
    digits = wanted.removeprefix("#")
    number = int(digits) if digits.isascii() and digits.isdecimal() else -1
    return np.arange(side.n_features) == number


def _labelled(side: LiveSide, wanted: str) -> BoolArray:
    found = np.zeros(side.n_features, bool)
    found[[feature for feature in side.labels if wanted in side.labels[feature].explanation.lower()]] = True
    return found


def _with_token(side: LiveSide, wanted: str, words: Words) -> BoolArray:
    tokens = side.described.tokens
    ids = np.unique(tokens[tokens >= 0])
    holds = [wanted in text.lower() for text in words.decode(ids.tolist())]
    return np.asarray(np.isin(tokens, ids[holds]).any(axis=1))


def _of_kind(side: LiveSide, wanted: str) -> BoolArray:
    kinds = side.described.specificity
    codes = [code for code, name in enumerate(kinds.kinds) if wanted in name.lower()]
    return np.isin(kinds.kind, codes)
