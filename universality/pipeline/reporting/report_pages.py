"""The report of a run: its figures, its page, and the numbers of both as JSON."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from universality.config import Config, load_config
from universality.errors import UniversalityError
from universality.family import Families
from universality.files import as_path, write_bytes
from universality.formatting import listed
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.effect_rows import effects_of
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.figure_data import figure_tables
from universality.pipeline.reporting.label_rows import report_labels, report_literature
from universality.pipeline.reporting.pair_pages import pairings, remove_old_pages, write_pages
from universality.pipeline.reporting.report_rows import (
    control_rows,
    family_levels,
    headline,
    language_models,
    logit_rows,
    other_saes,
    samples,
    saved_families,
    width_rows,
)
from universality.pipeline.reporting.result_notes import result_notes
from universality.pipeline.reporting.run_facts import run_facts
from universality.pipeline.reporting.run_results import RunResults, open_results
from universality.pipeline.reporting.shared_groups import shared_rows
from universality.pipeline.reporting.text_excerpts import concept_rows, pair_groups
from universality.pipeline.reporting.transfer_rows import report_transfer
from universality.pipeline.stages.training_overlap import seen_in_training
from universality.pipeline.stored_labels import stale_labels
from universality.pipeline.study import comparisons, headline_comparison
from universality.report import write_report
from universality.report.data import Caution, FileLink, LanguageModels, Picture, Report, Sample
from universality.report.figures import save_picture
from universality.report.figures.figure_registry import DRAWINGS, draw_picture
from universality.report.figures.figure_table import Table, save_table, table_ending


def make_report(config: Config, folder: RunFolder) -> list[Path]:
    """Write the figures, ``report/index.html`` and ``report/summary.json``; return their paths.

    Raises
    ------
    UniversalityError
        If the study holds one model with one SAE seed, so that there is nothing to compare.
    """
    if not comparisons(config, folder):
        raise UniversalityError(
            "a report compares two models or more, or SAE seeds of one; the configuration names one of each: add "
            "another under models or saes.seeds, or stop at the stage `families`"
        )
    summary = folder.report.with_name("summary.json")  # still that of the previous report, which names its pages
    with open_results(config, folder) as results:
        families, populations = saved_families(results), samples(results, results.headline)
        concepts = concept_rows(results)
        tables = dict(figure_tables(results, populations, concepts, families))
        report = replace(
            _report(results, populations, families),
            concepts=concepts,
            pictures=tuple(_picture(name, tables[name]) for name in DRAWINGS if name in tables),
        )
        head = results.headline
        explorer_files = write_explorer(results, folder.report.parent, families) if head else []
        other_pages = write_pages(results, families, report.facts)
        remove_old_pages(results, summary)
    drawings = folder.root / "figures"
    files = [file for picture in report.pictures for file in save_picture(picture, drawings)]
    files += [save_table(table, drawings / "tables" / name) for name, table in tables.items()]
    _remove_old_figures(drawings, files)
    files += [*explorer_files, *other_pages]
    return [*files, write_report(report, folder.report), write_summary(report, summary)]


def _picture(name: str, table: Table) -> Picture:
    """Draw a figure, with links to the files that it is written to beside the report."""
    numbers = f"../figures/tables/{name}.{table_ending(table)}"
    drawn = (FileLink(f"../figures/{name}.{ending}", ending.upper()) for ending in ("png", "svg"))
    return replace(draw_picture(name, table), files=(*drawn, FileLink(numbers, "numbers")))


def _remove_old_figures(folder: Path, current: list[Path]) -> None:
    """Remove the figures and tables that an earlier configuration made and this one does not."""
    for name in DRAWINGS:
        old = (
            *(folder / f"{name}.{ending}" for ending in ("png", "svg")),
            *(folder / "tables" / f"{name}.{ending}" for ending in ("csv", "npz")),
        )
        for path in set(old) - set(current):
            path.unlink(missing_ok=True)


def _report(results: RunResults, populations: list[Sample], families: dict[str, Families]) -> Report:
    """Fill everything but the concepts and the pictures."""
    head, models = results.headline, language_models(results)
    return Report(
        title=results.config.name,
        headline=headline(results, head, populations),
        facts=run_facts(results, models),
        commands=("universality run config.yaml --out RUN", "universality info RUN --verify"),
        models=models,
        widths=width_rows(results, head),
        saes=other_saes(results),
        logit=logit_rows(results, head),
        pairs=pair_groups(results),
        families=tuple(family_levels(*named) for named in families.items()),
        files=_files(results.config, results.folder),
        controls=control_rows(results),
        pairings=pairings(results, head),
        shared=shared_rows(results),
        effects=effects_of(results, head),
        transfer=report_transfer(results, head),
        labels=report_labels(results, head, families),
        literature=report_literature(results, head),
        explorer=head is not None,
        warnings=_warnings(results, models),
    )


def report_as_it_is(run: Path) -> Path:
    """Write the report of a run's folder, finished or not, and return its path.

    Raises
    ------
    UniversalityError
        If the folder is not that of a run.
    """
    run = as_path(run)
    config = run / "config.yaml"
    if not config.is_file():
        raise UniversalityError(f"{run}: expected a run's folder, with config.yaml in it")
    folder = RunFolder(run)
    make_report(load_config(config), folder)
    return folder.report


def _files(config: Config, folder: RunFolder) -> tuple[FileLink, ...]:
    comparison = headline_comparison(config, folder)
    name, a = f"{comparison.name}.activation", comparison.models[0]
    links = [
        FileLink(f"../matches/{name}.csv", "matched features with top tokens, scores, q and intervals"),
        FileLink(f"../matches/{name}.graphml", "the same as a graph, for igraph, networkx, Gephi"),
        FileLink(f"../matches/{name}.cyjs", "the same for Cytoscape; .gexf for Gephi, .json as node-link JSON"),
        FileLink("../figures/", "every figure as PNG and SVG, with its data in tables/"),
        FileLink("../features/", "the feature stores: which features fire on which tokens"),
        FileLink("summary.json", "the numbers of this page"),
        FileLink("../config.yaml", "the resolved configuration"),
        FileLink("../provenance.json", "hashes of inputs, seeds and versions of every stage"),
    ]
    by_effect = (
        f"../matches/{comparison.name}.effect.csv",
        "features matched by their first-order effects over all tokens, which mostly measures firing together; "
        ".graphml, .gexf, .cyjs and .json beside it",
    )
    links.insert(3, FileLink(*by_effect))
    if len(config.saes.widths_for(a)) > 1:
        links.insert(3, FileLink(f"../families/{a}.graphml", f"the families of model {a}"))
    later = ("summary.json", "../provenance.json", "../figures/")  # written after the page
    # normalised, since report/../matches does not exist before report/ does
    paths = {link: os.path.normpath(folder.report.parent / link.path) for link in links}
    return tuple(link for link in links if link.path in later or os.path.exists(paths[link]))


def _stores(results: RunResults) -> list[Path]:
    """List the stores whose labels the page shows."""
    return [results.folder.store(*item) for item in results.grid()]


def _warnings(results: RunResults, models: LanguageModels) -> tuple[Caution, ...]:
    lines = result_notes(results, results.headline) if results.headline else []
    stores = [results.store(path) for path in _stores(results)]
    if stale := stale_labels(results.folder, stores):
        lines.append(
            Caution(
                f"{listed([file.name for file in stale])} in labels/: made from features that have changed since, so "
                "that these labels are not shown.",
                "`universality label RUN --replace` makes them again.",
            )
        )
    if results.missing:
        lines.insert(
            0,
            Caution(
                f"This run is not finished. Missing: {listed(results.missing)}.",
                "To resume it, run `universality run RUN/config.yaml --out RUN` with this folder as RUN.",
            ),
        )
    for model in models.rows:
        seen = seen_in_training(model.name, model.held_out, model.seen)
        if model.seen is None and model.name in results.config.models.load:
            text = f"{seen[:1].upper()}{seen[1:]}: it may have been trained on the held-out ones."
            lines.append(
                Caution(text, "Evaluate on text that is newer than the model, or unpublished.", in_settings=False)
            )
        elif model.seen:
            text = f"{seen}: its activations there may reflect memorised text."
            lines.append(Caution(text, "Take these documents out of the corpus if they are many.", in_settings=False))
    return tuple(lines)


def write_summary(report: Report, path: Path) -> Path:
    """Write the numbers of a page as JSON; pictures and example texts are left out."""
    values = {
        name: _plain([asdict(item) for item in part] if isinstance(part, tuple) else asdict(part))
        for name in ("headline", "models", "widths", "saes", "logit", "concepts", "families", "pairings", "shared")
        if (part := getattr(report, name)) is not None
    }
    if report.headline.width_b is None:  # stated where the two sides have dictionaries of different sizes
        del values["headline"]["width_b"]
    if report.labels is not None:
        values["labels"] = _plain([asdict(table) for table in report.labels.tables])
        values["splits"] = _plain([asdict(table) for table in report.labels.splits])
    if report.literature is not None:
        values["literature"] = _plain(asdict(report.literature))
    if report.transfer is not None:
        values["transfer"] = _plain(asdict(report.transfer))
    if report.effects is not None:
        values["effects"] = _plain(report.effects.as_dict())
    return write_bytes(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def _plain(value: Any) -> Any:
    """Replace NaN and infinity by null, NumPy scalars by Python's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
