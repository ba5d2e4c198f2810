"""Effects of firings, aligned with the activations that caused them, on the tokens of the reporting half.

An effect store holds, for every firing of feature i at token t, the effect −f_i(t) ⟨d_i, g_t⟩ of the firing on the
loss, with f_i(t) the activation, d_i the decoder row and g_t the gradient of the loss. All features at a token share
g_t, hence its norm. So an effect is a product of three parts:

    effect = activation × norm of the gradient × slope,    slope = −|d_i| cos(d_i, g_t)

Two features that fire alike share the first factor, and all features at a token share the second. Only the third tells
whether two features *do* the same. As the norm is a factor, it is taken out by division. A partial correlation given
the norm would remove a linear trend, but tokens with a large norm would still weigh most in both models at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray, runs_within
from universality.compiled import njit
from universality.corpus.units import independent_units
from universality.errors import MismatchError, UniversalityError
from universality.features.storage.store import BLOCK_ENTRIES
from universality.similarity.engine.token_selection import check_same_tokens
from universality.statistics.held_out import evaluation_halves

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

ENTRY_BYTES = 12  # a firing: token, activation and effect, 4 bytes each
ROUNDED = 1e-4
"""Largest share of a store's effects that may lack a firing where rows are segments. Their codes are encoded twice,
and one beside a threshold may be 0 in one pass only. Such effects are left out; of another SAE, most would be such."""


@dataclass(frozen=True, eq=False)
class CountedTokens:
    """Tokens of the reporting half with a loss behind them, in the order of the store.

    Parameters
    ----------
    place
        int64 [n_tokens], place of each token of the store among the counted ones, -1 for the others.
    segment
        int64 [n_counted], segment of each token: one independent unit of documents in one kind of text.
    kind_of_segment, unit_of_segment
        int64 [n_segments]. Segments of a kind have successive numbers.
    n_units
        Number of units of the document table.
    norm_a, norm_b
        float64 [n_counted], norm of the gradient of the loss in each model, never 0.
    """

    place: IntArray
    segment: IntArray
    kind_of_segment: IntArray
    unit_of_segment: IntArray
    n_units: int
    norm_a: FloatArray
    norm_b: FloatArray

    def __len__(self) -> int:
        return self.segment.size

    @classmethod
    def of(cls, store: FeatureStore, norm_a: npt.ArrayLike, norm_b: npt.ArrayLike) -> CountedTokens:
        """Select the tokens of split "report" at which the gradient of neither model is 0.

        No loss lies behind the last token of a block: its effects are 0 by construction and say nothing.

        Raises
        ------
        MismatchError
            If there is not one norm a token.
        UniversalityError
            If a norm is negative or not finite, or no token is left.
        """
        norms = [_checked_norm(norm, store, side) for norm, side in ((norm_a, "a"), (norm_b, "b"))]
        tokens = store.tokens
        counted = np.isin(tokens.document, evaluation_halves(store).report) & (norms[0] > 0) & (norms[1] > 0)
        if not counted.any():
            raise UniversalityError(
                f"{store.path}: no token of split 'report' has a gradient in both models; effects are compared on "
                "documents of that split, which did not choose the partners"
            )
        place = np.where(counted, np.cumsum(counted) - 1, -1)
        units = independent_units(store.documents)
        kind, unit = tokens.kind[counted].astype(np.int64), units.code[tokens.document[counted]]
        pairs, segment = np.unique(kind * len(units.names) + unit, return_inverse=True)
        return cls(
            place, segment.astype(np.int64), pairs // len(units.names), pairs % len(units.names), len(units.names),
            norms[0][counted], norms[1][counted],
        )  # fmt: skip


class EffectFirings(NamedTuple):
    """Firings of one side on the counted tokens: feature i has the entries ``indptr[i]:indptr[i + 1]``."""

    indptr: IntArray
    token: npt.NDArray[np.uint32]
    """Counted tokens, rising within a feature."""
    activation: npt.NDArray[np.float32]
    effect: npt.NDArray[np.float32]
    """Nats; 0 where the effect store holds nothing for a firing."""

    @property
    def n_features(self) -> int:
        """Features, those that never fire included."""
        return int(self.indptr.size - 1)

    def entries(self, feature: int) -> slice:
        """Entries of a feature."""
        return slice(int(self.indptr[feature]), int(self.indptr[feature + 1]))


def read_effects(
    activations: FeatureStore, effects: FeatureStore, counted: CountedTokens, memory_budget: int
) -> EffectFirings:
    """Read the firings of a store on the counted tokens, with their effects.

    Raises
    ------
    MismatchError
        If the stores saw different tokens, differ in width, or the effect store holds a firing that the other lacks
        (for segments: more than rounding explains).
    UniversalityError
        If the firings take more than ``memory_budget`` bytes.
    """
    check_same_tokens(activations, effects)
    if activations.n_features != effects.n_features:
        raise MismatchError(
            f"{effects.path}: effects of {effects.n_features} features, but {activations.path} holds "
            f"{activations.n_features}; compute them from that store's SAE"
        )
    share = len(counted) / activations.n_tokens
    if (needed := int(ENTRY_BYTES * activations.n_stored * share)) > memory_budget:
        raise UniversalityError(
            f"{activations.path}: the firings of the reporting half take about {needed:,} bytes, over the budget of "
            f"{memory_budget:,}; raise memory_budget, or write stores of fewer documents"
        )
    parts, sizes, odd = [], [np.zeros(1, np.int64)], []
    for start, stop in runs_within(activations.moments().count, BLOCK_ENTRIES):
        fired, acting = activations.columns(start, stop), effects.columns(start, stop)
        token, size = np.empty(fired.nnz, np.uint32), np.zeros(stop - start, np.int64)
        values = np.empty((2, fired.nnz), np.float32)
        odd.append(_align(fired.indptr, fired.indices, fired.data, acting.indptr, acting.indices, acting.data,
                          counted.place, token, values, size))  # fmt: skip
        parts.append((token[: size.sum()], *values[:, : size.sum()].copy()))
        sizes.append(size)
    _check_odd(np.concatenate(odd), activations, effects)
    token, activation, effect = (np.concatenate(part) for part in zip(*parts, strict=True))
    return EffectFirings(np.cumsum(np.concatenate(sizes)), token, activation, effect)


@njit(cache=True, nogil=True, error_model="numpy")
def _align(indptr, rows, data, e_indptr, e_rows, e_data, place, token, values, size):  # type: ignore[no-untyped-def]
    """Merge two feature-major blocks; return for each feature how many effects have no firing."""
    n, odd = 0, np.zeros(size.size, np.int64)
    for j in range(size.size):
        k, end, first = e_indptr[j], e_indptr[j + 1], n
        for p in range(indptr[j], indptr[j + 1]):
            effect = np.float32(0)
            while k < end and e_rows[k] < rows[p]:
                odd[j] += 1
                k += 1
            if k < end and e_rows[k] == rows[p]:
                effect = e_data[k]
                k += 1
            if place[rows[p]] >= 0:
                token[n] = place[rows[p]]
                values[0, n] = data[p]
                values[1, n] = effect
                n += 1
        odd[j] += end - k
        size[j] = n - first
    return odd


def _check_odd(odd: IntArray, activations: FeatureStore, effects: FeatureStore) -> None:
    """Refuse effects at tokens on which features do not fire, beyond what rounding explains."""
    allowed = int(ROUNDED * effects.n_stored) if "segments" in effects.provenance else 0
    if odd.sum() > allowed:
        raise MismatchError(
            f"{effects.path}: holds an effect of feature {np.flatnonzero(odd)[0]} at a token on which it does not fire "
            f"in {activations.path}, and {odd.sum():,} such effects in all; both must come from one SAE and one pass"
        )


def _checked_norm(norm: npt.ArrayLike, store: FeatureStore, side: str) -> FloatArray:
    array = np.asarray(norm, dtype=np.float64)
    if array.shape != (store.n_tokens,):
        raise MismatchError(
            f"norm_{side}: expected the gradient's norm at each of the {store.n_tokens} tokens of {store.path}, found "
            f"shape {array.shape}"
        )
    if not (np.isfinite(array) & (array >= 0)).all():
        raise UniversalityError(f"norm_{side}: a norm is finite and not negative, found {array.min()} to {array.max()}")
    return array
