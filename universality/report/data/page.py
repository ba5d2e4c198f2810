"""Contents of a page: pictures, files, and the whole report."""

from dataclasses import dataclass, field
from typing import Literal

from universality.report.data.caution import Caution
from universality.report.data.effects import Effects
from universality.report.data.label_tables import ReportLabels, ReportLiterature, ReportTransfer
from universality.report.data.pairs import PairGroup
from universality.report.data.samples import Headline
from universality.report.data.tables import (
    ConceptRow,
    ControlRow,
    FamilyTable,
    LanguageModels,
    LogitRow,
    Pairing,
    SaeQuality,
    SharedRow,
    WidthRow,
)

Section = Literal["answer", "effects", "carried", "widths", "concepts", "pairs", "families", "transfer", "training"]
PAGE_WIDTH = 6.9
"""Inches; two columns of print, and the full width of the page."""


@dataclass(frozen=True)
class Caption:
    """Caption of a picture: what it shows and what to look at (text), and a description for screen readers (alt)."""

    text: str
    alt: str


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Parameters
    ----------
    name
        File name without ending: letters, digits, - and _.
    section
        Section of the report that shows it.
    title, caption
        Text below the picture.
    png, svg
        Contents of the files.
    width
        Width in print, in inches.
    files
        Files with the drawing and with its numbers.
    """

    name: str
    section: Section
    title: str
    caption: Caption
    png: bytes = field(repr=False)
    svg: bytes = field(repr=False)
    width: float = PAGE_WIDTH
    files: tuple["FileLink", ...] = ()


@dataclass(frozen=True)
class ExplorerLink:
    """Where the explorer of a comparison is, if it is on another page.

    Parameters
    ----------
    page
        Path of the page that holds it, relative to the page with the link.
    comparison
        Name of the comparison.
    """

    page: str
    comparison: str


@dataclass(frozen=True)
class FileLink:
    """A file of the run: its path relative to the report's folder, and its contents."""

    path: str
    what: str


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order.

    Parameters
    ----------
    title
        Name of the study.
    headline
        The comparison that answers the question.
    facts
        (name, value) rows on the run: hook, seeds, versions, hashes …
    commands
        Commands that reproduce the run.
    models, widths, saes
        Language models; one row per width; SAEs that are not in ``widths``, such as those of the ceiling.
    logit
        Matchings by logit weights: that of the headline, then its neurons and its ceilings.
    concepts, pairs, families
        Tables and examples.
    pictures
        Any number of pictures; each is shown in its section.
    files
        Links to files of the run.
    warnings
        Cautions to add to those that follow from the numbers; a string is one without advice.
    limits
        Lines to add to those that follow from the numbers.
    controls
        All comparisons of the run, beside what chance gives.
    pairings, shared
        With three or more models: every pair of them, and features found in several.
    effects
        Whether partners do the same; None where effects were not measured.
    labels
        Explanations of features; None where none were made.
    transfer
        Scores of explanations on features of the other side; None where they were not measured.
    literature
        Published concepts among the labelled features; None where they were not searched for.
    explorer
        Whether the explorer's data files are written beside the page (``universality.report.explorer``).
    explored_at
        Page whose explorer shows this comparison; None where this page's own does, or none.
    """

    title: str
    headline: Headline
    facts: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    models: LanguageModels | None = None
    widths: tuple[WidthRow, ...] = ()
    saes: tuple[SaeQuality, ...] = ()
    logit: tuple[LogitRow, ...] = ()
    concepts: tuple[ConceptRow, ...] = ()
    pairs: tuple[PairGroup, ...] = ()
    families: tuple[FamilyTable, ...] = ()
    pictures: tuple[Picture, ...] = ()
    files: tuple[FileLink, ...] = ()
    warnings: tuple[str | Caution, ...] = ()
    limits: tuple[str, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    pairings: tuple[Pairing, ...] = ()
    shared: tuple[SharedRow, ...] = ()
    effects: Effects | None = None
    labels: ReportLabels | None = None
    transfer: ReportTransfer | None = None
    literature: ReportLiterature | None = None
    explorer: bool = False
    explored_at: ExplorerLink | None = None
