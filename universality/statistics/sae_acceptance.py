"""Whether an SAE is good enough to match: what it does not represent cannot have a partner.

The thresholds are conventions, not results: a study may well match worse dictionaries, but should say so.
"""

import math
from dataclasses import dataclass

LEAST_EXPLAINED_VARIANCE = 0.7
LEAST_LOSS_RECOVERED = 0.79
"""Of the model's loss, against zero ablation: what the least dictionary (4,096 features) in Bricken et al. 2023,
*Towards Monosemanticity*, keeps; their largest keeps 0.945."""
LARGEST_GAP = 0.2
"""Between the explained variance of all tokens together and that of the median token: above, a few tokens of large norm
decide the former."""
MOST_DEAD = 0.2
"""Share of features that never fire on held-out tokens."""
LEAST_L0 = 1.0
"""Features a token: below, most tokens have none."""
MOST_DENSE = 0.1
"""L0 as a share of the width: above, features fire alike because each fires on much of the text. Below it that
may be so too: of 512 features with L0 32, at 0.06, matched ones agreed less than neurons."""


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
    """In what an SAE is not good enough to match; a number that is NaN (not measured) is no fault.

    Parameters
    ----------
    width
        Its features.
    explained_variance, l0, dead_share, loss_recovered
        On held-out tokens; the dead share and the loss recovered in 0 … 1.
    typical_explained_variance
        Of the median token.
    """
    found = []
    if explained_variance < LEAST_EXPLAINED_VARIANCE:
        text = f"explained variance {explained_variance:.2f}, expected at least {LEAST_EXPLAINED_VARIANCE}"
        found.append(Fault("explained_variance", explained_variance, text))
    if explained_variance - typical_explained_variance > LARGEST_GAP:
        text = (
            f"explained variance {explained_variance:.2f}, but {typical_explained_variance:.2f} of the median token: "
            "a few tokens of large norm decide the former"
        )
        found.append(Fault("typical_explained_variance", typical_explained_variance, text))
    if loss_recovered < LEAST_LOSS_RECOVERED:
        text = f"recovers {loss_recovered:.0%} of the model's loss, expected at least {LEAST_LOSS_RECOVERED:.0%}"
        found.append(Fault("loss_recovered", loss_recovered, text))
    if dead_share > MOST_DEAD:
        found.append(
            Fault("dead_share", dead_share, f"{dead_share:.0%} dead features, expected at most {MOST_DEAD:.0%}")
        )
    if l0 < LEAST_L0:
        found.append(Fault("l0", l0, f"L0 {l0:.2g}, expected at least {LEAST_L0:g}"))
    if l0 > MOST_DENSE * width:
        text = f"L0 {l0:.3g} of {width:,} features, expected at most {MOST_DENSE:.0%} of them"
        found.append(Fault("density", l0, text))
    return tuple(found)
