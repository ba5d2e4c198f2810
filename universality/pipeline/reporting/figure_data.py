"""Tables behind the figures of a run, and the figures drawn again from them for print."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from universality.config import load_config
from universality.errors import UniversalityError
from universality.family import Families
from universality.files import as_path, read_json_lines
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.effect_rows import effect_figure_tables
from universality.pipeline.reporting.report_rows import family_levels, samples, saved_families
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults, open_results
from universality.pipeline.reporting.text_excerpts import concept_rows
from universality.pipeline.reporting.transfer_rows import transfer_of, transfer_table
from universality.pipeline.stages.train_crosscoder import made_crosscoder
from universality.pipeline.study import units_of
from universality.plot.training_log import curves_of
from universality.report import figures
from universality.report.data import ConceptRow, Sample
from universality.report.figures.figure_registry import (
    concepts_table,
    draw,
    family_members,
    family_table,
    icicle_table,
    samples_table,
    splitting_table,
    tables_in,
    training_table,
)
from universality.report.figures.figure_table import Table, load_table, save_table


def draw_figures(run: Path, formats: Sequence[str] = figures.FORMATS, out: Path | None = None) -> list[Path]:
    """Draw every figure of a run for print, from its saved tables where there are any.

    A run without saved tables gets them first.

    Parameters
    ----------
    run
        Folder of a run, finished or not.
    formats
        Any of ``pdf svg png``.
    out
        Folder to write to; ``figures/print`` in the run by default.

    Raises
    ------
    UniversalityError
        If a format is unknown, or the run holds nothing to draw.
    """
    run = as_path(run)
    unknown = [name for name in formats if name not in figures.FORMATS]
    if unknown or not formats:
        raise UniversalityError(
            f"--format: expected some of {','.join(figures.FORMATS)}, found {','.join(unknown) or 'none'}"
        )
    saved = tables_in(run / "figures" / "tables")
    tables = {name: load_table(path) for name, path in saved.items()} if saved else _save_tables(run)
    if not tables:
        raise UniversalityError(f"{run}: nothing to draw yet; expected matches, features or a training log in it")
    target, files = as_path(out) if out else run / "figures" / "print", []
    for name, table in tables.items():
        for ending in formats:
            figure, _ = draw(name, table)  # anew for each format: saving for print changes the figure's size
            files.append(figures.save_for_print(figure, target / f"{name}.{ending}"))
    return files


def _save_tables(run: Path) -> dict[str, Table]:
    """Make the tables of all figures of a run, and save them."""
    config = run / "config.yaml"
    if not config.is_file():
        raise UniversalityError(f"{run}: expected a run's folder, with config.yaml in it")
    with open_results(load_config(config), RunFolder(run)) as results:
        populations, concepts = samples(results, results.headline), concept_rows(results)
        tables = dict(figure_tables(results, populations, concepts, saved_families(results)))
    for name, table in tables.items():
        save_table(table, run / "figures" / "tables" / name)
    return tables


def figure_tables(
    results: RunResults,
    populations: list[Sample],
    concepts: tuple[ConceptRow, ...],
    families: Mapping[str, Families],
) -> Iterator[tuple[str, Table]]:
    """Yield name and table of every figure that the run has the numbers for."""
    if results.headline is not None:
        yield from _matched(results, results.headline, populations)
        yield from effect_figure_tables(results, results.headline)
    transfer = transfer_of(results, results.headline)
    if transfer is not None and transfer.names:
        yield "label_transfer", transfer_table(transfer)
    yield from _densities(results)
    crosscoder = made_crosscoder(results.config, results.folder)
    if crosscoder is not None:
        yield "crosscoder", crosscoder
    if concepts and results.headline is not None:
        yield "concepts", concepts_table(concepts, results.headline.comparison.sides)
    if families:
        yield "splitting", splitting_table([family_levels(*named) for named in families.items()])
    for name, first in list(families.items())[:1]:
        yield "icicle", icicle_table(name, first.nodes_frame(), first.to_frame())
        yield from _family(results, name, first)
    yield from _training(results)


def _matched(results: RunResults, compared: ComparisonResult, populations: list[Sample]) -> Iterator[tuple[str, Table]]:
    frame, calibration, arrays = compared.frame, compared.calibration, compared.arrays
    yield "best_match", samples_table(populations)
    table: Table = {
        "sample": arrays["sample_matrix"],
        "best": arrays["best_matrix"],
        "n_pairs": np.asarray(len(frame), np.int64),
        "sides": np.asarray(compared.comparison.sides),
    }
    yield "heatmap", table
    chosen, held_out = frame["score"].to_numpy(), frame["held_out"].to_numpy()
    yield "held_out", {"chosen": chosen, "held_out": held_out}
    yield "coverage", samples_table([sample for sample in populations if sample.role != "null"])
    yield (
        "strata",
        {
            # firings on the null's blocks, which the edges bound; not those on all of the choosing half
            "firings": np.minimum(calibration.chances[0].count_a, calibration.chances[0].count_b),
            "held_out": held_out,
            "edges": calibration.edges,
            "null_quantile": calibration.strata()["tau"].to_numpy(),
        },
    )
    yield "consistency", _consistency(results, compared)
    yield "clustered", table
    if "logit" in arrays:
        # runs of earlier versions lack the last
        by_chance = {"by_chance": arrays["logit_by_chance"]} if "logit_by_chance" in arrays else {}
        yield "logit", {"held_out": held_out, "logit": frame["logit"].to_numpy(), **by_chance}


def _consistency(results: RunResults, compared: ComparisonResult) -> Table:
    """Make the table of pairs of the headline, of the ceilings and of the neurons: ``role label firings r``."""
    models = compared.comparison.models
    neurons = results.of_type("neurons", models)
    parts = [("features", "SAE features", compared.calibration)]
    parts += [("ceiling", results.label(result), result.calibration) for result in results.ceilings(compared)]
    parts += [("control", results.label(result), result.calibration) for result in results.no_ceilings(compared)]
    parts += [] if neurons is None else [("neurons", units_of(results.config, *models), neurons.calibration)]
    repeats = [len(c.held_out) for _, _, c in parts]
    return {
        "role": np.repeat([role for role, _, _ in parts], repeats),
        "label": np.repeat([label for _, label, _ in parts], repeats),
        "firings": np.concatenate([np.minimum(c.count_a, c.count_b) for _, _, c in parts]),
        "r": np.concatenate([c.held_out for _, _, c in parts]),
    }


def _densities(results: RunResults) -> Iterator[tuple[str, Table]]:
    one_model = len(results.config.models.names) == 1  # its SAE seeds are compared then
    grid = [item for item in results.grid() if one_model or item[2] == results.config.saes.seeds[0]]
    if grid:
        density = [results.store(results.folder.store(*item)).moments().density for item in grid]
        repeats = [len(values) for values in density]
        yield (
            "densities",
            {
                "model": np.repeat(
                    [f"{model} seed {seed}" if one_model else model for model, _, seed in grid], repeats
                ),
                "width": np.repeat([width for _, width, _ in grid], repeats),
                "density": np.concatenate(density),
            },
        )


def _family(results: RunResults, name: str, families: Families) -> Iterator[tuple[str, Table]]:
    members = family_members(families.graph)
    tokens: dict[Any, tuple[str, ...]] = {}
    for level, width in enumerate(results.config.saes.widths_for(name)):
        of_level = sorted(node for node in members if node[0] == level)
        if of_level:
            described = results.described(results.folder.store(name, width, results.config.saes.seeds[0]))
            strings = described.strings([feature for _, feature in of_level], 4, results.decode)
            tokens |= dict(zip(of_level, strings, strict=True))
    if members:
        yield "family", family_table(name, families.graph, members, tokens)


def _training(results: RunResults) -> Iterator[tuple[str, Table]]:
    log = results.folder.root / "saes" / "train.jsonl"
    if not results.config.saes.load and results.has("the log of the SAEs' training", log):
        yield "training", training_table(*curves_of(read_json_lines(log)))
