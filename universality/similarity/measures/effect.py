"""Effect similarity: Pearson's r of two features' first-order effects on the loss, over the same tokens.

The equation is that of activations, with effects in nats in place of activations and 0 where a feature is silent. Two
features that fire on the same tokens have effects of 0 on the same other tokens, so over all tokens r mostly measures
co-firing again: a large r does not show that two features do the same where both fire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from universality.similarity.measures.activation import ActivationPearson


@dataclass(frozen=True, eq=False)
class EffectPearson(ActivationPearson):
    """Pearson's r of first-order effects between all features of two stores of effects."""

    name: ClassVar[str] = "effect"
    quantity: ClassVar[str] = "effect"
