"""Forward passes that are repeated over the same blocks, each with a shift of the activations at one hook.

An intervention encodes activations anew in every pass. Where many changes of the same codes are compared, the codes are
needed once and only the shifts differ: x' = x + shift. Where the hook follows the last attention, a pass continues from
behind it (`universality.effects.single_positions`); otherwise the layers before the hook are computed again in every
pass. A block's losses do not depend on the blocks beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.extras import naming_extra

with naming_extra("repeated forward passes"):
    import torch
    from torch import Tensor

from universality.activations import ModelSite
from universality.arrays import FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.interventions import shifted
from universality.effects.single_positions import SinglePositions
from universality.models.forward import Hook, hooked_pass, logits_bytes, loss_batches, run_until, to_device

_SLICE_BYTES = 2**23
"""Logits whose normaliser is computed at a time: on a CPU they stay in the cache, which takes 0.4 times as long as the
whole batch (32 blocks of 128 tokens, 4,096 token types)."""


@dataclass(frozen=True, eq=False)
class RepeatedPass:
    """A batch of blocks that a model reads several times, with other activations at a hook.

    Parameters
    ----------
    site
        The model at the hook where an SAE reads.
    blocks
        As many as fit into one forward pass; see `repeated_passes`.
    site_out
        The same model at the hook where a transcoder writes. Shifts are added there.
    single
        The same model where it can be continued from behind its last attention; None where it cannot.
    """

    site: ModelSite
    blocks: TokenBlocks
    site_out: ModelSite | None = None
    single: SinglePositions | None = None

    @cached_property
    def read(self) -> Tensor:
        """Activations [n_tokens, d_in] that the SAE encodes."""
        return self._activations[0]

    @cached_property
    def written(self) -> Tensor:
        """Activations [n_tokens, d_out] that the SAE reconstructs and that shifts are added to."""
        return self._activations[-1]

    @cached_property
    def block(self) -> IntArray:
        """Block of each text token, int64 [n_tokens]."""
        return np.repeat(np.arange(len(self.blocks)), self.blocks.length - 1)

    def losses(self, shift: Tensor | None = None) -> NDArray[np.float32]:
        """Compute the loss of every text token, in nats: float32 [n_tokens].

        Parameters
        ----------
        shift : [n_tokens, d_out]
            What is added to the activations of the text tokens; None for nothing.
        """
        tokens, text = self._tokens
        with torch.no_grad():
            if self.single is not None:
                found = self._continued
                hooks = self._adding(None if shift is None else shift[found.predicting], found.is_text)
                return _losses(self.single.run(found.stream, hooks), found.following).cpu().numpy()
            hooks = self._adding(shift, text)
            logits = hooked_pass(self.site.model.bridge, tokens, hooks)
            losses = _losses(logits.flatten(0, 1), tokens.roll(-1, dims=1).flatten()).view(tokens.shape)
            return losses[:, :-1][text[:, 1:]].cpu().numpy()

    def _adding(self, shift: Tensor | None, at: Tensor) -> list[Hook]:
        """Return hooks that add a shift at positions."""
        written = self.site if self.site_out is None else self.site_out
        return [] if shift is None else [(written.hook, partial(_add, shift=shift, at=at))]

    def block_losses(self, shift: Tensor | None = None) -> FloatArray:
        """Compute the summed loss of each block's text, in nats: float64 [n_blocks]."""
        return self.block_sums(self.losses(shift))

    def block_sums(self, values: NDArray[Any]) -> FloatArray:
        """Sum values [n_tokens] over each block: float64 [n_blocks]."""
        return np.bincount(self.block, values, len(self.blocks)).astype(np.float64)

    @cached_property
    def _tokens(self) -> tuple[Tensor, Tensor]:
        columns = int(self.blocks.length.max())  # columns behind all text change nothing before them
        tokens, text = to_device(self.blocks, self.site.device)
        return tokens[:, :columns], text[:, :columns]

    @cached_property
    def _continued(self) -> _Continued:
        tokens, text = self._tokens
        assert self.single is not None
        read = torch.zeros_like(text)
        read[:, :-1] = text[:, 1:]
        stream = run_until(self.site.model.bridge, tokens, self.single.kept)[0][read]
        return _Continued(stream, text[read][:, None], read[text], tokens[:, 1:][text[:, 1:]])

    @cached_property
    def _activations(self) -> list[Tensor]:
        tokens, text = self._tokens
        hooks = [self.site.hook] if self.site_out is None else [self.site.hook, self.site_out.hook]
        with torch.no_grad():
            reached = run_until(self.site.model.bridge, tokens, *hooks)
        return [activation[text].flatten(1).float() for activation in reached]


@dataclass(frozen=True, eq=False)
class _Continued:
    """Positions of a batch that are followed by a text token, in the order of those tokens."""

    stream: Tensor
    """[n, d_model], behind the last attention."""
    is_text: Tensor
    """bool [n, 1], whether a shift is added; all but the first of each block."""
    predicting: Tensor
    """bool [n_tokens], text tokens among them."""
    following: Tensor
    """int64 [n], the token that follows each."""


def repeated_passes(
    site: ModelSite, blocks: TokenBlocks, site_out: ModelSite | None = None
) -> Iterator[tuple[IntArray, RepeatedPass]]:
    """Divide blocks into batches that fit into one forward pass, blocks of similar lengths together.

    Yields
    ------
    index : int64 [n]
        Blocks of the batch.
    RepeatedPass
    """
    single = SinglePositions.of(site, site_out or site)
    order = np.argsort(blocks.length, kind="stable")  # little padding is computed
    for batch in loss_batches(site.model.bridge, blocks, logits_bytes(site.device)):
        yield order[batch], RepeatedPass(site, blocks.take(order[batch]), site_out, single)


def _losses(logits: Tensor, following: Tensor) -> Tensor:
    """−log p of the token [n] that follows each position, whose logits are [n, d_vocab]: float32 [n]."""
    step = max(1, _SLICE_BYTES // (4 * logits.shape[1]))
    losses = []
    for part, tokens in zip(logits.split(step), following.split(step), strict=True):
        rows = part.float()
        losses.append(rows.logsumexp(-1) - rows.gather(-1, tokens[:, None])[:, 0])
    return torch.cat(losses)


def _add(activation: Tensor, hook: Any, shift: Tensor, at: Tensor) -> Tensor | None:
    return shifted(activation, shift, at)
