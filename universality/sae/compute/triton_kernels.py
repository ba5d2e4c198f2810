"""Triton kernels for the sparse parts of a training step on a CUDA card, each beside a stock path that it equals.

- `adam_rows`: one pass over a matrix and its two moments. It sums the gradient of a row from the entries that concern
  it, takes the component along a unit row out, applies Adam and restores the norm. The gradient is never written.
- `sum_rows`: a sparse matrix times a dense one, forward by token and backward by feature.
- `entry_products`: the dot product of two gathered rows for each entry, without writing the gathered rows.
- `sum_values`: sums of the entries' values by feature.

The encoder's kernels are in `universality.sae.compute.triton_encoders`. No kernel uses atomics: a program sums the
entries of its own row in their order, so equal inputs give equal bytes. Positions are 64-bit: 1,048,576 rows of 64
entries, or of 4,096 numbers, exceed 32 bits. Both files can be imported without Triton;
`universality.sae.compute.triton_choice` says whether their functions may be called.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
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


def on_card(tensor: Tensor) -> AbstractContextManager[Any]:
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
    with on_card(source):
        _sum_rows[(n_rows, triton.cdiv(d_in, tile["COLUMNS"]))](
            out, entries.starts, order, entries.rows, entries.values, source, d_in,
            ORDERED=entries.order is not None, **tile,
        )  # fmt: skip
    return out


@jit
def _adam_rows(
    weight, first_moment, second_moment, dense, starts, order, rows, values, source, scale, d_in,
    rate, beta1, beta2, epsilon, root_correction, decay,
    HAS_DENSE: tl.constexpr, HAS_ENTRIES: tl.constexpr, UNIT: tl.constexpr, DECAYS: tl.constexpr,
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
    if DECAYS:
        grad += decay * w
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
    rate: float, step: int, betas: tuple[float, float], epsilon: float, unit: bool, decay: float = 0.0,
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
    decay
        Multiple of the matrix that is added to its gradient, before the factor.
    """
    assert all(tensor.is_contiguous() for tensor in (weight, first, second))
    assert entries is None or entries.order is not None
    n_rows, d_in = weight.shape
    unused = (weight,) * 5  # arguments that are not read need some address
    of_entries = (
        unused if entries is None
        else (entries.starts, entries.order, entries.rows, entries.values, entries.source.contiguous())
    )  # fmt: skip
    with on_card(weight):
        _adam_rows[(n_rows,)](
            weight, first, second, weight if dense is None else dense.contiguous(), *of_entries, scale, d_in,
            rate / (1 - betas[0] ** (step + 1)), betas[0], betas[1], epsilon, 1 / math.sqrt(1 - betas[1] ** (step + 1)),
            decay, HAS_DENSE=dense is not None, HAS_ENTRIES=entries is not None, UNIT=unit, DECAYS=decay != 0,
            **_row_tile(d_in, 1 << 30),
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
        with on_card(a):
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
    with on_card(values):
        _sum_values[(triton.cdiv(n_rows, 16),)](out, starts, order, values, n_rows, ROWS=16, ENTRIES=32)
    return out
