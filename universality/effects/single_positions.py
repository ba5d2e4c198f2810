"""Forward passes of single positions from behind the last attention on.

What follows the last attention acts on each position alone. A sequence of one token then gives the predictions of a
position of any block: its last layer reads the position's stream from behind that attention, and its own attention adds
nothing. Such a pass costs a position where a copy of the block costs all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.activations import ModelSite
from universality.arrays import IntArray
from universality.effects.interventions import Intervention
from universality.models.forward import Hook, run_until

_TOLERANCE = 1e-5  # of the largest logit, by which a model's predictions may differ


@dataclass(frozen=True)
class SinglePositions:
    """A model whose predictions can be continued from the stream behind its last attention.

    Parameters
    ----------
    written
        The model at a hook behind that attention.
    layer
        Its last layer.
    """

    written: ModelSite
    layer: int

    @classmethod
    def of(cls, written: ModelSite) -> SinglePositions | None:
        """Return the model if a few tokens show that it can be continued so; None for layers of another design.

        The hook must lie behind the last attention.
        """
        single = cls(written, int(written.model.bridge.cfg.n_layers) - 1)
        hooks = written.model.bridge.hook_dict
        if not {single.kept, single._stream, single._attention} <= hooks.keys():
            return None
        tokens = torch.arange(1, 6, device=written.device)[None] % written.model.d_vocab
        with torch.no_grad():
            expected = written.model.bridge(tokens, return_type="logits")[0]
            stream = run_until(written.model.bridge, tokens, single.kept)[0][0]
            found = single._run(stream, [])
        alike = torch.allclose(found, expected, rtol=0, atol=_TOLERANCE * float(expected.abs().max()))
        return single if alike else None

    @property
    def kept(self) -> str:
        """Hook of the stream behind the last attention."""
        return f"blocks.{self.layer}.hook_resid_mid"

    @property
    def _stream(self) -> str:
        return f"blocks.{self.layer}.hook_in"

    @property
    def _attention(self) -> str:
        return f"blocks.{self.layer}.attn.hook_out"

    def logits(self, stream: Tensor, token: IntArray, intervention: Intervention) -> tuple[Tensor, Tensor, Tensor]:
        """Run positions with an intervention, and plain.

        Parameters
        ----------
        stream : [n_blocks, n_ctx, d_model]
            Activations at ``kept``.
        token : int64 [n]
            Their places among all tokens of the blocks; one may occur twice.
        intervention
            Changes the token of each, in this order.

        Returns
        -------
        after : float32 [n, d_vocab]
            Logits with the intervention.
        before : float32 [n_places, d_vocab]
            Plain logits at the distinct places.
        plain : int64 [n]
            Row of ``before`` for each row of ``after``.
        """
        distinct, plain = np.unique(token, return_inverse=True)
        places = torch.from_numpy(np.concatenate([token, distinct])).to(stream.device)
        at = torch.arange(places.numel(), device=stream.device)[:, None] < token.size
        with torch.no_grad():
            logits = self._run(stream.flatten(0, 1)[places], intervention.hooks(at)).float()
        after, before = logits.split([token.size, distinct.size])
        return after, before, torch.from_numpy(plain).to(stream.device)

    def _run(self, stream: Tensor, hooks: list[Hook]) -> Tensor:
        """Logits [n, d_vocab] of positions whose stream [n, d_model] behind the last attention is given."""

        def replace(activation: Tensor, hook: Any) -> Tensor:
            return stream[:, None].to(activation.dtype)

        def nothing(activation: Tensor, hook: Any) -> Tensor:
            return torch.zeros_like(activation)

        first: list[Hook] = [(self._stream, replace), (self._attention, nothing)]
        tokens = torch.zeros((len(stream), 1), dtype=torch.int64, device=stream.device)
        logits: Tensor = self.written.model.bridge.run_with_hooks(
            tokens, fwd_hooks=[*first, *hooks], return_type="logits"
        )
        return logits[:, 0]
