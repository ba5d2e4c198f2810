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
from universality.models.forward import Hook, hooked_pass, run_until

_TOLERANCE = 1e-5  # of the largest value, by which what a model computes may differ


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
    def of(cls, read: ModelSite, written: ModelSite) -> SinglePositions | None:
        """Return the model if a few tokens show that it can be continued so.

        None where an intervention reads or writes in front of the last attention, and for layers of another design.

        Parameters
        ----------
        read, written
            The model at the hooks where interventions read and write.
        """
        single = cls(written, int(written.model.bridge.cfg.n_layers) - 1)
        if not {single.kept, single._stream, single._attention} <= written.model.bridge.hook_dict.keys():
            return None
        tokens = torch.arange(1, 6, device=written.device)[None] % written.model.d_vocab
        with torch.no_grad():
            stream = run_until(written.model.bridge, tokens, single.kept)[0][0]
            expected, found = _Trace(read.hook, written.hook), _Trace(read.hook, written.hook)
            expected.logits = hooked_pass(written.model.bridge, tokens, expected.hooks())[0]
            found.logits = single.run(stream, found.hooks())
        return single if found.equals(expected) else None

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
            logits = self.run(stream.flatten(0, 1)[places], intervention.hooks(at)).float()
        after, before = logits.split([token.size, distinct.size])
        return after, before, torch.from_numpy(plain).to(stream.device)

    def run(self, stream: Tensor, hooks: list[Hook]) -> Tensor:
        """Compute logits [n, d_vocab] of positions whose stream [n, d_model] behind the last attention is given."""

        def replace(activation: Tensor, hook: Any) -> Tensor:
            return stream[:, None].to(activation.dtype)

        def nothing(activation: Tensor, hook: Any) -> Tensor:
            return torch.zeros_like(activation)

        first: list[Hook] = [(self._stream, replace), (self._attention, nothing)]
        tokens = torch.zeros((len(stream), 1), dtype=torch.int64, device=stream.device)
        logits: Tensor = hooked_pass(self.written.model.bridge, tokens, [*first, *hooks])
        return logits[:, 0]


class _Trace:
    """Activations at one hook, and logits while another hook is shifted."""

    def __init__(self, read: str, written: str) -> None:
        self._read, self._written = read, written
        self.logits = self._activation = torch.zeros(0)

    def hooks(self) -> list[Any]:
        return [(self._read, self._keep), (self._written, self._shift)]

    def equals(self, other: _Trace) -> bool:
        parts = (self.logits, other.logits), (self._activation.flatten(0, 1), other._activation.flatten(0, 1))
        return all(torch.allclose(x, y, rtol=0, atol=_TOLERANCE * float(y.abs().max())) for x, y in parts)

    def _keep(self, activation: Tensor, hook: Any) -> None:
        self._activation = activation.clone()

    def _shift(self, activation: Tensor, hook: Any) -> Tensor:
        sign = 1 - 2 * (torch.arange(activation.shape[-1], device=activation.device) % 2)  # norms remove a constant
        return activation + sign.to(activation.dtype)
