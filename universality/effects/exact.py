"""Exact effects of sampled firings: the feature is ablated at one token, and the model runs on.

First-order effects are exact where the loss is linear in what the feature adds. How far they are from exact elsewhere
is measured here on a sample (`universality.effects.firing_sample`), and belongs beside every number made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from universality.extras import naming_extra

with naming_extra("exact effects"):
    import torch
    from torch import Tensor

from universality.activations import ModelSite, rows_of
from universality.arrays import FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.changes import ablate_one_each
from universality.effects.firing_sample import ExactEffects, FiringSample, check_same_features, sample_firings
from universality.effects.interventions import Intervention, check_effect
from universality.errors import MismatchError
from universality.features.storage.store import FeatureStore
from universality.models.forward import Hook, token_losses
from universality.sae import SAE


def exact_effects(
    site: ModelSite,
    sae: SAE | None,
    blocks: TokenBlocks,
    activations: FeatureStore,
    effects: FeatureStore,
    *,
    n: int = 2000,
    seed: int = 0,
    site_out: ModelSite | None = None,
) -> ExactEffects:
    """Compare first-order with exact effects on a sample of firings.

    Each firing takes one forward pass of its block, and each block one without an edit.

    Parameters
    ----------
    site, sae, site_out
        The model at the hook where the SAE reads; the SAE, or None for neurons; where a transcoder writes.
    blocks
        The tokens that both stores were collected from.
    activations, effects
        Stores of this SAE's activations and first-order effects.
    n, seed
        Number of firings, and seed, of `sample_firings`.

    Raises
    ------
    MismatchError
        If the stores do not belong together, to the SAE, or to the blocks.
    UniversalityError
        As `sample_firings` does.
    ModelError
        If nothing that the model predicts depends on the hook.
    """
    check_same_features(activations, effects)
    _check_origin(site, sae, blocks, activations)
    check_effect(site_out or site)
    firings = sample_firings(activations, effects, n, seed)
    provenance = {
        "activations": activations.provenance,
        "effects_content": effects.content_hash(),
        "n": n,
        "seed": seed,
    }
    return ExactEffects(firings, ablated_losses(site, sae, blocks, firings, site_out), provenance)


def ablated_losses(
    site: ModelSite,
    sae: SAE | None,
    blocks: TokenBlocks,
    firings: FiringSample,
    site_out: ModelSite | None = None,
) -> FloatArray:
    """Compute the change of the loss, summed from a token on, when one feature is ablated there: [n] in nats."""
    block, position = (place[firings.row] for place in np.nonzero(blocks.valid))
    order = np.argsort(block, kind="stable")
    repeated, at, features = blocks.take(block[order]), position[order], firings.feature[order]

    def hooks(batch: IntArray, columns: int) -> Sequence[Hook]:
        here = np.zeros((len(batch), columns), bool)
        here[np.arange(len(batch)), at[batch]] = True
        if sae is None:
            return [(site.hook, _without_neurons(features[batch], at[batch]))]
        change = Intervention(site, sae, ablate_one_each(features[batch]), site_out)
        return change.hooks(torch.from_numpy(here).to(site.device))

    distinct, place = np.unique(block[order], return_inverse=True)
    plain, edited = _losses(site, blocks.take(distinct)), _losses(site, repeated, hooks)
    from_here = np.arange(blocks.n_ctx) >= at[:, None]  # what comes before differs by rounding alone
    exact = np.empty(len(order))
    exact[order] = ((edited - plain[place]) * from_here).sum(axis=1)
    return exact


def _losses(
    site: ModelSite, blocks: TokenBlocks, hooks: Callable[[IntArray, int], Sequence[Hook]] = lambda batch, columns: ()
) -> FloatArray:
    """Loss of each text token in its place, 0 elsewhere, [n_blocks, n_ctx]."""
    placed = np.zeros(blocks.tokens.shape)
    placed[blocks.valid] = token_losses(site.model.bridge, blocks, hooks)
    return placed


def _without_neurons(neurons: IntArray, at: IntArray) -> Any:
    """Hook that sets one neuron to 0 at one position of each block."""

    def edit(activation: Tensor, hook: Any) -> Tensor:
        edited = activation.flatten(2).clone()
        edited[torch.arange(len(at)), torch.from_numpy(at), torch.from_numpy(neurons)] = 0
        return edited.reshape(activation.shape)

    return edit


def _check_origin(site: ModelSite, sae: SAE | None, blocks: TokenBlocks, store: FeatureStore) -> None:
    provenance, tokens, rows = store.provenance, store.tokens, rows_of(blocks)
    ours = {"model": site.model_hash, "sae": None if sae is None else sae.hash}
    for key, expected in ours.items():
        recorded = provenance.get(key)
        theirs = recorded.get("hash") if isinstance(recorded, dict) else None
        if theirs != expected:
            raise MismatchError(
                f"{store.path}: written from the {key} {str(theirs)[:12]}, expected {str(expected)[:12]}, the one given"
            )
    if not (np.array_equal(tokens.token, rows.token) and np.array_equal(tokens.position, rows.position)):
        raise MismatchError(
            f"{store.path}: its rows are not the {blocks.n_tokens} tokens of these blocks; give the blocks that it was "
            "collected from (stores of segments have no exact effects)"
        )
