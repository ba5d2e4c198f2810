"""Sums of gathered rows, by Triton's kernels on a card that runs them, by PyTorch's operators elsewhere.

A sparse matrix times a dense one is such a sum by row: of decoder rows for each token (the reconstruction), or of
tokens' rows for each feature (the gradients of encoder and decoder).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from universality.sae.compute.triton_choice import uses_kernels


@dataclass(frozen=True)
class SparseSum:
    """A matrix whose row r is Σ values[e] · source[rows[e]] over the entries e of row r."""

    starts: Tensor
    """int64 [n_rows + 1]: the entries of row r are at positions starts[r] … starts[r + 1]."""
    order: Tensor | None
    """int64 [n], the entry at each position; None if that is the position itself."""
    rows: Tensor
    """int64 [n], a row of ``source`` for each entry."""
    values: Tensor
    """[n]."""
    source: Tensor
    """[n_source, d_in]."""

    @cached_property
    def matrix(self) -> Tensor:
        """The matrix [n_rows, d_in]."""
        if uses_kernels(self.source):
            from universality.sae.compute import triton_kernels

            return triton_kernels.sum_rows(self)
        rows, values = self.rows, self.values
        if self.order is not None:
            rows, values = rows[self.order], values[self.order]
        return nn.functional.embedding_bag(
            rows, self.source, self.starts, mode="sum", per_sample_weights=values, include_last_offset=True
        )


@dataclass(frozen=True)
class EntryRows:
    """Gradients of W_enc and W_dec from (indices, values): a `universality.sae.compute.batch_gradients.Rows`."""

    encoder: SparseSum
    decoder: SparseSum

    def __call__(self, part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        """Add the gradients of a slice of features to two buffers."""
        encoder_grad += self.encoder.matrix[part]
        decoder_grad += self.decoder.matrix[part]


def starts_of(sorted_rows: Tensor, n_rows: int) -> Tensor:
    """First position of each row's entries, and the end of the last, from the rising row of each entry."""
    return torch.searchsorted(sorted_rows, torch.arange(n_rows + 1, device=sorted_rows.device))


def entry_products(a_rows: Tensor, a: Tensor, b_rows: Tensor, b: Tensor, stretches: Iterable[slice]) -> Tensor:
    """Dot products a[a_rows[e]] · b[b_rows[e]] of the rows of two matrices for each entry [n].

    Parameters
    ----------
    stretches
        Slices of the entries whose rows may be held at once, where no kernel gathers them.
    """
    if uses_kernels(a):
        from universality.sae.compute import triton_kernels

        return triton_kernels.entry_products(a_rows, a.contiguous(), b_rows, b.contiguous())
    products = [torch.linalg.vecdot(a[a_rows[part]], b[b_rows[part]]) for part in stretches]
    return torch.cat([a.new_zeros(0), *products])


def sum_values(starts: Tensor, order: Tensor, values: Tensor) -> Tensor:
    """Sum the values of each row's entries [n_rows], in their order.

    `index_add_` on a GPU adds floating-point numbers in whichever order its threads finish, so that two equal trainings
    would end in different bytes.
    """
    if uses_kernels(values):
        from universality.sae.compute import triton_kernels

        return triton_kernels.sum_values(starts, order, values)
    return SparseSum(starts, None, torch.zeros_like(order), values[order], values.new_ones(1, 1)).matrix.squeeze(1)
