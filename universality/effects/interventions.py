"""Interventions: features of an SAE are changed inside a forward pass, and the SAE's error is kept.

    x' = x + (f' − f) W_dec

with x the activations at a hook, f their codes, and f' the codes after a *change*: features are ablated, clamped,
multiplied or added to, or codes are replaced. Whatever the SAE does not reconstruct stays in x'. A transcoder reads x
at one hook, and the same sum is added to the activations at the hook where it writes.

Codes count as constants: a gradient passes through an intervention as if a fixed vector had been added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.extras import naming_extra

with naming_extra("an intervention"):
    import torch
    from torch import Tensor

from universality.activations import ModelSite
from universality.arrays import BoolArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.changes import Change
from universality.errors import MismatchError, ModelError
from universality.models.forward import Hook, hooked_pass, token_losses
from universality.sae import SAE


@dataclass(frozen=True)
class Intervention:
    """A change of an SAE's features in a model.

    Parameters
    ----------
    site
        The model at the hook where the SAE reads.
    sae
        The SAE, or a transcoder.
    change
        What becomes of the codes of the tokens at which the intervention takes place.
    site_out
        The same model at the hook where a transcoder writes.

    Raises
    ------
    MismatchError
        If the SAE's width is not that of the activations, it was trained on another model, or a transcoder has no
        ``site_out``.
    """

    site: ModelSite
    sae: SAE
    change: Change
    site_out: ModelSite | None = None

    def __post_init__(self) -> None:
        check_sae(self.site, self.sae, self.site_out)

    def hooks(self, at: Tensor) -> list[Hook]:
        """Return functions at hooks that carry the intervention out in one forward pass.

        Parameters
        ----------
        at : bool [n_blocks, n_ctx]
            Positions of the intervention; codes of all others stay as they are.
        """
        if self.site_out is None:
            return [(self.site.hook, partial(self._edit, at=at))]
        passed: list[Tensor | None] = []
        return [
            (self.site.hook, partial(self._read, at=at, into=passed)),
            (self.site_out.hook, partial(self._write, at=at, shifts=passed)),
        ]

    def shift(self, x: Tensor) -> Tensor | None:
        """Return (f' − f) W_dec [n_tokens, d_out] for activations x [n_tokens, d_in]; None if no code changes."""
        codes = self.sae.encode(x)
        difference = self.change(codes)
        difference.eliminate_zeros()
        return self.sae.contribution(difference, like=x) if difference.nnz else None

    def _edit(self, activation: Tensor, hook: Any, at: Tensor) -> Tensor | None:
        return shifted(activation, self._shift_at(activation, at), at)

    def _read(self, activation: Tensor, hook: Any, at: Tensor, into: list[Tensor | None]) -> None:
        into.append(self._shift_at(activation, at))

    def _write(self, activation: Tensor, hook: Any, at: Tensor, shifts: list[Tensor | None]) -> Tensor | None:
        if not shifts:
            raise ModelError(
                f"model {self.site.name!r} has not computed {self.site.hook} yet where it computes {hook.name}: a "
                "transcoder reads a hook that comes before the one where it writes"
            )
        return shifted(activation, shifts.pop(), at)

    def _shift_at(self, activation: Tensor, at: Tensor) -> Tensor | None:
        if activation.shape[:2] != at.shape:
            raise MismatchError(
                f"positions of an intervention: expected a mask {list(activation.shape[:2])}, found {list(at.shape)}"
            )
        return self.shift(activation.detach()[at].flatten(1).float())


def edited_logits(
    site: ModelSite, tokens: Tensor, interventions: Sequence[Intervention], at: Tensor, *, gradient: bool = False
) -> Tensor:
    """Run a model with interventions.

    Parameters
    ----------
    site
        The model; its hook does not matter.
    tokens : int64 [n_blocks, n_ctx]
    interventions
        Carried out in one pass. Where several share a hook, each encodes what those before it have left.
    at : bool [n_blocks, n_ctx]
        Positions of the interventions.
    gradient
        Whether to record gradients, with respect to the model's weights or to activations at hooks.

    Returns
    -------
    Tensor [n_blocks, n_ctx, d_vocab]
    """
    hooks: Sequence[Hook] = [hook for intervention in interventions for hook in intervention.hooks(at)]
    with torch.set_grad_enabled(gradient):
        logits: Tensor = hooked_pass(site.model.bridge, tokens, hooks)
    return logits


def edited_losses(
    site: ModelSite, blocks: TokenBlocks, interventions: Sequence[Intervention], at: BoolArray | None = None
) -> NDArray[np.float32]:
    """Compute the loss of every text token with interventions, float32 [n_tokens] in nats.

    Parameters
    ----------
    site
        The model; its hook does not matter.
    blocks
        Text; BOS and padding are never edited.
    interventions
        As for `edited_logits`.
    at
        Positions of the interventions, bool [n_blocks, n_ctx]; all text tokens by default.

    Returns
    -------
    float32 [n_tokens]
        Loss of each text token given those before it, in the order of ``blocks.valid``.

    Raises
    ------
    MismatchError
        If ``at`` is not [n_blocks, n_ctx], or the blocks hold ids that the model does not embed.
    ModelError
        If a loss is not finite.
    """
    if len(blocks):
        check_ids(site, blocks.tokens, "blocks")
    mask = blocks.valid
    if at is not None:
        if np.shape(at) != mask.shape:
            raise MismatchError(
                f"positions of an intervention: expected a mask {list(mask.shape)}, found {list(np.shape(at))}"
            )
        mask = mask & np.asarray(at, bool)

    def hooks(batch: IntArray, columns: int) -> list[Hook]:
        here = torch.from_numpy(mask[batch, :columns]).to(site.device)
        return [hook for intervention in interventions for hook in intervention.hooks(here)]

    losses = token_losses(site.model.bridge, blocks, hooks)
    if not np.isfinite(losses).all():
        raise ModelError(
            f"losses of model {site.name!r} are not finite at {int((~np.isfinite(losses)).sum())} of {losses.size} "
            "tokens; look for NaN in the weights of the SAEs and the model, and set features to smaller values"
        )
    return losses


def check_ids(site: ModelSite, ids: NDArray[np.integer[Any]], where: str) -> None:
    """Refuse token ids that a model does not embed.

    Raises
    ------
    MismatchError
        If there is one; ``where`` says what holds it.
    """
    if ids.min() < 0 or ids.max() >= site.model.d_vocab:
        raise MismatchError(
            f"{where}: model {site.name!r} embeds ids from 0 to {site.model.d_vocab - 1}, found {ids.min()} to "
            f"{ids.max()}: the ids are another tokenizer's"
        )


def check_sae(site: ModelSite, sae: SAE, site_out: ModelSite | None = None) -> None:
    """Refuse an SAE that does not belong to the activations at a site.

    Raises
    ------
    MismatchError
        If widths differ, the SAE records another model, or a transcoder has no ``site_out`` or an SAE has one.
    """
    if sae.d_in != site.d_in:
        raise MismatchError(
            f"the SAE reads {sae.d_in} activations a token, model {site.name!r} has {site.d_in} at {site.hook}: it is "
            "an SAE of another model or hook"
        )
    recorded = sae.metadata.get("model")
    theirs = recorded.get("hash") if isinstance(recorded, Mapping) else None  # other tools may record anything
    if theirs and theirs != site.model_hash:
        raise MismatchError(
            f"the SAE was trained on model {recorded.get('name')!r} ({str(theirs)[:12]}), and this is model "  # type: ignore[union-attr]
            f"{site.name!r} ({site.model_hash[:12]}); give the SAE of this model"
        )
    if sae.transcoder != (site_out is not None):
        raise MismatchError(
            f"a transcoder reads at {site.hook} and writes elsewhere: give the model at that hook as site_out"
            if sae.transcoder
            else "an SAE writes where it reads; site_out is for transcoders"
        )
    if site_out is not None and (site_out.d_in, site_out.model_hash) != (sae.d_out, site.model_hash):
        raise MismatchError(
            f"the transcoder writes {sae.d_out} activations a token of model {site.name!r}, site_out has "
            f"{site_out.d_in} at {site_out.hook} of {site_out.name!r}"
        )


def check_effect(site: ModelSite) -> None:
    """Refuse a hook on which nothing that the model predicts depends.

    Raises
    ------
    ModelError
        If the gradient of the logits is 0 there.
    """
    # probabilities, since a constant that is added to all logits predicts nothing
    gradient = _gradient(site, lambda logits: logits.log_softmax(-1)[..., 0].sum())
    depends = gradient is not None and bool(gradient.abs().max() > 0)
    if not depends:
        raise ModelError(
            f"nothing that model {site.name!r} predicts depends on {site.hook}, so its features have no effects; "
            "choose a hook of the residual stream, or of a layer's output"
        )


def acts_on_later_positions(site: ModelSite) -> bool:
    """Return whether predictions at later positions depend on an activation at the hook.

    They do not where only the position's own MLP, norm and unembedding follow: at the MLP of the last layer.
    """
    gradient = _gradient(site, lambda logits: logits.log_softmax(-1)[:, -1, 0].sum())
    return gradient is not None and bool(gradient[:, :-1].abs().max() > 0)


def _gradient(site: ModelSite, value: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Return the gradient of a function of the logits at the hook, on a few tokens; None if nothing depends on it."""
    held: list[Tensor] = []

    def keep(activation: Tensor, hook: Any) -> Tensor:
        held.append(activation.detach().clone().requires_grad_())
        return held[-1]

    tokens = torch.arange(1, 6, device=site.device)[None] % site.model.d_vocab
    with torch.enable_grad():
        logits = hooked_pass(site.model.bridge, tokens, [(site.hook, keep)])
        if not held or not logits.requires_grad:
            return None
        gradient: Tensor | None = torch.autograd.grad(value(logits), held[-1], allow_unused=True)[0]
    return gradient


def shifted(activation: Tensor, shift: Tensor | None, at: Tensor) -> Tensor | None:
    """Add a shift [n_tokens, d_out] at some positions; None leaves the activation as it is, to the byte."""
    if shift is None:
        return None
    added = torch.zeros_like(activation)
    added[at] = shift.to(activation.device, activation.dtype).reshape(-1, *activation.shape[2:])
    return activation + added
