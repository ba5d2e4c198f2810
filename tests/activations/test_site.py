"""A harvest gives what TransformerLens caches, in one pass a model."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.testing import assert_array_equal
from torch.testing import assert_close

from universality.activations import JointSite, ModelSite, harvest, resolve_hook, rows_of
from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture

HOOK = "blocks.0.mlp.hook_post"


def test_harvest_equals_the_cache_without_bos_and_padding(models, sites, blocks) -> None:
    part = blocks.take(np.arange(7))
    harvested = [(rows, acts) for rows, acts in harvest(sites, part, batch_blocks=3)]
    rows = rows_of(part)
    assert_array_equal(np.concatenate([r.token for r, _ in harvested]), part.tokens[part.valid])
    assert_array_equal(np.concatenate([r.document for r, _ in harvested]), rows.document)
    assert rows.position.min() == 1
    for name, model in models.items():
        with torch.no_grad():
            _, cache = model.bridge.run_with_cache(torch.from_numpy(part.tokens.astype(np.int64)))
        expected = cache[resolve_hook(model, HOOK)][torch.from_numpy(part.valid)]
        assert_close(torch.cat([acts[name] for _, acts in harvested]), expected)


def passes(model: LanguageModel, work: Callable[[], object]) -> int:
    """Forward passes that a model begins."""
    begun: list[str] = []
    with model.bridge.hooks(fwd_hooks=[("blocks.0.hook_in", lambda _, hook: begun.append(hook.name))]):
        work()
    return len(begun)


def test_hooks_of_one_model_are_harvested_in_one_pass_and_are_those_of_a_pass_each(blocks) -> None:
    architecture = ModelArchitecture(n_layers=3, d_model=32, n_heads=2, d_mlp=64)
    deep, other = (
        new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=seed, name=f"m{seed}")
        for seed in (0, 1)
    )
    renamed = LanguageModel(deep.bridge, "m0 again")
    sites = {
        "late": ModelSite(renamed, "blocks.1.hook_resid_post"),
        "other": ModelSite(other, "blocks.0.hook_resid_post"),
        "early": ModelSite(deep, "blocks.0.hook_resid_post"),
        "twin": ModelSite(deep, "blocks.0.hook_resid_post"),
        "neurons": ModelSite(deep, HOOK),
    }
    part, behind = blocks.take(np.arange(7)), []
    with deep.bridge.hooks(fwd_hooks=[("blocks.2.hook_in", lambda _, hook: behind.append(hook.name))]):
        assert passes(deep, lambda: list(harvest(sites, part, batch_blocks=3))) == 3
        assert passes(other, lambda: list(harvest(sites, part, batch_blocks=3))) == 3
        joint = JointSite({name: sites[name] for name in ("early", "late")}, {"early": 1.0, "late": 1.0})
        assert passes(deep, lambda: joint.read(part)) == 1
        assert behind == []
        assert passes(deep, lambda: [site.read(part) for site in sites.values()]) == 4
    ((_, activations),) = harvest(sites, part)
    assert list(activations) == list(sites)
    for name, site in sites.items():
        assert torch.equal(activations[name], site.read(part)), name
    assert not torch.equal(activations["early"], activations["late"])
    assert not torch.equal(activations["early"], activations["other"])
