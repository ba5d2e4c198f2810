"""When a feature of a wider dictionary is a child of one of a narrower dictionary.

There is an edge i → j between adjacent widths iff **all** of these hold, for features that fire at least
``min_firings`` times each. Together: j fires where i fires, like i, writes what i writes, and can do i's work.

1. *Coverage* ≥ ``min_coverage``: i fires on this share of j's firings. A parent that n equally frequent others
   merged with covers 1/n, so 0.2 admits merges of up to five; below 0.1 O'Neill et al. 2024 call it noise.
2. *Masked activation cosine* s(i, j) ≥ ``min_masked_cosine``: the larger of the cosine over the tokens where i
   fires and that over those where j fires. A child that is active on a part of its parent's tokens, and
   there like it, has s near 1. This and the value 0.4 are Bricken et al. 2023's.
3. *Decoder cosine* of d_i and d_j ≥ ``min_decoder_cosine``: they write the same direction. A parent that split into
   n equal orthogonal children has cosine 1/√n with each, so 0.3 admits splits into up to 11. Random rows reach 0.28
   at d_in = 128 and 0.14 at d_in = 512 with the best of 1,024.
4. *Reconstruction*: inserted into the narrower SAE in its parent's place, the child lowers the error there: it makes
   up for more than ``min_recovered`` of what taking the parent out costs (``universality.family.reconstruction``).

No rule is enough alone. On few tokens two positive activation vectors are nearly parallel whatever they mean, so a
feature that fires everywhere has a high s with every rare one and covers it; cosine alone links features that fire on
different text; coverage alone gives false parents (Tree SAE 2026). Ultra-low-density features (fewer than
``min_firings`` firings) take no edge at all: over so few tokens s is chance. ``universality.family.chance_edges``
counts what each rule lets through by chance.

References: Bricken et al. 2023, Towards Monosemanticity, "Feature splitting"; O'Neill et al. 2024; Leask et al. 2025.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from universality.defaults import MIN_COVERAGE, MIN_DECODER_COSINE, MIN_FIRINGS, MIN_MASKED_COSINE, MIN_RECOVERED


@dataclass(frozen=True)
class EdgeRule:
    """Thresholds of the rule above.

    Parameters
    ----------
    min_coverage
        Least share of the child's firings on which the parent fires, in [0, 1].
    min_masked_cosine
        Least masked activation cosine of an edge, in [-1, 1].
    min_decoder_cosine
        Least decoder cosine of an edge, in [-1, 1].
    min_recovered
        An edge's child makes up for more than this share of what its parent does, at most 1; far below 0 it asks for
        nothing.
    min_firings
        Tokens on which both ends of an edge must fire at least, >= 1.
    """

    min_coverage: float = MIN_COVERAGE
    min_masked_cosine: float = MIN_MASKED_COSINE
    min_decoder_cosine: float = MIN_DECODER_COSINE
    min_recovered: float = MIN_RECOVERED
    min_firings: int = MIN_FIRINGS

    def __post_init__(self) -> None:
        for name in ("min_decoder_cosine", "min_masked_cosine"):
            value = getattr(self, name)
            if not -1 <= value <= 1:
                raise ValueError(f"{name}: expected a cosine in [-1, 1], found {value}")
        if not 0 <= self.min_coverage <= 1:
            raise ValueError(f"min_coverage: expected a share in [0, 1], found {self.min_coverage}")
        if not -math.inf < self.min_recovered <= 1:
            raise ValueError(f"min_recovered: expected a finite share of at most 1, found {self.min_recovered}")
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
