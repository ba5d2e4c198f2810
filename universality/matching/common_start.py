"""Agreement of two dictionaries index by index: a sign that they began from the same weights.

The order of a dictionary's features has no meaning. SAEs that were initialised independently hold even the same
features in unrelated orders. SAEs that started from one seed keep the order of their common start, and features that
never moved far from it look alike for that reason alone, whatever the models. Several public sets of SAEs start all
models from one seed.

An order can still say something: the features of a nested (Matryoshka) dictionary stand in the order of their levels,
and others are sorted by firing rate. Features of one level or of nearly one rate then stand near each other in both
dictionaries, but the *equal* index is no likelier than the ones beside it. Only a common start makes it special. So
equal indices are compared with shifted ones: index i of one dictionary with i + s of the other, for every shift s from
-4 to 4 but 0. Both statistics are of the decoder rows that are compared, evenly spaced ones in a wide dictionary.

- *At the same index*: the number of features whose nearest decoder row in the other dictionary (largest cosine) stands
  at their own index. If the equal index is not special, it is about a Poisson variable whose mean is the mean of the
  numbers at the 8 shifts, and 1 for unrelated orders.
- *Mean cosine at equal index*, minus that at shifted indices, in standard deviations. It finds a common start of which
  training has left a little in every feature. The deviation is the larger of two: that of a mean of as many shifted
  cosines, and that over a random permutation π of the mean of c[i, π(i)], whose variance is
  Σ (c - row means - column means + mean)² / (n² (n - 1)) (Hoeffding 1951, *A combinatorial central limit theorem*).

Two dictionaries that are sorted by the same key with less noise than a few ranks are not told from a common start.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

from universality.arrays import FloatArray, IntArray
from universality.errors import CommonStartWarning, MismatchError

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.similarity import Similarity

SHIFTS = 4
"""Equal indices are compared with those up to so many places away, on both sides."""
LARGEST_P = 3e-7
"""Probability up to which the number of features at the same index counts as beyond chance: from 10 on where the shifts
have one on average."""
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
    at_shifted_index: float
    """Mean number of features whose nearest row stands s places away, over the shifts s: expected at the same index."""
    same_index: float
    """Mean cosine of the rows of equal index."""
    shifted_index: float
    """Mean cosine of the rows at shifted indices."""
    other_index: float
    """Mean cosine of all rows of one with all rows of the other."""
    median_same: float
    """Median cosine of the rows of equal index: the distance that indices alone give."""
    median_nearest: float
    """Median cosine of each row of the first with its nearest row in the second."""
    median_other: float
    """Median cosine of each row of the first with a row of another index, half the dictionary away."""
    z: float
    """``same_index`` minus ``shifted_index``, in standard deviations of a mean of n such cosines."""

    @property
    def share(self) -> float:
        """Share of the features whose nearest row stands at the same index; 1 / n is expected."""
        return self.at_same_index / self.n if self.n else 0.0

    @property
    def p(self) -> float:
        """Probability of so many features at the same index if it is no likelier than the shifted ones."""
        return float(gammainc(self.at_same_index, max(1.0, self.at_shifted_index))) if self.at_same_index else 1.0

    @property
    def began_alike(self) -> bool:
        """Whether equal indices agree beyond shifted ones, as they do only if both started from the same weights."""
        return self.p <= LARGEST_P or self.z >= LEAST_Z

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
        return IndexAgreement(0, 0, 0.0, *(math.nan,) * 6, z=0.0)
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
    shifted = _shifted(x, y)
    return IndexAgreement(
        n=n,
        at_same_index=int((nearest == np.arange(n)).sum()),
        at_shifted_index=_at_shifted_index(nearest),
        same_index=float(same.mean()),
        shifted_index=float(shifted.mean()) if shifted.size else math.nan,
        other_index=float(x.mean(axis=0) @ y.mean(axis=0)),
        median_same=float(np.median(same)),
        median_nearest=float(np.median(best)),
        median_other=float(np.median(other)),
        z=_z(x, y, float(same.mean()), shifted),
    )


def _at_shifted_index(nearest: IntArray) -> float:
    """Average over the shifts the number of features whose nearest row lies that far away."""
    n, away = len(nearest), nearest - np.arange(len(nearest))
    # n - |s| features have an index s places away: the number is scaled to n
    counts = [(away == s).sum() * n / (n - abs(s)) for s in range(-SHIFTS, SHIFTS + 1) if 0 < abs(s) < n]
    return float(np.mean(counts)) if counts else 0.0


def _shifted(x: FloatArray, y: FloatArray) -> FloatArray:
    """Compute the cosines of all rows whose indices differ by a shift."""
    pairs = [(x[s:], y[:-s]) for s in range(1, min(SHIFTS, len(x) - 1) + 1)]
    pairs += [(x[:-s], y[s:]) for s in range(1, min(SHIFTS, len(x) - 1) + 1)]
    return np.concatenate([np.zeros(0), *(np.einsum("nd,nd->n", *pair) for pair in pairs)])


def _z(x: FloatArray, y: FloatArray, same: float, shifted: FloatArray) -> float:
    if not shifted.size:
        return 0.0
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    squares = float(((x.T @ x) * (y.T @ y)).sum())  # of the doubly centred cosines, without an n × n array
    variance = max(squares, 0.0) / (len(x) ** 2 * max(1, len(x) - 1))
    deviation = math.sqrt(max(variance, float(shifted.var()) / len(x)))
    return (same - float(shifted.mean())) / deviation if deviation > 0 else 0.0


def is_one_dictionary(a: FeatureStore, b: FeatureStore) -> bool:
    """Return whether two stores hold one dictionary, which agrees with itself whatever it began from."""
    return a is b or a.dictionary_hash == b.dictionary_hash


def agreement_of_stores(a: FeatureStore, b: FeatureStore) -> IndexAgreement | None:
    """Compare the dictionaries of two stores; None where their indices cannot tell anything.

    That is so for one store or one dictionary, dictionaries of two shapes, stores without a dictionary, and single axes
    (neurons), whose directions are the same in every model.
    """
    shapes = [store.decoder_shape for store in (a, b)]
    if None in shapes or shapes[0] != shapes[1] or is_one_dictionary(a, b):
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
