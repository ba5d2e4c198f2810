"""Similarity of the geometry of paired features: SVCCA, CKA and RSA of two matrices with paired rows.

Rows are paired features (their decoder rows, say) and columns the axes of each model; the numbers of columns may
differ. All three measures are invariant to rotations of either model, so they can be computed across models. Lan et al.
(2024) report SVCCA and RSA of matched features beside those of shuffled pairings; see `against_shuffles`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import subspace_angles
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, rankdata

from universality.arrays import FloatArray
from universality.errors import MismatchError, UniversalityError


def svcca(x: npt.ArrayLike, y: npt.ArrayLike, variance: float = 0.99) -> float:
    """Compute the mean canonical correlation of the leading singular directions (Raghu et al. 2017).

    Parameters
    ----------
    x, y : [n, d_x], [n, d_y]
        Paired rows.
    variance
        Each side keeps the fewest singular directions that hold this share of its variance.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(svcca(x, x[:, ::-1]), 6)  # another order of the axes is a rotation
    1.0
    """
    left, right = (_leading(side, variance) for side in _centred(x, y))
    return float(np.cos(subspace_angles(left, right)).mean())


def cka(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Compute linear CKA, ‖yᵀx‖² / (‖xᵀx‖ ‖yᵀy‖) of centred columns in Frobenius norms (Kornblith et al. 2019)."""
    left, right = _centred(x, y)
    shared = np.linalg.norm(right.T @ left) ** 2
    return float(shared / (np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right)))


def rsa(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Compute Spearman's correlation of the cosine distances within x and within y (Kriegeskorte et al. 2008)."""
    left, right = _checked(x, y)
    ranks = (rankdata(pdist(side, "cosine")) for side in (left, right))
    return float(pearsonr(*ranks).statistic)


@dataclass(frozen=True)
class AgainstShuffles:
    """A measure of paired rows beside its values for random pairings of the same rows."""

    score: float
    """Value of the measure for the pairs as they are."""
    null: FloatArray
    """[n] values for shuffled pairings."""

    @property
    def p(self) -> float:
        """(1 + #{null >= score}) / (1 + n)."""
        return float((1 + (self.null >= self.score).sum()) / (1 + self.null.size))


def against_shuffles(
    measure: Callable[[npt.ArrayLike, npt.ArrayLike], float],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    n: int = 100,
    seed: int = 0,
) -> AgainstShuffles:
    """Compute a measure for the pairs and for ``n`` random pairings of the same rows.

    Parameters
    ----------
    measure
        `svcca`, `cka`, `rsa`, or any other of two matrices with paired rows.
    x, y : [n_pairs, d_x], [n_pairs, d_y]
        Paired rows.
    n
        Shuffles of the rows of y.
    seed
        Seed for the shuffles.

    Raises
    ------
    MismatchError
        When the rows do not pair up.
    UniversalityError
        When there are fewer than 3 pairs, values are not finite, or a side does not vary.
    """
    left, right = _checked(x, y)
    rng = np.random.default_rng(seed)
    null = [measure(left, right[rng.permutation(len(right))]) for _ in range(n)]
    return AgainstShuffles(measure(left, right), np.array(null))


def _checked(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    left, right = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if left.ndim != 2 or right.ndim != 2 or len(left) != len(right):
        raise MismatchError(f"expected paired rows [n, d_x] and [n, d_y], found shapes {left.shape} and {right.shape}")
    if len(left) < 3:
        raise UniversalityError(f"the geometry of pairs needs at least 3 of them, found {len(left)}")
    for side in (left, right):
        if not np.isfinite(side).all() or not np.ptp(side, axis=0).any():
            raise UniversalityError(
                "expected finite rows that differ from each other, found NaN, infinity or one row only"
            )
    return left, right


def _centred(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    left, right = _checked(x, y)
    return left - left.mean(axis=0), right - right.mean(axis=0)


def _leading(x: FloatArray, variance: float) -> FloatArray:
    """Return an orthonormal basis of the leading singular directions that hold this share of the variance."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    share = np.cumsum(s**2) / (s**2).sum()
    return u[:, : int(np.searchsorted(share, variance - 1e-12)) + 1]
