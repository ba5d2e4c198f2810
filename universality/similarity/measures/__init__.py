"""Measures of similarity: one file each, and the registry of those that compare stores over tokens."""

from universality.errors import UniversalityError
from universality.similarity.engine.token_source import TokenSource
from universality.similarity.measures.activation import ActivationCosine, ActivationPearson
from universality.similarity.measures.attribution import Attribution
from universality.similarity.measures.effect import EffectPearson
from universality.similarity.measures.firing import FiringJaccard, FiringPhi
from universality.similarity.measures.masked import MaskedCosine

TOKEN_MEASURES: dict[str, type[TokenSource]] = {
    "activation": ActivationPearson,
    "cosine": ActivationCosine,
    "phi": FiringPhi,
    "jaccard": FiringJaccard,
    "masked_cosine": MaskedCosine,
    "attribution": Attribution,
    "effect": EffectPearson,
}
"""Measures over tokens by name, as `Similarity.over_tokens`, `all_pairs` and `calibrate` take them; add a new one here.

`Coverage` is not among them: it counts tokens, which is no scale on which to choose partners.
"""


def token_measure(name: str) -> type[TokenSource]:
    """Look up a measure over tokens.

    Raises
    ------
    UniversalityError
        When there is none of this name; the message lists those that there are.
    """
    if name not in TOKEN_MEASURES:
        raise UniversalityError(f"unknown measure {name!r}; choose one of {', '.join(TOKEN_MEASURES)}")
    return TOKEN_MEASURES[name]
