"""Pictures and the HTML report: plain values in, files out.

``universality.report.data`` says what a report is made of, ``universality.report.figures`` draws (and is the only part
that imports matplotlib), ``render`` and ``write_report`` make the page.
"""

from universality.report.data import (
    Caption,
    ConceptRow,
    ControlRow,
    Example,
    FamilyLevel,
    FamilyTable,
    FeatureCard,
    FileLink,
    Headline,
    LanguageModel,
    LanguageModels,
    Pair,
    PairGroup,
    Picture,
    Population,
    Report,
    SaeQuality,
    Sample,
    WidthRow,
    sample,
)
from universality.report.html import render, write_report

__all__ = [
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
    "Picture",
    "Population",
    "Report",
    "SaeQuality",
    "Sample",
    "WidthRow",
    "render",
    "sample",
    "write_report",
]
