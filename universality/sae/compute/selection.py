"""Which features fire on a token: from pre-activations to (indices, values).

The three parts of a `FiringRule`: all features above a floor, the k largest of each token, and the ``total`` largest of
the whole batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.sae.architectures.base import FiringRule
from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute.codes import Codes

# Integers of the same size: where floats are positive, their bits read as integers have the order of the floats.
_KEYS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}


def select(pre: Tensor, rule: FiringRule) -> Codes:
    """Select the features that count by ``floor`` or ``k``, with their pre-activations; on a CPU.

    Ties are broken in favour of the lower index. Values are float32, or float64 for float64 pre-activations.

    Parameters
    ----------
    pre : [n_tokens, d_sae]
        float32, float64 or bfloat16.
    """
    return largest(pre, rule.k) if rule.k is not None else above(pre, rule.floor)


def largest(pre: Tensor, k: int) -> Codes:
    """Select the k largest positive entries of each row."""
    n_tokens, d_sae = pre.shape
    k = min(k, d_sae)
    dtype = np.float64 if pre.dtype == torch.float64 else np.float32
    if k == 0:
        empty = np.zeros(n_tokens, np.int64)
        return Codes(empty, empty, np.empty(0, np.int32), np.empty(0, dtype), d_sae)
    keys = pre.contiguous().view(_KEYS[pre.dtype]).numpy()
    start, stop = np.empty(n_tokens, np.int64), np.empty(n_tokens, np.int64)
    indices = np.empty(n_tokens * k, np.int32)
    values: NDArray[np.floating] = np.empty(n_tokens * k, dtype)
    # bfloat16 is the upper half of a float32: shifted by 16 bits, its bits are those of the same number as float32.
    shift = 16 if pre.dtype == torch.bfloat16 else 0
    bits = values.view(np.int64 if values.itemsize == 8 else np.int32)
    kernels.select_largest(keys, k, shift, start, stop, indices, bits)
    return Codes(start, stop, indices, values, d_sae)


def above(pre: Tensor, floor: Tensor | None = None) -> Codes:
    """Select the entries of each row that are larger than the floor of their column."""
    if pre.dtype == torch.bfloat16:
        pre = pre.float()
    array = pre.contiguous().numpy()
    n_tokens, d_sae = array.shape
    floors = pre.new_zeros(d_sae) if floor is None else floor.to(pre.dtype).expand(d_sae).contiguous()
    bounds = np.zeros(n_tokens + 1, np.int64)
    kernels.count_above(array, floors.numpy(), bounds[1:])
    np.cumsum(bounds, out=bounds)
    # One slot to spare: the compiled loop writes every entry, and advances only past those that count.
    indices, values = np.empty(bounds[-1] + 1, np.int32), np.empty(bounds[-1] + 1, array.dtype)
    kernels.select_above(array, floors.numpy(), bounds[:-1], indices, values)
    return Codes(bounds[:-1], bounds[1:], indices[:-1], values[:-1], d_sae)


def largest_of_batch(codes: Codes, total: int) -> Codes:
    """Select the ``total`` largest entries of all tokens together; ties in favour of the earlier.

    ``codes`` must have no unused slots between its rows.
    """
    if len(codes.values) <= total:
        return codes
    bar = np.partition(codes.values, -total)[-total]
    keep = codes.values > bar
    ties = np.flatnonzero(codes.values == bar)
    keep[ties[: total - int(keep.sum())]] = True
    before = np.concatenate([[0], np.cumsum(keep)])
    return Codes(before[codes.start], before[codes.stop], codes.indices[keep], codes.values[keep], codes.d_sae)


def floor_of_batch(sample: Tensor, share: float) -> Tensor:
    """Estimate a floor [] of at least 0 that about this share of all entries exceeds.

    Parameters
    ----------
    sample : [n_tokens, d_sae]
        Pre-activations of some tokens of the batch.
    """
    if share >= 1:  # not the least entry, which no other need exceed
        return sample.new_zeros(())
    rank = math.ceil(share * sample.numel())
    if sample.device.type == "cpu":
        array = sample.to(torch.float64 if sample.dtype == torch.float64 else torch.float32).numpy().ravel()
        bar = torch.as_tensor(np.partition(array, -rank)[-rank])
    else:
        bar = sample.flatten().topk(rank, sorted=False).values.min()
    return bar.clamp_min(0)
