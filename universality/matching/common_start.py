"""Agreement of two dictionaries index by index: a sign that they began from the same weights.

The order of a dictionary's features has no meaning. SAEs that were initialised independently hold even the same
features in unrelated orders. SAEs that started from one seed keep the order of their common start, and features that
never moved far from it look alike for that reason alone, whatever the models. Several public sets of SAEs start all
models from one seed.

Two statistics are computed from the decoder rows, and both have the same null: every order of one dictionary's rows is
equally likely.

- *At the same index*: the number of features whose nearest decoder row in the other dictionary (largest cosine) stands
  at their own index. One is expected. For k features to do so, one of the subsets of k rows with distinct nearest rows
  must be placed right, so P(at least k) <= C(n, k) (n - k)! / n! = 1 / k!.
- *Mean cosine at equal index*: over a random permutation π the mean of c[i, π(i)] has the mean of all cosines and the
  variance Σ (c - row means - column means + mean)² / (n² (n - 1)) (Hoeffding 1951, *A combinatorial central limit
  theorem*). It finds a common start of which training has left a little in every feature.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray
from universality.errors import CommonStartWarning, MismatchError

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.similarity import Similarity

LEAST_AT_SAME_INDEX = 10
"""Number of features at the same index that counts as beyond chance: its probability is at most 1 / 10! = 3e-7."""
LEAST_Z = 8.0
"""Threshold of `IndexAgreement.z`. If two dictionaries hold the same features in unrelated orders, the number of
features at equal indices is a Poisson variable of mean and deviation 1: z reaches 8 once in a million pairs."""
LARGEST_SAMPLE = 4096
"""Largest number of features of each dictionary that are compared, evenly spaced: one second for d_in 768."""
_ROWS = 512  # rows whose cosines are in memory at a time: 16 MiB


@dataclass(frozen=True)
class IndexAgreement:
    """Decoder rows of equal index in two dictionaries, compared with nearest rows and with rows of another index."""

    n: int
    """Features compared: those with a decoder row in both, at the same indices of both."""
    at_same_index: int
    """Features of the first whose nearest row in the second stands at the same index."""
    same_index: float
    """Mean cosine of the rows of equal index."""
    other_index: float
    """Mean cosine of all rows of one with all rows of the other."""
    median_same: float
    """Median cosine of the rows of equal index: the distance that indices alone give."""
    median_nearest: float
    """Median cosine of each row of the first with its nearest row in the second."""
    median_other: float
    """Median cosine of each row of the first with a row of another index, half the dictionary away."""
    z: float
    """``same_index`` minus ``other_index``, in standard deviations under random orders of one dictionary."""

    @property
    def share(self) -> float:
        """Share of the features whose nearest row stands at the same index; 1 / n is expected."""
        return self.at_same_index / self.n if self.n else 0.0

    @property
    def largest_p(self) -> float:
        """Upper bound on the probability of so many features at the same index if the orders are unrelated."""
        return 1 / math.factorial(min(self.at_same_index, 170))

    @property
    def began_alike(self) -> bool:
        """Whether the orders agree beyond chance, as they do only if both started from the same weights."""
        return self.at_same_index >= LEAST_AT_SAME_INDEX or self.z >= LEAST_Z

    def __str__(self) -> str:
        """Sentence with the share at the same index and the three medians."""
        return describe(self.at_same_index, self.n, self.median_same, self.median_nearest, self.median_other)


def describe(at_same_index: int, n: int, same: float, nearest: float, other: float) -> str:
    """State the share at the same index and the median cosines in words.

    Examples
    --------
    >>> print(describe(90, 100, 0.93, 0.94, 0.0).split("; ")[0])
    the nearest decoder row stands at the same index for 90 of 100 features, where 1 is expected
    """
    return (
        f"the nearest decoder row stands at the same index for {at_same_index:,} of {n:,} features, where 1 is "
        f"expected; the median cosine is {same:.2f} at the same index, {nearest:.2f} with the nearest row and "
        f"{other:.2f} at another index"
    )


def index_agreement(a: npt.ArrayLike, b: npt.ArrayLike) -> IndexAgreement:
    """Compare two decoders of equal shape index by index; large ones at evenly spaced indices.

    Parameters
    ----------
    a, b : [d_sae, d_in]
        Decoder rows, each model's in its own basis. Rows of zeros are left out, together with their counterparts.

    Raises
    ------
    MismatchError
        If the shapes differ.

    References
    ----------
    Hoeffding 1951, *A combinatorial central limit theorem*.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> start = rng.normal(size=(300, 64))
    >>> learnt_a, learnt_b = (start + 0.5 * rng.normal(size=start.shape) for _ in range(2))
    >>> agreement = index_agreement(learnt_a, learnt_b)
    >>> agreement.at_same_index, agreement.began_alike
    (300, True)
    >>> index_agreement(learnt_a, learnt_b[rng.permutation(300)]).began_alike  # the same features in another order
    False
    """
    left, right = (np.asarray(side) for side in (a, b))
    if left.shape != right.shape or left.ndim != 2:
        raise MismatchError(
            f"expected two decoders [d_sae, d_in] of equal shape, found {list(left.shape)} and {list(right.shape)}"
        )
    step = _step(len(left))
    x, y = (side[::step].astype(np.float64) for side in (left, right))
    norm_x, norm_y = (np.linalg.norm(side, axis=1) for side in (x, y))
    known = (norm_x > 0) & (norm_y > 0)
    if not known.any():
        return IndexAgreement(0, 0, *(math.nan,) * 5, z=0.0)
    return _agreement(x[known] / norm_x[known, None], y[known] / norm_y[known, None])


def _step(d_sae: int) -> int:
    return max(1, math.ceil(d_sae / LARGEST_SAMPLE))


def _agreement(x: FloatArray, y: FloatArray) -> IndexAgreement:
    """Compare unit rows [n, d_in] of equal index."""
    n, same = len(x), np.einsum("nd,nd->n", x, y)
    nearest, best = np.zeros(n, np.int64), np.zeros(n)
    for low in range(0, n, _ROWS):
        cosines = x[low : low + _ROWS] @ y.T
        nearest[low : low + _ROWS], best[low : low + _ROWS] = cosines.argmax(axis=1), cosines.max(axis=1)
    other = np.einsum("nd,nd->n", x, np.roll(y, n // 2, axis=0))
    return IndexAgreement(
        n=n,
        at_same_index=int((nearest == np.arange(n)).sum()),
        same_index=float(same.mean()),
        other_index=float(x.mean(axis=0) @ y.mean(axis=0)),
        median_same=float(np.median(same)),
        median_nearest=float(np.median(best)),
        median_other=float(np.median(other)),
        z=_z(x, y, float(same.mean())),
    )


def _z(x: FloatArray, y: FloatArray, same: float) -> float:
    mean = float(x.mean(axis=0) @ y.mean(axis=0))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    squares = float(((x.T @ x) * (y.T @ y)).sum())  # of the doubly centred cosines, without an n × n array
    deviation = math.sqrt(max(squares, 0.0) / (len(x) ** 2 * max(1, len(x) - 1)))
    return (same - mean) / deviation if deviation > 0 else 0.0


def agreement_of_stores(a: FeatureStore, b: FeatureStore) -> IndexAgreement | None:
    """Compare the dictionaries of two stores; None where their indices cannot tell anything.

    That is so for one store or one dictionary, dictionaries of two shapes, stores without a dictionary, and single axes
    (neurons), whose directions are the same in every model.
    """
    shapes = [store.decoder_shape for store in (a, b)]
    if a is b or None in shapes or shapes[0] != shapes[1] or a.dictionary_hash == b.dictionary_hash:
        return None
    step = _step(a.n_features)
    rows = [store.decoder_rows(step) for store in (a, b)]
    if all(np.count_nonzero(side, axis=1).max(initial=0) <= 1 for side in rows):
        return None
    return index_agreement(*rows)


def warn_of_common_start(sim: Similarity, stacklevel: int = 3) -> None:
    """Warn if the dictionaries behind a similarity agree index by index beyond chance."""
    agreement = None if sim.stores is None else agreement_of_stores(*sim.stores)
    if sim.stores is not None and agreement is not None and agreement.began_alike:
        a, b = (store.path.name for store in sim.stores)
        warnings.warn(
            f"the dictionaries of {a} and {b} agree index by index, as only those that began from the same weights do: "
            f"{agreement}. Features that agree for this reason do not show that the models agree",
            CommonStartWarning,
            stacklevel=stacklevel,
        )
