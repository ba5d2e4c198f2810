"""Contents of a report as plain values, without stores or models.

NaN means that a number is not known, None that a part was not done. Correlations are Pearson's r. *A* is the model
whose features are counted, *B* the model in which they have partners.
"""

from universality.report.data.caution import Caution
from universality.report.data.effects import CarriedLoss, EffectRow, Effects, FirstOrderAccuracy
from universality.report.data.label_tables import (
    EffectLossRow,
    FeatureNote,
    GivenRRow,
    LabelTable,
    LiteratureRow,
    OverChanceRow,
    PredictorRow,
    ReportLabels,
    ReportLiterature,
    ReportTransfer,
    SameRow,
    SpecificityRow,
    SplitRow,
    SplitTable,
    TransferRow,
)
from universality.report.data.page import PAGE_WIDTH, Caption, ExplorerLink, FileLink, Picture, Report, Section
from universality.report.data.pairs import Example, FeatureCard, Pair, PairGroup
from universality.report.data.samples import LEAST_DIFFERENCE, NAN, Headline, Population, Role, Sample, sample
from universality.report.data.tables import (
    ConceptRow,
    ControlRow,
    FamilyLevel,
    FamilyTable,
    LanguageModel,
    LanguageModels,
    LogitRow,
    Pairing,
    SaeQuality,
    SharedRow,
    WidthRow,
)
from universality.statistics.calibration import THRESHOLDS

__all__ = [
    "LEAST_DIFFERENCE",
    "NAN",
    "PAGE_WIDTH",
    "THRESHOLDS",
    "Caption",
    "CarriedLoss",
    "Caution",
    "ConceptRow",
    "ControlRow",
    "EffectLossRow",
    "EffectRow",
    "Effects",
    "Example",
    "ExplorerLink",
    "FamilyLevel",
    "FamilyTable",
    "FeatureCard",
    "FeatureNote",
    "FileLink",
    "FirstOrderAccuracy",
    "GivenRRow",
    "Headline",
    "LabelTable",
    "LanguageModel",
    "LanguageModels",
    "LiteratureRow",
    "LogitRow",
    "OverChanceRow",
    "Pair",
    "PairGroup",
    "Pairing",
    "Picture",
    "Population",
    "PredictorRow",
    "Report",
    "ReportLabels",
    "ReportLiterature",
    "ReportTransfer",
    "Role",
    "SaeQuality",
    "SameRow",
    "Sample",
    "Section",
    "SharedRow",
    "SpecificityRow",
    "SplitRow",
    "SplitTable",
    "TransferRow",
    "WidthRow",
    "sample",
]
