"""Nearest features within the model, by the cosine of decoder rows, for the page of a feature."""

from __future__ import annotations

from typing import Any

import numpy as np

from universality.errors import UniversalityError
from universality.report.explorer import Words
from universality.serve.live_run import LiveComparison, LiveSide, number

NEIGHBOURS = 10
"""Features that are listed."""
SHOWN = 5
"""Tokens that describe a feature in lists."""
Json = dict[str, Any]


def near_features(live: LiveComparison, which: int, feature: int) -> Json:
    """Return the features of the same SAE whose decoder rows have the highest cosine with a feature's.

    Parameters
    ----------
    which
        Side of the comparison: 0 or 1.
    feature
        Index in the side's store.

    Returns
    -------
    dict
        ``nearest``: `described_feature` of each with its ``cosine``, the highest first and those that never fire left
        out; None for a store without a dictionary. ``words`` that these refer to.

    Raises
    ------
    UniversalityError
        If there is no such feature.
    """
    side = live.sides[which]
    if not 0 <= feature < side.n_features:
        raise UniversalityError(
            f"feature {feature}: {side.name}, {side.width} wide, has features 0 to {side.n_features - 1}"
        )
    words = live.run.words()
    return {"nearest": _nearest(side, feature, words), "words": words.texts}


def _nearest(side: LiveSide, feature: int, words: Words) -> list[Json] | None:
    if side.described.store.decoder_shape is None:
        return None
    # einsum stays on this core: BLAS wakes threads for it, which took 24 ms on busy cores where this takes 1 ms
    cosine = np.einsum("ij,j->i", side.directions, side.directions[feature])
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
