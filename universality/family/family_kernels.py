"""Compiled loops of the families: all visit stored activations only and hold no features × features array.

Token rows are given as ``start``, ``stop``, ``indices``, ``data`` (``universality.similarity.engine.store_rows``), and
features' firings as ``indptr``, ``row``, ``value``, with rising rows within each feature.
"""

import numpy as np

from universality.compiled import njit

AB, AA, BB, BOTH = range(4)
"""Sums over tokens where both fire: products, the parent's squares, the child's squares, and number of tokens."""
TOGETHER, COVERED, ALIKE, COVERED_ALIKE, LINKED = range(5)
"""Pairs that a step counts: fire together somewhere; pass rule 1; rule 2; both; and rule 3, too."""
EDGE_SUMS, CHILD_SUMS, ORPHAN_SUMS = 7, 3, 2


# fastmath allows the sum to be reordered into SIMD lanes; only loops whose values are always finite use it.
@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def dot(u, v):  # type: ignore[no-untyped-def]
    """Compute uᵀv of float32 vectors."""
    total = np.float32(0)
    for k in range(u.size):
        total += u[k] * v[k]
    return total


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def add_scaled(out, scale, v):  # type: ignore[no-untyped-def]
    """Compute ``out += scale * v`` for float32 vectors."""
    for k in range(out.size):
        out[k] += scale * v[k]


@njit(cache=True, nogil=True, error_model="numpy")
def find_pairs(firings, meets, rows, count_b, sum_sq_b, eligible_a, eligible_b, x, y, thresholds, group, chunk):  # type: ignore[no-untyped-def]
    """Find the pairs that pass the first three rules by walking each parent's tokens.

    Parameters
    ----------
    firings
        (indptr, row, value) of some parents.
    meets
        [n_tokens] row of B that each of A's tokens meets, -1 for none.
    rows
        B's token rows.
    count_b, sum_sq_b
        [n_b] number of firings and sum of squares of the children over the tokens that are met.
    eligible_a, eligible_b
        bool [n_parents], [n_b] features that may have edges.
    x, y
        float32 [n_parents, d_in], [n_b, d_in] unit decoder rows.
    thresholds
        (coverage, masked cosine, decoder cosine).
    group, chunk
        Number of parents that walk together, in turns of ``chunk`` tokens. B's rows that one parent has read are still
        in the cache for the next, which saves more than half of the time.

    Returns
    -------
    ends : int64 [n, 2]
        Parent and child of each pair.
    values : float64 [n, 4]
        Masked cosine, decoder cosine, coverage, share.
    counts : int64 [5]
        Pairs that each rule lets through.
    """
    indptr = firings[0]
    n_parents, n_b = indptr.size - 1, count_b.size
    sums = np.zeros((min(group, n_parents), n_b, 4))  # float64: ratios of long sums are compared with thresholds
    touched = np.empty((len(sums), n_b), np.uint32)  # children that each parent has met: only their sums are visited
    ends, values = np.empty((1024, 2), np.int64), np.empty((1024, 4))
    counts = np.zeros(5, np.int64)
    n = 0
    for low in range(0, n_parents, len(sums)):
        high = min(low + len(sums), n_parents)
        n_touched, count_a, sum_sq_a = _walk(firings, low, high, meets, rows, eligible_a, chunk, sums, touched)
        more = n + n_touched.sum()  # every pair met may pass
        if more > len(ends):
            ends, values = _grown(ends, n, max(more, 2 * len(ends))), _grown(values, n, max(more, 2 * len(ends)))
        for i in range(low, high):
            for t in range(n_touched[i - low]):
                j = touched[i - low, t]
                cell = sums[i - low, j]
                if eligible_b[j]:
                    coverage = cell[BOTH] / count_b[j]
                    # The larger of the two masked cosines has the smaller norm.
                    norm = np.sqrt(min(sum_sq_a[i - low] * cell[BB], cell[AA] * sum_sq_b[j]))
                    masked = min(cell[AB] / norm, 1.0) if norm > 0 else 0.0
                    covered, alike = coverage >= thresholds[0], masked >= thresholds[1]
                    counts[TOGETHER] += 1
                    counts[COVERED] += covered
                    counts[ALIKE] += alike
                    if covered and alike:
                        counts[COVERED_ALIKE] += 1
                        cosine = np.float64(dot(x[i], y[j]))
                        if cosine >= thresholds[2]:
                            counts[LINKED] += 1
                            ends[n, 0], ends[n, 1] = i, j
                            values[n, 0], values[n, 1] = masked, min(cosine, 1.0)
                            values[n, 2], values[n, 3] = coverage, cell[BOTH] / count_a[i - low]
                            n += 1
                cell[:] = 0  # only touched cells: clearing all would cost n_b a parent
    return ends[:n].copy(), values[:n].copy(), counts


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(firings, low, high, meets, rows, eligible_a, chunk, sums, touched):  # type: ignore[no-untyped-def]
    """Add up the sums (AB, AA, BB, BOTH) of the parents low..high with all of B, and list the touched children."""
    indptr, row, value = firings
    start, stop, indices, data = rows
    cursor = indptr[low:high].copy()  # each parent's next firing: turns continue where the last one ended
    n_touched, count_a, sum_sq_a = np.zeros(high - low, np.int64), np.zeros(high - low, np.int64), np.zeros(high - low)
    for bound in range(chunk, meets.size + chunk, chunk):
        for i in range(high - low):
            if not eligible_a[low + i]:
                continue
            of_parent, e = sums[i], cursor[i]
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
                    if of_parent[j, BOTH] == 0:  # first meeting
                        touched[i, n_touched[i]] = j
                        n_touched[i] += 1
                    of_parent[j, AB] += v * w
                    of_parent[j, AA] += square
                    of_parent[j, BB] += w * w
                    of_parent[j, BOTH] += 1
            cursor[i] = e
    return n_touched, count_a, sum_sq_a


@njit(cache=True, nogil=True, error_model="numpy")
def _grown(array, n, size):  # type: ignore[no-untyped-def]
    """Copy the first n rows into an array of ``size`` rows."""
    larger = np.empty((size, array.shape[1]), array.dtype)
    larger[:n] = array[:n]
    return larger


@njit(cache=True, nogil=True, error_model="numpy")
def add_moments(rows, wanted, count, sum_sq):  # type: ignore[no-untyped-def]
    """Add each feature's firings and squares over the ``wanted`` token rows to ``count`` and ``sum_sq``."""
    start, stop, indices, data = rows
    for p in wanted:
        for q in range(start[p], stop[p]):
            v = np.float64(data[q])
            count[indices[q]] += 1
            sum_sq[indices[q]] += v * v


@njit(cache=True, nogil=True, error_model="numpy")
def add_groups(firings_a, firings_b, group, first, child, out):  # type: ignore[no-untyped-def]
    """Add up each edge's sums over the tokens of each group of documents.

    ``out`` [n_groups, n_edges, 8] holds AB, AA, BB, BOTH, then number of firings and sum of squares of the parent and
    of the child over all of the group's tokens. Edges ``first[i]:first[i + 1]`` lead from parent i to ``child[...]``.
    """
    indptr_a, row_a, value_a = firings_a
    indptr_b, row_b, value_b = firings_b
    dense = np.zeros(group.size, np.float32)  # one parent's activations, so that children look them up by token
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
    """Compute the reconstruction of each token without the bias: ``out`` float32 [n_tokens, d_in]."""
    start, stop, indices, data = rows
    total = np.empty(decoder.shape[1], np.float32)  # stays in cache, unlike a row of `out`
    for p in range(start.size):
        total[:] = 0
        for q in range(start[p], stop[p]):
            add_scaled(total, data[q], decoder[indices[q]])
        out[p] = total


@njit(cache=True, nogil=True, error_model="numpy")
def add_reconstruction(  # type: ignore[no-untyped-def]
    target, rebuilt, rows_a, rows_b, d_a, d_b, first, partner, nearest, sums
):
    """Walk over tokens with the narrower dictionary's residual and add up the sums that a step's tests need.

    Parameters
    ----------
    target, rebuilt
        float32 [n_tokens, d_in] activations, and the narrower dictionary's reconstruction of them.
    rows_a, rows_b
        Token rows of the narrower and the wider dictionary.
    d_a, d_b
        float32 [n_a, d_in], [n_b, d_in] decoder rows.
    first, partner
        Edges ``first[i]:first[i + 1]`` of parent i lead to ``partner[...]``.
    nearest
        [n_b] feature of A with which an orphan of B is compared, -1 for features that are no orphans.
    sums
        Arrays (edge, child, orphan, stem) to which is added; see ``universality.family.reconstruction``.
    """
    edge, child, orphan, stem = sums
    start_a, stop_a, indices_a, data_a = rows_a
    start_b, stop_b, indices_b, data_b = rows_b
    d_in = d_a.shape[1]
    fires_a, fires_b = np.zeros(len(d_a), np.float32), np.zeros(len(d_b), np.float32)
    read_b = np.zeros(len(d_b), np.float32)
    r = np.empty(d_in, np.float32)  # residual of the token
    for p in range(start_a.size):
        t = target[p]
        for k in range(d_in):
            r[k] = t[k] - rebuilt[p, k]
        for q in range(start_a[p], stop_a[p]):
            fires_a[indices_a[q]] = data_a[q]
        for q in range(start_b[p], stop_b[p]):
            j, b = indices_b[q], np.float64(data_b[q])
            along = dot(r, d_b[j])
            fires_b[j], read_b[j] = data_b[q], along  # looked up by the parents below
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
            if first[i] < first[i + 1]:  # the product costs more than all sums: only parents with candidates need it
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
