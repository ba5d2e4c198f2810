"""Matched pairs with the text on which they fire."""

from dataclasses import dataclass

from universality.report.data.samples import NAN


@dataclass(frozen=True)
class Example:
    """A stretch of text around a token on which a feature fires.

    Parameters
    ----------
    tokens, activations
        Strings, and the feature's activation on each (NaN or 0: silent).
    focus
        Index of the token that it is shown for.
    kind
        Of the document.
    partner_activation
        The partner's activation on that token.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    focus: int
    kind: str = ""
    partner_activation: float = NAN

    @property
    def activation(self) -> float:
        """On the token in focus."""
        return self.activations[self.focus]


@dataclass(frozen=True)
class FeatureCard:
    """One feature as a pair shows it.

    Parameters
    ----------
    index
        In its dictionary.
    density
        Share of tokens on which it fires.
    kind, purity
        The kind that holds most of its activation, and how much.
    promotes
        Tokens whose logits it raises most.
    examples
        Strongest first.
    """

    index: int
    density: float = NAN
    kind: str = ""
    purity: float = NAN
    promotes: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A feature of A and its partner in B, with their scores as in ``ConceptRow``."""

    a: FeatureCard
    b: FeatureCard
    chosen: float = NAN
    held_out: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    q: float = NAN
    logit_r: float = NAN
    ceiling_a: float = NAN
    ceiling_b: float = NAN


@dataclass(frozen=True)
class PairGroup:
    """Pairs under one heading: the best, some from the middle, the worst."""

    title: str
    note: str
    pairs: tuple[Pair, ...]
