"""Compiled loops over sparse features, the only code of this folder that visits single activations.

The features of a batch are arrays ``start, stop [n_tokens]``, ``indices``, ``values``: on token t fire the distinct
features ``indices[start[t]:stop[t]]``, rising. All loops run on one thread, release the interpreter's lock and work on
a range of tokens or of features; callers distribute the ranges over threads. No sum spans two ranges, so the result is
the same bytes for any number of threads. Floats may be float32 or float64.
"""

import numpy as np

from universality.compiled import njit

# Sums are vectorised only if they may be reordered. Not the full fastmath: NaN and infinity keep their meaning, so
# that a diverged training is detected.
_FAST = {"contract", "reassoc", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy")
def _threshold(keys, n, k, low, high, spare):  # type: ignore[no-untyped-def]
    """Find by bisection a number that at least k of ``keys[:n]`` reach; stop once at most k + spare do.

    With ``spare`` 0 it is the k-th largest key, or a number between that and the next smaller key. No key reaches
    ``high``; ``low`` is returned if fewer than k keys reach more.
    """
    # Invariant: k or more keys reach `low` (or it is still the caller's), fewer than k reach `high`. At most 31 rounds
    # for float32, each one pass without branches.
    while high - low > 1:
        middle = low + (high - low) // 2
        bar = keys.dtype.type(middle)
        count = np.int32(0)
        for i in range(n):
            count = np.int32(count + np.int32(keys[i] >= bar))
        if count >= k:
            low = middle
            if count <= k + spare:
                break
        else:
            high = middle
    return low


@njit(cache=True, nogil=True, error_model="numpy")
def select_largest(keys, k, shift, start, stop, indices, out):  # type: ignore[no-untyped-def]
    """Select the k largest positive entries of each row; ties are broken in favour of the lower index.

    ``keys`` [n, d_sae] are the bits of floats read as integers, whose order is that of the floats where these are
    positive. ``out`` gets ``key << shift`` (16 turns bfloat16 into float32). Token t writes from slot t·k on.

    The k-th largest of the maxima of disjoint groups bounds the k-th largest entry from below, so one pass without
    branches leaves few more than k candidates: 1 µs for a row of 2,048, where ``torch.topk`` takes 6 to 16.
    """
    n, d_sae = keys.shape
    # With 4 groups or more for each of the k largest entries, few groups hold two of them, and the bound is tight.
    n_groups = 64
    while n_groups < 4 * k:
        n_groups *= 2
    n_groups = min(n_groups, d_sae)
    groups = np.empty(n_groups, keys.dtype)
    candidate = np.empty(d_sae + 1, np.int32)
    candidate_key = np.empty(d_sae + 1, keys.dtype)
    for t in range(n):
        row = keys[t]
        for j in range(n_groups):
            groups[j] = row[j]
        for first in range(n_groups, d_sae - n_groups + 1, n_groups):
            part = row[first : first + n_groups]
            for j in range(n_groups):
                groups[j] = max(groups[j], part[j])
        remainder = row[d_sae - d_sae % n_groups :]
        for j in range(remainder.size):
            groups[j] = max(groups[j], remainder[j])
        top = np.int64(0)
        for j in range(n_groups):
            top = max(top, np.int64(groups[j]))

        # If k group maxima reach `low`, so do k entries. It is at least 1: key 0 is the float 0, which never fires.
        low = max(_threshold(groups, n_groups, k, 0, top + 1, 4), 1)
        bar = keys.dtype.type(low)
        n_candidates = 0
        for j in range(d_sae):  # every entry is written, and overwritten by the next unless it counts: no branch
            candidate[n_candidates] = j
            candidate_key[n_candidates] = row[j]
            n_candidates += row[j] >= bar
        ties = n_candidates
        if n_candidates > k:  # bisect again, exactly, among the few candidates
            low = _threshold(candidate_key, n_candidates, k, low, top + 1, 0)
            bar = keys.dtype.type(low)
            ties = k  # how many entries equal to the bar still fit beside those above it
            for j in range(n_candidates):
                ties -= candidate_key[j] > bar
        at = t * k
        start[t] = at
        for j in range(n_candidates):
            key = candidate_key[j]
            if key < bar or (key == bar and ties <= 0):
                continue
            ties -= key == bar
            indices[at] = candidate[j]
            out[at] = out.dtype.type(key) << shift
            at += 1
        stop[t] = at


@njit(cache=True, nogil=True, error_model="numpy")
def count_above(pre, floor, count):  # type: ignore[no-untyped-def]
    """Count the entries of each row that are larger than the floor of their column."""
    for t in range(pre.shape[0]):
        total = np.int32(0)
        for j in range(pre.shape[1]):
            total = np.int32(total + np.int32(pre[t, j] > floor[j]))
        count[t] = total


@njit(cache=True, nogil=True, error_model="numpy")
def select_above(pre, floor, start, indices, values):  # type: ignore[no-untyped-def]
    """Write those entries, each row from ``start[t]`` on; both outputs need one spare slot at the end."""
    for t in range(pre.shape[0]):
        at = start[t]
        for j in range(pre.shape[1]):
            indices[at] = j
            values[at] = pre[t, j]
            at += pre[t, j] > floor[j]


@njit(cache=True, nogil=True, error_model="numpy")
def pack(start, stop, to, indices, values, out_indices, out_values):  # type: ignore[no-untyped-def]
    """Copy rows so that they follow each other without gaps, token t from ``to[t]`` on."""
    for t in range(start.size):
        at = to[t]
        for e in range(start[t], stop[t]):
            out_indices[at] = indices[e]
            out_values[at] = values[e]
            at += 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _add_combination(first, last, indices, values, decoder, out):  # type: ignore[no-untyped-def]
    """``out`` [d_in] += sum of value · decoder row; four rows at a time save three of four stores."""
    d_in = out.size
    e = first
    while e + 4 <= last:
        w0, w1 = decoder[indices[e]], decoder[indices[e + 1]]
        w2, w3 = decoder[indices[e + 2]], decoder[indices[e + 3]]
        v0, v1, v2, v3 = values[e], values[e + 1], values[e + 2], values[e + 3]
        for i in range(d_in):
            out[i] += v0 * w0[i] + v1 * w1[i] + v2 * w2[i] + v3 * w3[i]
        e += 4
    while e < last:
        row, value = decoder[indices[e]], values[e]
        for i in range(d_in):
            out[i] += value * row[i]
        e += 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _products(first, last, indices, matrix, vector, out):  # type: ignore[no-untyped-def]
    """``out[e]`` = matrix row · vector, for the entries of one token."""
    d_in = vector.size
    zero = vector.dtype.type(0)
    e = first
    while e + 4 <= last:
        w0, w1 = matrix[indices[e]], matrix[indices[e + 1]]
        w2, w3 = matrix[indices[e + 2]], matrix[indices[e + 3]]
        s0, s1, s2, s3 = zero, zero, zero, zero
        for i in range(d_in):
            s0 += w0[i] * vector[i]
            s1 += w1[i] * vector[i]
            s2 += w2[i] * vector[i]
            s3 += w3[i] * vector[i]
        out[e], out[e + 1], out[e + 2], out[e + 3] = s0, s1, s2, s3
        e += 4
    while e < last:
        row = matrix[indices[e]]
        total = zero
        for i in range(d_in):
            total += row[i] * vector[i]
        out[e] = total
        e += 1


@njit(cache=True, nogil=True, error_model="numpy")
def combine(start, stop, indices, values, decoder, bias, out):  # type: ignore[no-untyped-def]
    """Sparse decoder: ``out[t]`` = bias + sum of value · decoder row."""
    for t in range(start.size):
        out[t] = bias
        _add_combination(start[t], stop[t], indices, values, decoder, out[t])


@njit(cache=True, nogil=True, error_model="numpy")
def products(start, stop, indices, matrix, vectors, out):  # type: ignore[no-untyped-def]
    """``out[e]`` = matrix row · the vector of the entry's token, for the entries of all tokens."""
    for t in range(start.size):
        _products(start[t], stop[t], indices, matrix, vectors[t], out)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _square(vector):  # type: ignore[no-untyped-def]
    total = vector.dtype.type(0)
    for i in range(vector.size):
        total += vector[i] * vector[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _end_of(width, first, stop, indices):  # type: ignore[no-untyped-def]
    """First entry, from ``first`` on, whose feature is not below ``width``."""
    while first < stop and indices[first] < width:
        first += 1
    return first


@njit(cache=True, nogil=True, error_model="numpy")
def reconstruct(start, stop, indices, values, decoder, target, prefixes, factor, output_grad, value_grad, errors):  # type: ignore[no-untyped-def]
    """Forward and backward pass of the sparse decoder under squared errors, while a token's rows are in the cache.

    ``prefixes`` [n] are rising widths, the last one d_sae. The first ``prefixes[p]`` features reconstruct on their
    own, and their squared errors are added to ``errors[p]``. ``output_grad[p, t]`` is factor · the sum over prefixes
    from p on of (reconstruction − target[t]): the gradient for features from prefixes[p − 1] to prefixes[p].
    ``value_grad[e]`` = decoder row · that gradient.
    """
    n_prefixes = prefixes.size
    row = np.empty_like(target[0])
    for t in range(start.size):
        for i in range(row.size):
            row[i] = -target[t, i]
        first = start[t]
        for p in range(n_prefixes):
            last = _end_of(prefixes[p], first, stop[t], indices) if p < n_prefixes - 1 else stop[t]
            _add_combination(first, last, indices, values, decoder, row)
            errors[p] += _square(row)
            grad = output_grad[p, t]
            for i in range(row.size):
                grad[i] = row[i] * factor
            first = last
        # From the widest prefix down, so that gradients of later prefixes are summed before they are needed.
        last = stop[t]
        for p in range(n_prefixes - 1, -1, -1):
            grad = output_grad[p, t]
            first = start[t] if p == 0 else _end_of(prefixes[p - 1], start[t], last, indices)
            if p < n_prefixes - 1:
                later = output_grad[p + 1, t]
                for i in range(row.size):
                    grad[i] += later[i]
            _products(first, last, indices, decoder, grad, value_grad)
            last = first


@njit(cache=True, nogil=True, error_model="numpy")
def by_feature(start, stop, indices, first, token, entry):  # type: ignore[no-untyped-def]
    """Order entries by feature: f has tokens ``token[first[f]:first[f + 1]]``, its values are at ``entry[...]``."""
    # a counting sort: one pass counts, one places, and tokens of a feature stay in order
    first[:] = 0
    for t in range(start.size):
        for e in range(start[t], stop[t]):
            first[indices[e] + 1] += 1
    for f in range(first.size - 1):
        first[f + 1] += first[f]
    cursor = first[:-1].copy()
    for t in range(start.size):
        for e in range(start[t], stop[t]):
            at = cursor[indices[e]]
            token[at] = t
            entry[at] = e
            cursor[indices[e]] = at + 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def weighted_sums(low, high, first, token, entry, weight, rows, out):  # type: ignore[no-untyped-def]
    """``out[f − low]`` += sum over the tokens of feature f of weight[entry] · rows[token], for low ≤ f < high.

    This is the gradient of the decoder (weight = values, rows = output gradient) and of the encoder (weight = gradient
    of the values, rows = inputs). Each feature's sum stays in the cache, and is taken in the order of its tokens.
    """
    d_in = rows.shape[1]
    for f in range(low, high):
        total = out[f - low]
        e, last = first[f], first[f + 1]
        while e + 4 <= last:
            x0, x1 = rows[token[e]], rows[token[e + 1]]
            x2, x3 = rows[token[e + 2]], rows[token[e + 3]]
            v0, v1 = weight[entry[e]], weight[entry[e + 1]]
            v2, v3 = weight[entry[e + 2]], weight[entry[e + 3]]
            for i in range(d_in):
                total[i] += v0 * x0[i] + v1 * x1[i] + v2 * x2[i] + v3 * x3[i]
            e += 4
        while e < last:
            x0, v0 = rows[token[e]], weight[entry[e]]
            for i in range(d_in):
                total[i] += v0 * x0[i]
            e += 1


@njit(cache=True, nogil=True, error_model="numpy")
def sums(low, high, first, entry, weight, out):  # type: ignore[no-untyped-def]
    """``out[f]`` = sum of weight[entry] over the tokens of feature f: the gradient of the encoder's bias."""
    for f in range(low, high):
        total = weight.dtype.type(0)
        for e in range(first[f], first[f + 1]):
            total += weight[entry[e]]
        out[f] = total
