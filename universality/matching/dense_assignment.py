"""Exact assignment of a whole matrix by SciPy's solver, and a certificate for any pairing.

The certificate is the dual of the linear program: any v >= 0 with u_i = max_j (s_ij - v_j) bounds every pairing by
sum(u) + sum(v). Good v follow from the pairing itself. Column j is worth at least what the row i that holds column k
would gain by moving there, v_j >= v_k + s_ij - s_ik, which is a longest-path problem. For an optimal pairing its
fixpoint closes the gap up to rounding; otherwise the gap stays open by at least the loss.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from universality.arrays import FloatArray, IntArray
from universality.compiled import njit
from universality.errors import UniversalityError

MAX_SWEEPS = 1000  # 5 to 100 in practice; for a pairing that is not optimal the prices rise without end
EPS = float(np.finfo(np.float64).eps)
NO_PAIRING = "no complete pairing avoids the forbidden pairs; forbid fewer, or give a floor"
COPIES = 3  # of the matrix in memory at once: scores, clipped or transposed scores, the solver's negated ones


def assign_dense(scores: FloatArray, floor: float | None = None) -> tuple[IntArray, IntArray, float]:
    """Find optimal one-to-one pairs and a bound on their distance from the optimum.

    Parameters
    ----------
    scores
        Float64 [n_rows, n_cols]; -inf forbids a pair.
    floor
        Pairs below it stay unmatched; None asks for a complete pairing on the smaller side.

    Returns
    -------
    rows, cols : int64 [n_pairs]
        In rising order of rows.
    gap : float
        No admissible pairing has a sum that is larger by more than this, rounding included.

    Raises
    ------
    UniversalityError
        When every complete pairing holds a forbidden pair.

    References
    ----------
    Crouse 2016, *On implementing 2D rectangular assignment algorithms* (SciPy's solver).
    """
    # Below the floor a pair is worth as much as leaving both alone, 0; such pairs are dropped afterwards.
    weights = scores if floor is None else np.maximum(scores - floor, 0)
    try:
        rows, cols = linear_sum_assignment(weights, maximize=True)
    except ValueError:
        raise UniversalityError(NO_PAIRING) from None
    bound = gap(weights, rows, cols)
    if floor is not None:
        above = scores[rows, cols] >= floor
        rows, cols = rows[above], cols[above]
    return rows.astype(np.int64), cols.astype(np.int64), bound


def gap(weights: FloatArray, rows: IntArray, cols: IntArray) -> float:
    """Bound the amount by which the best complete pairing can exceed the given one.

    Parameters
    ----------
    weights
        Float64 [n_rows, n_cols]; -inf forbids a pair.
    rows, cols
        A pairing that is complete on the smaller side.

    Returns
    -------
    float
        The duality gap plus a bound on its rounding; about 1e-12 for an optimal pairing of thousands.
    """
    if weights.shape[0] > weights.shape[1]:
        weights, rows, cols = np.ascontiguousarray(weights.T), cols, rows
    if rows.size != weights.shape[0]:
        raise UniversalityError(
            f"gap: expected a pairing complete on the smaller side, {weights.shape[0]} pairs; found {rows.size}"
        )
    held = np.empty(weights.shape[0], np.int64)
    held[rows] = cols
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    free = np.ones(weights.shape[1], bool)
    free[held] = False
    bounds = []
    for sweeps in (0, MAX_SWEEPS):  # for a pairing far from optimal, prices of 0 may bound better than diverging ones
        price, slack = _prices(weights, held, sweeps)
        largest = np.abs(weights[np.isfinite(weights)]).max(initial=0.0)
        rounding = 4 * EPS * (largest + price.max()) * weights.shape[1]
        bounds.append(float(slack.sum() + price[free].sum() + rounding))
    return min(bounds)


@njit(cache=True, error_model="numpy")
def _prices(weights, held, max_sweeps):  # type: ignore[no-untyped-def]
    """Compute longest-path prices of the columns, and each row's slack max_j(s_ij - v_j) - (s_ik - v_k), k its own."""
    n, m = weights.shape
    price = np.zeros(m)
    seen = np.full(n, -1.0)  # price of the row's column when the row last raised others
    for sweep in range(max_sweeps):
        moved = False
        for q in range(n):
            i = q if sweep % 2 == 0 else n - 1 - q  # alternating directions: long paths settle in few sweeps
            own = held[i]
            if price[own] <= seen[i]:
                continue
            seen[i] = price[own]
            moved = True
            gain = price[own] - weights[i, own]
            row = weights[i]
            for j in range(m):
                price[j] = max(price[j], row[j] + gain) if j != own else price[j]
        if not moved:
            break
    slack = np.zeros(n)
    for i in range(n):
        best = -np.inf
        for j in range(m):
            best = max(best, weights[i, j] - price[j])
        slack[i] = max(0.0, best - (weights[i, held[i]] - price[held[i]]))
    return price, slack
