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

from universality.activations import ModelSite
from universality.arrays import FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.changes import ablate_one_each
from universality.effects.contexts import Contexts
from universality.effects.firing_sample import ExactEffects, FiringSample, check_same_features, sample_firings
from universality.effects.interventions import Intervention, acts_on_later_positions, check_effect
from universality.effects.model_features import ModelFeatures
from universality.effects.prediction_changes import prediction_changes
from universality.errors import MismatchError
from universality.features.storage.store import FeatureStore
from universality.models.forward import Hook, token_losses


def exact_effects(features: ModelFeatures, effects: FeatureStore, *, n: int = 2000, seed: int = 0) -> ExactEffects:
    """Compare first-order with exact effects on a sample of firings.

    Each firing takes one forward pass of its block, and each block one without an edit. Behind the last attention a
    firing changes the next token's loss alone, and a pass holds many firings.

    Parameters
    ----------
    features
        The features of an SAE, or neurons, with the store of their activations.
    effects
        Store of their first-order effects on the same blocks.
    n, seed
        Number of firings, and seed, of `sample_firings`.

    Raises
    ------
    MismatchError
        If the stores do not belong together, or hold segments of text.
    UniversalityError
        As `sample_firings` does.
    ModelError
        If nothing that the model predicts depends on the hook.
    """
    check_same_features(features.store, effects)
    if features.blocks.segment is not None:
        raise MismatchError(f"{features.store.path}: stores of segments have no exact effects; collect one of tokens")
    check_effect(features.written)
    firings = sample_firings(features.store, effects, n, seed)
    provenance = {
        "activations": features.store.provenance,
        "effects_content": effects.content_hash(),
        "n": n,
        "seed": seed,
    }
    return ExactEffects(firings, ablated_losses(features, firings), provenance)


def ablated_losses(features: ModelFeatures, firings: FiringSample) -> FloatArray:
    """Compute the change of the loss, summed from a token on, when one feature is ablated there: [n] in nats."""
    site, blocks = features.site, features.blocks
    block, position = (place[firings.row] for place in features.token_place)
    if features.sae is not None and not acts_on_later_positions(features.written):
        return _ablated_alone(features, Contexts(firings.feature, firings.feature, block, position))
    order = np.argsort(block, kind="stable")
    repeated, at, ablated = blocks.take(block[order]), position[order], firings.feature[order]

    def hooks(batch: IntArray, columns: int) -> Sequence[Hook]:
        here = np.zeros((len(batch), columns), bool)
        here[np.arange(len(batch)), at[batch]] = True
        if features.sae is None:
            return [(site.hook, _without_neurons(ablated[batch], at[batch]))]
        return features.intervention(ablate_one_each(ablated[batch])).hooks(torch.from_numpy(here).to(site.device))

    distinct, place = np.unique(block[order], return_inverse=True)
    plain, edited = _losses(site, blocks.take(distinct)), _losses(site, repeated, hooks)
    from_here = np.arange(blocks.n_ctx) >= at[:, None]  # what comes before differs by rounding alone
    exact = np.empty(len(order))
    exact[order] = ((edited - plain[place]) * from_here).sum(axis=1)
    return exact


def _ablated_alone(features: ModelFeatures, contexts: Contexts) -> FloatArray:
    """Compute the changes where the next token's loss alone depends on the hook: one pass holds many firings.

    At the MLP of the quickstart's model this takes a quarter of the time of one pass a firing.
    """
    blocks = features.blocks
    follows = blocks.tokens[contexts.block, contexts.column + 1].astype(np.int64)
    exact = np.empty(len(contexts))

    def intervene(part: IntArray) -> Intervention:
        return features.intervention(ablate_one_each(contexts.feature[part]))

    entries = np.arange(features.site.model.d_vocab)
    for part, change in prediction_changes(features.written, blocks, contexts, intervene, entries):
        next_token = torch.from_numpy(follows[part]).to(change.device)
        exact[part] = -change.gather(1, next_token[:, None])[:, 0].double().cpu().numpy()
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
