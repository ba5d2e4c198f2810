"""The tokens over which fingerprints of a study's models are compared."""

from __future__ import annotations

from functools import reduce

import numpy as np

from universality.arrays import FloatArray, evenly_spaced
from universality.config import Config
from universality.effects.fingerprints import TokenSet, set_identity
from universality.errors import FormatError, UniversalityError
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import blocks_of, by_source, live_sites
from universality.pipeline.study import headline_width

_BLOCKS = 64  # on which a model's mean probabilities are measured


class UnsharedTokensError(UniversalityError):
    """The models of a study have no tokens in common over which they can be compared."""


def effect_tokens(config: Config, folder: RunFolder, stores: OpenStores) -> dict[str, TokenSet]:
    """Return, for each model, the tokens that count in all models, weighted by the mean of their probabilities.

    Raises
    ------
    UnsharedTokensError
        If the models share too few tokens, or more than two models have tokenizers of their own.
    """
    from universality.similarity import shared_tokens

    names, seed = config.models.names, config.saes.seeds[0]
    if config.models.tokenizers and len(names) > 2:
        raise UnsharedTokensError("fingerprints compare two vocabularies, and here more models have tokenizers")
    probability = _probabilities(config, folder)
    widest = [stores[folder.store(name, headline_width(config, name), seed)] for name in names]
    try:
        pairs = [
            shared_tokens(widest[0], other, probability[names[0]], probability[name])
            for name, other in zip(names, widest, strict=True)
        ]
    except FormatError:
        raise
    except UniversalityError as error:
        raise UnsharedTokensError(str(error)) from None
    if config.models.tokenizers:
        return dict(zip(names, pairs[-1], strict=False))
    entries = reduce(np.intersect1d, [first.entries for first, _ in pairs])
    weights = np.mean([probability[name][entries] for name in names], axis=0)
    tokens = TokenSet(entries, weights, set_identity(entries, weights))
    return dict.fromkeys(names, tokens)


def _probabilities(config: Config, folder: RunFolder) -> dict[str, FloatArray]:
    """Average each model's next-token probabilities on text of the choosing half, one model in memory at a time."""
    from universality.effects import mean_probabilities

    found: dict[str, FloatArray] = {}
    for together in by_source(config, config.models.names):
        blocks = blocks_of(config, folder, together[0]).select("choose")
        blocks = blocks.take(evenly_spaced(len(blocks), min(_BLOCKS, len(blocks))))
        site = live_sites(config, folder, together)[together[0]]
        found |= dict.fromkeys(together, mean_probabilities(site, blocks))
    return found
