"""How long SAEs and models are trained: early, as in the first findings, and late, over the whole corpus."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Length:
    """A length of training; findings of several are rows of one table."""

    name: str
    tokens: int
    """Tokens of each SAE that is compared with another seed's."""
    trend: tuple[int, ...]
    """Tokens of SAEs of one setting, to show whether agreement still rises."""
    penalties: tuple[float, ...]
    """L1 penalties of the ReLU SAEs. Longer training lowers L0, so the largest ones fire too few features later."""
    crossed_tokens: int
    """Tokens of each SAE of the crossed design."""
    crossed_epochs: float
    """Passes of the crossed design's models over the text."""

    @property
    def suffix(self) -> str:
        """Ending of the names of its figures."""
        return "" if self.name == "early" else f"_{self.name}"

    def __str__(self) -> str:
        return f"{self.tokens / 1e6:g} M tokens"


EARLY = Length(
    "early",
    tokens=1_000_000,
    trend=(125_000, 250_000, 500_000, 1_000_000),
    penalties=(3e-3, 4e-3, 5.5e-3, 7.5e-3),
    crossed_tokens=500_000,
    crossed_epochs=0.5,
)
LATE = Length(
    "late",
    tokens=4_900_000,  # all training tokens of the starter corpus, once
    trend=(2_450_000, 4_900_000, 9_800_000),
    penalties=(3e-3, 4e-3, 5.5e-3),
    crossed_tokens=4_900_000,
    crossed_epochs=6.0,  # those of the shipped models
)
LENGTHS = {length.name: length for length in (EARLY, LATE)}


def name_of(tokens: int) -> str:
    """Return the name of the length of training to which a number of tokens belongs."""
    return next(length.name for length in LENGTHS.values() if tokens in length.trend)
