"""Published measures of how far two sets of features agree, each exactly as defined, on the stores of this package.

| measure | function | source |
|---|---|---|
| mean maximum pairwise Pearson correlation (MPPC) | `mppc` | Wang et al. 2024 |
| pairwise mean correlation coefficient of dictionaries (PW-MCC), signed or absolute | `pw_mcc` | Song et al. 2025 |
| shared by encoder and decoder at a threshold | `shared_by_weights` | Paulo & Belrose 2025 |
| excess correlation over a rotated model | `excess_correlation` | Gurnee et al. 2024 |
| a score by how often features fire | `by_frequency` | Song et al. 2025 |

None of them holds anything out or asks what chance gives, except the excess correlation; `calibrate` does.
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
"""Firings per million tokens between which Song et al. (2025) average."""


def mppc(sim: Similarity) -> float:
    """Mean over the living rows of the best score of each: (1/n) Σ_i max_j s_ij; NaN without living rows.

    Of activation similarity it is Wang et al.'s (2024) mean maximum pairwise Pearson correlation. It is directional:
    partners may be claimed by several rows.
    """
    scores = match(sim, "nearest").scores
    return float(scores.mean()) if scores.size else float("nan")


def pw_mcc(a: FeatureStore, b: FeatureStore, absolute: bool = False, force: bool = False) -> float:
    """(1/n) max over one-to-one matchings of Σ cos(a_i, b_j) of decoder rows, n the smaller number of living features.

    Parameters
    ----------
    a, b
        Stores of two SAEs of one model.
    absolute
        |cos|, as the paper of Song et al. (2025) writes it; its code takes the signed cosine.
    force
        As for `Similarity.decoder`.

    Raises
    ------
    MismatchError, UniversalityError
        As `Similarity.decoder`; UniversalityError when ``absolute`` needs a larger dense array than memory allows.
    """
    sim = Similarity.decoder(a, b, force=force)
    if absolute:
        sim = Similarity.from_dense(np.abs(sim.dense()), sim.dead_rows, sim.dead_cols)
    scores = match(sim).scores
    return float(scores.mean()) if scores.size else float("nan")


def shared_by_weights(a: FeatureStore, b: FeatureStore, threshold: float = 0.7, force: bool = False) -> pd.DataFrame:
    """Which features two SAEs of one model share by their weights.

    Encoder rows and decoder rows are matched one to one, each on their own, by cosine; a feature is *shared* if both
    matchings give it the same partner and both cosines reach the threshold (Paulo & Belrose 2025). The mean of the
    column ``shared`` is their figure.

    Parameters
    ----------
    a, b
        Stores of two SAEs of one model, with encoder and decoder rows.
    threshold
        Least cosine of a shared feature.
    force
        As for `Similarity.decoder`.

    Returns
    -------
    pandas.DataFrame
        A row a living feature of ``a``: ``row decoder_partner decoder_cosine encoder_partner encoder_cosine shared``;
        partner -1 and cosine NaN where it has none.

    Raises
    ------
    MismatchError, UniversalityError
        As `Similarity.decoder`; UniversalityError when a store holds no encoder.
    """
    decoder = match(Similarity.decoder(a, b, force=force))
    encoder = match(Similarity.from_factors(_encoder_rows(a), _encoder_rows(b)))
    frame = pd.DataFrame({"row": np.flatnonzero(~decoder.dead_rows)})
    for name, found in (("decoder", decoder), ("encoder", encoder)):
        partner, cosine = np.full(a.n_features, -1), np.full(a.n_features, np.nan)
        partner[found.rows], cosine[found.rows] = found.cols, found.scores
        frame[f"{name}_partner"], frame[f"{name}_cosine"] = partner[frame["row"]], cosine[frame["row"]]
    same = (frame["decoder_partner"] == frame["encoder_partner"]) & (frame["decoder_partner"] >= 0)
    alike = (frame["decoder_cosine"] >= threshold) & (frame["encoder_cosine"] >= threshold)
    return frame.assign(shared=same & alike)


def _encoder_rows(store: FeatureStore) -> FloatArray:
    """Unit rows [n_features, d_in]; zeros for dead features."""
    encoder = None if store.dictionary is None else store.dictionary.encoder
    if encoder is None:
        raise UniversalityError(f"{store.path}: holds no encoder; give finish(dictionary=...) one with an encoder")
    norm = np.linalg.norm(encoder.astype(np.float64), axis=1, keepdims=True)
    return encoder / np.where(norm > 0, norm, 1) * store.alive[:, None]


def excess_correlation(
    a: FeatureStore, others: Sequence[FeatureStore], rotations: int = 1, seed: int = 0
) -> pd.DataFrame:
    """How much better the best partner in other models is than in the same models rotated (Gurnee et al. 2024).

        excess_i = mean_b max_j ρ(i, j; b) − mean_b max_j ρ(i, j; b Q)

    with Q a random *orthogonal* matrix (Haar), which keeps everything of a model but its axes. The authors' code
    rotates by a Gaussian matrix with normalised rows, which is not a rotation. They call a neuron universal where the
    excess is above 0.5. Features that do not vary have no ρ: they are neither rows, nor partners, nor dimensions of Q.

    Parameters
    ----------
    a
        Neurons (or features) of one model.
    others
        Those of other models, over the same tokens.
    rotations
        Random rotations to average over.
    seed
        Of the rotations.

    Returns
    -------
    pandas.DataFrame
        A row a feature of ``a`` that varies: ``row best rotated excess``.

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
        own = _spread(other)[cols]
        cross, within = r * own, Similarity.activation(other, other).dense()[np.ix_(cols, cols)] * own * own[:, None]
        for _ in range(rotations):
            turn = _random_rotation(cols.size, rng)
            spread = np.sqrt(np.einsum("jk,jk->k", turn, within @ turn))
            rotated += (cross @ turn / spread).max(axis=1) / (len(others) * rotations)
    living = np.flatnonzero(~dead)
    frame = pd.DataFrame({"row": living, "best": best[living], "rotated": rotated[living]})
    return frame.assign(excess=frame["best"] - frame["rotated"])


def _spread(store: FeatureStore) -> FloatArray:
    """Standard deviation of each feature over the tokens [n_features]."""
    moments = store.moments()
    return np.sqrt(np.maximum(moments.sum_sq / moments.n_tokens - (moments.sum / moments.n_tokens) ** 2, 0))


def _random_rotation(n: int, rng: np.random.Generator) -> FloatArray:
    """Haar-distributed orthogonal matrix [n, n]: QR of a Gaussian one with the signs of R's diagonal taken out."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.sign(np.diag(r))


def by_frequency(
    scores: npt.ArrayLike, firings: npt.ArrayLike, n_tokens: int, edges: Sequence[float] = SONG_EDGES
) -> pd.DataFrame:
    """Mean and median of a score in classes of firing frequency.

    Parameters
    ----------
    scores, firings
        [n]: one score and one number of firings a feature; NaN scores are left out.
    n_tokens
        Tokens on which firings were counted.
    edges
        Rising firings per million tokens; class c holds edges[c] <= frequency < edges[c + 1].

    Returns
    -------
    pandas.DataFrame
        ``low high n mean median``, a row a class, empty classes with NaN.

    Raises
    ------
    MismatchError
        When scores and firings do not pair up.
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
