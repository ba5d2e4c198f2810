"""Compiled loops of the families: every one visits stored activations only, and holds no features × features.

A set of token rows is ``start``, ``stop``, ``indices``, ``data`` as in
``universality.similarity.engine.store_rows``; features' firings are ``indptr``, ``row``, ``value``, the rows rising
within each feature.
"""

import numpy as np

from universality.compiled import njit

AB, AA, BB, BOTH = range(4)
"""Sums over tokens where both fire: of products, of the parent's squares, of the child's, and the tokens."""
TOGETHER, COVERED, ALIKE, COVERED_ALIKE, LINKED = range(5)
"""Pairs that a step counts: both fire somewhere; pass the first rule; the second; both; and the third too."""
EDGE_SUMS, CHILD_SUMS, ORPHAN_SUMS = 7, 3, 2


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def dot(u, v):  # type: ignore[no-untyped-def]
    """uᵀv of float32 vectors."""
    total = np.float32(0)
    for k in range(u.size):
        total += u[k] * v[k]
    return total


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def add_scaled(out, scale, v):  # type: ignore[no-untyped-def]
    """``out += scale * v`` of float32 vectors."""
    for k in range(out.size):
        out[k] += scale * v[k]


@njit(cache=True, nogil=True, error_model="numpy")
def find_pairs(firings, meets, rows, count_b, sum_sq_b, may_a, may_b, x, y, least, group, chunk):  # type: ignore[no-untyped-def]
    """Pairs that pass the first three rules, found by walking each parent's tokens.

    Parameters
    ----------
    firings
        (indptr, row, value) of some parents.
    meets
        [n_tokens] row of B that each of A's tokens meets, -1 for none.
    rows
        B's token rows.
    count_b, sum_sq_b
        [n_b] of the children over the tokens that are met.
    may_a, may_b
        Which may have edges.
    x, y
        float32 [n_parents, d_in], [n_b, d_in] unit decoder rows.
    least
        (coverage, masked cosine, decoder cosine).
    group, chunk
        Parents that walk together, ``chunk`` tokens each in turn: what one of them has read of B stays in the
        cache for the next, which saves more than half of the time.

    Returns
    -------
    ends int64 [n, 2], values float64 [n, 4] of (masked cosine, decoder cosine, coverage, share), met int64 [5].
    """
    indptr = firings[0]
    n_parents, n_b = indptr.size - 1, count_b.size
    sums = np.zeros((min(group, n_parents), n_b, 4))
    touched = np.empty((len(sums), n_b), np.uint32)
    ends, values = np.empty((1024, 2), np.int64), np.empty((1024, 4))
    met = np.zeros(5, np.int64)
    n = 0
    for low in range(0, n_parents, len(sums)):
        high = min(low + len(sums), n_parents)
        n_touched, count_a, sum_sq_a = _walk(firings, low, high, meets, rows, may_a, chunk, sums, touched)
        more = n + n_touched.sum()
        if more > len(ends):
            ends, values = _grown(ends, n, max(more, 2 * len(ends))), _grown(values, n, max(more, 2 * len(ends)))
        for i in range(low, high):
            for t in range(n_touched[i - low]):
                j = touched[i - low, t]
                cell = sums[i - low, j]
                if may_b[j]:
                    coverage = cell[BOTH] / count_b[j]
                    norm = np.sqrt(min(sum_sq_a[i - low] * cell[BB], cell[AA] * sum_sq_b[j]))
                    masked = min(cell[AB] / norm, 1.0) if norm > 0 else 0.0
                    covered, alike = coverage >= least[0], masked >= least[1]
                    met[TOGETHER] += 1
                    met[COVERED] += covered
                    met[ALIKE] += alike
                    if covered and alike:
                        met[COVERED_ALIKE] += 1
                        cosine = np.float64(dot(x[i], y[j]))
                        if cosine >= least[2]:
                            met[LINKED] += 1
                            ends[n, 0], ends[n, 1] = i, j
                            values[n, 0], values[n, 1] = masked, min(cosine, 1.0)
                            values[n, 2], values[n, 3] = coverage, cell[BOTH] / count_a[i - low]
                            n += 1
                cell[:] = 0
    return ends[:n].copy(), values[:n].copy(), met


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(firings, low, high, meets, rows, may_a, chunk, sums, touched):  # type: ignore[no-untyped-def]
    """Sums (AB, AA, BB, BOTH) of the parents low..high with all of B, and which of B each has touched."""
    indptr, row, value = firings
    start, stop, indices, data = rows
    cursor = indptr[low:high].copy()
    n_touched, count_a, sum_sq_a = np.zeros(high - low, np.int64), np.zeros(high - low, np.int64), np.zeros(high - low)
    for bound in range(chunk, meets.size + chunk, chunk):
        for i in range(high - low):
            if not may_a[low + i]:
                continue
            own, e = sums[i], cursor[i]
            while e < indptr[low + i + 1] and row[e] < bound:
                p, v = meets[row[e]], np.float64(value[e])
                e += 1
                if p < 0:
                    continue
                square = v * v
                count_a[i] += 1
                sum_sq_a[i] += square
                for q in range(start[p], stop[p]):
                    j, w = indices[q], np.float64(data[q])
                    if own[j, BOTH] == 0:
                        touched[i, n_touched[i]] = j
                        n_touched[i] += 1
                    own[j, AB] += v * w
                    own[j, AA] += square
                    own[j, BB] += w * w
                    own[j, BOTH] += 1
            cursor[i] = e
    return n_touched, count_a, sum_sq_a


@njit(cache=True, nogil=True, error_model="numpy")
def _grown(array, n, size):  # type: ignore[no-untyped-def]
    """The first n rows in an array of ``size`` rows."""
    larger = np.empty((size, array.shape[1]), array.dtype)
    larger[:n] = array[:n]
    return larger


@njit(cache=True, nogil=True, error_model="numpy")
def add_moments(rows, wanted, count, sum_sq):  # type: ignore[no-untyped-def]
    """Firings and sums of squares of each feature over the ``wanted`` token rows."""
    start, stop, indices, data = rows
    for p in wanted:
        for q in range(start[p], stop[p]):
            v = np.float64(data[q])
            count[indices[q]] += 1
            sum_sq[indices[q]] += v * v


@njit(cache=True, nogil=True, error_model="numpy")
def add_groups(firings_a, firings_b, group, first, child, out):  # type: ignore[no-untyped-def]
    """Sums per edge and group of documents: ``out`` [n_groups, n_edges, 8] of AB, AA, BB, BOTH, then count and sum of
    squares of the parent and of the child over all of the group's tokens. Edges ``first[i]:first[i + 1]`` lead from
    parent i to ``child[...]``."""
    indptr_a, row_a, value_a = firings_a
    indptr_b, row_b, value_b = firings_b
    dense = np.zeros(group.size, np.float32)
    for i in range(first.size - 1):
        if first[i] == first[i + 1]:
            continue
        for e in range(indptr_a[i], indptr_a[i + 1]):
            v = np.float64(value_a[e])
            dense[row_a[e]] = value_a[e]
            for n in range(first[i], first[i + 1]):
                out[group[row_a[e]], n, 4] += 1
                out[group[row_a[e]], n, 5] += v * v
        for n in range(first[i], first[i + 1]):
            j = child[n]
            for e in range(indptr_b[j], indptr_b[j + 1]):
                cell = out[group[row_b[e]], n]
                v, w = np.float64(dense[row_b[e]]), np.float64(value_b[e])
                if v > 0:
                    cell[AB] += v * w
                    cell[AA] += v * v
                    cell[BB] += w * w
                    cell[BOTH] += 1
                cell[6] += 1
                cell[7] += w * w
        for e in range(indptr_a[i], indptr_a[i + 1]):
            dense[row_a[e]] = 0
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def rebuild(rows, decoder, out):  # type: ignore[no-untyped-def]
    """The reconstruction of each token without the bias: ``out`` float32 [n_tokens, d_in]."""
    start, stop, indices, data = rows
    total = np.empty(decoder.shape[1], np.float32)
    for p in range(start.size):
        total[:] = 0
        for q in range(start[p], stop[p]):
            add_scaled(total, data[q], decoder[indices[q]])
        out[p] = total


@njit(cache=True, nogil=True, error_model="numpy")
def add_reconstruction(  # type: ignore[no-untyped-def]
    target, rebuilt, rows_a, rows_b, d_a, d_b, first, partner, nearest, sums
):
    """Walk tokens with the residual r of the narrower dictionary and add what the tests of a step need.

    Parameters
    ----------
    target, rebuilt
        float32 [n_tokens, d_in] what is to be reconstructed, and the narrower dictionary's reconstruction of it.
    rows_a, rows_b
        Token rows of the narrower and the wider dictionary.
    d_a, d_b
        float32 [n_a, d_in], [n_b, d_in] decoder rows.
    first, partner
        Edges ``first[i]:first[i + 1]`` of parent i lead to ``partner[...]``.
    nearest
        [n_b] feature of A that an orphan of B is held against, -1 for who is no orphan.
    sums
        (edge, child, orphan, stem), added to; see ``universality.family.reconstruction``.
    """
    edge, child, orphan, stem = sums
    start_a, stop_a, indices_a, data_a = rows_a
    start_b, stop_b, indices_b, data_b = rows_b
    d_in = d_a.shape[1]
    fires_a, fires_b = np.zeros(len(d_a), np.float32), np.zeros(len(d_b), np.float32)
    read_b = np.zeros(len(d_b), np.float32)
    r = np.empty(d_in, np.float32)
    for p in range(start_a.size):
        t = target[p]
        for k in range(d_in):
            r[k] = t[k] - rebuilt[p, k]
        for q in range(start_a[p], stop_a[p]):
            fires_a[indices_a[q]] = data_a[q]
        for q in range(start_b[p], stop_b[p]):
            j, b = indices_b[q], np.float64(data_b[q])
            along = dot(r, d_b[j])
            fires_b[j], read_b[j] = data_b[q], along
            child[j, 0] += b * along
            child[j, 1] += b * b
            child[j, 2] += b
            if nearest[j] >= 0:
                orphan[j, 0] += dot(t, d_a[nearest[j]])
                orphan[j, 1] += fires_a[nearest[j]] > 0
        for q in range(start_a[p], stop_a[p]):
            i, a = indices_a[q], np.float64(data_a[q])
            if not np.isnan(stem[i]):
                stem[i] += dot(t, d_a[i])
            along = np.float64(0)
            if first[i] < first[i + 1]:
                along = np.float64(dot(r, d_a[i]))
            for n in range(first[i], first[i + 1]):
                j = partner[n]
                b = np.float64(fires_b[j])
                if b > 0:
                    edge[n, 0] += a * along
                    edge[n, 1] += b * read_b[j]
                    edge[n, 2] += a * b
                    edge[n, 3] += a
                    edge[n, 4] += b
                    edge[n, 5] += a * a
                    edge[n, 6] += b * b
        for q in range(start_a[p], stop_a[p]):
            fires_a[indices_a[q]] = 0
        for q in range(start_b[p], stop_b[p]):
            fires_b[indices_b[q]] = 0
