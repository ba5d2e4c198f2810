"""Triton kernels for the encoder on a CUDA card: pre-activations are compared tile by tile and never all written.

- `encode_topk`: the k largest pre-activations of each token.
- `encode_above`: those above a floor, as ReLU and JumpReLU need them, and BatchTopK and Matryoshka as candidates.

A program multiplies a few tokens by a panel of features. As in `universality.sae.compute.triton_kernels` there are no
atomics, so equal inputs give equal bytes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from universality.sae.compute.triton_kernels import jit, on_card

with suppress(ImportError):
    import triton
    import triton.language as tl

LARGEST_K = 128
"""Candidates of 64 tokens are held in registers, 8 bytes each; more would spill."""
FLOAT32_PRODUCTS = "tf32x3"
"""Three products of 10-bit mantissas on tensor cores, which are as accurate as one in float32, and faster."""
MOST_OFFSET = 2**30
"""Numbers of an encoder's panel, so that offsets within one fit 32 bits."""
FIRST_SLOTS, MOST_SLOTS = 1 / 16, 1 / 4
"""Share of a panel's features for whose entries a token has slots, at first and at most. An entry takes 8 bytes, so
slots take at most half of the memory of pre-activations in float32."""

SLOTS_AT_ONCE = 2**26
"""Slots that are held at once, 0.5 GB; up to four times as many where the first ones do not suffice."""


@jit
def _pre_activations(
    inputs, encoder, bias, begin, start, n_tokens, d_sae, d_in,
    TOKENS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """A tile of float32 pre-activations: of this program's tokens, and of features from ``begin + start``."""
    # Offsets within a panel fit 32 bits, which halves the registers for addresses; its beginning needs 64.
    first_token = tl.program_id(0).to(tl.int64) * TOKENS
    token, feature, inner = tl.arange(0, TOKENS), start + tl.arange(0, FEATURES), tl.arange(0, INNER)
    real_token, real_feature = token < n_tokens - first_token, feature < d_sae - begin
    x_at = inputs + first_token * d_in + (token[:, None] * d_in + inner[None, :])
    w_at = encoder + begin * d_in + (feature[None, :] * d_in + inner[:, None])
    pre = tl.zeros([TOKENS, FEATURES], tl.float32)
    for d in range(0, d_in, INNER):
        here = inner < d_in - d
        x = tl.load(x_at + d, mask=real_token[:, None] & here[None, :], other=0.0)
        w = tl.load(w_at + d, mask=real_feature[None, :] & here[:, None], other=0.0)
        if WIDEN:
            x, w = x.to(tl.float32), w.to(tl.float32)
        pre = tl.dot(x, w, pre, input_precision=PRECISION)
    return pre + tl.load(bias + begin + feature, mask=real_feature, other=0.0)[None, :]


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
    slot = tl.arange(0, K)
    least = tl.full([], -0x8000000000000000, tl.int64)
    best = _none_yet(k, TOKENS, K, least, tl.full([], 0x7FFFFFFFFFFFFFFF, tl.int64))
    for start in range(0, panel, FEATURES):
        feature = begin + start + tl.arange(0, FEATURES)
        pre = _pre_activations(inputs, encoder, bias, begin, start, n_tokens, d_sae, d_in,
                               TOKENS, FEATURES, INNER, PRECISION, WIDEN)  # fmt: skip
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


@jit
def _panel_entries(
    counts, features, values, inputs, encoder, bias, floor, n_tokens, d_sae, d_in, panel, capacity,
    TOKENS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Pre-activations above the floors of some tokens in one panel: how many, and as many as the slots hold."""
    first = tl.program_id(0).to(tl.int64) * TOKENS
    begin = tl.program_id(1).to(tl.int64) * panel
    token = tl.arange(0, TOKENS)
    row = token * tl.num_programs(1)  # counted from that of the first token
    first_row = first * tl.num_programs(1) + tl.program_id(1)
    features += first_row * capacity
    values += first_row * capacity
    count = tl.zeros([TOKENS], tl.int32)
    for start in range(0, panel, FEATURES):
        feature = start + tl.arange(0, FEATURES)
        pre = _pre_activations(inputs, encoder, bias, begin, start, n_tokens, d_sae, d_in,
                               TOKENS, FEATURES, INNER, PRECISION, WIDEN)  # fmt: skip
        least = tl.load(floor + begin + feature, mask=feature < d_sae - begin, other=float("inf"))
        counted = (pre > least[None, :]) & (token < n_tokens - first)[:, None]
        # A token's entries lie in its own slots by rising feature, whichever program is first.
        slot = count[:, None] + tl.cumsum(counted.to(tl.int32), axis=1) - 1
        here = counted & (slot < capacity)
        at = row[:, None] * capacity + slot
        tl.store(features + at, (begin.to(tl.int32) + feature)[None, :], mask=here)
        tl.store(values + at, pre, mask=here)
        count += tl.sum(counted.to(tl.int32), axis=1)
    tl.store(counts + first_row + row, count, mask=token < n_tokens - first)


@dataclass(frozen=True)
class EncoderTiles:
    """Division of an encoder's work; tests take small tiles."""

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
    warps: int = 8
    """Groups of 32 threads of a program."""

    def panels(self, d_sae: int, d_in: int) -> tuple[int, int]:
        """Number of panels, and features of each."""
        size = max(self.least_panel, triton.cdiv(d_sae, self.most_panels))
        size = self.features * triton.cdiv(min(size, MOST_OFFSET // d_in), self.features)
        return triton.cdiv(d_sae, size), size

    def constants(self, on_card: bool) -> dict[str, Any]:
        """Compile-time arguments of the kernels; Triton's interpreter multiplies no bfloat16."""
        return {
            "TOKENS": self.tokens, "FEATURES": self.features, "INNER": self.inner, "PRECISION": FLOAT32_PRODUCTS,
            "WIDEN": not on_card, "num_warps": self.warps, "num_stages": 3,
        }  # fmt: skip


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
    n_panels, panel = tiles.panels(d_sae, d_in)
    candidates = torch.empty(n_tokens, n_panels * k, dtype=torch.int64, device=inputs.device)
    values = torch.empty(n_tokens, k, device=inputs.device)
    features = torch.empty(n_tokens, k, dtype=torch.int64, device=inputs.device)
    with on_card(inputs):
        _panel_candidates[(triton.cdiv(n_tokens, tiles.tokens), n_panels)](
            candidates, inputs, encoder, bias, n_tokens, d_sae, d_in, k, panel, n_panels * k,
            K=width, **tiles.constants(inputs.is_cuda),
        )  # fmt: skip
        _merge_candidates[(n_tokens,)](
            values, features, candidates, n_panels * k, k, K=width,
            CANDIDATES=triton.next_power_of_2(n_panels * k), num_warps=4,
        )  # fmt: skip
    return values, features


@dataclass(frozen=True)
class Above:
    """Pre-activations above a floor, ordered by token and within a token by feature."""

    token: Tensor
    """int64 [n]."""
    feature: Tensor
    """int64 [n]."""
    values: Tensor
    """float32 [n]."""


def encode_above(
    inputs: Tensor, encoder: Tensor, bias: Tensor, floor: Tensor, tiles: EncoderTiles = EncoderTiles()
) -> Above | None:
    """Find the pre-activations that are larger than the floor of their feature, without writing the others.

    A token has slots in each panel; where they do not suffice, the product is computed once more with as many as it
    takes. Sums are float32 and are not rounded to bfloat16.

    Parameters
    ----------
    inputs : [n_tokens, d_in]
        float32 or bfloat16, contiguous.
    encoder : [d_sae, d_in]
        In the same format, contiguous.
    bias, floor : float32 [d_sae]

    Returns
    -------
    Above or None
        None if more than `MOST_SLOTS` of a panel's features are above their floor on one token: dense products are
        then faster.
    """
    n_panels, panel = tiles.panels(*encoder.shape)
    a_time = max(1, SLOTS_AT_ONCE // (n_panels * _first_slots(panel)))
    parts = []
    for start in range(0, len(inputs), a_time):
        part = _above(inputs[start : start + a_time], encoder, bias, floor, tiles)
        if part is None:
            return None
        parts.append(replace(part, token=part.token + start))
    if len(parts) == 1:
        return parts[0]
    return Above(*(torch.cat([getattr(part, name) for part in parts]) for name in ("token", "feature", "values")))


def _first_slots(panel: int) -> int:
    return max(1, int(panel * FIRST_SLOTS))


def _above(inputs: Tensor, encoder: Tensor, bias: Tensor, floor: Tensor, tiles: EncoderTiles) -> Above | None:
    """`encode_above` of some tokens, whose slots are held at once."""
    panel = tiles.panels(*encoder.shape)[1]
    slots = _first_slots(panel)
    counts, features, values = _slots(inputs, encoder, bias, floor, slots, tiles)
    most = int(counts.max())  # the CPU waits for the card here, since the number of entries depends on the values
    if most > panel * MOST_SLOTS:
        return None
    if most > slots:
        slots = most
        counts, features, values = _slots(inputs, encoder, bias, floor, slots, tiles)
    taken = torch.arange(slots, device=inputs.device) < counts[..., None]
    at = taken.flatten().nonzero().squeeze(1)
    return Above(at // taken[0].numel(), features[at].long(), values[at])


def _slots(
    inputs: Tensor, encoder: Tensor, bias: Tensor, floor: Tensor, slots: int, tiles: EncoderTiles
) -> tuple[Tensor, Tensor, Tensor]:
    """Entries [n_tokens, n_panels] of each token and panel, and the features and values of the first ``slots``."""
    (n_tokens, d_in), d_sae = inputs.shape, len(encoder)
    n_panels, panel = tiles.panels(d_sae, d_in)
    counts = torch.empty(n_tokens, n_panels, dtype=torch.int32, device=inputs.device)
    features = torch.empty(n_tokens * n_panels * slots, dtype=torch.int32, device=inputs.device)
    values = torch.empty(n_tokens * n_panels * slots, device=inputs.device)
    with on_card(inputs):
        _panel_entries[(triton.cdiv(n_tokens, tiles.tokens), n_panels)](
            counts, features, values, inputs, encoder, bias, floor, n_tokens, d_sae, d_in, panel, slots,
            **tiles.constants(inputs.is_cuda),
        )  # fmt: skip
    return counts, features, values
