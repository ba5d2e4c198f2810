"""Three models or more, or three SAE seeds of one: a page for every two of them, and what they share."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from universality.family import Families
from universality.files import read_json
from universality.matching import Match
from universality.matching.multimodel import group
from universality.pipeline.reporting import run_results as gather
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.run_results import Compared, Findings
from universality.pipeline.study import comparisons
from universality.report import write_report
from universality.report.data import THRESHOLDS, Pairing, Report, SharedRow

Facts = tuple[tuple[str, str], ...]


def page_of(found: Findings, compared: Compared) -> Path:
    """The headline's page is the report; every other comparison of its sort has one in a folder beside it."""
    report = found.folder.report
    return report if compared is found.headline else report.parent / compared.comparison.name / report.name


def pairings(found: Findings, here: Compared | None) -> tuple[Pairing, ...]:
    """Every two that were compared, with links from the page about ``here``; none where there are only two."""
    if here is None or len(found.rivals) < 2:
        return ()
    folder = page_of(found, here).parent
    pages = [None if c is here else Path(os.path.relpath(page_of(found, c), folder)).as_posix() for c in found.rivals]
    return tuple(
        Pairing(*c.comparison.sides, page, gather.width_row(found, c))
        for c, page in zip(found.rivals, pages, strict=True)
    )


def shared(found: Findings) -> tuple[SharedRow, ...]:
    """How many features are found in how many models; nothing before every two of three or more are matched."""
    matched = {c.comparison.models: c for c in found.rivals if c.comparison.of == "models"}
    names = tuple(found.config.models.names)
    if len(names) < 3 or len(matched) < len(names) * (len(names) - 1) // 2:
        return ()
    return tuple(_shared(names, matched, least) for least in THRESHOLDS)


def _shared(names: tuple[str, ...], matched: Mapping[tuple[str, str], Compared], least: float) -> SharedRow:
    matches = {models: _from(compared, least) for models, compared in matched.items()}
    sizes = {name: n for models, one in matches.items() for name, n in zip(models, one.shape, strict=True)}
    numbers = group(names, sizes, matches, {}).summary()
    counts = numbers["in_models"]
    return SharedRow(
        least=least,
        in_models=tuple(counts[m] for m in range(len(names), 1, -1)),
        alone=counts[1],
        agreeing=numbers["agreeing"],
        cycles_tried=numbers["cycles_tried"],
        cycles_closed=numbers["cycles_closed"],
    )


def _from(compared: Compared, least: float) -> Match:
    """The pairs with a held-out r of ``least`` or more, by that r."""
    found, held_out = compared.calibration.match, compared.calibration.held_out
    good = held_out >= least
    return replace(found, rows=found.rows[good], cols=found.cols[good], scores=held_out[good])


def write_pages(found: Findings, grown: Mapping[str, Families], facts: Facts) -> list[Path]:
    """A page with its explorer for every comparison but the headline's."""
    return [file for compared in found.rivals[1:] for file in _write_page(found, compared, grown, facts)]


def remove_old_pages(found: Findings, summary: Path) -> None:
    """Remove the pages that the report before this one wrote beside itself, and that this one does not.

    Which they are is read in its ``summary.json``; in their folders only what a page consists of is removed. Nothing
    is while a matching is missing: its page may come again.
    """
    if len(found.compared) < len(comparisons(found.config, found.folder)) or not summary.exists():
        return
    kept = {page_of(found, compared) for compared in found.rivals}
    for pairing in read_json(summary).get("pairings", ()):
        page = summary.parent / (pairing["page"] or found.folder.report.name)
        if page not in kept and page.resolve().parent.parent == summary.parent.resolve():
            for file in (page, *(page.parent / "data").glob("*.js")):
                file.unlink(missing_ok=True)
            for folder in (page.parent / "data", page.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def _write_page(found: Findings, compared: Compared, grown: Mapping[str, Families], facts: Facts) -> list[Path]:
    page, (a, b) = page_of(found, compared), compared.comparison.sides
    report = Report(
        title=f"{found.config.name}: {a} and {b}",
        headline=gather.headline(found, compared, gather.samples(found, compared)),
        facts=facts,
        widths=gather.width_rows(found, compared),
        families=tuple(
            gather.family_levels(name, some) for name, some in grown.items() if name in compared.comparison.models
        ),
        pairings=pairings(found, compared),
        warnings=(*gather.notes(compared), *gather.likeness_notes(found, compared)),
        explorer=True,
    )
    return [*write_explorer(found, compared, page.parent, grown), write_report(report, page)]
