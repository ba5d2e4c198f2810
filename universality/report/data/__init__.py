"""What a report is made of: plain values, no stores and no models, so that anything can fill them.

NaN stands for a number that is not known, None for a part that was not done. Correlations are Pearson's r; *A* is the
model whose features are counted, *B* the one that they seek partners in.
"""

from universality.report.data.model_pairs import Pairing, SharedRow
from universality.report.data.page import PAGE_WIDTH, Caption, FileLink, Picture, Report, Section
from universality.report.data.pairs import Example, FeatureCard, Pair, PairGroup
from universality.report.data.samples import NAN, THRESHOLDS, Headline, Population, Role, Sample, sample
from universality.report.data.tables import (
    ConceptRow,
    ControlRow,
    FamilyLevel,
    FamilyTable,
    LanguageModel,
    LanguageModels,
    SaeQuality,
    WidthRow,
)

__all__ = [
    "NAN",
    "PAGE_WIDTH",
    "THRESHOLDS",
    "Caption",
    "ConceptRow",
    "ControlRow",
    "Example",
    "FamilyLevel",
    "FamilyTable",
    "FeatureCard",
    "FileLink",
    "Headline",
    "LanguageModel",
    "LanguageModels",
    "Pair",
    "PairGroup",
    "Pairing",
    "Picture",
    "Population",
    "Report",
    "Role",
    "SaeQuality",
    "Sample",
    "Section",
    "SharedRow",
    "WidthRow",
    "sample",
]
