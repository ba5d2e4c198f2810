"""Settings of the null distributions and intervals of a matching."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Gt, Lt, MinLen

from universality.checked_settings import EXACT, CheckedSettings, Natural
from universality.errors import ConfigError
from universality.statistics.repairing import Null

WeightNull = Literal["vocabulary", "directions"]
"""Nulls of logit weights: token types exchanged within classes of script and frequency, or random directions with the
mean and covariance of the dictionary's."""
AnyNull: TypeAlias = Null | WeightNull


@dataclass(frozen=True)
class NullSettings(CheckedSettings):
    """Null distributions of a matching, and how sure its numbers are."""

    nulls: Annotated[list[Null], MinLen(1)] = field(default_factory=lambda: ["global", "kind"])
    """Re-pair blocks of text over the whole corpus (``global``), among documents of one kind (``kind``), or both; the
    p and q of a matching are those of the first."""
    # Null scores are pooled over the 32 features or more of a class: five replicates give 160 or more scores a class.
    # Each is a matching of its own, which is what a comparison costs.
    replicates: Annotated[int, Ge(0), EXACT] = 5
    """Times that the whole matcher is run again for each null, on re-paired blocks of other documents; 0 for no
    p-values, which a run refuses."""
    # The 95% quantile of 200 draws is known to within 1.5 points of coverage; more change the third digit of a bound.
    bootstrap: Annotated[int, Ge(0), EXACT] = 200
    """Resamples of the groups of documents for the intervals of fixed pairs and of their median; 0 for none."""
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05
    """Level of the false discovery rate: pairs with a q up to it count as more than chance."""
    # Pearson's r of rarer features depends on single tokens.
    min_firings: Annotated[int, Ge(1), EXACT] = 10
    """Pairs with a feature that fires less often have no p-value (on the blocks of the null) or no held-out score."""
    n_strata: Annotated[int, Ge(1), EXACT] = 8
    """Classes of firing counts within which null scores are pooled, where features are enough to fill them."""
    seed: Natural = 0
    """Seed for re-pairing and for the resamples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.nulls)) < len(self.nulls):
            raise ConfigError(f"expected each null once, found {', '.join(self.nulls)}; leave the second out")

    def for_calibrate(self) -> dict[str, Any]:
        """Keyword arguments of `universality.calibrate`."""
        settings = self.as_dict()
        return {"null": settings.pop("nulls"), **settings}
