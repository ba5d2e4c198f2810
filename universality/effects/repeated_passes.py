"""Forward passes that are repeated over the same blocks, each with a shift of the activations at one hook.

An intervention encodes activations anew in every pass. Where many changes of the same codes are compared, the codes are
needed once and only the shifts differ: x' = x + shift. The layers before the hook are computed again in every pass; a
block's losses do not depend on the blocks beside it.
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
from universality.models.forward import Hook, loss_batches, run_until, to_device

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
    """

    site: ModelSite
    blocks: TokenBlocks
    site_out: ModelSite | None = None

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
        written = self.site if self.site_out is None else self.site_out
        hooks: list[Hook] = [] if shift is None else [(written.hook, partial(_add, shift=shift, at=text))]
        with torch.no_grad():
            logits = self.site.model.bridge.run_with_hooks(tokens, fwd_hooks=list(hooks), return_type="logits")
            return _losses(logits, tokens)[text].cpu().numpy()

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
    def _activations(self) -> list[Tensor]:
        tokens, text = self._tokens
        hooks = [self.site.hook] if self.site_out is None else [self.site.hook, self.site_out.hook]
        with torch.no_grad():
            reached = run_until(self.site.model.bridge, tokens, *hooks)
        return [activation[text].flatten(1).float() for activation in reached]


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
    order = np.argsort(blocks.length, kind="stable")  # little padding is computed
    for batch in loss_batches(site.model.bridge, blocks):
        yield order[batch], RepeatedPass(site, blocks.take(order[batch]), site_out)


def _losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """−log p of each token given those before it, float32 [n_blocks, n_ctx]; 0 in the first column."""
    losses = torch.zeros(tokens.shape, device=logits.device)
    step = max(1, _SLICE_BYTES // (4 * logits.shape[1] * logits.shape[2]))
    for start in range(0, len(tokens), step):
        part = slice(start, start + step)
        rows = logits[part, :-1].float()
        picked = rows.gather(-1, tokens[part, 1:, None])[..., 0]
        losses[part, 1:] = rows.logsumexp(-1) - picked
    return losses


def _add(activation: Tensor, hook: Any, shift: Tensor, at: Tensor) -> Tensor | None:
    return shifted(activation, shift, at)
