"""Compiled loops over sparse token rows: the only code of similarities that visits single activations.

A set of token rows is four arrays: token p holds ``indices[start[p]:stop[p]]`` (uint32, distinct) with
``data[...]`` (float32). Unsigned indices spare numba the test for negative indices, a fifth of the time of a product.
Products are added in float64: a sum of n float32 products would lose about log2(n) / 2 of 24 bits.
"""

import numpy as np

from universality.compiled import njit


@njit(cache=True, error_model="numpy")
def transpose(start, stop, indices, data, shift, n_features):  # type: ignore[no-untyped-def]
    """Copy token rows feature by feature with ``shift`` [n_features] subtracted: indptr, position, value."""
    indptr = np.zeros(n_features + 1, np.int64)
    for p in range(start.size):
        for e in range(start[p], stop[p]):
            indptr[indices[e] + 1] += 1
    for j in range(n_features):
        indptr[j + 1] += indptr[j]
    position = np.empty(indptr[n_features], np.uint32)
    value = np.empty(indptr[n_features], np.float32)
    cursor = indptr[:n_features].copy()
    for p in range(start.size):
        for e in range(start[p], stop[p]):
            j = indices[e]
            position[cursor[j]] = p
            value[cursor[j]] = data[e] - shift[j]
            cursor[j] += 1
    return indptr, position, value


@njit(cache=True, error_model="numpy")
def compact(start, stop, indices, data, shift):  # type: ignore[no-untyped-def]
    """Copy token rows one after the other, with ``shift`` subtracted from the values."""
    packed = np.zeros(start.size + 1, np.int64)
    for p in range(start.size):
        packed[p + 1] = packed[p] + stop[p] - start[p]
    new_indices = np.empty(packed[-1], np.uint32)
    new_data = np.empty(packed[-1], np.float32)
    for p in range(start.size):
        to = packed[p]
        for e in range(start[p], stop[p]):
            new_indices[to] = indices[e]
            new_data[to] = data[e] - shift[indices[e]]
            to += 1
    return packed[:-1], packed[1:], new_indices, new_data


@njit(cache=True, error_model="numpy")
def densify(start, stop, indices, data, slot, center, out):  # type: ignore[no-untyped-def]
    """Write rows minus ``center`` [n_slots] into ``out`` [n, n_slots]; ``slot`` [n_features] is -1 where unwanted."""
    for p in range(start.size):
        for s in range(out.shape[1]):
            out[p, s] = -center[s]
        for e in range(start[p], stop[p]):
            s = slot[indices[e]]
            if s >= 0:
                out[p, s] = data[e] - center[s]


@njit(cache=True, error_model="numpy")
def add_extent(start, stop, indices, data, count, total, low, high):  # type: ignore[no-untyped-def]
    """Update per feature the number of stored entries (firings), their sum, the least and the greatest."""
    for p in range(start.size):
        for e in range(start[p], stop[p]):
            j = indices[e]
            v = data[e]
            count[j] += 1
            total[j] += v
            low[j] = min(low[j], v)
            high[j] = max(high[j], v)


@njit(cache=True, error_model="numpy")
def add_spread(start, stop, indices, data, mean, shift, shifted, centred, square):  # type: ignore[no-untyped-def]
    """Update per feature, over stored entries, the sums of v - shift (as float32), of (v - mean)^2 and of v^2."""
    for p in range(start.size):
        for e in range(start[p], stop[p]):
            j = indices[e]
            v = np.float64(data[e])
            shifted[j] += np.float64(np.float32(v - shift[j]))
            centred[j] += (v - mean[j]) * (v - mean[j])
            square[j] += v * v


@njit(cache=True, error_model="numpy")
def add_group_sums(start, stop, indices, data, slot, shift, group, total, square):  # type: ignore[no-untyped-def]
    """Add per group and wanted feature v - shift and its square, into [n_groups, n_slots]."""
    for p in range(start.size):
        g = group[p]
        for e in range(start[p], stop[p]):
            s = slot[indices[e]]
            if s >= 0:
                v = np.float64(data[e]) - shift[indices[e]]
                total[g, s] += v
                square[g, s] += v * v


@njit(cache=True, error_model="numpy")
def add_pairs(rows_a, shift_a, rows_b, shift_b, first, partner, group, scratch, out):  # type: ignore[no-untyped-def]
    """Add per group and wanted pair (ab, a^2, b^2, 1) to ``out`` [4, n_groups, n_pairs]; ab alone to [1, ...].

    Pairs are sorted by A's feature i: its partners are ``partner[first[i]:first[i + 1]]``. The products are of
    shifted values; the other three count tokens where both fire. ``scratch`` [n_features of B] holds zeros.
    """
    a_start, a_stop, a_indices, a_data = rows_a
    b_start, b_stop, b_indices, b_data = rows_b
    masked = out.shape[0] == 4
    for p in range(a_start.size):
        g = group[p]
        for e in range(b_start[p], b_stop[p]):
            scratch[b_indices[e]] = np.float64(b_data[e]) - shift_b[b_indices[e]]
        for e in range(a_start[p], a_stop[p]):
            i = a_indices[e]
            v = np.float64(a_data[e]) - shift_a[i]
            for s in range(first[i], first[i + 1]):
                w = scratch[partner[s]]
                out[0, g, s] += v * w
                if masked and w != 0:
                    out[1, g, s] += v * v
                    out[2, g, s] += w * w
                    out[3, g, s] += 1.0
        for e in range(b_start[p], b_stop[p]):
            scratch[b_indices[e]] = 0.0
