"""Thresholds for an SAE that is good enough to match: what it does not represent cannot have a partner.

The thresholds are conventions, not results. A study may match worse dictionaries, but should say so.
"""

import math
from dataclasses import dataclass

LEAST_EXPLAINED_VARIANCE = 0.7
LEAST_LOSS_RECOVERED = 0.79
"""Share of the model's loss, relative to zero ablation. The smallest dictionary (4,096 features) of Bricken et al.
2023, *Towards Monosemanticity*, recovers this share; their largest recovers 0.945."""
LARGEST_GAP = 0.2
"""Difference between the explained variance of all tokens together and that of the median token. If it is larger, a few
tokens of large norm dominate the former."""
MOST_DEAD = 0.2
"""Share of features that never fire on held-out tokens."""
LEAST_L0 = 1.0
"""Active features per token. With fewer, most tokens have none."""
MOST_DENSE = 0.1
"""L0 as a share of the width. If it is larger, features fire alike because each fires on much of the text. Smaller
values do not exclude that: with 512 features and L0 32 (0.06), matched features agreed less than neurons."""


@dataclass(frozen=True)
class Fault:
    """One way in which an SAE falls short."""

    measure: str
    value: float
    text: str


def faults(
    *,
    width: int,
    explained_variance: float,
    l0: float,
    dead_share: float,
    loss_recovered: float,
    typical_explained_variance: float = math.nan,
) -> tuple[Fault, ...]:
    """List the ways in which an SAE is not good enough to match; NaN (not measured) is no fault.

    Parameters
    ----------
    width
        Number of features.
    explained_variance, l0, dead_share, loss_recovered
        Measured on held-out tokens; the dead share and the loss recovered lie in 0 … 1.
    typical_explained_variance
        Explained variance of the median token.

    Examples
    --------
    >>> good = {"width": 4096, "explained_variance": 0.85, "l0": 32.0, "dead_share": 0.02}
    >>> faults(**good, loss_recovered=0.95)
    ()
    >>> [fault.text for fault in faults(**good, loss_recovered=0.5)]
    ["recovers 50% of the model's loss, expected at least 79%"]
    """
    shortcomings = []
    if explained_variance < LEAST_EXPLAINED_VARIANCE:
        text = f"explained variance {explained_variance:.2f}, expected at least {LEAST_EXPLAINED_VARIANCE}"
        shortcomings.append(Fault("explained_variance", explained_variance, text))
    if explained_variance - typical_explained_variance > LARGEST_GAP:
        text = (
            f"explained variance {explained_variance:.2f}, but {typical_explained_variance:.2f} of the median token: "
            "a few tokens of large norm decide the former"
        )
        shortcomings.append(Fault("typical_explained_variance", typical_explained_variance, text))
    if loss_recovered < LEAST_LOSS_RECOVERED:
        text = f"recovers {loss_recovered:.0%} of the model's loss, expected at least {LEAST_LOSS_RECOVERED:.0%}"
        shortcomings.append(Fault("loss_recovered", loss_recovered, text))
    if dead_share > MOST_DEAD:
        shortcomings.append(
            Fault("dead_share", dead_share, f"{dead_share:.0%} dead features, expected at most {MOST_DEAD:.0%}")
        )
    if l0 < LEAST_L0:
        shortcomings.append(Fault("l0", l0, f"L0 {l0:.2g}, expected at least {LEAST_L0:g}"))
    if l0 > MOST_DENSE * width:
        text = f"L0 {l0:.3g} of {width:,} features, expected at most {MOST_DENSE:.0%} of them"
        shortcomings.append(Fault("density", l0, text))
    return tuple(shortcomings)
