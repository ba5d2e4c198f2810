"""Tiles: some tokens × some features, whose pre-activations one thread computes and selects from at a time.

A wide dictionary's pre-activations of even a hundred tokens outgrow the cache, and a product with few rows spends its
time on bringing the weights into order. In tiles both the product and the selection run at the speed of a narrow one.
The tiles are fixed, so the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from universality.sae.architectures.base import FiringRule
from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute.codes import Codes
from universality.sae.compute.selection import largest
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TILE = 512
FEATURES_A_TILE = 4096  # with 512 tokens 8 MB of float32

Result = TypeVar("Result")


def by_tiles(function: Callable[[slice, slice], Result], n_tokens: int, d_sae: int) -> list[list[Result]]:
    """Compute ``function(tokens, features)`` of every tile: a list for each range of tokens, features rising."""
    rows, columns = ranges(n_tokens, TOKENS_A_TILE), ranges(d_sae, FEATURES_A_TILE)
    results = share_out(lambda tile: function(*tile), [(row, column) for row in rows for column in columns])
    return [results[at.start : at.stop] for at in ranges(len(results), max(1, len(columns)))]


def rule_of(rule: FiringRule, features: slice) -> FiringRule:
    """Restrict a rule to some features."""
    floor = rule.floor
    return rule if floor is None or floor.ndim == 0 else replace(rule, floor=floor[features])


def named(codes: Codes, features: slice | NDArray[np.int32], d_sae: int) -> Codes:
    """Name the features of a tile by their places among all d_sae."""
    if isinstance(features, slice):
        return replace(codes, indices=codes.indices + np.int32(features.start), d_sae=d_sae)
    packed = Codes.of(codes.csr())  # unused slots hold no places
    return replace(packed, indices=features[packed.indices], d_sae=d_sae)


def joined(rows: Sequence[Sequence[Codes]], k: int | None) -> Codes:
    """Join the codes of all tiles, in which features have their names among all; of each token the k largest."""
    return Codes.concatenate(share_out(lambda tiles: _of_tokens(tiles, k), rows))


def _of_tokens(tiles: Sequence[Codes], k: int | None) -> Codes:
    if len(tiles) == 1:
        return tiles[0]
    side_by_side = _side_by_side(tiles)
    return side_by_side if k is None else _largest(side_by_side, k)


def _side_by_side(tiles: Sequence[Codes]) -> Codes:
    """Codes of the same tokens: of each token the firings in the first tile, then those in the second, …"""
    counts = [tile.stop - tile.start for tile in tiles]
    bounds = np.zeros(tiles[0].n_tokens + 1, np.int64)
    np.cumsum(np.sum(counts, axis=0), out=bounds[1:])
    indices, values = np.empty(bounds[-1], np.int32), np.empty(bounds[-1], tiles[0].values.dtype)
    to = bounds[:-1].copy()
    for tile, count in zip(tiles, counts, strict=True):
        kernels.pack(tile.start, tile.stop, to, tile.indices, tile.values, indices, values)
        to += count
    return Codes(bounds[:-1], bounds[1:], indices, values, tiles[0].d_sae)


def _largest(codes: Codes, k: int) -> Codes:
    """The k largest of each token; ties in favour of the earlier."""
    most = int((codes.stop - codes.start).max(initial=0))
    if most <= k:
        return codes
    shape = codes.n_tokens, most
    indices, values = np.zeros(shape, np.int32), np.zeros(shape, codes.values.dtype)
    to = np.arange(codes.n_tokens, dtype=np.int64) * most
    kernels.pack(codes.start, codes.stop, to, codes.indices, codes.values, indices.ravel(), values.ravel())
    chosen = largest(torch.from_numpy(values), k).csr()
    token = np.repeat(np.arange(codes.n_tokens), np.diff(chosen.indptr))
    return replace(Codes.of(chosen), indices=indices[token, chosen.indices], d_sae=codes.d_sae)
