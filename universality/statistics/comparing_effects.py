"""Compare the effects of matched features over the tokens where both fire.

Over all tokens, zeros included, effects correlate mostly because features fire together. What agreement means is
therefore asked only of the tokens where both fire, on documents that did not choose the partners, beside two nulls:
slopes of other documents (`universality.statistics.slope_permutation`) and features of B that fire with A's feature as
often as the partner does (`universality.statistics.co_firing_controls`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.arrays import FloatArray, IntArray
from universality.checked_settings import Count, Natural, checked
from universality.compiled import share_out
from universality.errors import MismatchError
from universality.matching import Match
from universality.matching.medians import known_median
from universality.similarity import DEFAULT_BUDGET, Similarity
from universality.similarity.engine.group_sums import GroupMoments
from universality.similarity.engine.token_selection import check_same_tokens, check_stores
from universality.statistics.bootstrap import Intervals, resampled
from universality.statistics.co_firing_controls import NO_CONTROLS, ControlFinder, Controls
from universality.statistics.co_firing_effects import MIN_TOKENS, CoFiring, co_firing
from universality.statistics.effect_agreement import EffectAgreement
from universality.statistics.effect_firings import CountedTokens, EffectFirings, read_effects
from universality.statistics.null_settings import NullSettings
from universality.statistics.pooled_p import corrected
from universality.statistics.slope_permutation import slope_test

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

PERMUTATIONS = 999
CONTROLS = 20
_CHUNK = 32  # pairs that a thread compares at a time


class FeaturePairs(NamedTuple):
    """Pairs of features of two stores, of which a feature may be in several, such as the edges of families.

    Parameters
    ----------
    rows, cols
        int64 [n_pairs], features of the first store and of the second.
    shape
        Number of features of each store.
    """

    rows: IntArray
    cols: IntArray
    shape: tuple[int, int]


def compare_effects(
    matched: Match | FeaturePairs,
    a: FeatureStore,
    b: FeatureStore,
    effects_a: FeatureStore,
    effects_b: FeatureStore,
    norm_a: npt.ArrayLike,
    norm_b: npt.ArrayLike,
    fingerprints: Mapping[str, Similarity] | None = None,
    permutations: int = PERMUTATIONS,
    controls: int = CONTROLS,
    bootstrap: int = NullSettings.bootstrap,
    seed: int = NullSettings.seed,
    memory_budget: int = DEFAULT_BUDGET,
) -> EffectAgreement:
    """Compare the effects of matched features over the tokens where both fire.

    Parameters
    ----------
    matched
        Pairs of features, chosen on the documents of split "choose", or without regard to their effects.
    a, b
        Stores of the activations; documents of split "report" are compared.
    effects_a, effects_b
        Stores of the effects of the same firings on the loss, in nats.
    norm_a, norm_b
        float [n_tokens], norm of the gradient of the loss at each token, where the SAE writes. Tokens with norm 0 have
        no loss behind them and are left out.
    fingerprints
        Name → similarity of fingerprints, or any other, whose scores of the pairs and controls are reported beside.
    permutations
        Draws of the null for each pair; 0 for no p-values. The smallest p is 1 / (1 + permutations), so that at least
        n_pairs / (0.05 · (1 + permutations)) pairs must have it before any q is at most 0.05.
    controls
        Features of B to compare with each partner; 0 for none.
    bootstrap
        Resamples of groups of documents for the intervals of each pair and of the median; 0 for none.
    seed
        Seed for permutations and resamples.
    memory_budget
        Bytes for the firings of each side.

    Returns
    -------
    EffectAgreement
        Numbers of every pair; NaN, and the reason, where features fire together on fewer than 30 tokens.

    Raises
    ------
    MismatchError
        If stores, norms, fingerprints and matching do not belong together.
    UniversalityError
        If a number is out of range, no token of the reporting half counts, or the firings exceed the budget.

    Examples
    --------
    Thirty features that fire alike in two models, first with equal effects, then with independent ones:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from universality.matching import match
    >>> from universality.statistics import evaluation_halves
    >>> from universality.statistics.synthetic import World
    >>> from universality.statistics.synthetic_effects import EffectWorld, plant_effects
    >>> world = World(n_documents=60, blocks=2, n_shared=30, n_alone=0, density=(0.05, 0.05), topic_share=1.0)
    >>> for relation in ("equal", "independent"):
    ...     with TemporaryDirectory() as folder:
    ...         _, inputs = plant_effects(world, EffectWorld(relation), Path(folder))
    ...         chosen = match(Similarity.activation(inputs.a, inputs.b, documents=evaluation_halves(inputs.a).choose))
    ...         summary = compare_effects(chosen, *inputs).summary()
    ...         print(relation, round(summary.r, 1), summary.share_agree)
    equal 0.9 1.0
    independent 0.2 0.0
    """
    settings: dict[str, Any] = {
        "permutations": permutations,
        "controls": controls,
        "bootstrap": bootstrap,
        "seed": seed,
    }
    for name, value in settings.items():
        checked(name, value, Natural)
    checked("memory_budget", memory_budget, Count)
    fingerprints = dict(fingerprints or {})
    _check_inputs(matched, a, b, effects_a, effects_b, fingerprints)
    tokens = CountedTokens.of(a, norm_a, norm_b)
    side_a, side_b = (
        read_effects(store, effects, tokens, memory_budget) for store, effects in ((a, effects_a), (b, effects_b))
    )
    comparison = _Comparison(side_a, side_b, tokens, permutations, controls, seed)
    compared = comparison.all_pairs(matched.rows, matched.cols)
    columns = {name: np.array([pair.numbers[name] for pair in compared], np.float64) for name in _NUMBERS}
    intervals = _intervals(compared, tokens.n_units, bootstrap, seed, memory_budget)
    columns["ci_low"], columns["ci_high"] = intervals.low, intervals.high
    columns["q"], columns["q_opposite"] = (corrected(columns[p], 0, 0.05)[0] for p in ("p", "p_opposite"))
    for name, similarity in fingerprints.items():
        columns |= _of_fingerprint(name, similarity, matched, compared)
    frame = pd.DataFrame({"row": matched.rows, "col": matched.cols, **_ordered(columns)})
    frame["n"] = frame["n"].astype(np.int64)
    frame["n_controls"] = frame["n_controls"].astype(np.int64)
    frame["note"] = pd.Series([pair.note for pair in compared], dtype=object)
    provenance = {"a": _describe(a), "b": _describe(b), "n_tokens": len(tokens)}
    settings |= {"fingerprints": list(fingerprints)}
    low, high = intervals.median.tolist()
    return EffectAgreement(frame, settings, provenance, (low, high), intervals.n_groups)


_NUMBERS = (
    "n", "r", "r_per_norm", "null_r", "p", "p_opposite", "sign_agreement", "sign_chance", "n_controls", "overlap",
    "control_r", "control_rank",
)  # fmt: skip


class _Compared(NamedTuple):
    """One pair: its numbers, and what intervals and fingerprints need."""

    numbers: dict[str, float]
    units: IntArray
    sums: FloatArray
    controls: IntArray
    note: str


class _Comparison(NamedTuple):
    """Everything that all pairs share."""

    a: EffectFirings
    b: EffectFirings
    tokens: CountedTokens
    permutations: int
    controls: int
    seed: int

    def all_pairs(self, rows: IntArray, cols: IntArray) -> list[_Compared]:
        """Compare pairs on as many threads as numba has."""
        finder = ControlFinder(self.a, self.b, self.tokens, self.controls) if self.controls else None

        def some(part: slice) -> list[_Compared]:
            controls = finder.find(rows[part], cols[part]) if finder else [NO_CONTROLS] * rows[part].size
            pairs = zip(rows[part].tolist(), cols[part].tolist(), controls, strict=True)
            return [self.one_pair(*pair) for pair in pairs]

        parts = [slice(low, low + _CHUNK) for low in range(0, rows.size, _CHUNK)]
        return [pair for found in share_out(some, parts) for pair in found]

    def one_pair(self, row: int, col: int, controls: Controls) -> _Compared:
        """Compare one pair with its nulls."""
        pair = co_firing(self.a, self.b, row, col, self.tokens)
        numbers = dict.fromkeys(_NUMBERS, np.nan) | {"n": float(pair.n), "n_controls": 0.0}
        if pair.n < MIN_TOKENS:
            note = f"both fire on {pair.n} tokens of the reporting half, {MIN_TOKENS} are needed"
            return _Compared(numbers, np.zeros(0, np.int64), np.zeros((6, 0)), NO_CONTROLS.features, note)
        numbers |= {"r": pair.r, "r_per_norm": pair.r_per_norm}
        numbers["sign_agreement"], numbers["sign_chance"] = pair.signs()
        note = self._test(pair, row, col, numbers)
        numbers |= _among(numbers["r_per_norm"], controls)
        return _Compared(numbers, *pair.unit_sums(self.tokens.unit_of_segment), controls.features, note)

    def _test(self, pair: CoFiring, row: int, col: int, numbers: dict[str, float]) -> str:
        """Add null_r and p-values; return why there is no p."""
        if np.isnan(numbers["r_per_norm"]):
            return "the effects of a feature do not vary"
        test = slope_test(pair, self.tokens.kind_of_segment, self.permutations, (self.seed, row, col))
        numbers |= {"p": test.p, "p_opposite": test.p_opposite, "null_r": test.null_r}
        return test.reason


def _among(partner: float, controls: Controls) -> dict[str, float]:
    """Number, overlap and median r of the controls, and the rank of the partner among those with an r."""
    rank = _rank(partner, controls.r)
    overlap = float(np.median(controls.overlap)) if controls.overlap.size else np.nan
    n = float((~np.isnan(controls.r)).sum())
    return {"n_controls": n, "overlap": overlap, "control_r": known_median(controls.r), "control_rank": rank}


def _rank(partner: float, others: FloatArray) -> float:
    """Rank of the partner, 1 for the best; NaN without a score of its own or of others. Ties count against it."""
    known = others[~np.isnan(others)]
    return np.nan if np.isnan(partner) or not known.size else 1.0 + float((known >= partner).sum())


def _intervals(compared: list[_Compared], n_units: int, draws: int, seed: int, memory_budget: int) -> Intervals:
    """Bootstrap r of effects per norm, and its median over the pairs, over units of documents."""
    low, high = np.full((2, len(compared)), np.nan)
    scored = np.array([k for k, pair in enumerate(compared) if not np.isnan(pair.numbers["r_per_norm"])], np.int64)
    if not draws or not scored.size:
        return Intervals(low, high, np.full(2, np.nan), 0)
    present = np.unique(np.concatenate([compared[k].units for k in scored]))
    place = np.zeros(n_units, np.int64)
    place[present] = np.arange(present.size)
    names = tuple(map(str, present.tolist()))

    def moments_of(pairs: IntArray, _: IntArray) -> GroupMoments:
        sums, zeros = np.zeros((6, present.size, pairs.size)), np.zeros(pairs.size)
        for k, index in enumerate(pairs.tolist()):
            sums[:, place[compared[index].units], k] = compared[index].sums
        n, a, b, aa, bb, ab = sums
        return GroupMoments(names, n, a, b, aa, bb, ab, zeros, zeros)

    found = resampled(moments_of, scored, scored, draws, seed, memory_budget=memory_budget, known_only=True)
    low[scored], high[scored] = found.low, found.high
    return found._replace(low=low, high=high)


def _of_fingerprint(
    name: str, similarity: Similarity, matched: Match | FeaturePairs, compared: list[_Compared]
) -> dict[str, FloatArray]:
    """Score the pairs and their controls by fingerprints; NaN for features without one."""
    size = np.array([pair.controls.size for pair in compared], np.int64)
    rows = np.concatenate([matched.rows, np.repeat(matched.rows, size)])
    cols = np.concatenate([matched.cols, *(pair.controls for pair in compared)])
    scores = similarity.pairs(rows, cols)
    scores = np.where(similarity.dead_rows[rows] | similarity.dead_cols[cols], np.nan, scores)
    of_pairs, of_controls = scores[: matched.rows.size], np.split(scores[matched.rows.size :], np.cumsum(size)[:-1])
    of_controls = of_controls[: matched.rows.size]
    return {
        f"{name}_r": of_pairs,
        f"{name}_control_r": np.array([known_median(others) for others in of_controls]),
        f"{name}_rank": np.array([_rank(own, others) for own, others in zip(of_pairs, of_controls, strict=True)]),
    }


def _ordered(columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
    first = ("n", "r", "r_per_norm", "ci_low", "ci_high", "null_r", "p", "q", "p_opposite", "q_opposite")
    return {name: columns[name] for name in first} | columns


def _check_inputs(
    matched: Match | FeaturePairs,
    a: FeatureStore,
    b: FeatureStore,
    effects_a: FeatureStore,
    effects_b: FeatureStore,
    fingerprints: dict[str, Similarity],
) -> None:
    check_stores(a, b, effects_a, effects_b)
    check_same_tokens(a, b)
    shape = (a.n_features, b.n_features)
    for what, found in (("the matching", matched.shape), *((f"fingerprint {k!r}", s.shape) for k, s in
                                                          fingerprints.items())):  # fmt: skip
        if found != shape:
            raise MismatchError(
                f"{what} is of {found[0]} x {found[1]} features, but {a.path} and {b.path} hold {shape[0]} and "
                f"{shape[1]}"
            )


def _describe(store: FeatureStore) -> dict[str, Any]:
    return {"path": store.path.name, "content_hash": store.content_hash()}
