"""Pages for every pair of three or more models (or SAE seeds of one model), beside the report of the first pair."""

import os
from collections.abc import Mapping
from pathlib import Path

from universality.family import Families
from universality.files import read_json
from universality.pipeline.reporting.effect_rows import effects_of
from universality.pipeline.reporting.label_rows import report_labels, report_literature
from universality.pipeline.reporting.report_rows import (
    family_levels,
    headline,
    logit_rows,
    samples,
    width_row,
    width_rows,
)
from universality.pipeline.reporting.result_notes import result_notes
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.reporting.transfer_rows import report_transfer
from universality.pipeline.study import comparisons
from universality.report import write_report
from universality.report.data import ExplorerLink, Pairing, Report

Facts = tuple[tuple[str, str], ...]


def page_of(results: RunResults, compared: ComparisonResult) -> Path:
    """Return the path of a comparison's page: the report for the headline, a folder beside it for its peers."""
    report = results.folder.report
    return report if compared is results.headline else report.parent / compared.comparison.name / report.name


def pairings(results: RunResults, current: ComparisonResult | None) -> tuple[Pairing, ...]:
    """List the headline's peers with links from the page about ``current``; none where there is one comparison."""
    peers = results.headline_peers
    if current is None or len(peers) < 2:
        return ()
    folder = page_of(results, current).parent
    pages = [None if c is current else _relative(page_of(results, c), folder) for c in peers]
    return tuple(
        Pairing(*c.comparison.sides, page, width_row(results, c), c.comparison.name)
        for c, page in zip(peers, pages, strict=True)
    )


def write_pages(results: RunResults, families: Mapping[str, Families], facts: Facts) -> list[Path]:
    """Write a page for every peer of the headline; the explorer of the headline's page shows their features."""
    return [_write_page(results, compared, families, facts) for compared in results.headline_peers[1:]]


def remove_old_pages(results: RunResults, summary: Path) -> None:
    """Remove the pages that the previous report wrote beside itself and that this report does not write.

    The previous report's ``summary.json`` names them. Only the files of a page are removed from their folders, and
    none while a matching is missing, since its page may be written again.
    """
    if len(results.compared) < len(comparisons(results.config, results.folder)) or not summary.exists():
        return
    current = {page_of(results, compared) for compared in results.headline_peers}
    for pairing in read_json(summary).get("pairings", ()):
        page = summary.parent / (pairing["page"] or results.folder.report.name)
        # a damaged or edited summary.json must not make this remove files outside the report's own subfolders
        if page not in current and page.resolve().parent.parent == summary.parent.resolve():
            page.unlink(missing_ok=True)
            _remove_data_beside(page)
            if page.parent.is_dir() and not any(page.parent.iterdir()):
                page.parent.rmdir()


def _remove_data_beside(page: Path) -> None:
    """Remove an explorer's data beside the page of a pair, which earlier versions wrote."""
    data = page.parent / "data"
    for file in data.glob("*.js"):
        file.unlink()
    if data.is_dir() and not any(data.iterdir()):
        data.rmdir()


def _write_page(
    results: RunResults, compared: ComparisonResult, families: Mapping[str, Families], facts: Facts
) -> Path:
    page, (a, b) = page_of(results, compared), compared.comparison.sides
    tables = [
        family_levels(name, of_model) for name, of_model in families.items() if name in compared.comparison.models
    ]
    report = Report(
        title=f"{results.config.name}: {a} and {b}",
        headline=headline(results, compared, samples(results, compared)),
        facts=facts,
        widths=width_rows(results, compared),
        logit=logit_rows(results, compared),
        families=tuple(tables),
        warnings=tuple(result_notes(results, compared)),
        effects=effects_of(results, compared),
        transfer=report_transfer(results, compared),
        labels=report_labels(results, compared, families),
        literature=report_literature(results, compared),
        explored_at=ExplorerLink(_relative(results.folder.report, page.parent), compared.comparison.name),
    )
    _remove_data_beside(page)
    return write_report(report, page)


def _relative(page: Path, folder: Path) -> str:
    return Path(os.path.relpath(page, folder)).as_posix()
