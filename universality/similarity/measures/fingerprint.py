"""Similarity of fingerprints: Pearson's r over tokens of what two features do to the next-token distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray
from universality.effects.fingerprints import Fingerprints, TokenSet, Weighting, check_weighting, set_identity
from universality.errors import MismatchError
from universality.similarity.engine.chosen_features import ChosenFeatures
from universality.similarity.engine.factors import FactorSource
from universality.similarity.measures.joint_vocabulary import joint_vocabulary, unembedding_of

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.unembedding import Unembedding


def fingerprint_source(x: Fingerprints, y: Fingerprints, weighting: Weighting) -> FactorSource | ChosenFeatures:
    """Compare fingerprints as two factors; see `Similarity.fingerprint`.

    Raises
    ------
    MismatchError
        If the two are of other tokens, other interventions, or other projections.
    """
    check_weighting(weighting)
    kinds = [
        ("tokens", x.tokens.identity, y.tokens.identity),
        ("interventions", x.how, y.how),
        ("positions", x.later, y.later),
        ("projections", *((p and (p.n_components, p.seed)) for p in (x.projection, y.projection))),
    ]
    for what, left, right in kinds:
        if left != right:
            raise MismatchError(
                f"fingerprints of different {what} ({left!r} and {right!r}) cannot be compared; make both alike"
            )
    # measured in float32, a model's probabilities depend on the number of threads in the last digits
    if not np.allclose(x.tokens.probability, y.tokens.probability, rtol=1e-3, atol=0):
        raise MismatchError("fingerprints whose tokens have different weights cannot be compared; make both alike")
    factors = x.factor(weighting), y.factor(weighting)
    dead = [~np.any(factor, axis=1) for factor in factors]
    provenance = {"measure": "fingerprint", "weighting": weighting, "a": x.describe(), "b": y.describe()}
    source = FactorSource(*factors, dead[0], dead[1], "fingerprint", provenance, limit=1.0)
    shape = x.n_features, y.n_features
    return source if source.shape == shape else ChosenFeatures(source, x.features, y.features, shape)


def shared_tokens(
    a: FeatureStore,
    b: FeatureStore,
    probability_a: npt.ArrayLike,
    probability_b: npt.ArrayLike,
    unembeddings: tuple[Unembedding, Unembedding] | None = None,
) -> tuple[TokenSet, TokenSet]:
    """Choose the tokens over which fingerprints of two models are compared, as entries of each vocabulary.

    These are the entries that count in both unembeddings, or the strings that two vocabularies share. A token's weight
    is the mean of the two models' probabilities. ``shared_tokens(a, a, p, p)[0]`` is the set of one model.

    Parameters
    ----------
    a, b
        Stores of the two models.
    probability_a, probability_b
        [d_vocab] mean probability of each entry in each model: `universality.effects.mean_probabilities`.
    unembeddings
        Unembeddings of the two models; by default the stores' own. Stores of hooks that write to no logits, such as
        those inside attention, hold none.

    Raises
    ------
    UniversalityError
        If a store holds no unembedding, and none is given.
    MismatchError
        If the vocabularies share too few tokens, or the probabilities are of another vocabulary.
    """
    u_a, u_b = unembeddings or (unembedding_of(a), unembedding_of(b))
    joint = joint_vocabulary(a, b, u_a, u_b)
    mean: FloatArray = np.zeros(len(joint))
    for store, u, given, entries in (
        (a, u_a, probability_a, joint.entries_a),
        (b, u_b, probability_b, joint.entries_b),
    ):
        probability = np.asarray(given, np.float64)
        if probability.shape != (u.d_vocab,):
            raise MismatchError(
                f"{store.path}: expected the probabilities of {u.d_vocab} entries, found {list(probability.shape)}"
            )
        mean += probability[entries] / 2
    identity = set_identity(joint.entries_a, joint.entries_b)
    return TokenSet(joint.entries_a, mean, identity), TokenSet(joint.entries_b, mean, identity)
