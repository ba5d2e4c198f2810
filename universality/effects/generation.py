"""Generation: a model writes on from a prompt, token by token, with or without interventions.

Each token is sampled by the Gumbel-max trick: the largest of log p + G, with standard Gumbel noise G from a seed, is a
draw from p. Equal seeds give equal noise (common random numbers), so that two texts differ only where an intervention
changes what the noise picks. Maddison, Tarlow & Minka 2014, *A\\* sampling*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from universality.extras import naming_extra

with naming_extra("generation"):
    import torch
    from torch import Tensor

from universality.activations import ModelSite
from universality.arrays import BoolArray, IntArray
from universality.effects.interventions import Intervention, check_ids
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.forward import Hook, hooked_pass

_LAST = "unembed.hook_in"  # where all but the last position are dropped: the logits of the others are not needed


def write(
    site: ModelSite,
    prompt: npt.ArrayLike,
    interventions: Sequence[Intervention] = (),
    *,
    n_tokens: int = 40,
    n_samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    never: Iterable[int] = (),
) -> IntArray:
    """Let a model continue a prompt.

    Parameters
    ----------
    site
        The model; its hook does not matter.
    prompt : int [n]
        Token ids, the first of them BOS.
    interventions
        Carried out at every position but the first: SAEs are not trained on BOS.
    n_tokens
        Largest number of tokens to write. Writing stops where the model's context ends.
    n_samples
        Number of continuations of the same prompt.
    temperature
        Logits are divided by it before sampling; 0 takes the most probable token.
    seed
        Seed of the noise, at least 0. Calls that differ in their interventions alone have the same noise.
    never
        Ids that are not written, such as special tokens.

    Returns
    -------
    int64 [n_samples, n_written]
        The continuations, without the prompt.

    Raises
    ------
    UniversalityError
        If a number is out of its range.
    MismatchError
        If the prompt holds ids that the model does not embed, or fills its context.
    ModelError
        If logits are not finite.
    """
    _check_numbers(n_tokens, n_samples, temperature, seed)
    opening = _opening(site, prompt)
    allowed = _allowed(site, never)
    n_written = min(n_tokens, site.model.n_ctx - opening.size)
    text = torch.from_numpy(np.tile(opening, (n_samples, 1))).to(site.device)
    remembering = [_Remembering.of(intervention, n_samples) for intervention in interventions]
    rng = np.random.default_rng(seed)
    for _ in range(n_written):
        logits = _next_logits(site, text, remembering)
        text = torch.cat([text, _pick(logits, allowed, temperature, rng).to(site.device)[:, None]], dim=1)
    return text[:, opening.size :].cpu().numpy()


@dataclass(frozen=True)
class _Remembering(Intervention):
    """Intervention that encodes each position once: a causal model computes the past alike at every step."""

    n_samples: int = 1
    # TransformerLens calls repr() of each hook that it adds; printing these tensors took two thirds of the time
    past: list[Tensor] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, intervention: Intervention, n_samples: int) -> _Remembering:
        i = intervention
        return cls(i.site, i.sae, i.change, i.site_out, n_samples)

    def shift(self, x: Tensor) -> Tensor:
        """Return the shifts [n_samples · n, d_out] of all positions, of which the last ones are new."""
        rows = x.reshape(self.n_samples, -1, x.shape[1])
        new = rows[:, sum(part.shape[1] for part in self.past) :].flatten(0, 1)
        shift = super().shift(new)
        if shift is None:
            shift = new.new_zeros(len(new), self.sae.d_out)
        self.past.append(shift.to(x.device).reshape(self.n_samples, -1, self.sae.d_out))
        return torch.cat(self.past, dim=1).flatten(0, 1)


def _next_logits(site: ModelSite, text: Tensor, interventions: Sequence[Intervention]) -> Tensor:
    """Return the logits of the token that follows, float32 [n_samples, d_vocab]."""
    at = torch.ones_like(text, dtype=torch.bool)
    at[:, 0] = False
    hooks: Sequence[Hook] = [] if text.shape[1] == 1 else [h for i in interventions for h in i.hooks(at)]
    bridge = site.model.bridge
    if _LAST in bridge.hook_dict and not any(name.startswith(("unembed", "hook_unembed")) for name, _ in hooks):
        hooks = [*hooks, (_LAST, _last_position)]
    with torch.no_grad():
        logits: Tensor = hooked_pass(bridge, text, hooks)
    last = logits[:, -1].float()
    if not torch.isfinite(last).all():
        raise ModelError(
            f"the logits of model {site.name!r} are not finite after {text.shape[1]} tokens; set features to smaller "
            "values"
        )
    return last


def _last_position(activation: Tensor, hook: Any) -> Tensor:
    return activation[:, -1:]


def _pick(logits: Tensor, allowed: BoolArray, temperature: float, rng: np.random.Generator) -> Tensor:
    """Sample one token for each row of logits [n_samples, d_vocab]."""
    scores = logits.cpu().masked_fill(torch.from_numpy(~allowed), -torch.inf)
    if temperature:
        # numpy's exponential takes a fifth of torch's time; the smallest float keeps its logarithm finite
        waits = np.maximum(rng.standard_exponential(scores.shape, np.float32), np.finfo(np.float32).tiny)
        scores = scores / temperature - torch.from_numpy(waits).log_()
    return scores.argmax(dim=1)


def _opening(site: ModelSite, prompt: npt.ArrayLike) -> IntArray:
    ids = np.asarray(prompt)
    if ids.ndim != 1 or not ids.size or not np.issubdtype(ids.dtype, np.integer):
        raise UniversalityError(f"prompt: expected token ids [n], BOS first, found {prompt!r}")
    check_ids(site, ids, "prompt")
    if ids.size >= site.model.n_ctx:
        raise MismatchError(
            f"prompt: model {site.name!r} reads {site.model.n_ctx} tokens, and {ids.size} leave no room to write; "
            "give a shorter prompt"
        )
    return ids.astype(np.int64)


def _allowed(site: ModelSite, never: Iterable[int]) -> BoolArray:
    allowed = np.ones(site.model.d_vocab, bool)
    allowed[[i for i in never if 0 <= i < allowed.size]] = False
    if not allowed.any():
        raise UniversalityError("never: no token is left to write")
    return allowed


def _check_numbers(n_tokens: int, n_samples: int, temperature: float, seed: int) -> None:
    if n_tokens < 1 or n_samples < 1:
        raise UniversalityError(
            f"expected at least 1 token and 1 sample to write, found n_tokens {n_tokens} and n_samples {n_samples}"
        )
    if not 0 <= temperature < np.inf:  # false for NaN
        raise UniversalityError(f"temperature: expected a number of at least 0, found {temperature}")
    if seed < 0:
        raise UniversalityError(f"seed: expected a whole number of at least 0, found {seed}")
