"""When a feature of a wider dictionary is a child of one of a narrower dictionary.

There is an edge i → j between adjacent widths iff **both** hold, for features that fire at least
``min_firings`` times each:

1. decoder cosine of d_i and d_j ≥ ``min_decoder_cosine``: they write the same direction.
   A parent that split into n equal orthogonal children has cosine 1/√n with each, so 0.3 admits splits into
   up to 11. Random rows reach 0.28 at d_in = 128 and 0.14 at d_in = 512 with the best of 1,024.
2. masked activation cosine s(i, j) ≥ ``min_masked_cosine``: the larger of the cosine over the tokens where
   i fires and that over those where j fires. A child that is active on a part of its parent's tokens, and
   there like it, has s near 1. This and the value 0.4 are Bricken et al. 2023's.

The conjunction is ours. On few tokens two positive activation vectors are nearly parallel whatever they mean,
so a feature that fires everywhere has a high s with every rare one; and cosine alone links features that fire
on different text. Ultra-low-density features (fewer than ``min_firings`` firings) take no edge at all: over
so few tokens s is chance.

Reference: Bricken et al. 2023, Towards Monosemanticity, "Feature splitting".
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class EdgeRule:
    """Thresholds of the rule above.

    Parameters
    ----------
    min_decoder_cosine
        Least decoder cosine of an edge, in [-1, 1].
    min_masked_cosine
        Least masked activation cosine of an edge, in [-1, 1].
    min_firings
        Tokens on which both ends of an edge must fire at least, >= 1.
    """

    min_decoder_cosine: float = 0.3
    min_masked_cosine: float = 0.4
    min_firings: int = 10

    def __post_init__(self) -> None:
        for name in ("min_decoder_cosine", "min_masked_cosine"):
            value = getattr(self, name)
            if not -1 <= value <= 1:
                raise ValueError(f"{name}: expected a cosine in [-1, 1], found {value}")
        if self.min_firings < 1:
            raise ValueError(
                f"min_firings: expected at least 1 (a dead feature has no edges), found {self.min_firings}"
            )


def edge_weight(
    decoder_cosine: npt.NDArray[np.float64], masked_cosine: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Geometric mean of the two cosines: what a child ranks its parents by.

    Neither makes up for the other; a negative cosine counts as 0.
    """
    product = np.maximum(decoder_cosine, 0) * np.maximum(masked_cosine, 0)
    return np.asarray(np.sqrt(product))
