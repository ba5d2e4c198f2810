"""Comparison of what two features do to the next token where both fire, by ablating and by clamping them.

Besides the partner, one control for each pair is changed at the same tokens: a feature of B, other than the partner,
that fires at them, too, and about as often elsewhere. Its agreement with A's feature is what features have in common
that share contexts, but were not matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from universality.arrays import FloatArray
from universality.effects.contexts import Contexts, firing_alike, joint_rows, place
from universality.effects.fingerprinting import FingerprintSettings, mean_changes, set_to
from universality.effects.fingerprints import WEIGHTINGS, TokenSet, standardised
from universality.effects.model_features import ModelFeatures
from universality.effects.pair_effects import INTERVENTIONS, N_TOKENS, PairEffects
from universality.errors import UniversalityError
from universality.progress import progress

N_CONTEXTS = 8
_COMPARED = 64  # pairs that are compared at a time, so that their unit vectors in float64 stay in the cache
_SETTINGS = FingerprintSettings()
_Part = tuple[FloatArray, FloatArray, NDArray[np.int32], NDArray[np.float32]]
"""r and r of controls [n, intervention, weighting], tokens and changes [n, side, intervention, direction, n_shown]."""


def measure_pair_effects(
    a: ModelFeatures,
    b: ModelFeatures,
    tokens: tuple[TokenSet, TokenSet],
    rows: npt.ArrayLike,
    cols: npt.ArrayLike,
    *,
    times: float = 1,
    n_contexts: int = N_CONTEXTS,
    documents: npt.ArrayLike | None = None,
    settings: FingerprintSettings = _SETTINGS,
) -> PairEffects:
    """Ablate and clamp the features of pairs at tokens where both fire, and compare what becomes of the next token.

    Parameters
    ----------
    a, b, tokens, rows, cols, documents
        As for `pair_fingerprints`.
    times
        Multiple of its largest activation to which a feature is clamped. 1, the default, is an activation that the
        model has met.
    n_contexts
        Tokens of each pair, of as many blocks as possible; all where there are fewer.
    settings
        See `FingerprintSettings`. Nothing is projected: as many pairs are held at a time as the budget allows.

    Raises
    ------
    MismatchError
        If the stores saw different tokens, or there are not as many features of A as of B.
    ModelError
        If nothing that a model predicts depends on its hook.
    UniversalityError
        If a number, a feature or a document is out of range, or changes at later positions are asked for.
    """
    if settings.later:
        raise UniversalityError("pair effects: changes are of the position itself; leave settings.later out")
    i, j = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    pair, store_row = joint_rows(a, b, i, j, n_contexts, documents=documents, seed=settings.seed)
    controls, share = firing_alike(b, pair, store_row, j)
    has_control = controls[pair] >= 0
    of_control = pair[has_control]
    places_a = [place(a, pair, i[pair], store_row)]
    places_b = [
        place(b, pair, j[pair], store_row),
        place(b, of_control, controls[of_control], store_row[has_control]),
    ]
    parts = [
        _by_pair(side, of, places, times, i.size, settings)
        for side, of, places in zip((a, b), tokens, (places_a, places_b), strict=True)
    ]
    measured: list[_Part] = []
    with progress(desc="pairs", total=i.size, silent=settings.silent, unit="pair") as bar:
        for of_a, of_b in zip(*parts, strict=True):
            for low in range(0, len(of_a), _COMPARED):
                some = slice(low, low + _COMPARED)
                measured.append(_compared(of_a[some, 0], of_b[some, 0], of_b[some, 1], tokens))
                bar.update(len(measured[-1][0]))
    r, control_r, found, changes = (np.concatenate(part) for part in zip(*measured, strict=True))
    return PairEffects(
        i,
        j,
        np.bincount(pair, minlength=i.size),
        r,
        controls,
        share,
        control_r,
        np.moveaxis(found, 1, 0),
        np.moveaxis(changes, 1, 0),
        times,
        _provenance(a, b, n_contexts),
    )


def _by_pair(
    features: ModelFeatures,
    tokens: TokenSet,
    places: list[Contexts],
    times: float,
    n_pairs: int,
    settings: FingerprintSettings,
) -> Iterator[NDArray[np.float32]]:
    """Iterate over the mean changes [n, len(places), intervention, 2, n_tokens] of some pairs at a time.

    The changes of one model share plain forward passes, so they are rows of one array.
    """
    kinds = [(contexts, factor) for contexts in places for factor in (0.0, times)]
    row = np.concatenate([contexts.row * len(kinds) + k for k, (contexts, _) in enumerate(kinds)])
    feature, block, column = (
        np.concatenate([getattr(contexts, name) for contexts, _ in kinds]) for name in ("feature", "block", "column")
    )
    joined = Contexts(row, feature, block, column)
    factors = np.repeat([factor for _, factor in kinds], [len(contexts) for contexts, _ in kinds])
    row_bytes = 2 * 4 * len(tokens)
    at_once = max(1, settings.memory_budget // (row_bytes * 6))  # a pair has six rows, in both models
    one = replace(settings, memory_budget=at_once * len(kinds) * row_bytes, silent=True)
    n = np.bincount(joined.row, minlength=n_pairs * len(kinds))
    change = set_to(features, joined, factors)
    for _, values in mean_changes(features, tokens, joined, n, "pairs", change, one, probabilities=True):
        yield values.reshape(-1, len(places), len(INTERVENTIONS), *values.shape[1:])


def _compared(
    a: NDArray[np.float32], b: NDArray[np.float32], control: NDArray[np.float32], tokens: tuple[TokenSet, TokenSet]
) -> _Part:
    """Compare changes [n, intervention, 2, n_tokens] of some pairs, and find the tokens that change most."""
    r, control_r = (np.full((len(a), len(INTERVENTIONS), len(WEIGHTINGS)), np.nan) for _ in range(2))
    for how in range(len(INTERVENTIONS)):
        for w, weighting in enumerate(WEIGHTINGS):
            x, y, z = (standardised(part[:, how, 0], tokens[0].weights(weighting)) for part in (a, b, control))
            r[:, how, w], control_r[:, how, w] = _r(x, y), _r(x, z)
    shown = [
        [_extremes(part[:, how, 1], of) for how in range(len(INTERVENTIONS))]
        for part, of in zip((a, b), tokens, strict=True)
    ]
    found = np.stack([np.stack([tokens_of for tokens_of, _ in side], axis=1) for side in shown], axis=1)
    changes = np.stack([np.stack([values for _, values in side], axis=1) for side in shown], axis=1)
    return r, control_r, found, changes


def _extremes(changes: NDArray[np.float32], tokens: TokenSet) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find the tokens whose probabilities [n, n_tokens] rise and fall most, both [n, direction, n_shown]."""
    found, values, n_shown = [], [], min(N_TOKENS, len(tokens))
    for sign in (1, -1):
        # argpartition is linear in the number of tokens; only those that it finds are sorted
        places = np.argpartition(-sign * changes, n_shown - 1, axis=1)[:, :n_shown]
        largest = np.take_along_axis(changes, places, axis=1)
        order = np.lexsort((places, -sign * largest), axis=1)
        places, largest = np.take_along_axis(places, order, axis=1), np.take_along_axis(largest, order, axis=1)
        changed = sign * largest > 0
        found.append(np.where(changed, tokens.entries[places], -1))
        values.append(np.where(changed, largest, 0))
    return np.stack(found, axis=1).astype(np.int32), np.stack(values, axis=1)


def _r(x: FloatArray, y: FloatArray) -> FloatArray:
    """R of rows, from their unit vectors; NaN where one does not vary."""
    known = x.any(axis=1) & y.any(axis=1)
    return np.where(known, np.clip((x * y).sum(axis=1), -1, 1), np.nan)


def _provenance(a: ModelFeatures, b: ModelFeatures, n_contexts: int) -> dict[str, Any]:
    sides = {
        name: {
            "model": {"name": side.site.name, "hash": side.site.model_hash},
            "sae": side.require_sae().hash,
            "site": side.site.hook,
            "text": side.blocks.hash,
            "store": side.store.content_hash(),
        }
        for name, side in (("a", a), ("b", b))
    }
    return {"contexts": n_contexts, **sides}
