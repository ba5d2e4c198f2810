"""The page: pictures, files, and everything together."""

from dataclasses import dataclass, field
from typing import Literal

from universality.report.data.model_pairs import Pairing, SharedRow
from universality.report.data.pairs import PairGroup
from universality.report.data.samples import Headline
from universality.report.data.tables import ConceptRow, ControlRow, FamilyTable, LanguageModels, SaeQuality, WidthRow

Section = Literal["answer", "widths", "concepts", "pairs", "families", "training"]
PAGE_WIDTH = 6.9
"""Inches: two columns of print, and the full width of the page."""


@dataclass(frozen=True)
class Caption:
    """What a picture shows and what to see in it (text), and the same for who cannot see it (alt)."""

    text: str
    alt: str


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Parameters
    ----------
    name
        File name without its ending: letters, digits, - and _.
    section
        Where the report puts it.
    caption
        Beneath it.
    png, svg
        The files' bytes.
    width
        Inches in print.
    """

    name: str
    section: Section
    title: str
    caption: Caption
    png: bytes = field(repr=False)
    svg: bytes = field(repr=False)
    width: float = PAGE_WIDTH


@dataclass(frozen=True)
class FileLink:
    """A file of the run: its path relative to the report's folder, and what it holds."""

    path: str
    what: str


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order.

    Parameters
    ----------
    title
        Of the study.
    headline
        The comparison that answers the question.
    facts
        (name, value) rows on the run: hook, seeds, versions, hashes …
    commands
        That make it again, one a line.
    models, widths, saes
        Language models; one row a width; SAEs beyond those of ``widths`` (the ceiling's).
    concepts, pairs, families
        Tables and examples.
    pictures
        Any number; each goes to its section.
    files
        Where everything lies.
    warnings, limits
        Lines to add to those that follow from the numbers.
    controls
        Everything that was matched, beside what chance gives.
    pairings, shared
        Of three models or more: every two of them, and how many features are found in how many.
    explorer
        Whether the explorer's data files are written beside the page (``universality.report.explorer``).
    """

    title: str
    headline: Headline
    facts: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    models: LanguageModels | None = None
    widths: tuple[WidthRow, ...] = ()
    saes: tuple[SaeQuality, ...] = ()
    concepts: tuple[ConceptRow, ...] = ()
    pairs: tuple[PairGroup, ...] = ()
    families: tuple[FamilyTable, ...] = ()
    pictures: tuple[Picture, ...] = ()
    files: tuple[FileLink, ...] = ()
    warnings: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    pairings: tuple[Pairing, ...] = ()
    shared: tuple[SharedRow, ...] = ()
    explorer: bool = False
