"""Effects of matched features on the model's predictions: do partners do the same?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from universality.report.data.samples import NAN, Role, median_interval
from universality.statistics.calibration import THRESHOLDS
from universality.statistics.carried_loss import SharedLoss, SubsetLoss
from universality.statistics.effect_agreement import EffectAgreement, EffectAgreementSummary

SUBSETS = ("shared", "unshared", "same mass", "same density", "same number")
"""Subsets of a dictionary's features of which a table shows the loss; see `universality.statistics.carried_loss`."""
WIDEST_SHARE = 0.5
"""Shares of the loss whose 95% interval is wider say nothing about what features carry."""


@dataclass(frozen=True)
class EffectRow:
    """Agreement of the effects of one comparison's pairs.

    Parameters
    ----------
    role, label
        As of ``Sample``.
    summary
        Numbers of the comparison.
    low, high
        95% interval of the median r per norm, over the compared pairs as independent draws.
    shares
        Shares of all pairs with an r per norm of at least each of ``THRESHOLDS``; pairs that could not be compared do
        not reach any.
    """

    role: Role
    label: str
    summary: EffectAgreementSummary
    low: float = NAN
    high: float = NAN
    shares: tuple[float, ...] = (NAN, NAN)

    @classmethod
    def of(cls, role: Role, label: str, agreement: EffectAgreement) -> "EffectRow":
        """Compute the numbers of a comparison."""
        values = agreement.pairs["r_per_norm"].to_numpy(np.float64)
        known = np.sort(values[~np.isnan(values)])
        low, high = median_interval(known, known.size)
        shares = tuple(float((known >= t).sum() / values.size) if values.size else NAN for t in THRESHOLDS)
        return cls(role, label, agreement.summary(), low, high, shares)


@dataclass(frozen=True)
class FirstOrderAccuracy:
    """Accuracy of the first order on one model's sample of firings, in one stratum or overall.

    Parameters
    ----------
    model, where
        Name of the model, and of the part of the sample.
    n, spearman, slope, sign
        Firings, rank correlation and slope of exact on first-order effects, and the share with equal signs.
    """

    model: str
    where: str
    n: int
    spearman: float
    slope: float
    sign: float


@dataclass(frozen=True)
class CarriedLoss:
    """Loss that a model's shared features carry.

    Parameters
    ----------
    loss
        All that was measured.
    partners, ceiling
        Names among its partners: the other side, and a second SAE of the same model that differs in its seed only;
        None without one.
    threshold
        Least r of a partner at which the sentence is made; see `threshold_of_sentence`.
    """

    loss: SharedLoss
    partners: str
    ceiling: str | None
    threshold: float

    @property
    def sentence(self) -> str:
        """Sentence that states the result."""
        return self.loss.sentence(self.partners, self.threshold, self.ceiling)

    @property
    def any_shared(self) -> bool:
        """Tell whether any feature has a partner at the threshold of the sentence."""
        return self.row("shared").n_features > 0

    @property
    def unreached(self) -> float | None:
        """Least measured threshold that no feature's partner reaches; None if all are reached."""
        return next((t for t in self.thresholds if not self.row("shared", t).n_features), None)

    @property
    def enough_text(self) -> bool:
        """Tell whether the shares of the sentence have intervals narrow enough to say something."""
        shares = [self.row(subset) for subset in ("shared", "unshared", "same mass")]
        widths = np.array([share.recovered_high - share.recovered_low for share in shares])
        return not shares[0].n_features or bool((widths <= WIDEST_SHARE).all())  # NaN without an interval

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds that were measured, rising."""
        return tuple(sorted({row.threshold for row in self.loss.rows if row.partners == self.partners}))

    def row(self, subset: str, threshold: float | None = None, partners: str | None = None) -> SubsetLoss:
        """Return one row, with the SAE's error left out; by default of the sentence."""
        threshold = self.threshold if threshold is None else threshold
        return self.loss.row(self.partners if partners is None else partners, threshold, subset)

    def table(self) -> list[tuple[str, SubsetLoss, SubsetLoss]]:
        """List name and rows (error left out, and kept) of every subset at the threshold of the sentence."""
        named = [(f"random, {name}" if name.startswith("same") else name, self.partners, name) for name in SUBSETS]
        if self.ceiling is not None:
            named.append(("shared by two SAE seeds", self.ceiling, "shared"))
        named += [("all features", "", "all"), ("no feature (b_dec alone)", "", "none")]
        return [
            (label, self.loss.row(name, self.threshold, subset), self.loss.row(name, self.threshold, subset, True))
            for label, name, subset in named
        ]

    def as_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return {
            "model": self.loss.model,
            "partners": self.partners,
            "ceiling": self.ceiling,
            "threshold": self.threshold,
            "sentence": self.sentence,
            "enough_text": self.enough_text,
            "loss": self.loss.as_dict(),
        }


@dataclass(frozen=True)
class Effects:
    """Agreement of the partners' effects in one comparison, and the loss that shared features carry.

    Parameters
    ----------
    rows
        Agreement of the comparison's own pairs first, where it was measured; then of neurons and of second SAEs.
    accuracy
        Accuracy of the first order for each model: overall, then by density and by size.
    carried
        Loss that shared features carry, for each model.
    n_tokens
        Held-out tokens on which effects were compared.
    unmeasured
        What could not be measured, and why.
    """

    rows: tuple[EffectRow, ...] = ()
    accuracy: tuple[FirstOrderAccuracy, ...] = ()
    carried: tuple[CarriedLoss, ...] = ()
    n_tokens: int = 0
    unmeasured: tuple[str, ...] = ()

    def of_all(self, role: Role) -> tuple[EffectRow, ...]:
        """Return the rows of a role that have a compared pair."""
        return tuple(row for row in self.rows if row.role == role and row.summary.n_compared)

    def of(self, role: Role) -> EffectRow | None:
        """Return the first row of a role; None if it was not measured or no pair was compared."""
        return next(iter(self.of_all(role)), None)

    def as_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "accuracy": [asdict(row) for row in self.accuracy],
            "carried": [found.as_dict() for found in self.carried],
            "n_tokens": self.n_tokens,
            "unmeasured": list(self.unmeasured),
        }

    @property
    def overall(self) -> tuple[FirstOrderAccuracy, ...]:
        """Accuracy over each model's whole sample."""
        return tuple(row for row in self.accuracy if row.where == ALL_FIRINGS)


ALL_FIRINGS = "all firings"


def threshold_of_sentence(loss: SharedLoss, partners: str, wanted: float = THRESHOLDS[-1]) -> float:
    """Choose the measured threshold nearest to the larger of the report's thresholds, of those that a feature reaches.

    Where no feature reaches any, it is the lowest.
    """
    reached = {row.threshold: row.n_features for row in loss.rows if (row.partners, row.subset) == (partners, "shared")}
    candidates = sorted(threshold for threshold, n in reached.items() if n) or [min(reached)]
    return min(candidates, key=lambda threshold: abs(threshold - wanted))
