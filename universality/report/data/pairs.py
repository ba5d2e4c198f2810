"""Matched pairs with the text on which they fire."""

from dataclasses import dataclass

from universality.report.data.samples import NAN


@dataclass(frozen=True)
class Example:
    """An excerpt of text around a token on which a feature fires.

    Parameters
    ----------
    tokens, activations
        Strings, and the feature's activation on each (NaN or 0: silent).
    focus
        Index of the token that the excerpt is shown for.
    kind
        Kind of the document.
    partner_activation
        Activation of the partner on the token in focus.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    focus: int
    kind: str = ""
    partner_activation: float = NAN

    @property
    def activation(self) -> float:
        """Activation on the token in focus."""
        return self.activations[self.focus]


@dataclass(frozen=True)
class FeatureCard:
    """One feature of a pair.

    Parameters
    ----------
    index
        Index in the dictionary.
    density
        Share of tokens on which it fires.
    kind, purity
        Kind of text with most of its activation, and the share that falls on it.
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
    """Pairs under one heading, such as those with the highest r."""

    title: str
    note: str
    pairs: tuple[Pair, ...]
