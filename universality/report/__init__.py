"""Figures and the HTML report, made from plain values.

``universality.report.data`` defines the contents of a report, ``universality.report.figures`` draws (only it
imports matplotlib), ``render`` and ``write_report`` make the page.
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
