"""The direct path from a site into the residual stream, and the unembedding that reads the stream.

Both are determined from the model's computation rather than from the name of its family. Norms are measured
(`universality.models.norms.measure_norm`), and every claimed path is compared with the model's gradients before it is
used. `universality.models.unembedding` states the convention of logit weights.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.normalization import NormalizationBridge

from universality.corpus.blocks import TokenBlocks
from universality.errors import ModelError
from universality.models.config_check import first_line
from universality.models.forward import hooked_pass
from universality.models.language_model import LanguageModel, weights
from universality.models.norms import Norm, measure_norm, no_norm
from universality.models.unembedding import Unembedding, vocabulary_mask

_WHERE = re.compile(
    r"blocks\.(?P<layer>\d+)\.("
    r"(?P<neurons>mlp\.(out\.hook_in|hook_post))|(?P<heads>attn\.(o\.hook_in|hook_z))|"
    r"(?P<part>mlp|attn)(\.(out|o))?\.hook_out|hook_(?P<part_too>mlp|attn)_out|"
    r"(?P<middle>hook_resid_mid)|hook_in|hook_out|hook_resid_(pre|post))"
)
"""Sites with a direct path: neurons and heads, outputs of MLP and attention, and the stream itself."""
_N_TOKENS = 6  # length of the text on which claims are compared with gradients
_Action = Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class DirectPath:
    """Linear map from a site into the residual stream, with the scale of any norm on the way held fixed.

    Attributes
    ----------
    weight
        float32 [d_in, d_model]: W_out or W_O, if the site is in front of one of them.
    norm
        Norm between the MLP or attention and the stream, if there is one.
    norm_at
        Name of this norm's component.
    """

    weight: NDArray[np.float32] | None = None
    norm: Norm | None = None
    norm_at: str = ""

    def apply(self, decoder: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map directions at the site [n, d_in] to directions in the stream [n, d_model]."""
        written = decoder if self.weight is None else decoder @ self.weight
        return written if self.norm is None else self.norm.apply(written)

    def pull_back(self, c: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the transposed map, from [n, d_model] to [n, d_in], as a gradient does."""
        if self.norm is not None:
            c = c * self.norm.gain
            c = c - c.mean(axis=1, keepdims=True) if self.norm.centred else c
        return c if self.weight is None else c @ self.weight.T


def read_unembedding(model: LanguageModel, train: TokenBlocks, min_count: int) -> Unembedding:
    """Read a model's W_U, its final gain and the vocabulary that counts.

    Parameters
    ----------
    train
        Blocks of the training split. Token types that occur fewer than ``min_count`` times in them are masked, as are
        columns of W_U beyond the tokenizer (padding). Models that read the same blocks get the same mask.

    Raises
    ------
    ModelError
        If the final norm is neither LayerNorm nor RMSNorm, or this norm and W_U do not produce the logits.
    """
    norm, W_U = final_norm(model), _unembed_weight(model.bridge)
    if not _reaches_logits(model.bridge, norm, W_U):
        raise ModelError(
            f"model {model.name!r}: the logits are not what its final norm and unembedding make of the stream, so "
            "its logit weights are unknown; give a model that ends in a LayerNorm or RMSNorm and one matrix"
        )
    mask = vocabulary_mask(train, W_U.shape[1], min_count)
    return Unembedding(W_U=W_U, gain=norm.gain, mask=mask, center_d_model=norm.centred)


def residual_directions(model: LanguageModel, hook: str, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Map decoder rows [n, d_in] to the directions that they write into the residual stream, [n, d_model].

    Parameters
    ----------
    model
        Model whose activations the decoder reconstructs.
    hook
        Canonical name of the site; see ``ModelSite.hook``.
    decoder
        float32 [n, d_in].

    Returns
    -------
    array or None
        ``decoder @ W_out`` at an MLP's post-activation, ``decoder @ W_O`` at the concatenated outputs of attention
        heads, and ``decoder`` itself if the site is the residual stream or is added to it. If a norm lies between the
        site and the stream, its linear part is applied with the scale held fixed. None at other sites, which have no
        direct path to the logits.
    """
    path = direct_path(model, hook)
    return None if path is None else path.apply(decoder)


def direct_path(model: LanguageModel, hook: str) -> DirectPath | None:
    """Find the direct path from a hook into the residual stream; None if there is none.

    The path is compared with the model's gradients. If they contradict it, as in a model that normalises its stream in
    every layer, a note on stderr says so and None is returned.
    """
    bridge = model.bridge
    names = [hook, *(name for name, point in bridge.hook_dict.items() if point.name == hook)]
    place = next((match for name in names if (match := _WHERE.fullmatch(name))), None)
    if place is None:
        return None
    layer, sublayer, tested = int(place["layer"]), place["part"] or place["part_too"], hook
    claims = [DirectPath()]
    if place["neurons"] or place["heads"]:
        sublayer, matrix = ("mlp", "W_out") if place["neurons"] else ("attn", "W_O")
        claims = _through(bridge, layer, sublayer, matrix)
    elif sublayer and not isinstance(_component(bridge, hook.rpartition(".")[0]), NormalizationBridge):
        claims = _behind(bridge, layer, sublayer)
    elif place["middle"] and not hook.endswith("hook_resid_mid"):
        # The alias resolves to a norm's input, a copy of the stream: a step there does not move the stream itself.
        tested = f"blocks.{layer}.hook_in"
    doubt = "no one matrix leads from there into the stream"
    for claim in claims:
        if not (doubt := _doubt(bridge, tested, claim, layer, sublayer)):
            return claim
    print(
        f"note: {model.name}: no direct path from {hook} to the logits ({doubt}); logit weights are left out",
        file=sys.stderr,
    )
    return None


def final_norm(model: LanguageModel) -> Norm:
    """Measure the norm in front of the unembedding; gain 1 if the model has none."""
    bridge = model.bridge
    return no_norm(int(bridge.cfg.d_model)) if _component(bridge, "ln_final") is None else _measured(bridge, "ln_final")


def _through(bridge: TransformerBridge, layer: int, sublayer: str, matrix: str) -> list[DirectPath]:
    weight = getattr(getattr(bridge.blocks[layer], sublayer), matrix, None)  # None in a mixture of experts
    if weight is None:
        return []
    flat = _array(weight).reshape(-1, weight.shape[-1])
    return [replace(path, weight=flat) for path in _behind(bridge, layer, sublayer)]


def _behind(bridge: TransformerBridge, layer: int, sublayer: str) -> list[DirectPath]:
    """Claim paths from a sublayer's output: through the norm that reads exactly this output, or without a norm."""
    parts = bridge.blocks[layer].submodules
    norms = [f"blocks.{layer}.{name}" for name, part in parts.items() if isinstance(part, NormalizationBridge)]
    given = _outputs(bridge, layer, sublayer, ("", ".out", ".o"))
    # A norm belongs behind the sublayer if it reads the very numbers that the sublayer puts out (Gemma 2, OLMo 2).
    with torch.no_grad():
        seen = _run(bridge, dict.fromkeys([*given, *(f"{name}.hook_in" for name in norms)]))
    for name in norms:
        read = seen.get(f"{name}.hook_in")
        if read is not None and any(n in seen and torch.equal(seen[n].flatten(), read.flatten()) for n in given):
            return [DirectPath(norm=_measured(bridge, name), norm_at=name), DirectPath()]
    return [DirectPath()]


def _doubt(bridge: TransformerBridge, hook: str, claim: DirectPath, layer: int, sublayer: str | None) -> str:
    """Return why a path contradicts the model's gradients; empty if it agrees with them.

    Gradients run from the end of the stream back to the hook. All other paths are cut: outputs of later sublayers
    count as constant. A norm's scale counts as fixed. A change of scale moves the norm's output along itself only, so
    this direction is projected out of the comparison.
    """
    reason = ""
    for ends in (("",), (".out", ".o", "")):  # the second for sublayers that add the stream to their own output
        try:
            with _opaque_blocks_cut(bridge, layer + (sublayer is not None)):
                cosine = _agreement(bridge, hook, claim, _outputs_of_others(bridge, layer, sublayer, ends))
        except Exception as error:  # of the model's own code
            reason = first_line(error)
            continue
        if cosine >= _least_cosine(bridge):
            return ""
        reason = f"the model's gradients have cosine {cosine:.3f} with those of such a path"
    return reason


def _agreement(bridge: TransformerBridge, hook: str, claim: DirectPath, cut: list[str]) -> float:
    """Return the least cosine between gradients of the model and of the claim, from stream end to hook."""
    end, normed = stream_end(bridge), f"{claim.norm_at}.hook_out"
    actions: dict[str, _Action] = dict.fromkeys(cut, Tensor.detach)
    actions |= {hook: _leaf, end: None} | ({normed: None} if claim.norm else {})
    with torch.enable_grad():
        seen = _run(bridge, actions)
        c = _random_like(seen[end])
        if claim.norm:
            c = _without(c, seen[normed].detach() - torch.from_numpy(claim.norm.bias).to(c))
        (gradient,) = torch.autograd.grad((seen[end] * c).sum(), seen[hook])
    return _cosine(gradient[0].flatten(1), claim.pull_back(_array(c[0])))


def _reaches_logits(bridge: TransformerBridge, norm: Norm, W_U: NDArray[np.float32]) -> bool:
    """Return whether gradients of the logits at the stream's end equal those of this norm at fixed scale and W_U."""
    end = stream_end(bridge)
    with torch.enable_grad():
        seen = _run(bridge, {end: _leaf, "unembed.hook_out": None})
        c = _random_like(seen["unembed.hook_out"])
        (gradient,) = torch.autograd.grad((seen["unembed.hook_out"] * c).sum(), seen[end])
    expected = torch.from_numpy(DirectPath(norm=norm).pull_back(_array(c[0]) @ W_U.T)).to(gradient)
    if end == "ln_final.hook_in":  # the gradient through the norm's scale lies along the (centred) stream: remove it
        stream = seen[end].detach()
        stream = stream - stream.mean(-1, keepdim=True) if norm.centred else stream
        gradient, expected = _without(gradient, stream), _without(expected, stream[0])
    return _cosine(gradient[0], _array(expected)) >= _least_cosine(bridge)


@contextmanager
def _opaque_blocks_cut(bridge: TransformerBridge, first: int) -> Iterator[None]:
    """Treat outputs of all parts but norms as constant inside blocks without hooks."""
    handles = [
        part.register_forward_hook(lambda _module, _given, out: _constant(out))
        for block in list(bridge.blocks)[first:]
        if not block.submodules
        for part in block.original_component.children()
        if "norm" not in type(part).__name__.lower()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _constant(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_constant(item) for item in value)
    return value.detach() if isinstance(value, Tensor) else value


def _outputs_of_others(bridge: TransformerBridge, layer: int, sublayer: str | None, ends: Sequence[str]) -> list[str]:
    """List output hooks of all sublayers from this layer on, except the given one."""
    return [
        hooks[0]
        for number in range(layer, len(bridge.blocks))
        for part, component in bridge.blocks[number].submodules.items()
        if not isinstance(component, NormalizationBridge) and (number > layer or part != sublayer)
        if (hooks := _outputs(bridge, number, part, ends))
    ]


def _outputs(bridge: TransformerBridge, layer: int, part: str, ends: Sequence[str]) -> list[str]:
    """List output hooks of a part of a block: its own, or those of its last matrix."""
    hooks = bridge.hook_dict
    return [name for end in ends if (name := f"blocks.{layer}.{part}{end}.hook_out") in hooks]


def _run(bridge: TransformerBridge, actions: Mapping[str, _Action]) -> dict[str, Tensor]:
    """Run a few tokens and return the values at hooks after their actions, [1, n_tokens, …]."""
    seen: dict[str, Tensor] = {}

    def act(value: Tensor, hook: Any, name: str) -> Tensor | None:
        action = actions[name]
        seen[name] = value.clone() if action is None else action(value)  # later modules may write into it
        return None if action is None else seen[name]

    device = next(iter(weights(bridge).values())).device
    tokens = torch.arange(1, 1 + _N_TOKENS, device=device)[None] % int(bridge.cfg.d_vocab)
    hooked_pass(bridge, tokens, [(name, partial(act, name=name)) for name in actions])
    return seen


def _leaf(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_()


def _random_like(value: Tensor) -> Tensor:
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(0)).to(value)


def _without(vectors: Tensor, direction: Tensor) -> Tensor:
    """Subtract from each vector its component along the direction of the same row."""
    along = (vectors * direction).sum(-1, keepdim=True) / direction.square().sum(-1, keepdim=True).clamp_min(1e-30)
    return vectors - along * direction


def _cosine(gradient: Tensor, expected: NDArray[np.float32]) -> float:
    """Return the least cosine over tokens."""
    cosines = torch.nn.functional.cosine_similarity(
        gradient.double().cpu(), torch.from_numpy(expected).double(), dim=-1
    )
    return float(cosines.min())


def _least_cosine(bridge: TransformerBridge) -> float:
    # A gain that is left out, or w in place of 1 + w, gives less than 0.99 in every architecture of tests/models.
    dtype = next(iter(weights(bridge).values())).dtype
    return 0.9999 if dtype in (torch.float32, torch.float64) else 0.99


def stream_end(bridge: TransformerBridge) -> str:
    """Return the hook where the residual stream ends: in front of the final norm, if there is one."""
    ends = ("ln_final", "project_out", "unembed")
    return next(f"{name}.hook_in" for name in ends if _component(bridge, name) is not None)


def _component(bridge: TransformerBridge, name: str) -> Any:
    """Return a component by its name in hooks; None if the model has none."""
    component: Any = bridge
    for part in name.split("."):
        component = component[int(part)] if part.isdigit() else getattr(component, part, None)
        if component is None:
            return None
    return component if getattr(component, "original_component", None) is not None else None


def _measured(bridge: TransformerBridge, name: str) -> Norm:
    component, held = _component(bridge, name), next(iter(weights(bridge).values()))
    d_model = int(bridge.cfg.d_model)
    return measure_norm(
        component, d_model, name=name, weights=list(component.parameters()), device=held.device, dtype=held.dtype
    )


def _unembed_weight(bridge: TransformerBridge) -> NDArray[np.float32]:
    """Return the matrix from the stream's end to the logits, float32 [d_model, d_vocab]."""
    W_U, projection = _array(bridge.W_U), _component(bridge, "project_out")
    return W_U if projection is None else np.ascontiguousarray(_array(projection.weight).T @ W_U)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
