"""Logit weights of tiny models of every architecture, against autograd with the scales of all norms held fixed.

Norms and biases are drawn from N(0.5, 0.3), so that a gain of w in place of 1 + w shows, or one that is left out.
"""

import warnings
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from transformer_lens.model_bridge.generalized_components.normalization import NormalizationBridge
from transformer_lens.model_bridge.generalized_components.rms_normalization import RMSNormalizationBridge

from universality.activations import ModelSite, resolve_hook
from universality.corpus import TokenBlocks
from universality.errors import ModelError
from universality.models.directions import read_unembedding
from universality.models.language_model import LanguageModel, load_model

USUAL = ("gemma2", "gpt2", "gpt_neox", "granite", "nemotron", "olmo2")
"""LayerNorm and RMSNorm, gains of w and 1 + w, norms behind sublayers, parallel blocks, multipliers, a soft-cap."""
TIED, CENTRED, NORM_BEHIND = {"gemma2", "gpt2"}, {"gpt2", "gpt_neox", "nemotron"}, {"gemma2", "olmo2"}
SITES = {
    "first": ("hook_resid_pre", "hook_attn_out", "mlp.hook_post"),
    "last": ("hook_resid_post", "attn.hook_z", "hook_mlp_out"),
}


def supported() -> list[str]:
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(kind for kind, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items() if name in SUPPORTED_ARCHITECTURES)


class Frozen:
    """What autograd says of a step at a site, all norms' scales and what other sublayers add held fixed.

    The scales are held by TransformerLens's own hooks in each norm; that the logits stay the same is asserted.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.bridge = model, model.bridge
        self.tokens = torch.arange(1, 9)[None]
        with torch.no_grad():
            self.plain = self.bridge(self.tokens, return_type="logits")[0]
        self.c = torch.randn(self.plain.shape, generator=torch.Generator().manual_seed(0))

    def back(self, site: ModelSite, layer: int, name: str) -> Tensor:
        """Gradient [n_tokens, d_in] of Σ c · logits, soft-cap undone."""
        kept: list[Tensor] = []

        def leaf(value: Tensor, hook: Any) -> Tensor:
            kept.append(value.detach().clone().requires_grad_())
            return kept[0]

        known = self.bridge.hook_dict
        weightless = [norm for norm in self._norms() if not hasattr(norm.original_component, "weight")]
        unheld = {norm.hook_scale.name for norm in weightless}  # TransformerLens cannot edit their scales
        scales = [n for n in known if n.endswith(".hook_scale") and n not in unheld]
        hooks = [(n, lambda value, hook: value.detach()) for n in scales]
        for number in range(layer, len(self.bridge.blocks)):
            for other in ("attn", "mlp"):
                alias = f"blocks.{number}.hook_{other}_out"
                if (number > layer or other not in name) and alias in known:
                    hooks.append((alias, lambda value, hook: value.detach()))
            for part, component in self.bridge.blocks[number].submodules.items():  # state-space mixers and the like
                inner = f"blocks.{number}.{part}.hook_out"
                if part not in ("attn", "mlp") and not isinstance(component, NormalizationBridge) and inner in known:
                    hooks.append((inner, lambda value, hook: value.detach()))
        with warnings.catch_warnings(), ExitStack() as held:  # that an edited scale is recomputed by TransformerLens
            warnings.simplefilter("ignore")
            for norm in weightless:
                hold = partial(hold_scale, isinstance(norm, RMSNormalizationBridge))
                held.callback(norm.original_component.register_forward_hook(hold).remove)
            logits = self.bridge.run_with_hooks(
                self.tokens, fwd_hooks=[*hooks, (site.hook, leaf)], return_type="logits"
            )[0]
        assert_allclose(logits.detach(), self.plain, rtol=1e-3, atol=1e-4)
        cap = getattr(self.bridge.original_model.config, "final_logit_softcapping", None)
        raw = logits if cap is None else cap * torch.atanh(logits / cap)
        return torch.autograd.grad((raw * self.c).sum(), kept[0])[0][0].flatten(1)

    def _norms(self) -> list[NormalizationBridge | RMSNormalizationBridge]:
        modules = self.bridge.modules()
        return [module for module in modules if isinstance(module, NormalizationBridge | RMSNormalizationBridge)]


def hold_scale(rms: bool, norm: torch.nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """The output of a norm without weights, as a linear function of its input."""
    x = given[0] if rms else given[0] - given[0].mean(-1, keepdim=True)
    return x * (out / x).detach()


def cosine(a: Tensor, b: np.ndarray) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), torch.from_numpy(b).double(), dim=1).min())


def check(model: LanguageModel, blocks: TokenBlocks) -> dict[str, str]:
    """Compare sites of the first and of the last layer; returns those without a direct path, and why."""
    truth, layers = Frozen(model), {"first": 0, "last": len(model.bridge.blocks) - 1}
    u = read_unembedding(model, blocks.select("train"), min_count=0)
    left_out = {}
    for layer, name in ((layers[end], name) for end, names in SITES.items() for name in names):
        if not model.bridge.blocks[layer].submodules and name == "hook_resid_pre":
            continue  # what such a block adds cannot be held fixed from outside, so the reference would be wrong
        try:
            site = ModelSite(model, resolve_hook(model, f"blocks.{layer}.{name}"))
        except ModelError as error:
            left_out[name] = str(error)
            continue
        directions = site.residual(np.eye(site.d_in, dtype=np.float32))
        if directions is None:
            left_out[name] = "no path"
            continue

        def ours(gain: np.ndarray, directions: np.ndarray = directions) -> np.ndarray:
            centred = directions - directions.mean(1, keepdims=True) if u.center_d_model else directions
            return truth.c.numpy() @ (centred * gain @ u.W_U).T

        found = truth.back(site, layer, name)
        assert cosine(found, ours(u.gain)) > 0.9999, (layer, name)
        assert cosine(found, ours(u.gain - 1)) < 0.99, (layer, name)  # a gain that is wrong is seen
        if site.path.norm is not None:
            raw = np.eye(site.d_in, dtype=np.float32) if site.path.weight is None else site.path.weight
            assert cosine(found, ours(u.gain, raw)) < 0.99, (layer, name)  # as is one that is left out
    return left_out


@pytest.mark.parametrize("model_type", USUAL)
def test_usual_architectures(save_tiny, blocks: TokenBlocks, model_type: str) -> None:
    changes = {
        "granite": {"residual_multiplier": 0.3, "logits_scaling": 4.0},
        "gemma2": {"final_logit_softcapping": 5.0},
    }
    model = load_model(save_tiny(model_type, **changes.get(model_type, {})))
    assert check(model, blocks) == {}
    config = model.bridge.original_model.config
    assert config.tie_word_embeddings == (model_type in TIED)
    assert read_unembedding(model, blocks, 0).center_d_model == (model_type in CENTRED)
    assert (ModelSite(model, "blocks.0.mlp.hook_post").path.norm is not None) == (model_type in NORM_BEHIND)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [kind for kind in supported() if kind not in USUAL])
def test_every_other_architecture(save_tiny, blocks: TokenBlocks, model_type: str) -> None:
    try:
        folder = save_tiny(model_type)
    except Exception as error:  # of transformers, whose configurations are particular
        pytest.skip(f"transformers makes no tiny {model_type}: {str(error).splitlines()[:1]}")
    try:
        model = load_model(folder)
    except ModelError as error:
        pytest.skip(str(error))
    if not hasattr(model.bridge, "blocks"):
        with pytest.raises(ModelError, match=r"has no hook 'blocks\.0\.hook_resid_post'; the nearest are"):
            resolve_hook(model, "blocks.0.hook_resid_post")
        return
    try:
        left_out = check(model, blocks)
    except ModelError as error:
        pytest.skip(str(error))
    assert not {"hook_resid_post", "hook_resid_pre"} & left_out.keys() or "no hook" in str(left_out)


def test_biases_change_no_logit_weights_and_a_multiplier_of_an_entry_is_refused(save_tiny, blocks: TokenBlocks) -> None:
    """What is left out is the same for every feature; what is not linear as claimed is not passed over."""
    model = load_model(save_tiny("gpt2", tie_word_embeddings=False))
    whole = read_unembedding(model, blocks, 0)
    with torch.no_grad():
        model.bridge.original_model.transformer.ln_f.bias.add_(1)
    assert read_unembedding(model, blocks, 0).hash == whole.hash
    head = model.bridge.unembed.original_component
    head.register_forward_hook(lambda module, given, out: out + torch.arange(out.shape[-1]))
    assert read_unembedding(model, blocks, 0).hash == whole.hash
    head.register_forward_hook(lambda module, given, out: out * torch.arange(out.shape[-1]))
    with pytest.raises(
        ModelError, match="the logits are not what its final norm and unembedding make of the stream, so"
    ):
        read_unembedding(model, blocks, 0)
