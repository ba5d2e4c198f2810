"""Pooling the activations of several tokens, so that models with different tokenizers can be compared.

A stretch of text that begins and ends at token boundaries of all models becomes one row. ``max``, the default, records
whether and how strongly a feature fires anywhere in the stretch: it does not depend on the number of tokens, and stays
sparse. With ``mean`` a feature that fires on one token is weaker where the stretch has more tokens; with ``sum`` a
feature that fires on every token is stronger there. Tokens on which a feature is silent count as 0.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from universality.errors import UniversalityError

Pool = Literal["max", "mean", "sum"]


def pool_rows(features: sparse.csr_matrix, start: NDArray[np.int64], how: Pool = "max") -> sparse.csr_matrix:
    """Pool each run of rows into one row.

    Parameters
    ----------
    features : [n_tokens, n_features]
    start : int64 [n_segments]
        The first row of each run, rising from 0; the last run ends with the rows.
    how
        ``max``, ``mean`` or ``sum``.

    Returns
    -------
    csr_matrix [n_segments, n_features]
        float32, indices sorted.

    Raises
    ------
    UniversalityError
        If ``how`` is unknown.
    """
    if how not in get_args(Pool):
        raise UniversalityError(f"unknown pool {how!r}; choose one of {', '.join(get_args(Pool))}")
    n_tokens, n_features = features.shape
    size = np.diff(np.append(start, n_tokens))
    entry_segment = np.repeat(np.repeat(np.arange(len(start)), size), np.diff(features.indptr))
    key = entry_segment * np.int64(n_features) + features.indices
    order = np.argsort(key, kind="stable")
    key, values = key[order], features.data[order]
    new = np.flatnonzero(np.diff(key, prepend=-1))
    segment, feature = np.divmod(key[new], n_features)
    if how == "max":
        data = np.maximum.reduceat(values, new) if len(new) else values
        # Stored values only: where fewer are stored than the run has rows, a silent row takes part with 0.
        silent = np.diff(np.append(new, len(key))) < size[segment]
        data = np.where(silent, np.maximum(data, 0), data)
    else:
        data = np.add.reduceat(values, new, dtype=np.float64) if len(new) else values
        data = data / size[segment] if how == "mean" else data
    indptr = np.concatenate([[0], np.cumsum(np.bincount(segment, minlength=len(start)))])
    return sparse.csr_matrix((data.astype(np.float32), feature, indptr), shape=(len(start), n_features))
