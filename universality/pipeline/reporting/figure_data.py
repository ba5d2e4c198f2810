"""The tables behind a run's pictures, and the pictures drawn again from them for a paper."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from universality.config import load_config
from universality.errors import UniversalityError
from universality.family import Families
from universality.files import as_path, read_json_lines
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import run_results as gather
from universality.pipeline.reporting.run_results import Compared, Findings, findings
from universality.pipeline.stages.train_crosscoder import made_crosscoder
from universality.pipeline.study import units_of
from universality.report import figures
from universality.report.data import ConceptRow, Sample
from universality.report.figures.figure_table import Table, load_table, save_table
from universality.report.figures.redrawing import (
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


def draw_figures(run: Path, formats: Sequence[str] = figures.FORMATS, out: Path | None = None) -> list[Path]:
    """Draw every figure of a run from its saved table; tables that are not there are made first.

    Parameters
    ----------
    run
        A run's folder, finished or not.
    formats
        Some of ``pdf svg png``.
    out
        Where to; ``figures/print`` in the run by default.

    Raises
    ------
    UniversalityError
        For an unknown format, and when the run holds nothing to draw.
    """
    run = as_path(run)
    unknown = [name for name in formats if name not in figures.FORMATS]
    if unknown or not formats:
        raise UniversalityError(
            f"--format: expected some of {','.join(figures.FORMATS)}, found {','.join(unknown) or 'none'}"
        )
    tables = tables_in(run / "figures" / "tables") or _tables_of(run)
    if not tables:
        raise UniversalityError(f"{run}: nothing to draw yet; expected matches, features or a training log in it")
    target, files = as_path(out) if out else run / "figures" / "print", []
    for name, path in tables.items():
        table = load_table(path)
        for ending in formats:
            figure, _ = draw(name, table)
            files.append(figures.save_for_print(figure, target / f"{name}.{ending}"))
    return files


def _tables_of(run: Path) -> dict[str, Path]:
    config = run / "config.yaml"
    if not config.is_file():
        raise UniversalityError(f"{run}: expected a run's folder, with config.yaml in it")
    with findings(load_config(config), RunFolder(run)) as f:
        grown = gather.families(f)
        for name, table in figure_tables(f, gather.samples(f, f.headline), gather.concept_rows(f), grown):
            save_table(table, run / "figures" / "tables" / name)
    return tables_in(run / "figures" / "tables")


def figure_tables(
    found: Findings, samples: list[Sample], concepts: tuple[ConceptRow, ...], grown: Mapping[str, Families]
) -> Iterator[tuple[str, Table]]:
    """Name and table of every figure that the run has the numbers for."""
    if found.headline is not None:
        yield from _matched(found, found.headline, samples)
    yield from _densities(found)
    shared = made_crosscoder(found.config, found.folder)
    if shared is not None:
        yield "crosscoder", shared
    if concepts and found.headline is not None:
        yield "concepts", concepts_table(concepts, found.headline.comparison.sides)
    if grown:
        yield "splitting", splitting_table([gather.family_levels(name, families) for name, families in grown.items()])
    for name, families in list(grown.items())[:1]:
        yield "icicle", icicle_table(name, families.nodes_frame(), families.to_frame())
        yield from _family(found, name, families)
    yield from _training(found)


def _matched(found: Findings, head: Compared, samples: list[Sample]) -> Iterator[tuple[str, Table]]:
    frame, calibration = head.frame, head.calibration
    yield "best_match", samples_table(samples)
    matrix = {"sample": head.drawn["sample_matrix"], "best": head.drawn["best_matrix"], "n_pairs": np.int64(len(frame))}
    table = {name: np.asarray(value) for name, value in matrix.items()}
    table["sides"] = np.asarray(head.comparison.sides)
    yield "heatmap", table
    chosen, held_out = frame["score"].to_numpy(), frame["held_out"].to_numpy()
    yield "held_out", {"chosen": chosen, "held_out": held_out}
    yield "coverage", samples_table([some for some in samples if some.role != "null"])
    yield (
        "strata",
        {
            "firings": np.minimum(calibration.chances[0].count_a, calibration.chances[0].count_b),  # edges are of these
            "held_out": held_out,
            "edges": calibration.edges,
            "null_quantile": calibration.strata()["tau"].to_numpy(),
        },
    )
    yield "consistency", _consistency(found, head)
    yield "clustered", table
    if "logit" in head.drawn:
        yield "logit", {"held_out": held_out, "logit": frame["logit"].to_numpy()}


def _consistency(found: Findings, head: Compared) -> Table:
    """Pairs of the headline, of the ceilings and of the neurons: ``role label firings r``."""
    models = head.comparison.models
    neurons = found.of("neurons", models)
    parts = [("features", "SAE features", head.calibration)]
    parts += [("ceiling", found.label(one), one.calibration) for one in found.ceilings(head)]
    parts += [("control", found.label(one), one.calibration) for one in found.no_ceilings(head)]
    parts += [] if neurons is None else [("neurons", units_of(found.config, *models), neurons.calibration)]
    repeats = [len(c.held_out) for _, _, c in parts]
    return {
        "role": np.repeat([role for role, _, _ in parts], repeats),
        "label": np.repeat([label for _, label, _ in parts], repeats),
        "firings": np.concatenate([np.minimum(c.count_a, c.count_b) for _, _, c in parts]),
        "r": np.concatenate([c.held_out for _, _, c in parts]),
    }


def _densities(found: Findings) -> Iterator[tuple[str, Table]]:
    one = len(found.config.models.names) == 1  # then its SAE seeds are what is compared
    first = [item for item in found.grid() if one or item[2] == found.config.saes.seeds[0]]
    if first:
        density = [found.store(found.folder.store(*item)).moments().density for item in first]
        repeats = [len(some) for some in density]
        yield (
            "densities",
            {
                "model": np.repeat([f"{model} seed {seed}" if one else model for model, _, seed in first], repeats),
                "width": np.repeat([width for _, width, _ in first], repeats),
                "density": np.concatenate(density),
            },
        )


def _family(found: Findings, name: str, families: Families) -> Iterator[tuple[str, Table]]:
    members = family_members(families.graph)
    tokens: dict[Any, tuple[str, ...]] = {}
    for level, width in enumerate(found.config.saes.widths):
        here = sorted(node for node in members if node[0] == level)
        if here:
            side = found.described(found.folder.store(name, width, found.config.saes.seeds[0]))
            strings = side.strings([feature for _, feature in here], 4, found.decode)
            tokens |= dict(zip(here, strings, strict=True))
    if members:
        yield "family", family_table(name, families.graph, members, tokens)


def _training(found: Findings) -> Iterator[tuple[str, Table]]:
    log = found.folder.root / "saes" / "train.jsonl"
    if not found.config.saes.load and found.has("the log of the SAEs' training", log):
        yield "training", training_table(*figures.curves(read_json_lines(log)))
