"""Changes of a model's predictions by interventions at single tokens, many of them in one forward pass.

Each intervention has a copy of its block, cut behind the last column that is read. Where nothing but the position's own
MLP, norm and unembedding follows the hook, interventions at different positions of a block do not meet, so one copy
holds many of them. The unembedding is computed at the columns that are read alone, and the plain predictions there come
from the stream's end, which one plain pass keeps.

Where the hook follows the last attention, positions need no copies of blocks at all: one plain pass keeps the residual
stream behind that attention, and every intervention continues from there, at its own position
(`universality.effects.single_positions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.activations import ModelSite
from universality.arrays import IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.contexts import Contexts, rank_in_group
from universality.effects.interventions import Intervention, acts_on_later_positions
from universality.effects.ordered_sums import add_rows
from universality.effects.single_positions import SinglePositions
from universality.models.forward import hooked_pass, logits_bytes, run_until, to_device

_ENDS_BYTES = 2**28  # of the plain stream's end that is kept at a time
_PASS_TOKENS = 2**13  # tokens of a forward pass
_READ = "unembed.hook_in"  # everything behind it acts on each position alone


def prediction_changes(
    written: ModelSite,
    blocks: TokenBlocks,
    contexts: Contexts,
    intervene: Callable[[IntArray], Intervention],
    entries: IntArray,
    *,
    later: bool = False,
    probabilities: bool = False,
) -> Iterator[tuple[IntArray, Tensor]]:
    """Compute the change of log-probabilities by each intervention: with it, minus without.

    Parameters
    ----------
    written
        The model at the hook where the interventions write.
    blocks
        Text.
    contexts
        Places of the interventions.
    intervene
        From indices [n] of contexts, the intervention that changes the token of each, in this order.
    entries
        int64 [n_entries], entries of the vocabulary whose log-probabilities are returned.
    later
        Sum the changes over the position and all later ones of its block, instead of the position's alone.
    probabilities
        Compute the changes of probabilities, too.

    Yields
    ------
    indices : int64 [n]
        Contexts of a forward pass.
    changes : Tensor [n, n_entries]
        In nats. With ``probabilities`` [n, 2, n_entries], those of probabilities second.
    """
    apart = not acts_on_later_positions(written)  # interventions in one block do not meet
    read = partial(_changes, entries=_chosen(written, entries), probabilities=probabilities)
    single = None
    if apart and len(contexts):
        single = SinglePositions.of(intervene(np.zeros(1, np.int64)).site, written)
    for part in _parts(contexts, blocks, int(written.model.bridge.cfg.d_model)):
        used, place = np.unique(contexts.block[part], return_inverse=True)
        text = blocks.take(used)
        most = _most_reads(written)
        if single is not None:
            stream = _plain_stream(written, text, single.kept)
            token = place * blocks.n_ctx + contexts.column[part]
            for low in range(0, part.size, most):
                here = part[low : low + most]
                yield here, read(*single.logits(stream, token[low : low + most], intervene(here)))
            continue
        ends = _plain_stream(written, text, _READ)
        for one in _passes(part, place, contexts, text, apart, later and not apart, most):  # nothing would be added
            yield one.contexts, one.by_context(read(*_logits(written, text, ends, one, intervene(one.contexts))))


def _chosen(site: ModelSite, entries: IntArray) -> Tensor | slice:
    everything = entries.size == site.model.d_vocab
    return slice(None) if everything else torch.from_numpy(entries).to(site.device)


def _changes(after: Tensor, before: Tensor, plain: Tensor, *, entries: Tensor | slice, probabilities: bool) -> Tensor:
    """Changes of log-probabilities (and probabilities) of some entries; arguments as `_logits` returns them."""
    norm = before.logsumexp(-1, keepdim=True)
    shift = after.logsumexp(-1, keepdim=True) - norm[plain]
    after, before = after[:, entries], before[:, entries]
    # logits are subtracted first: of log-probabilities, more digits would cancel
    change = after.sub_(before[plain]).sub_(shift)
    if not probabilities:
        return change
    return torch.stack([change, (before - norm).exp()[plain] * change.expm1()], 1)  # p' − p = p (exp(Δ log p) − 1)


@dataclass(frozen=True, eq=False)
class _Pass:
    """A forward pass: copies of blocks, and the places in them that are changed and read."""

    contexts: IntArray
    """[n], in the order of ``at``."""
    block: IntArray
    """[n_copies], block of each copy, among those in use."""
    at: Tensor
    """bool [n_copies, n_columns]."""
    read: Tensor
    """bool [n_copies, n_columns]."""

    def by_context(self, change: Tensor) -> Tensor:
        """Sum over the places that were read [n_reads, …] into changes of contexts [n, …]."""
        if len(change) == self.contexts.size:
            return change
        copy = self.read.nonzero()[:, 0].to(change.device)  # one context a copy, in this order
        return add_rows(change.new_zeros((self.contexts.size, *change.shape[1:])), copy, change)


def _parts(contexts: Contexts, blocks: TokenBlocks, d_model: int) -> Iterator[IntArray]:
    """Cut contexts, sorted by block and column, where the plain ends of their blocks fill the memory for them."""
    order = np.lexsort((contexts.column, contexts.block))
    in_use = np.cumsum(np.diff(contexts.block[order], prepend=-1) != 0) - 1
    n = max(1, _ENDS_BYTES // (4 * blocks.n_ctx * d_model))
    for low in range(0, int(in_use[-1]) + 1 if order.size else 0, n):
        yield order[(in_use >= low) & (in_use < low + n)]


def _passes(
    part: IntArray, place: IntArray, contexts: Contexts, text: TokenBlocks, apart: bool, later: bool, most_reads: int
) -> Iterator[_Pass]:
    column = contexts.column[part]
    together = place * text.n_ctx + column if apart else place
    copy_number = rank_in_group(together)
    # the contexts of one copy, copies sorted by the columns that they need
    _, copy = np.unique(place * (copy_number.max() + 1) + copy_number, return_inverse=True)
    block = np.zeros(copy.max() + 1, np.int64)
    block[copy] = place
    need = np.zeros(block.size, np.int64)
    np.maximum.at(need, copy, text.length[place] if later else column + 1)
    reads = np.zeros(block.size, np.int64)
    np.add.at(reads, copy, text.length[place] - column if later else 1)
    order = np.argsort(need, kind="stable")
    new = np.empty_like(order)
    new[order] = np.arange(order.size)
    by_copy = np.lexsort((column, new[copy]))
    bounds = np.searchsorted(new[copy][by_copy], np.arange(order.size + 1))
    for low, high in _cuts(need[order], reads[order], most_reads):
        inside = by_copy[bounds[low] : bounds[high]]
        at = np.zeros((high - low, int(need[order[high - 1]])), bool)
        at[new[copy[inside]] - low, column[inside]] = True
        blocks = block[order[low:high]]
        read = np.logical_or.accumulate(at, axis=1) & text.valid[blocks, : at.shape[1]] if later else at
        yield _Pass(part[inside], blocks, torch.from_numpy(at), torch.from_numpy(read))


def _cuts(need: IntArray, reads: IntArray, most_reads: int) -> Iterator[tuple[int, int]]:
    """Cut copies, sorted by their columns, into passes of bounded size."""
    total, low = np.concatenate([[0], np.cumsum(reads)]), 0
    while low < need.size:
        high = int(np.searchsorted(total, total[low] + most_reads, side="right")) - 1
        high = min(max(high, low + 1), low + max(1, _PASS_TOKENS // int(need[low])), need.size)
        while high > low + 1 and (high - low) * need[high - 1] > _PASS_TOKENS:
            high = low + max(1, _PASS_TOKENS // int(need[high - 1]))
        yield low, high
        low = high


def _most_reads(site: ModelSite) -> int:
    return max(1, logits_bytes(site.device) // (8 * site.model.d_vocab))  # with and without the intervention


def _plain_stream(site: ModelSite, text: TokenBlocks, hook: str) -> Tensor:
    """Return the activations at a hook of the residual stream, [n_blocks, n_ctx, d]."""
    kept = []
    with torch.no_grad():
        for low in range(0, len(text), 32):
            tokens, _ = to_device(text.take(np.arange(low, min(low + 32, len(text)))), site.device)
            kept += run_until(site.model.bridge, tokens, hook)
    return torch.cat(kept)


def _logits(
    site: ModelSite, text: TokenBlocks, ends: Tensor, one: _Pass, intervention: Intervention
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a pass.

    Returns
    -------
    after : float32 [n_reads, d_vocab]
        Logits with the intervention at the places that are read.
    before : float32 [n_places, d_vocab]
        Plain logits at the distinct places of text among them.
    plain : int64 [n_reads]
        Row of ``before`` for each row of ``after``.
    """
    at, read = one.at.to(site.device), one.read.to(site.device)
    block = torch.from_numpy(one.block).to(site.device)
    tokens, _ = to_device(text.take(one.block), site.device)
    copy, column = read.nonzero(as_tuple=True)
    distinct, plain = torch.unique(block[copy] * text.n_ctx + column, return_inverse=True)
    plain_ends = ends.flatten(0, 1)[distinct]

    def join(end: Tensor, hook: object) -> Tensor:
        return torch.cat([end[read], plain_ends])[None]

    hooks: list[Any] = [*intervention.hooks(at), (_READ, join)]
    with torch.no_grad():
        logits = hooked_pass(site.model.bridge, tokens[:, : at.shape[1]], hooks)
    after, before = logits[0].float().split([len(plain), len(distinct)])
    return after, before, plain
