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
class SplitRow:
    """Scores of explanations of parents and of their children; see `universality.labels.SplitGain.summary`."""

    step: str
    parents: str
    n: int
    n_families: int
    parent_score: float
    score: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class SplitTable:
    """Explanations of one model's parents and children: the name of the score, the coverage of intervals, and rows."""

    model: str
    score: str
    level: float
    rows: tuple[SplitRow, ...]

    def row(self, parents: str) -> SplitRow:
        """Return the row of one group over all steps."""
        return next(row for row in reversed(self.rows) if row.parents == parents)


@dataclass(frozen=True)
class ReportLabels:
    """Labels of a comparison.

    Parameters
    ----------
    tables
        One for each side that has labels.
    notes
        Feature → its explanation, for both sides.
    splits
        For each model whose families are labelled at two widths or more: does a split make explanations more specific?
    """

    tables: tuple[LabelTable, ...]
    notes: tuple[Mapping[int, FeatureNote], Mapping[int, FeatureNote]] = field(default_factory=lambda: ({}, {}))
    splits: tuple[SplitTable, ...] = ()

    def of(self, side: int, feature: int | None) -> FeatureNote | None:
        """Return the explanation of a feature; None if it has none."""
        return None if feature is None else self.notes[side].get(feature)


@dataclass(frozen=True)
class TransferRow:
    """Mean score of explanations on features of one kind of pairs; see `LabelTransfer.summary`."""

    name: str
    pairing: str
    n: int
    r: float
    own: float
    score: float
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class OverChanceRow:
    """Scores on own features and on partners beyond random features; see `LabelTransfer.over_equal_density`."""

    name: str
    n: int
    own: float
    own_low: float
    own_high: float
    partner: float
    partner_low: float
    partner_high: float


@dataclass(frozen=True)
class GivenRRow:
    """Loss on partners beyond that of other pairs at equal r; see `LabelTransfer.given_r`."""

    name: str
    against: str
    n_partners: int
    n_outside: int
    n_controls: int
    partners: float
    controls: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class EffectLossRow:
    """Correlation of the loss on partners with the agreement of their effects; see `LabelTransfer.with_effects`."""

    name: str
    given: str
    n: int
    correlation: float
    low: float
    high: float


@dataclass(frozen=True)
class SameRow:
    """Rate at which explanations were judged to describe the same; see `LabelTransfer.same_explanation`."""

    pairs: str
    n: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class SpecificityRow:
    """Share of one side's tokens at which explanations hold; see `LabelSpecificity.summary`."""

    side: str
    by: str
    share: str
    n: int
    mean: float
    low: float
    high: float
    advantage: float
    advantage_low: float
    advantage_high: float


@dataclass(frozen=True)
class ReportTransfer:
    """Transfer of one side's explanations to the other side, and the specificity of both sides'.

    Parameters
    ----------
    a, b
        Names of the sides.
    scorer
        Model that scored.
    level
        Nominal coverage of intervals.
    main
        The score that the answer is about.
    pairings, over_chance, given_r, with_effects, same, specificity
        Rows of the tables; empty where something was not measured.
    unusable
        Answers that predict nothing, by what became of them.
    """

    a: str
    b: str
    scorer: str
    level: float
    main: str
    pairings: tuple[TransferRow, ...]
    over_chance: tuple[OverChanceRow, ...]
    given_r: tuple[GivenRRow, ...]
    with_effects: tuple[EffectLossRow, ...] = ()
    same: tuple[SameRow, ...] = ()
    specificity: tuple[SpecificityRow, ...] = ()
    unusable: Mapping[str, int] = field(default_factory=dict)

    def pairing(self, name: str) -> TransferRow | None:
        """Return the main score's row of one kind of pairs; None where there is none."""
        return next((row for row in self.pairings if (row.name, row.pairing) == (self.main, name)), None)

    def compared_with(self, against: str) -> GivenRRow | None:
        """Return the main score's comparison at equal r; None where nothing could be compared."""
        rows = (row for row in self.given_r if (row.name, row.against) == (self.main, against))
        return next((row for row in rows if row.n_partners), None)


@dataclass(frozen=True)
class LiteratureRow:
    """A published concept in one model: the best of its shortlist beside chance; see `ConceptResult`."""

    concept: str
    description: str
    source: str
    model: str
    found: bool
    feature: int
    explanation: str
    score: float
    null_mean: float
    q: float


@dataclass(frozen=True)
class ReportLiterature:
    """Search for published concepts: who judged by which score, what was found, and the first rows of the table."""

    scorer: str
    method: str
    level: float
    summary: str
    n: int
    rows: tuple[LiteratureRow, ...]
