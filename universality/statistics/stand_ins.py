"""Stand-ins for features: what replaces the code or the decoder row of a feature, fitted on the choosing half.

`universality.statistics.substitution` says which stand-ins there are, and measures them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError, UniversalityError
from universality.similarity import Similarity
from universality.statistics.activation_maps import ActivationMap, MapKind, fit_map
from universality.statistics.carried_loss import counts_and_squares
from universality.statistics.held_out import evaluation_halves

if TYPE_CHECKING:
    from torch import Tensor

    from universality.features.storage.store import FeatureStore
    from universality.sae import SAE

NOTHING, CODE, DIRECTION, SECOND, NEURON, RANDOM = STAND_INS = (
    "nothing",
    "code",
    "direction",
    "second-best code",
    "best neuron",
    "random code",
)
NEIGHBOURS = 20
"""Features of B from which those of equal density are drawn: the nearest by firing count."""
_COVARIANCES = 2**23  # covariances of features and neurons at a time: 64 MB


@dataclass(frozen=True, eq=False)
class TokenValues:
    """Codes and activations over the same tokens.

    Parameters
    ----------
    own, theirs
        CSR [n_tokens, n_features] codes of A's and of B's features.
    neurons
        float32 [n_tokens, d_b] B's activations at its hook.
    """

    own: sparse.csr_matrix
    theirs: sparse.csr_matrix
    neurons: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StandIn:
    """One kind of stand-in for each of several features.

    Parameters
    ----------
    name
        One of ``STAND_INS``.
    source
        int64 [n_pairs], feature of B, or for "best neuron" coordinate of B's activations; -1 for "nothing".
    scale, offset
        float64 [n_pairs], f' = scale · source + offset. For "direction" the scale of the mapped row.
    """

    name: str
    source: IntArray
    scale: FloatArray
    offset: FloatArray

    def codes(self, pairs: IntArray, values: TokenValues) -> sparse.csr_matrix:
        """Return the codes f' of some pairs, CSR [n_tokens, n]."""
        source, scale = self.source[pairs], self.scale[pairs]
        if self.name == NOTHING:
            return sparse.csr_matrix((values.own.shape[0], pairs.size), dtype=np.float32)
        if self.name == NEURON:
            return sparse.csr_matrix((values.neurons[:, source] * scale + self.offset[pairs]).astype(np.float32))
        return sparse.csr_matrix(values.theirs[:, source] @ sparse.diags(scale.astype(np.float32)))


@dataclass(frozen=True, eq=False)
class StandIns:
    """All stand-ins for some features of an SAE.

    Parameters
    ----------
    sae
        The SAE whose features are replaced.
    mapped
        The same with B's decoder rows, mapped and scaled, in place of those of ``rows``.
    rows
        int64 [n_pairs], features of A.
    each
        The stand-ins; "random code" once for each draw.
    activation_map
        Map from B's activations to A's.
    """

    sae: SAE
    mapped: SAE
    rows: IntArray
    each: tuple[StandIn, ...]
    activation_map: ActivationMap

    def shift(self, stand_in: StandIn, pairs: IntArray, values: TokenValues, like: Tensor | None) -> Tensor:
        """Return the shift of A's activations [n_tokens, d_in] when stand-ins replace the features of some pairs."""
        rows = self.rows[pairs]
        place = sparse.csr_matrix(
            (np.ones(rows.size, np.float32), (np.arange(rows.size), rows)), shape=(rows.size, self.sae.d_sae)
        )
        own = sparse.csr_matrix(values.own[:, rows])
        if stand_in.name == DIRECTION:
            kept = sparse.csr_matrix(own @ place)
            return self.mapped.contribution(kept, like=like) - self.sae.contribution(kept, like=like)
        change = sparse.csr_matrix((stand_in.codes(pairs, values) - own) @ place)
        return self.sae.contribution(change, like=like)


def fit_stand_ins(
    sae: SAE,
    stores: tuple[FeatureStore, FeatureStore],
    rows: IntArray,
    cols: IntArray,
    values: TokenValues,
    activations: npt.NDArray[np.float32],
    *,
    map_kind: MapKind,
    draws: int,
    seed: int,
) -> StandIns:
    """Fit the stand-ins for some pairs on the choosing half.

    Parameters
    ----------
    sae
        A's SAE.
    stores
        Features of A and of B.
    rows, cols
        [n_pairs], the pairs.
    values
        Codes and B's activations on a sample of the choosing half, for neurons and the map.
    activations
        float32 [n_tokens, d_a], A's activations on the same sample.
    map_kind, draws, seed
        As for `universality.statistics.substitute`.

    Raises
    ------
    MismatchError
        If B's decoder rows are not of the width of its activations.
    UniversalityError
        If B has too few features to draw from.
    """
    a, b = stores
    directions = b.decoder_rows().astype(np.float64)
    if directions.shape[1] != values.neurons.shape[1]:
        raise MismatchError(
            f"{b.path}: its decoder rows are {directions.shape[1]} wide, the model has {values.neurons.shape[1]} "
            "activations a token at the hook; give the hook that the features write to"
        )
    documents = evaluation_halves(a).choose
    second = _second_best(Similarity.activation(a, b, documents=documents), rows, cols)
    random = _equal_density(counts_and_squares(b)[0], counts_and_squares(a)[0][rows], cols, second, draws, seed)
    activation_map = fit_map(values.neurons, activations, map_kind)
    mapped, scale = _mapped_rows(sae, rows, directions[cols] @ activation_map.to_y)
    scaled = _Scales(a, b, documents)
    zero = np.zeros(rows.size)
    each = (
        StandIn(NOTHING, np.full(rows.size, -1), zero, zero),
        StandIn(CODE, cols, scaled(rows, cols), zero),
        StandIn(DIRECTION, cols, scale, zero),
        StandIn(SECOND, second, scaled(rows, second), zero),
        _best_neurons(values.own[:, rows], values.neurons),
        *(StandIn(RANDOM, drawn, scaled(rows, drawn), zero) for drawn in random),
    )
    return StandIns(sae, mapped, rows, each, activation_map)


class _Scales:
    """Least-squares scales of B's codes for A's: s = Σ f g / Σ g² = cosine · ‖f‖ / ‖g‖ on the choosing half."""

    def __init__(self, a: FeatureStore, b: FeatureStore, documents: IntArray) -> None:
        self._cosine = Similarity.activation(a, b, documents=documents, measure="cosine")
        self._norms = [np.sqrt(counts_and_squares(store)[1]) for store in (a, b)]

    def __call__(self, rows: IntArray, cols: IntArray) -> FloatArray:
        norm_a, norm_b = self._norms[0][rows], self._norms[1][cols]
        defined = (norm_a > 0) & (norm_b > 0)
        scale = np.zeros(rows.size)
        cosine = self._cosine.pairs(rows[defined], cols[defined])
        scale[defined] = cosine * norm_a[defined] / norm_b[defined]
        return scale


def _second_best(sim: Similarity, rows: IntArray, cols: IntArray) -> IntArray:
    """Find the column with the highest score besides the partner of each row."""
    index = sim.topk(2)[0][rows]
    second: IntArray = np.where(index[:, 0] == cols, index[:, 1], index[:, 0])
    if (second < 0).any():
        raise UniversalityError("substitution: the other dictionary has a single living feature; expected several")
    return second


def _equal_density(
    count: IntArray, wanted: IntArray, cols: IntArray, second: IntArray, draws: int, seed: int
) -> IntArray:
    """Draw features of B that fire about as often as A's, other than the partner and the second best: [draws, n]."""
    living = np.flatnonzero(count > 0)
    if living.size < draws + 2:
        raise UniversalityError(
            f"substitution: {draws} random features were asked for, the other dictionary has {living.size} living ones"
        )
    by_count = living[np.argsort(count[living], kind="stable")]
    drawn, reach = np.empty((draws, wanted.size), np.int64), max(NEIGHBOURS, draws) + 2
    for p, place in enumerate(np.searchsorted(count[by_count], wanted)):
        window = by_count[max(place - reach, 0) : place + reach]
        nearest = window[np.argsort(np.abs(count[window] - wanted[p]), kind="stable")]
        others = nearest[(nearest != cols[p]) & (nearest != second[p])][: reach - 2]
        drawn[:, p] = np.random.default_rng([seed, p]).choice(others, draws, replace=False)
    return drawn


def _mapped_rows(sae: SAE, rows: IntArray, mapped: FloatArray) -> tuple[SAE, FloatArray]:
    """Put mapped decoder rows, scaled to A's by least squares, into the SAE; return it and the scales."""
    own = sae.W_dec[rows].double().cpu().numpy()
    size = np.square(mapped).sum(axis=1)
    scale = np.divide((own * mapped).sum(axis=1), size, out=np.zeros(rows.size), where=size > 0)
    decoder = sae.W_dec.clone()
    decoder[rows] = decoder.new_tensor(scale[:, None] * mapped)
    return replace(sae, W_dec=decoder), scale


def _best_neurons(codes: sparse.csr_matrix, neurons: npt.NDArray[np.float32]) -> StandIn:
    """Fit f ≈ s n + c for the neuron with the highest |r| with each feature."""
    mean_x, mean_f = neurons.mean(axis=0, dtype=np.float64), np.asarray(codes.mean(axis=0), np.float64).ravel()
    x = neurons - mean_x.astype(np.float32)
    spread = np.square(x).mean(axis=0, dtype=np.float64)
    by_feature = sparse.csr_matrix(codes.T)
    best, scale = np.zeros(mean_f.size, np.int64), np.zeros(mean_f.size)
    step = max(1, _COVARIANCES // x.shape[1])
    for start in range(0, mean_f.size, step):
        covariance = np.asarray(by_feature[start : start + step] @ x, np.float64) / len(x)
        slope = np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
        chosen = (covariance * slope).argmax(axis=1)  # r² times the variance of f, which no neuron changes
        best[start : start + step], scale[start : start + step] = chosen, slope[np.arange(chosen.size), chosen]
    return StandIn(NEURON, best, scale, mean_f - scale * mean_x[best])
