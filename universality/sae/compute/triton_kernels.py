"""Triton kernels for the sparse parts of a training step on a CUDA card, each beside a stock path that it equals.

- `adam_rows`: one pass over a matrix and its two moments. It sums the gradient of a row from the entries that concern
  it, takes the component along a unit row out, applies Adam and restores the norm. The gradient is never written.
- `sum_rows`: a sparse matrix times a dense one, forward by token and backward by feature.
- `entry_products`: the dot product of two gathered rows for each entry, without writing the gathered rows.
- `sum_values`: sums of the entries' values by feature.
- `encode_topk`: the k largest pre-activations of each token, without writing the others.

No kernel uses atomics: a program sums the entries of its own row in their order, so equal inputs give equal bytes.
Positions are 64-bit: 1,048,576 rows of 64 entries, or of 4,096 numbers, exceed 32 bits. This file can be imported
without Triton; `universality.sae.compute.triton_choice` says whether its functions may be called.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl

    jit = triton.jit
except ImportError:  # kernels are then plain functions that nothing calls

    def jit(function: Any) -> Any:
        """Leave a kernel as it is."""
        return function


class Entries(Protocol):
    """A sparse matrix times a dense one: a `universality.sae.compute.sparse_sums.SparseSum`."""

    @property
    def starts(self) -> Tensor: ...
    @property
    def order(self) -> Tensor | None: ...
    @property
    def rows(self) -> Tensor: ...
    @property
    def values(self) -> Tensor: ...
    @property
    def source(self) -> Tensor: ...


TILE = 8192
"""Numbers of gathered rows that a program holds at once: 64 registers of each of its 128 threads."""
LARGEST_K = 128
"""Candidates of 64 tokens are held in registers, 8 bytes each; more would spill."""
FLOAT32_PRODUCTS = "tf32x3"
"""Three products of 10-bit mantissas on tensor cores, which are as accurate as one in float32, and faster."""


def _on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Make a tensor's card the current one: Triton launches there, and other threads have another current card."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _row_tile(d_in: int, at_most: int) -> dict[str, int]:
    """Columns and entries of a tile of gathered rows, and warps for it."""
    columns = min(triton.next_power_of_2(d_in), at_most)
    return {
        "COLUMNS": columns,
        "ENTRIES": max(1, min(32, TILE // columns)),
        "num_warps": 4 if columns <= 1024 else 8 if columns <= 4096 else 16,
    }


@jit
def _gathered_sum(order, rows, values, source, first, last, columns, mask, d_in, total, ORDERED, ENTRIES):
    """total + Σ values[e] · source[rows[e], columns] over entries e from first to last, skipping values of 0."""
    for start in range(first, last, ENTRIES):
        at = start + tl.arange(0, ENTRIES)
        here = at < last
        entry = tl.load(order + at, mask=here, other=0) if ORDERED else at
        value = tl.load(values + entry, mask=here, other=0.0)
        row = tl.load(rows + entry, mask=here, other=0)
        counts = (value != 0)[:, None] & mask[None, :]
        tile = tl.load(source + row[:, None] * d_in + columns[None, :], mask=counts, other=0.0)
        total += tl.sum(tile * value[:, None], axis=0)
    return total


@jit
def _sum_rows(
    out, starts, order, rows, values, source, d_in,
    ORDERED: tl.constexpr, COLUMNS: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """out[r] = Σ values[e] · source[rows[e]] over the entries e of row r; a program takes some columns of a row."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = columns < d_in
    first, last = tl.load(starts + row), tl.load(starts + row + 1)
    total = tl.zeros([COLUMNS], out.dtype.element_ty)
    total = _gathered_sum(order, rows, values, source, first, last, columns, mask, d_in, total, ORDERED, ENTRIES)
    tl.store(out + row * d_in + columns, total, mask=mask)


def sum_rows(entries: Entries) -> Tensor:
    """Compute the matrix that a `SparseSum` stands for; entries of value 0 are skipped."""
    source = entries.source.contiguous()
    n_rows, d_in = len(entries.starts) - 1, source.shape[1]
    out = source.new_empty(n_rows, d_in)
    order = entries.rows if entries.order is None else entries.order  # an unused argument needs some address
    tile = _row_tile(d_in, 256)
    with _on(source):
        _sum_rows[(n_rows, triton.cdiv(d_in, tile["COLUMNS"]))](
            out, entries.starts, order, entries.rows, entries.values, source, d_in,
            ORDERED=entries.order is not None, **tile,
        )  # fmt: skip
    return out


@jit
def _adam_rows(
    weight, first_moment, second_moment, dense, starts, order, rows, values, source, scale, d_in,
    rate, beta1, beta2, epsilon, root_correction,
    HAS_DENSE: tl.constexpr, HAS_ENTRIES: tl.constexpr, UNIT: tl.constexpr,
    COLUMNS: tl.constexpr, ENTRIES: tl.constexpr,
):  # fmt: skip
    """One step of Adam for one row; ``rate`` includes the correction of the first moment."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    mask = columns < d_in
    here = row * d_in + columns
    grad = tl.zeros([COLUMNS], weight.dtype.element_ty)
    if HAS_ENTRIES:
        first, last = tl.load(starts + row), tl.load(starts + row + 1)
        grad = _gathered_sum(order, rows, values, source, first, last, columns, mask, d_in, grad, True, ENTRIES)
    if HAS_DENSE:
        grad += tl.load(dense + here, mask=mask, other=0.0)
    w = tl.load(weight + here, mask=mask, other=0.0)
    if UNIT:
        grad -= tl.sum(grad * w, axis=0) * w
    grad *= tl.load(scale)
    m = tl.load(first_moment + here, mask=mask, other=0.0)
    v = tl.load(second_moment + here, mask=mask, other=0.0)
    m += (grad - m) * (1 - beta1)
    v = v * beta2 + grad * grad * (1 - beta2)
    w -= rate * m / (tl.sqrt(v) * root_correction + epsilon)
    if UNIT:
        w /= tl.sqrt(tl.sum(w * w, axis=0))
    tl.store(weight + here, w, mask=mask)
    tl.store(first_moment + here, m, mask=mask)
    tl.store(second_moment + here, v, mask=mask)


def adam_rows(
    weight: Tensor, first: Tensor, second: Tensor, dense: Tensor | None, entries: Entries | None, scale: Tensor,
    rate: float, step: int, betas: tuple[float, float], epsilon: float, unit: bool,
) -> None:  # fmt: skip
    """Take one step of Adam with all rows of a matrix, in place.

    Parameters
    ----------
    weight, first, second : [n_rows, d_in]
        The parameter and its moments, contiguous.
    dense : [n_rows, d_in] or None
        A part of the gradient.
    entries
        Another part, ordered by row; None for none.
    scale : []
        Factor of the gradient, on the same device.
    step
        Steps before this one.
    unit
        Whether rows are unit vectors: the gradient along a row is left out, and the row's norm restored.
    """
    assert all(tensor.is_contiguous() for tensor in (weight, first, second))
    assert entries is None or entries.order is not None
    n_rows, d_in = weight.shape
    unused = (weight,) * 5  # arguments that are not read need some address
    of_entries = (
        unused if entries is None
        else (entries.starts, entries.order, entries.rows, entries.values, entries.source.contiguous())
    )  # fmt: skip
    with _on(weight):
        _adam_rows[(n_rows,)](
            weight, first, second, weight if dense is None else dense.contiguous(), *of_entries, scale, d_in,
            rate / (1 - betas[0] ** (step + 1)), betas[0], betas[1], epsilon, 1 / math.sqrt(1 - betas[1] ** (step + 1)),
            HAS_DENSE=dense is not None, HAS_ENTRIES=entries is not None, UNIT=unit, **_row_tile(d_in, 1 << 30),
        )  # fmt: skip


@jit
def _entry_products(
    out, a_rows, a, b_rows, b, n_entries, d_in, COLUMNS: tl.constexpr, ENTRIES: tl.constexpr
):  # fmt: skip
    """out[e] = a[a_rows[e]] · b[b_rows[e]] for some entries."""
    entry = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES)
    here = entry < n_entries
    left = tl.load(a_rows + entry, mask=here, other=0)[:, None] * d_in
    right = tl.load(b_rows + entry, mask=here, other=0)[:, None] * d_in
    total = tl.zeros([ENTRIES], out.dtype.element_ty)
    for start in range(0, d_in, COLUMNS):
        columns = (start + tl.arange(0, COLUMNS))[None, :]
        mask = here[:, None] & (columns < d_in)
        x = tl.load(a + left + columns, mask=mask, other=0.0)
        y = tl.load(b + right + columns, mask=mask, other=0.0)
        total += tl.sum(x * y, axis=1)
    tl.store(out + entry, total, mask=here)


def entry_products(a_rows: Tensor, a: Tensor, b_rows: Tensor, b: Tensor) -> Tensor:
    """Dot products a[a_rows[e]] · b[b_rows[e]] [n] of rows of two contiguous matrices; row numbers are int64 [n]."""
    n = len(a_rows)
    out = a.new_empty(n)
    if n:
        with _on(a):
            _entry_products[(triton.cdiv(n, 16),)](
                out, a_rows, a, b_rows, b, n, a.shape[1], COLUMNS=min(128, triton.next_power_of_2(a.shape[1])),
                ENTRIES=16,
            )  # fmt: skip
    return out


@jit
def _sum_values(out, starts, order, values, n_rows, ROWS: tl.constexpr, ENTRIES: tl.constexpr):
    """out[r] = Σ values[e] over the entries of row r, for some rows."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    here = row < n_rows
    first = tl.load(starts + row, mask=here, other=0)
    count = tl.load(starts + row + 1, mask=here, other=0) - first
    total = tl.zeros([ROWS], out.dtype.element_ty)
    for start in range(0, tl.max(count, axis=0), ENTRIES):
        at = start + tl.arange(0, ENTRIES)[None, :]
        counts = at < count[:, None]
        entry = tl.load(order + first[:, None] + at, mask=counts, other=0)
        total += tl.sum(tl.load(values + entry, mask=counts, other=0.0), axis=1)
    tl.store(out + row, total, mask=here)


def sum_values(starts: Tensor, order: Tensor, values: Tensor) -> Tensor:
    """Sums of the values [n_rows] of each row's entries, ordered by row as in a `SparseSum`."""
    n_rows = len(starts) - 1
    out = values.new_empty(n_rows)
    with _on(values):
        _sum_values[(triton.cdiv(n_rows, 16),)](out, starts, order, values, n_rows, ROWS=16, ENTRIES=32)
    return out


@jit
def _keys(pre, feature):
    """Integers in the order of (value, lower feature first), from which both can be read again."""
    # The bits of a positive float rise with it; those of a negative one fall, so all but its sign are inverted.
    bits = pre.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(tl.int64) << 32) | (0xFFFFFFFF - feature.to(tl.int64))


@jit
def _keep_largest(best, keys, least):
    """Replace the smallest of ``best`` [n, K] by larger ``keys`` [n, m], the largest first, until none is larger."""
    low, top = tl.min(best, axis=1), tl.max(keys, axis=1)
    waiting = tl.max((top > low).to(tl.int32), axis=0)
    # After the first tile few keys of a row are larger, so that this ends long before a sort of the tile would.
    while waiting > 0:
        best = tl.where((top > low)[:, None] & (best == low[:, None]), top[:, None], best)
        keys = tl.where(keys == top[:, None], least, keys)
        low, top = tl.min(best, axis=1), tl.max(keys, axis=1)
        waiting = tl.max((top > low).to(tl.int32), axis=0)
    return best


@jit
def _none_yet(k, n: tl.constexpr, K: tl.constexpr, least, most):
    """Keys [n, K] that any pre-activation replaces, distinct in each row; those beyond k are never replaced."""
    slot = tl.arange(0, K)
    empty = tl.where(slot < k, least + slot.to(tl.int64), most)
    return tl.zeros([n, K], tl.int64) + empty[None, :]


@jit
def _panel_candidates(
    candidates, inputs, encoder, bias, n_tokens, d_sae, d_in, k, panel, n_candidates,
    K: tl.constexpr, TOKENS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Keys of the k largest pre-activations of some tokens in one panel of features."""
    token = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    begin = tl.program_id(1).to(tl.int64) * panel
    inner, slot = tl.arange(0, INNER), tl.arange(0, K)
    least = tl.full([], -0x8000000000000000, tl.int64)
    best = _none_yet(k, TOKENS, K, least, tl.full([], 0x7FFFFFFFFFFFFFFF, tl.int64))
    for start in range(0, panel, FEATURES):
        feature = begin + start + tl.arange(0, FEATURES)
        pre = tl.zeros([TOKENS, FEATURES], tl.float32)
        for d in range(0, d_in, INNER):
            x = tl.load(inputs + token[:, None] * d_in + (d + inner)[None, :],
                        mask=(token < n_tokens)[:, None] & (d + inner < d_in)[None, :], other=0.0)  # fmt: skip
            w = tl.load(encoder + feature[None, :] * d_in + (d + inner)[:, None],
                        mask=(feature < d_sae)[None, :] & (d + inner < d_in)[:, None], other=0.0)  # fmt: skip
            if WIDEN:
                x, w = x.to(tl.float32), w.to(tl.float32)
            pre = tl.dot(x, w, pre, input_precision=PRECISION)
        pre += tl.load(bias + feature, mask=feature < d_sae, other=0.0)[None, :]
        keys = tl.where((feature < d_sae)[None, :], _keys(pre, feature[None, :]), least)
        best = _keep_largest(best, keys, least)
    at = token[:, None] * n_candidates + tl.program_id(1) * k + slot[None, :]
    tl.store(candidates + at, best, mask=(token < n_tokens)[:, None] & (slot < k)[None, :])


@jit
def _merge_candidates(values, features, candidates, n_candidates, k, K: tl.constexpr, CANDIDATES: tl.constexpr):
    """The k largest of a token's candidates, by rising feature."""
    token = tl.program_id(0).to(tl.int64)
    at, slot = tl.arange(0, CANDIDATES), tl.arange(0, K)
    least = tl.full([], -0x8000000000000000, tl.int64)
    keys = tl.load(candidates + token * n_candidates + at, mask=at < n_candidates, other=-0x8000000000000000)
    best = _none_yet(k, 1, K, least, tl.full([], 0x7FFFFFFFFFFFFFFF, tl.int64))
    best = tl.reshape(_keep_largest(best, keys[None, :], least), [K])
    feature = tl.where(slot < k, 0xFFFFFFFF - (best & 0xFFFFFFFF), 0x7FFFFFFFFFFFFFFF)
    rank = tl.sum((feature[None, :] < feature[:, None]).to(tl.int32), axis=1)
    ordered = (best >> 32).to(tl.int32)
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    tl.store(features + token * k + rank, feature, mask=slot < k)
    tl.store(values + token * k + rank, bits.to(tl.float32, bitcast=True), mask=slot < k)


@dataclass(frozen=True)
class EncoderTiles:
    """Division of `encode_topk`'s work; tests take small tiles."""

    tokens: int = 64
    """Tokens of a program, a power of two of at least 16."""
    features: int = 128
    """Features of a tile of pre-activations, a power of two of at least 16."""
    least_panel: int = 1024
    """Features of a program, at least."""
    most_panels: int = 16
    """Panels, at most: enough programs to fill a card, few candidates to merge."""
    inner: int = 32
    """Input dimensions of a step of the product."""


def encode_topk(
    inputs: Tensor, encoder: Tensor, bias: Tensor, k: int, tiles: EncoderTiles = EncoderTiles()
) -> tuple[Tensor, Tensor]:
    """Find the k largest pre-activations of each token, exactly, and without writing the others.

    A program multiplies a few tokens by a panel of features, tile by tile, and keeps its k best; a second kernel
    merges the candidates of all panels. Of equal pre-activations the lower feature counts, as in the stock path. Sums
    are float32 and are not rounded to bfloat16, so ties are rarer than with stock products in bfloat16.

    Parameters
    ----------
    inputs : [n_tokens, d_in]
        float32 or bfloat16, contiguous.
    encoder : [d_sae, d_in]
        In the same format, contiguous.
    bias : float32 [d_sae]
    k
        At most d_sae and `LARGEST_K`.

    Returns
    -------
    values : float32 [n_tokens, k]
        Those at or below 0 do not fire.
    features : int64 [n_tokens, k]
        Rising in each row.
    """
    (n_tokens, d_in), d_sae = inputs.shape, len(encoder)
    width = max(2, triton.next_power_of_2(k))
    panel = tiles.features * triton.cdiv(max(tiles.least_panel, triton.cdiv(d_sae, tiles.most_panels)), tiles.features)
    n_panels = triton.cdiv(d_sae, panel)
    candidates = torch.empty(n_tokens, n_panels * k, dtype=torch.int64, device=inputs.device)
    values = torch.empty(n_tokens, k, device=inputs.device)
    features = torch.empty(n_tokens, k, dtype=torch.int64, device=inputs.device)
    with _on(inputs):
        _panel_candidates[(triton.cdiv(n_tokens, tiles.tokens), n_panels)](
            candidates, inputs, encoder, bias, n_tokens, d_sae, d_in, k, panel, n_panels * k,
            K=width, TOKENS=tiles.tokens, FEATURES=tiles.features, INNER=tiles.inner, PRECISION=FLOAT32_PRODUCTS,
            WIDEN=not inputs.is_cuda, num_warps=8, num_stages=3,
        )  # fmt: skip
        _merge_candidates[(n_tokens,)](
            values, features, candidates, n_panels * k, k, K=width,
            CANDIDATES=triton.next_power_of_2(n_panels * k), num_warps=4,
        )  # fmt: skip
    return values, features
