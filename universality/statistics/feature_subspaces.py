"""Subspaces that groups of features span in their reconstruction, and how far two of them agree.

A dictionary's features that no other seed finds may still write into a subspace that every seed finds. The subspace of
some features is that of their part of the reconstruction, weighted by activity: the top eigenvectors of E[y yᵀ] with
y = Σ_i f_i d_i, summed over these features alone. Two subspaces of rank r agree by the mean squared cosine of their
principal angles: 1 where they are equal, on average r / d where their directions are uniformly random.

Activations are far from isotropic, so that nearly any two groups of features share their top directions. Three controls
show how much of an agreement that explains: the top principal components of all activations, random subspaces drawn
with the activations' covariance (`random_subspaces`), and other features of equal mass (`features_of_equal_mass`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError, UniversalityError

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

NEAR = 10
"""Features of nearest mass among which a replacement is drawn."""
BATCH = 1 << 22  # bytes of activations at a time: what they write is dense, about 20 times as much at d_out 1,024


def reconstruction_moment(
    store: FeatureStore, features: npt.ArrayLike, documents: npt.ArrayLike | None = None
) -> FloatArray:
    """Compute the second moment of what some features write, E[y yᵀ] with y = Σ_i f_i d_i: float64 [d_out, d_out].

    Parameters
    ----------
    store
        Store of activations with its dictionary.
    features
        [n] numbers of the features.
    documents
        Only the tokens of these documents; all by default.

    Raises
    ------
    UniversalityError
        If the store holds no dictionary, a feature does not exist or is named twice, or no token is left.

    Notes
    -----
    Tokens on which none of the features fires count with y = 0. The moment is about zero, not about the mean.
    """
    chosen = _checked_features(features, store.n_features)
    decoder = store.decoder_rows()[chosen].astype(np.float64)
    wanted = None if documents is None else np.isin(store.tokens.document, np.asarray(documents))
    n_tokens = store.n_tokens if wanted is None else int(wanted.sum())
    if not n_tokens:
        raise UniversalityError(f"{store.path}: none of the given documents has a token in this store")
    moment = np.zeros((decoder.shape[1], decoder.shape[1]))
    for span, codes in store.batches(BATCH):
        rows = codes if wanted is None else codes[wanted[span]]
        written = rows[:, chosen] @ decoder
        moment += written.T @ written
    return moment / n_tokens


def top_subspace(moment: npt.ArrayLike, rank: int) -> FloatArray:
    """Return an orthonormal basis of the directions with the largest second moment: [rank, d], the largest first.

    Parameters
    ----------
    moment
        [d, d] symmetric matrix, such as `reconstruction_moment` or a covariance.
    rank
        Number of directions, at most d.

    Raises
    ------
    UniversalityError
        If the matrix is not square or not finite, or spans fewer directions than ``rank``.

    Examples
    --------
    >>> abs(top_subspace(np.diag([1.0, 3.0, 2.0]), 2)).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    matrix = np.asarray(moment, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise UniversalityError(f"top_subspace: expected a finite square matrix, found one of shape {matrix.shape}")
    if not 1 <= rank <= len(matrix):
        raise UniversalityError(f"top_subspace: rank must be 1 to {len(matrix)}, found {rank}")
    values, vectors = eigh(matrix, subset_by_index=(len(matrix) - rank, len(matrix) - 1))
    scale = max(float(np.trace(matrix)), np.finfo(np.float64).tiny)
    if values[0] <= scale * len(matrix) * np.finfo(np.float64).eps:
        spanned = int((values > scale * len(matrix) * np.finfo(np.float64).eps).sum())
        raise UniversalityError(f"top_subspace: rank {rank} of a matrix that spans {spanned} directions; ask for fewer")
    basis: FloatArray = vectors.T[::-1]
    return basis


def share_within(moment: npt.ArrayLike, basis: npt.ArrayLike) -> float:
    """Return the share of a second moment [d, d] that lies within an orthonormal basis [rank, d]: 0 to 1.

    Examples
    --------
    >>> share_within(np.diag([1.0, 3.0]), np.array([[0.0, 1.0]]))
    0.75
    """
    matrix, rows = np.asarray(moment, np.float64), np.asarray(basis, np.float64)
    return float(np.einsum("rd,de,re->", rows, matrix, rows) / np.trace(matrix))


def subspace_agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Compute the mean squared cosine of the principal angles of two subspaces: 0 (orthogonal) to 1 (equal).

    Parameters
    ----------
    first, second
        Orthonormal bases [rank, d]; of two ranks, the smaller one counts.

    Raises
    ------
    MismatchError
        If the dimensions d differ.

    References
    ----------
    Björck and Golub (1973), "Numerical methods for computing angles between linear subspaces".

    Examples
    --------
    >>> subspace_agreement(np.eye(4)[:2], np.eye(4)[1:3])
    0.5
    """
    u, v = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1]:
        raise MismatchError(
            f"subspace_agreement: expected bases [rank, d] with one d, found shapes {u.shape} and {v.shape}"
        )
    return float(((u @ v.T) ** 2).sum() / min(len(u), len(v)))


def random_subspaces(covariance: npt.ArrayLike, rank: int, n: int, seed: int = 0) -> list[FloatArray]:
    """Draw subspaces spanned by random vectors of a given covariance.

    Parameters
    ----------
    covariance
        [d, d], such as that of all activations.
    rank
        Vectors that span each subspace.
    n
        Number of subspaces.

    Returns
    -------
    list of float64 [rank, d]
        Orthonormal bases.

    Raises
    ------
    UniversalityError
        If the covariance spans fewer directions than ``rank``.

    Examples
    --------
    >>> drawn = random_subspaces(np.eye(8), rank=4, n=200)
    >>> round(float(np.mean([subspace_agreement(drawn[0], each) for each in drawn[1:]])), 1)
    0.5
    """
    matrix = np.asarray(covariance, np.float64)
    top_subspace(matrix, rank)  # refuses what does not span it
    values, vectors = eigh(matrix)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    rng = np.random.default_rng(seed)
    return [np.linalg.qr(root @ rng.normal(size=(len(matrix), rank)))[0].T for _ in range(n)]


def features_of_equal_mass(store: FeatureStore, features: npt.ArrayLike, n: int, seed: int = 0) -> list[IntArray]:
    """Draw as many other living features of about equal mass, E[f²] ‖d‖², without repetition.

    Each given feature, in random order, is replaced by one of the ``NEAR`` remaining features of nearest mass. Features
    of the given group may be drawn too, so that a group that is most of the dictionary has a control.

    Parameters
    ----------
    store
        Store of activations with its dictionary.
    features
        [n_features] numbers of the features.
    n
        Number of draws.

    Returns
    -------
    list of int64 [n_features]

    Raises
    ------
    UniversalityError
        If the store holds no dictionary, or a feature does not exist, is named twice or is dead.
    """
    chosen = _checked_features(features, store.n_features)
    if not store.alive[chosen].all():
        raise UniversalityError(f"features_of_equal_mass: feature {chosen[~store.alive[chosen]][0]} never fires")
    norm = np.einsum("fd,fd->f", *(store.decoder_rows().astype(np.float64),) * 2)
    mass = store.moments().sum_sq / store.n_tokens * norm
    living = np.flatnonzero(store.alive)
    living = living[np.argsort(mass[living], kind="stable")]
    rng = np.random.default_rng(seed)
    return [_draw(mass, living, chosen, rng) for _ in range(n)]


def _draw(mass: FloatArray, living: IntArray, chosen: IntArray, rng: np.random.Generator) -> IntArray:
    remaining = living.tolist()  # in rising order of mass
    masses = mass[living].tolist()
    drawn = []
    for feature in rng.permutation(chosen).tolist():
        place = int(np.searchsorted(masses, mass[feature]))
        low = max(0, min(place - NEAR // 2, len(remaining) - NEAR))
        pick = int(rng.integers(low, min(low + NEAR, len(remaining))))
        drawn.append(remaining.pop(pick))
        masses.pop(pick)
    return np.sort(np.array(drawn, np.int64))


def _checked_features(features: npt.ArrayLike, n_features: int) -> IntArray:
    chosen = np.asarray(features, np.int64).ravel()
    wrong = chosen[(chosen < 0) | (chosen >= n_features)]
    if not chosen.size or wrong.size or np.unique(chosen).size < chosen.size:
        found = f"feature {wrong[0]}" if wrong.size else "a feature twice" if chosen.size else "none"
        raise UniversalityError(f"expected some of features 0 to {n_features - 1}, each once, found {found}")
    return chosen
