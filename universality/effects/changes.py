"""Changes of codes: what becomes of the features of an SAE in an intervention.

A change takes the codes f [n_tokens, d_sae] of the edited tokens and returns the difference f' − f as a CSR matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import MismatchError, UniversalityError

Change = Callable[[sparse.csr_matrix], sparse.csr_matrix]
"""Function of codes f [n_tokens, d_sae] that returns the difference f' − f."""
Where = Literal["firing", "everywhere"]


def ablate(features: npt.ArrayLike) -> Change:
    """Set features to 0.

    Examples
    --------
    >>> codes = sparse.csr_matrix([[3.0, 1.0], [0.0, 2.0]])
    >>> ablate([1])(codes).toarray().tolist()
    [[0.0, -1.0], [0.0, -2.0]]
    """
    return multiply(features, 0.0)


def ablate_all_but(features: npt.ArrayLike) -> Change:
    """Set all features to 0 except these.

    Examples
    --------
    >>> ablate_all_but([1])(sparse.csr_matrix([[3.0, 1.0]])).toarray().tolist()
    [[-3.0, 0.0]]
    """
    kept = _features(features, at_least=0)

    def change(codes: sparse.csr_matrix) -> sparse.csr_matrix:
        _check_range(kept, codes.shape[1])
        removed = np.ones(codes.shape[1], bool)
        removed[kept] = False
        return _by_entry(codes, np.where(removed[codes.indices], -codes.data, 0))

    return change


def ablate_one_each(features: npt.ArrayLike) -> Change:
    """Set one feature to 0 on each token: ``features[t]`` [n_tokens] on the token t.

    Examples
    --------
    >>> ablate_one_each([0, 1])(sparse.csr_matrix([[3.0, 1.0], [4.0, 2.0]])).toarray().tolist()
    [[-3.0, 0.0], [0.0, -2.0]]
    """
    chosen = np.asarray(features, np.int64)
    return clamp_one_each(chosen, np.zeros(chosen.shape))


def clamp_one_each(features: npt.ArrayLike, values: npt.ArrayLike) -> Change:
    """Set one feature on each token: ``features[t]`` to ``values[t]`` on the token t, both [n_tokens].

    Examples
    --------
    >>> clamp_one_each([0, 1], [2.0, 5.0])(sparse.csr_matrix([[3.0, 1.0], [4.0, 0.0]])).toarray().tolist()
    [[-1.0, 0.0], [0.0, 5.0]]
    """
    chosen, target = _one_each("values", features, values)

    def difference(codes: sparse.csr_matrix) -> npt.NDArray[np.float32]:
        return target - np.asarray(codes[np.arange(chosen.size), chosen], np.float32).ravel()

    return partial(_shift_one_each, features=chosen, of=difference)


def add_one_each(features: npt.ArrayLike, amounts: npt.ArrayLike) -> Change:
    """Add to one feature on each token: ``amounts[t]`` to ``features[t]`` on the token t, both [n_tokens].

    Examples
    --------
    >>> add_one_each([0, 1], [2.0, 5.0])(sparse.csr_matrix([[3.0, 1.0], [4.0, 0.0]])).toarray().tolist()
    [[2.0, 0.0], [0.0, 5.0]]
    """
    chosen, amount = _one_each("amounts", features, amounts)
    return partial(_shift_one_each, features=chosen, of=lambda codes: amount)


def multiply(features: npt.ArrayLike, times: float) -> Change:
    """Multiply features by a number.

    Examples
    --------
    >>> multiply([0], 3)(sparse.csr_matrix([[2.0, 1.0]])).toarray().tolist()
    [[4.0, 0.0]]
    """
    chosen, times = _features(features), float(_finite("times", times))

    def change(codes: sparse.csr_matrix) -> sparse.csr_matrix:
        mask = _mask(chosen, codes.shape[1])
        return _by_entry(codes, np.where(mask[codes.indices], codes.data * (times - 1), 0))

    return change


def clamp(features: npt.ArrayLike, values: npt.ArrayLike, where: Where = "everywhere") -> Change:
    """Set features to given values.

    Parameters
    ----------
    features
        [n] indices.
    values
        One value, or [n], in the activations' units. For multiples of a feature's maximum see `of_maximum`.
    where
        "everywhere", or only at tokens where the feature is "firing".

    Raises
    ------
    UniversalityError
        If a value is not finite, or a feature is named twice.
    MismatchError
        If there are neither one value nor as many as features.

    Examples
    --------
    >>> clamp([0], 5)(sparse.csr_matrix([[2.0, 1.0], [0.0, 1.0]])).toarray().tolist()
    [[3.0, 0.0], [5.0, 0.0]]
    >>> clamp([0], 5, where="firing")(sparse.csr_matrix([[2.0, 1.0], [0.0, 1.0]])).toarray().tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    chosen = _features(features)
    target = _each("values", values, chosen)
    return partial(_shift, features=chosen, of=lambda f, i: target[i] - f, where=_where(where))


def add(features: npt.ArrayLike, amounts: npt.ArrayLike, where: Where = "everywhere") -> Change:
    """Add to features; parameters and errors as for `clamp`.

    Examples
    --------
    >>> add([1], 2)(sparse.csr_matrix([[2.0, 0.0]])).toarray().tolist()
    [[0.0, 2.0]]
    """
    chosen = _features(features)
    amount = _each("amounts", amounts, chosen)
    return partial(_shift, features=chosen, of=lambda f, i: amount[i], where=_where(where))


def replace_codes(codes: sparse.csr_matrix) -> Change:
    """Replace the codes of all tokens by others [n_tokens, d_sae], in the order of the tokens.

    Examples
    --------
    >>> replace_codes(sparse.csr_matrix([[1.0, 0.0]]))(sparse.csr_matrix([[3.0, 4.0]])).toarray().tolist()
    [[-2.0, -4.0]]
    """
    new = sparse.csr_matrix(codes)
    _finite("codes", new.data)

    def change(old: sparse.csr_matrix) -> sparse.csr_matrix:
        if new.shape != old.shape:
            raise MismatchError(f"replace_codes: expected codes {list(old.shape)}, found {list(new.shape)}")
        return sparse.csr_matrix(new - old)

    return change


def of_maximum(features: npt.ArrayLike, times: float, maxima: npt.ArrayLike) -> FloatArray:
    """Compute multiples of features' largest activations, for `clamp`.

    Parameters
    ----------
    features
        [n] indices.
    times
        Factor.
    maxima
        [d_sae] largest activation of each feature, as ``store.moments().max`` of a feature store.

    Raises
    ------
    UniversalityError
        If a feature never fires.
    """
    chosen, largest = _features(features), np.asarray(maxima, np.float64)
    _check_range(chosen, largest.size)
    if (silent := chosen[largest[chosen] <= 0]).size:
        raise UniversalityError(
            f"feature {silent[0]} never fires, so a multiple of its maximum is unknown; choose a living feature, or "
            "give a value"
        )
    return float(_finite("times", times)) * largest[chosen]


def _shift(
    codes: sparse.csr_matrix, features: IntArray, of: Callable[[FloatArray, Any], FloatArray], where: Where
) -> sparse.csr_matrix:
    """Differences ``of(f, i)`` of the chosen features, with f their codes and i places in ``features``."""
    if where == "firing":
        place = np.full(codes.shape[1], -1)
        _check_range(features, codes.shape[1])
        place[features] = np.arange(features.size)
        at = place[codes.indices]
        return _by_entry(codes, np.where(at >= 0, of(codes.data, at), 0))
    _check_range(features, codes.shape[1])
    dense = of(codes[:, features].toarray(), slice(None))
    indices = np.tile(features, codes.shape[0])
    indptr = np.arange(codes.shape[0] + 1) * features.size
    data = np.broadcast_to(dense, (codes.shape[0], features.size)).ravel().astype(np.float32)
    return sparse.csr_matrix((data, indices, indptr), shape=codes.shape)


def _one_each(name: str, features: npt.ArrayLike, numbers: npt.ArrayLike) -> tuple[IntArray, npt.NDArray[np.float32]]:
    chosen, number = np.asarray(features, np.int64), _finite(name, numbers).astype(np.float32)
    if chosen.ndim != 1 or number.shape != chosen.shape:
        raise MismatchError(f"one feature a token: {chosen.shape} features and {number.shape} {name}; give one each")
    return chosen, number


def _shift_one_each(
    codes: sparse.csr_matrix, features: IntArray, of: Callable[[sparse.csr_matrix], npt.NDArray[np.float32]]
) -> sparse.csr_matrix:
    """Differences ``of(codes)`` [n_tokens] of one feature a token."""
    if features.shape != codes.shape[:1]:
        raise MismatchError(
            f"one feature a token: {features.shape} features for {codes.shape[0]} tokens; give one each"
        )
    _check_range(features, codes.shape[1])
    return sparse.csr_matrix((of(codes), features, np.arange(features.size + 1)), shape=codes.shape, copy=True)


def _by_entry(codes: sparse.csr_matrix, data: npt.NDArray[Any]) -> sparse.csr_matrix:
    return sparse.csr_matrix((data.astype(np.float32), codes.indices, codes.indptr), shape=codes.shape, copy=True)


def _mask(features: IntArray, d_sae: int) -> BoolArray:
    _check_range(features, d_sae)
    mask = np.zeros(d_sae, bool)
    mask[features] = True
    return mask


def _features(given: npt.ArrayLike, at_least: int = 1) -> IntArray:
    features = np.atleast_1d(np.asarray(given))
    wrong = None
    if features.size < at_least:
        wrong = "found none"
    elif features.dtype == np.bool_:
        wrong = "found a mask; give numpy.flatnonzero(mask)"
    elif features.ndim != 1:
        wrong = f"found an array {list(features.shape)}"
    elif features.size and not np.issubdtype(features.dtype, np.integer):
        wrong = f"found {features.dtype} values, not integers"
    if wrong:
        raise UniversalityError(f"features of an intervention: expected indices [n], {wrong}")
    if np.unique(features).size < features.size:
        raise UniversalityError("features of an intervention: one is named twice")
    return features.astype(np.int64)


def _check_range(features: IntArray, d_sae: int) -> None:
    if features.size and (features.min() < 0 or features.max() >= d_sae):
        raise UniversalityError(
            f"features of an intervention: indices from 0 to {d_sae - 1} exist, found {features.min()} to "
            f"{features.max()}"
        )


def _finite(name: str, given: npt.ArrayLike) -> FloatArray:
    values = np.asarray(given, np.float64)
    if not np.isfinite(values).all():
        raise UniversalityError(f"{name} of an intervention: expected finite numbers, found NaN or infinity")
    return values


def _each(name: str, given: npt.ArrayLike, features: IntArray) -> FloatArray:
    """Return one number for each feature."""
    numbers = _finite(name, given)
    if numbers.size != 1 and numbers.shape != features.shape:
        raise MismatchError(
            f"{name} of an intervention: expected one for all features or one for each of {features.size}, found "
            f"{list(numbers.shape)}"
        )
    return np.broadcast_to(numbers.reshape(-1) if numbers.size == 1 else numbers, features.shape)


def _where(where: Where) -> Where:
    if where not in ("firing", "everywhere"):
        raise UniversalityError(f"where: expected 'firing' or 'everywhere', found {where!r}")
    return where
