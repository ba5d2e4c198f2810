"""Published measures of the agreement of two sets of features, each exactly as its authors define it.

| measure | function | source |
|---|---|---|
| mean maximum pairwise Pearson correlation (MPPC) | `mppc` | Wang et al. 2024 |
| pairwise mean correlation coefficient of dictionaries (PW-MCC), signed or absolute | `pw_mcc` | Song et al. 2025 |
| share of features matched by encoder and decoder | `shared_by_weights` | Paulo & Belrose 2025 |
| excess correlation over a rotated model | `excess_correlation` | Gurnee et al. 2024 |
| a score by firing frequency | `by_frequency` | Song et al. 2025 |

None of them uses held-out data or compares with chance, except the excess correlation; `calibrate` does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.arrays import FloatArray
from universality.errors import MismatchError, UniversalityError
from universality.matching import match
from universality.similarity import Similarity

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

SONG_EDGES = (0.1, 2.4, 54.0, 1_200.0, 27_000.0, np.inf)
"""Firings per million tokens that bound the classes of Song et al. (2025)."""


def mppc(sim: Similarity) -> float:
    """Compute the mean of each living row's best score, (1/n) Σ_i max_j s_ij; NaN without living rows.

    For activation similarity this is the mean maximum pairwise Pearson correlation of Wang et al. (2024). It is
    directional: one column may be the best of several rows.

    Examples
    --------
    >>> mppc(Similarity.from_dense(np.array([[0.9, 0.2], [0.5, 0.1]])))
    0.7
    """
    scores = match(sim, "nearest").scores
    return float(scores.mean()) if scores.size else float("nan")


def pw_mcc(a: FeatureStore, b: FeatureStore, absolute: bool = False, force: bool = False) -> float:
    """Compute the mean cosine of decoder rows that are matched one to one (PW-MCC; Song et al. 2025).

    It is (1/n) max Σ cos(a_i, b_j) over one-to-one matchings, with n the smaller number of living features.

    Parameters
    ----------
    a, b
        Stores of two SAEs of one model.
    absolute
        Use |cos|, as in the paper of Song et al. (2025); their code uses the signed cosine.
    force
        Passed to `Similarity.decoder`.

    Raises
    ------
    MismatchError, UniversalityError
        As for `Similarity.decoder`.
    """
    scores = match(Similarity.decoder(a, b, force=force, absolute=absolute)).scores
    return float(scores.mean()) if scores.size else float("nan")


def shared_by_weights(a: FeatureStore, b: FeatureStore, threshold: float = 0.7, force: bool = False) -> pd.DataFrame:
    """Find the features that two SAEs of one model share by their weights (Paulo & Belrose 2025).

    Encoder rows and decoder rows are matched separately, one to one, by cosine. A feature is *shared* if both matchings
    give it the same partner and both cosines reach the threshold. The mean of the column ``shared`` is the number that
    the authors report.

    Parameters
    ----------
    a, b
        Stores of two SAEs of one model, with encoder and decoder rows.
    threshold
        Minimum cosine of a shared feature.
    force
        Passed to `Similarity.decoder`.

    Returns
    -------
    pandas.DataFrame
        One row per living feature of ``a``: ``row decoder_partner decoder_cosine encoder_partner encoder_cosine
        shared``; partner -1 and cosine NaN for a feature without a partner.

    Raises
    ------
    MismatchError, UniversalityError
        As for `Similarity.decoder`; UniversalityError also when a store holds no encoder.
    """
    decoder = match(Similarity.decoder(a, b, force=force))
    encoder = match(Similarity.from_factors(_encoder_rows(a), _encoder_rows(b)))
    frame = pd.DataFrame({"row": np.flatnonzero(~decoder.dead_rows)})
    for name, matched in (("decoder", decoder), ("encoder", encoder)):
        partner, cosine = np.full(a.n_features, -1), np.full(a.n_features, np.nan)
        partner[matched.rows], cosine[matched.rows] = matched.cols, matched.scores
        frame[f"{name}_partner"], frame[f"{name}_cosine"] = partner[frame["row"]], cosine[frame["row"]]
    same = (frame["decoder_partner"] == frame["encoder_partner"]) & (frame["decoder_partner"] >= 0)
    alike = (frame["decoder_cosine"] >= threshold) & (frame["encoder_cosine"] >= threshold)
    return frame.assign(shared=same & alike)


def _encoder_rows(store: FeatureStore) -> FloatArray:
    """Return the encoder's rows at unit length [n_features, d_in], zeros for dead features."""
    encoder = None if store.dictionary is None else store.dictionary.encoder
    if encoder is None:
        raise UniversalityError(f"{store.path}: holds no encoder; give finish(dictionary=...) one with an encoder")
    norm = np.linalg.norm(encoder.astype(np.float64), axis=1, keepdims=True)
    return encoder / np.where(norm > 0, norm, 1) * store.alive[:, None]


def excess_correlation(
    a: FeatureStore, others: Sequence[FeatureStore], rotations: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Compare each feature's best partner in other models with that in the same models rotated (Gurnee et al. 2024).

        excess_i = mean_b max_j ρ(i, j; b) − mean_b max_j ρ(i, j; b Q)

    with Q a random *orthogonal* matrix (Haar), which preserves everything about a model except its axes. The authors'
    code multiplies by a Gaussian matrix with normalised rows, which is not a rotation. They call a neuron universal if
    its excess is above 0.5. Features that do not vary have no ρ: they are neither rows, nor partners, nor dimensions of
    Q.

    Parameters
    ----------
    a
        Neurons (or features) of one model.
    others
        Neurons (or features) of other models, over the same tokens.
    rotations
        Number of random rotations to average over.
    seed
        Seed for the rotations.

    Returns
    -------
    pandas.DataFrame
        One row per feature of ``a`` that varies: ``row best rotated excess``.

    Raises
    ------
    MismatchError
        When the stores saw different tokens.
    UniversalityError
        When there is no other model, no feature of one varies, or a covariance does not fit into memory.
    """
    if not others or rotations < 1:
        raise UniversalityError(
            f"excess_correlation: expected at least one other model and one rotation, found {len(others)} and "
            f"{rotations}"
        )
    rng = np.random.default_rng(seed)
    best, rotated = np.zeros((2, a.n_features))
    dead = ~a.alive
    for other in others:
        sim = Similarity.activation(a, other)
        dead, cols = sim.dead_rows, np.flatnonzero(~sim.dead_cols)
        if not cols.size:
            raise UniversalityError(f"{other.path}: excess_correlation needs features that vary, found none")
        r = sim.dense()[:, cols]  # a dead column's 0 would beat every negative r
        best += r.max(axis=1) / len(others)
        # Covariances of the rotated model follow from those of the model: no rotated activations are computed.
        scale = _spread(other)[cols]
        covariance = Similarity.activation(other, other).dense()[np.ix_(cols, cols)] * scale * scale[:, None]
        cross = r * scale
        for _ in range(rotations):
            turn = _random_rotation(cols.size, rng)
            spread = np.sqrt(np.einsum("jk,jk->k", turn, covariance @ turn))
            rotated += (cross @ turn / spread).max(axis=1) / (len(others) * rotations)
    living = np.flatnonzero(~dead)
    frame = pd.DataFrame({"row": living, "best": best[living], "rotated": rotated[living]})
    return frame.assign(excess=frame["best"] - frame["rotated"])


def _spread(store: FeatureStore) -> FloatArray:
    """Return the standard deviation of each feature over the tokens: [n_features]."""
    moments = store.moments()
    return np.sqrt(np.maximum(moments.sum_sq / moments.n_tokens - (moments.sum / moments.n_tokens) ** 2, 0))


def _random_rotation(n: int, rng: np.random.Generator) -> FloatArray:
    """Draw a Haar-distributed orthogonal matrix [n, n]."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.sign(np.diag(r))  # QR alone prefers some signs (Mezzadri 2007)


def by_frequency(
    scores: npt.ArrayLike, firings: npt.ArrayLike, n_tokens: int, edges: Sequence[float] = SONG_EDGES
) -> pd.DataFrame:
    """Average a score within classes of firing frequency.

    Parameters
    ----------
    scores, firings
        [n] score and number of firings of each feature; NaN scores are left out.
    n_tokens
        Number of tokens on which firings were counted.
    edges
        Rising firings per million tokens; class c holds edges[c] <= frequency < edges[c + 1].

    Returns
    -------
    pandas.DataFrame
        ``low high n mean median``, one row per class; NaN for empty classes.

    Raises
    ------
    MismatchError
        When scores and firings do not pair up.

    Examples
    --------
    >>> by_frequency([0.2, 0.4, 0.9], [1, 2, 50], n_tokens=1_000, edges=(0, 10_000, 100_000))["mean"].tolist()
    [0.30000000000000004, 0.9]
    """
    score, count = np.asarray(scores, dtype=np.float64), np.asarray(firings)
    if score.shape != count.shape or score.ndim != 1:
        raise MismatchError(f"expected one number of firings a score, found shapes {score.shape} and {count.shape}")
    frequency = count * (1e6 / n_tokens)
    rows = []
    for low, high in pairwise(edges):
        part = score[(frequency >= low) & (frequency < high) & ~np.isnan(score)]
        mean, median = (part.mean(), np.median(part)) if part.size else (np.nan, np.nan)
        rows.append({"low": low, "high": high, "n": part.size, "mean": mean, "median": median})
    return pd.DataFrame(rows)
