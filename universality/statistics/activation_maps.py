"""Maps between the activation spaces of two models, fitted on the same tokens.

Models trained apart hold their activations in different bases. A map is fitted on some tokens and must be scored on
others: a matrix of d x d numbers explains part of any text that it was fitted on. Rows are tokens, x one model's
activations and y the other's, centred:

- *identity*: y ≈ x as they are;
- *orthogonal*: y ≈ s x Q with Q orthogonal, from the singular vectors of xᵀy (orthogonal Procrustes, Schönemann 1966),
  and s the ratio of the two spreads. It moves, turns and scales a cloud of points and keeps its shape;
- *affine*: y ≈ x W by least squares, and x ≈ y V by another fit. Lenc & Vedaldi (2015, *Understanding image
  representations by measuring their equivariance and equivalence*) compare representations so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray
from universality.errors import MismatchError, UniversalityError

MapKind = Literal["identity", "orthogonal", "affine"]
"""Kinds of maps; see the module."""
_SMALLEST = 1e-10  # of the largest eigenvalue: directions that vary less are left out of a least-squares fit


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """A map from one model's activations to another's, and one back.

    Parameters
    ----------
    kind
        "identity", "orthogonal" or "affine".
    mean_x, mean_y
        float64 [d_x], [d_y], mean activations of the tokens that it was fitted on; zeros for the identity.
    to_y, to_x
        float64 [d_x, d_y] and [d_y, d_x]. The latter is the inverse of the former, or for "affine" a fit of its own.
    n_tokens
        Tokens that it was fitted on; 0 for the identity.
    """

    kind: MapKind
    mean_x: FloatArray
    mean_y: FloatArray
    to_y: FloatArray
    to_x: FloatArray
    n_tokens: int

    def forward(self, x: npt.ArrayLike) -> FloatArray:
        """Map activations [n, d_x] to the other model's space, [n, d_y]."""
        return (np.asarray(x, np.float64) - self.mean_x) @ self.to_y + self.mean_y

    def backward(self, y: npt.ArrayLike) -> FloatArray:
        """Map activations [n, d_y] back to the first model's space, [n, d_x]."""
        return (np.asarray(y, np.float64) - self.mean_y) @ self.to_x + self.mean_x

    def explained_variance(self, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Share of the variance of y [n, d_y] that the mapped x [n, d_x] explain; use tokens that were not fitted."""
        return explained_variance(y, self.forward(x))


def fit_map(x: npt.ArrayLike, y: npt.ArrayLike, kind: MapKind = "orthogonal") -> ActivationMap:
    """Fit a map between the activations of two models on the same tokens.

    Parameters
    ----------
    x, y : [n_tokens, d_x], [n_tokens, d_y]
        Activations; row t of both is one token.
    kind
        "identity", which fits nothing, "orthogonal" or "affine".

    Raises
    ------
    MismatchError
        If the rows do not pair up, or the widths differ for the identity.
    UniversalityError
        If the kind is unknown, values are not finite or do not vary, or there are too few tokens: with at most as many
        as dimensions, an affine map fits any text without error.

    References
    ----------
    Schönemann 1966, *A generalized solution of the orthogonal Procrustes problem*.
    Lenc & Vedaldi 2015, *Understanding image representations by measuring their equivariance and equivalence*.

    Examples
    --------
    A rotation is found from 300 tokens and holds on others; a map of unrelated tokens explains nothing there.

    >>> rng = np.random.default_rng(0)
    >>> x, rotation = rng.normal(size=(600, 8)), np.linalg.qr(rng.normal(size=(8, 8)))[0]
    >>> y = 3 * x @ rotation + 1
    >>> round(fit_map(x[:300], y[:300]).explained_variance(x[300:], y[300:]), 6)
    1.0
    >>> bool(fit_map(x[:300], y[299::-1], "affine").explained_variance(x[300:], y[300:]) < 0.05)
    True
    """
    if kind not in get_args(MapKind):
        raise UniversalityError(f"unknown kind of map {kind!r}; choose one of {', '.join(get_args(MapKind))}")
    left, right = _paired(x, y)
    d_x, d_y = left.shape[1], right.shape[1]
    if kind == "identity":
        if d_x != d_y:
            raise MismatchError(f"activations {d_x} and {d_y} wide have no identity between them; fit another kind")
        return ActivationMap(kind, np.zeros(d_x), np.zeros(d_y), np.eye(d_x), np.eye(d_y), 0)
    if len(left) <= max(d_x, d_y):
        raise UniversalityError(
            f"a map between {d_x} and {d_y} dimensions needs more tokens than dimensions, found {len(left)}"
        )
    mean_x, mean_y = left.mean(axis=0), right.mean(axis=0)
    left, right = left - mean_x, right - mean_y
    fit = _orthogonal if kind == "orthogonal" else _least_squares
    return ActivationMap(kind, mean_x, mean_y, *fit(left, right), n_tokens=len(left))


def explained_variance(values: npt.ArrayLike, estimate: npt.ArrayLike) -> float:
    """1 - Σ‖x - x̂‖² / Σ‖x - mean‖² over tokens [n, d]: 0 for the mean, negative for what is worse than it."""
    x = np.asarray(values, np.float64)
    return float(1 - np.sum((x - np.asarray(estimate, np.float64)) ** 2) / np.sum((x - x.mean(axis=0)) ** 2))


def _orthogonal(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
    rotation = left @ right
    # The ratio of spreads, not the least-squares scale: that one shrinks where the two agree little, and an SAE's
    # thresholds would then meet activations that are too small.
    scale = float(np.linalg.norm(y) / np.linalg.norm(x))
    return scale * rotation, rotation.T / scale


def _least_squares(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    cross = x.T @ y
    return _solved(x.T @ x, cross), _solved(y.T @ y, cross.T)


def _solved(gram: FloatArray, cross: FloatArray) -> FloatArray:
    return np.linalg.pinv(gram, rcond=_SMALLEST, hermitian=True) @ cross


def _paired(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    left, right = (np.asarray(side, np.float64) for side in (x, y))
    if left.ndim != 2 or right.ndim != 2 or len(left) != len(right):
        raise MismatchError(
            f"expected activations [n_tokens, d] of the same tokens, found shapes {left.shape} and {right.shape}"
        )
    for side in (left, right):
        if not np.isfinite(side).all() or not len(side) or not np.ptp(side, axis=0).any():
            raise UniversalityError("activations that are not finite, or do not vary, cannot be mapped")
    return left, right
