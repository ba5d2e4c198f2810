"""Pages for every pair of three or more models (or SAE seeds of one model), and the features that all share."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from universality.family import Families
from universality.files import read_json
from universality.matching import Match
from universality.matching.multimodel import group
from universality.pipeline.reporting.effect_rows import effects_of
from universality.pipeline.reporting.explorer_data import write_explorer
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
from universality.report.data import THRESHOLDS, Pairing, Report, SharedRow

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
    pages = [None if c is current else Path(os.path.relpath(page_of(results, c), folder)).as_posix() for c in peers]
    return tuple(
        Pairing(*c.comparison.sides, page, width_row(results, c)) for c, page in zip(peers, pages, strict=True)
    )


def shared_rows(results: RunResults) -> tuple[SharedRow, ...]:
    """Count the features found in several models; none before every pair of three or more models is matched."""
    matched = {c.comparison.models: c for c in results.headline_peers if c.comparison.of == "models"}
    names = tuple(results.config.models.names)
    if len(names) < 3 or len(matched) < len(names) * (len(names) - 1) // 2:
        return ()
    return tuple(_shared_row(names, matched, least) for least in THRESHOLDS)


def _shared_row(names: tuple[str, ...], matched: Mapping[tuple[str, str], ComparisonResult], least: float) -> SharedRow:
    matches = {models: _good_pairs(compared, least) for models, compared in matched.items()}
    sizes = {name: n for models, match in matches.items() for name, n in zip(models, match.shape, strict=True)}
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


def _good_pairs(compared: ComparisonResult, least: float) -> Match:
    """Return a match of the pairs with a held-out r of at least ``least``, scored by that r."""
    match, held_out = compared.calibration.match, compared.calibration.held_out
    good = held_out >= least
    return replace(match, rows=match.rows[good], cols=match.cols[good], scores=held_out[good])


def write_pages(results: RunResults, families: Mapping[str, Families], facts: Facts) -> list[Path]:
    """Write a page with its explorer for every peer of the headline."""
    return [file for compared in results.headline_peers[1:] for file in _write_page(results, compared, families, facts)]


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
            for file in (page, *(page.parent / "data").glob("*.js")):
                file.unlink(missing_ok=True)
            for folder in (page.parent / "data", page.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def _write_page(
    results: RunResults, compared: ComparisonResult, families: Mapping[str, Families], facts: Facts
) -> list[Path]:
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
        pairings=pairings(results, compared),
        warnings=tuple(result_notes(results, compared)),
        effects=effects_of(results, compared),
        transfer=report_transfer(results, compared),
        labels=report_labels(results, compared, families),
        literature=report_literature(results, compared),
        explorer=True,
    )
    return [*write_explorer(results, compared, page.parent, families), write_report(report, page)]
