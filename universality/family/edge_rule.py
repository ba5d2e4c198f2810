"""Rule for an edge: when a feature of a wider dictionary is a child of a feature of a narrower one.

There is an edge i → j between adjacent widths iff **all** of the following hold, for features that fire at least
``min_firings`` times each. In short: j fires where i fires, as strongly as i, writes what i writes, and can replace i.

1. *Coverage* ≥ ``min_coverage``: i fires on this share of j's firings. If n equally frequent parents merge, each
   covers 1/n, so 0.2 admits merges of up to five; O'Neill et al. 2024 regard coverage below 0.1 as noise.
2. *Masked activation cosine* s(i, j) ≥ ``min_masked_cosine``: the larger of the cosine over the tokens where i
   fires and the cosine over those where j fires. A child that is active on a part of its parent's tokens, and
   there as strongly, has s near 1. The measure and the value 0.4 are from Bricken et al. 2023.
3. *Decoder cosine* of d_i and d_j ≥ ``min_decoder_cosine``: they write the same direction. A parent that splits into
   n equal orthogonal children has cosine 1/√n with each, so 0.3 admits splits into up to 11. The best of 1,024 random
   rows reaches 0.28 at d_in = 128 and 0.14 at d_in = 512.
4. *Reconstruction*: inserted into the narrower SAE in place of its parent, the child compensates for more than
   ``min_recovered`` of the error that removing the parent causes (``universality.family.reconstruction``).

No rule is sufficient alone. On few tokens two positive activation vectors are nearly parallel whatever they mean, so a
feature that fires everywhere has a high s with every rare feature and covers it. Decoder cosine alone links features
that fire on different text. Coverage alone gives false parents (Tree SAE 2026). Ultra-low-density features (fewer than
``min_firings`` firings) have no edges at all, because s over so few tokens is chance.
``universality.family.chance_edges`` counts the pairs that each rule lets through by chance.

References: Bricken et al. 2023, Towards Monosemanticity, "Feature splitting"; O'Neill et al. 2024; Leask et al. 2025.
"""

from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Le

from universality.checked_settings import CheckedSettings, Cosine, Count, Natural, Share
from universality.statistics.null_settings import NullSettings


@dataclass(frozen=True)
class EdgeRule(CheckedSettings):
    """Thresholds of the rule above."""

    min_coverage: Share = 0.2
    """Least share of the child's firings on which the parent fires."""
    min_masked_cosine: Cosine = 0.4
    """Least masked activation cosine (Bricken et al. draw an edge above 0.4)."""
    min_decoder_cosine: Cosine = 0.3
    """Least cosine of the decoder rows."""
    min_recovered: Annotated[float, Le(1)] = 0.0
    """Share of what a parent does for the reconstruction that its child must exceed in its place; a number far below 0
    accepts any child."""
    min_firings: Count = NullSettings.min_firings
    """Least number of tokens on which both ends of an edge fire: cosines of rarer features are a matter of chance."""


@dataclass(frozen=True)
class FamilySettings(EdgeRule):
    """Conditions under which a feature of a wider dictionary counts as a child of a narrower one's, and their tests."""

    # Counts of edges are sums over thousands of pairs: two replicates agree to a few of them.
    replicates: Natural = 2
    """Times the edges are counted again on re-paired blocks of other documents; 0 for none."""
    bootstrap: Natural = 100
    """Resamples of the documents for each edge's support, a share read to two digits; 0 for none."""

    @property
    def rule(self) -> EdgeRule:
        """Thresholds without the settings of the tests."""
        return EdgeRule(**{threshold.name: getattr(self, threshold.name) for threshold in fields(EdgeRule)})


def edge_weight(
    decoder_cosine: npt.NDArray[np.float64], masked_cosine: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Compute the geometric mean of the two cosines, by which a child ranks its parents.

    A low cosine cannot be offset by the other one; a negative cosine counts as 0.

    Examples
    --------
    >>> edge_weight(np.array([0.9, 0.9]), np.array([0.4, -0.1])).round(3)
    array([0.6, 0. ])
    """
    product = np.maximum(decoder_cosine, 0) * np.maximum(masked_cosine, 0)
    return np.asarray(np.sqrt(product))
