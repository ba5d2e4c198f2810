"""Explanations of features by a language model, and what their scores are worth."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from universality.labels.shown import ShownScore


@dataclass(frozen=True)
class FeatureNote:
    """Explanation of one feature, cut to what a table shows; ``score`` is None where it was not measured."""

    text: str
    score: ShownScore | None = None


@dataclass(frozen=True)
class PredictorRow:
    """Mean of one score over features: of explanations, of a floor or of a baseline.

    Parameters
    ----------
    name, by
        Score, and predictor.
    n
        Features that have it.
    mean, low, high
        Mean with its interval over features.
    advantage, advantage_low, advantage_high
        Mean of explanation minus predictor, over the features that have both.
    """

    name: str
    by: str
    n: int
    mean: float
    low: float
    high: float
    advantage: float
    advantage_low: float
    advantage_high: float


@dataclass(frozen=True)
class LabelTable:
    """Labels of one side: outcomes, models, mean scores and sentences on what they are worth."""

    side: str
    n: int
    outcomes: Mapping[str, int]
    explainer: str
    scorer: str
    rows: tuple[PredictorRow, ...]
    worth: tuple[str, ...]


@dataclass(frozen=True)
class ReportLabels:
    """Labels of a comparison.

    Parameters
    ----------
    tables
        One for each side that has labels.
    notes
        Feature → its explanation, for both sides.
    """

    tables: tuple[LabelTable, ...]
    notes: tuple[Mapping[int, FeatureNote], Mapping[int, FeatureNote]] = field(default_factory=lambda: ({}, {}))

    def of(self, side: int, feature: int | None) -> FeatureNote | None:
        """Return the explanation of a feature; None if it has none."""
        return None if feature is None else self.notes[side].get(feature)
