"""Comparison of what two features do to the next token where both fire, by ablating and by clamping them.

Besides the partner, one control for each pair is changed at the same tokens: a feature of B, other than the partner,
that fires at them, too, and about as often elsewhere. Its agreement with A's feature is what features have in common
that share contexts, but were not matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from universality.arrays import FloatArray, IntArray
from universality.effects.contexts import Contexts, firing_alike, joint_rows, place
from universality.effects.fingerprinting import FingerprintSettings, mean_changes, set_to
from universality.effects.fingerprints import WEIGHTINGS, TokenSet, standardised
from universality.effects.model_features import ModelFeatures
from universality.effects.pair_effects import DIRECTIONS, INTERVENTIONS, N_TOKENS, PairEffects
from universality.errors import UniversalityError
from universality.progress import progress

N_CONTEXTS = 8


class _Changed(NamedTuple):
    """Features that are changed, one a pair, and where."""

    features: ModelFeatures
    tokens: TokenSet
    contexts: Contexts


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
    settings: FingerprintSettings = FingerprintSettings(),
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
    controlled = controls[pair] >= 0
    changed = (
        _Changed(a, tokens[0], place(a, pair, i[pair], store_row)),
        _Changed(b, tokens[1], place(b, pair, j[pair], store_row)),
        _Changed(b, tokens[1], place(b, pair[controlled], controls[pair][controlled], store_row[controlled])),
    )
    n_pairs, n_shown = i.size, min(N_TOKENS, *map(len, tokens))
    lists = (2, n_pairs, len(INTERVENTIONS), len(DIRECTIONS), n_shown)
    found, changes = np.full(lists, -1, np.int32), np.zeros(lists, np.float32)
    r, control_r = (np.full((n_pairs, len(INTERVENTIONS), len(WEIGHTINGS)), np.nan) for _ in range(2))
    with progress(desc="pairs", total=n_pairs * len(INTERVENTIONS), silent=settings.silent, unit="pair") as bar:
        for how, factor in enumerate((0.0, times)):
            for at, of_a, of_b, of_control in _together(changed, n_pairs, factor, settings):
                for side, part in enumerate((of_a, of_b)):
                    found[side, at, how], changes[side, at, how] = _extremes(part[:, 1], tokens[side], n_shown)
                for w, weighting in enumerate(WEIGHTINGS):
                    unit = [standardised(part[:, 0], tokens[0].weights(weighting)) for part in (of_a, of_b, of_control)]
                    r[at, how, w], control_r[at, how, w] = _r(unit[0], unit[1]), _r(unit[0], unit[2])
                bar.update(len(of_a))
    n = np.bincount(pair, minlength=n_pairs)
    return PairEffects(i, j, n, r, controls, share, control_r, found, changes, times, _provenance(a, b, n_contexts))


def _together(
    changed: tuple[_Changed, ...], n_pairs: int, times: float, settings: FingerprintSettings
) -> Iterator[tuple[slice, *tuple[NDArray[np.float32], ...]]]:
    """Iterate over some pairs at a time, with the mean changes [n, 2, n_tokens] by each of the features."""
    budget = max(1, settings.memory_budget // (2 * len(changed)))  # as much again for the unit vectors in float64
    one = replace(settings, memory_budget=budget, silent=True)
    parts = [
        mean_changes(
            side.features,
            side.tokens,
            side.contexts,
            np.bincount(side.contexts.row, minlength=n_pairs),
            "pairs",
            set_to(side.features, side.contexts, times),
            one,
            probabilities=True,
        )
        for side in changed
    ]
    for of_each in zip(*parts, strict=True):
        low, n = of_each[0][0], len(of_each[0][1])
        yield slice(low, low + n), *(values for _, values in of_each)


def _extremes(
    changes: NDArray[np.float32], tokens: TokenSet, n_shown: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find the tokens whose probabilities [n, n_tokens] rise and fall most, both [n, direction, n_shown]."""
    found, values = [], []
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
            "sae": side.sae.hash,
            "site": side.site.hook,
            "text": side.blocks.hash,
            "store": side.store.content_hash(),
        }
        for name, side in (("a", a), ("b", b))
    }
    return {"contexts": n_contexts, **sides}
