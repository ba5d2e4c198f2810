"""Figures and the HTML report, made from plain values.

``universality.report.data`` defines the contents of a report, ``universality.report.figures`` draws (only it
imports matplotlib), ``render`` and ``write_report`` make the page. These two need Jinja, and are imported when first
used.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name
from universality.report.data import (
    Caption,
    CarriedLoss,
    Caution,
    ConceptRow,
    ControlRow,
    EffectRow,
    Effects,
    Example,
    FamilyLevel,
    FamilyTable,
    FeatureCard,
    FileLink,
    FirstOrderAccuracy,
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

if TYPE_CHECKING:
    from universality.report.html import render, write_report

_HOME = dict.fromkeys(("render", "write_report"), "universality.report.html")
__all__ = [
    "Caption",
    "CarriedLoss",
    "Caution",
    "ConceptRow",
    "ControlRow",
    "EffectRow",
    "Effects",
    "Example",
    "FamilyLevel",
    "FamilyTable",
    "FeatureCard",
    "FileLink",
    "FirstOrderAccuracy",
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


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)
