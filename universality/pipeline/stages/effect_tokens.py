"""The tokens over which fingerprints of a study's models are compared."""

from __future__ import annotations

from functools import reduce

import numpy as np

from universality.arrays import FloatArray, evenly_spaced
from universality.config import Config
from universality.effects.fingerprints import TokenSet, set_identity
from universality.errors import FormatError, UniversalityError
from universality.models.unembedding import Unembedding
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.collect_features import model_unembedding
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
    probability, unembedding = _vocabularies(config, folder)
    widest = [stores[folder.store(name, headline_width(config, name), seed)] for name in names]
    try:
        pairs = [
            shared_tokens(
                widest[0],
                other,
                probability[names[0]],
                probability[name],
                # strings of several tokenizers are named by the stores' own
                None if config.models.tokenizers else (unembedding[names[0]], unembedding[name]),
            )
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
    tokens = TokenSet(entries, weights, set_identity(entries))
    return dict.fromkeys(names, tokens)


def _vocabularies(config: Config, folder: RunFolder) -> tuple[dict[str, FloatArray], dict[str, Unembedding]]:
    """Return each model's mean next-token probabilities on text of the choosing half, and its unembedding.

    One model is in memory at a time.
    """
    from universality.effects import mean_probabilities

    probabilities: dict[str, FloatArray] = {}
    unembeddings: dict[str, Unembedding] = {}
    for together in by_source(config, config.models.names):
        text = blocks_of(config, folder, together[0])
        blocks = text.select("choose")
        blocks = blocks.take(evenly_spaced(len(blocks), min(_BLOCKS, len(blocks))))
        site = live_sites(config, folder, together)[together[0]]
        probabilities |= dict.fromkeys(together, mean_probabilities(site, blocks))
        unembeddings |= dict.fromkeys(
            together, model_unembedding(config, folder, together[0], site, text.select("train"))
        )
    return probabilities, unembeddings
