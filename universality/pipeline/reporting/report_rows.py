"""Tables of a report, made from the results of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from universality.config import Config
from universality.family import Families
from universality.files import read_json
from universality.matching.medians import known_median
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.stages.run_controls import made_controls
from universality.pipeline.study import headline_comparison, units_of
from universality.report.data import (
    NAN,
    ControlRow,
    FamilyLevel,
    FamilyTable,
    Headline,
    LanguageModel,
    LanguageModels,
    LogitRow,
    Role,
    SaeQuality,
    Sample,
    WidthRow,
    sample,
)
from universality.statistics import Calibration, coincidence


def samples(results: RunResults, compared: ComparisonResult | None) -> list[Sample]:
    """Collect the best-match r of features, of the same models' neurons, of their ceilings, and of the null."""
    if compared is None:
        return []
    neurons = results.of_type("neurons", compared.comparison.models)
    parts = [compared.sample("features", "SAE features")]
    if neurons:
        parts.append(neurons.sample("neurons", units_of(results.config, *compared.comparison.models)))
    parts += [result.sample("ceiling", results.label(result)) for result in results.ceilings(compared)]
    parts += [result.sample("control", results.label(result)) for result in results.no_ceilings(compared)]
    null_scores = compared.calibration.null_scores
    if null_scores.size:
        living = null_scores[~np.isnan(null_scores)]  # NaN: dead features, which no population counts
        parts.append(sample("null", "null: re-paired text", np.where(np.isfinite(living), living, np.nan)))
    return parts


def headline(results: RunResults, compared: ComparisonResult | None, populations: Sequence[Sample]) -> Headline:
    """Make the numbers of the comparison that answers a page's question."""
    config, n_tokens = results.config, results.corpus["tokens"]["report"]
    if compared is None:
        planned = headline_comparison(config, results.folder)
        return Headline(*planned.sides, planned.width or 0, n_tokens, (), width_b=planned.width_b)
    models = compared.comparison.models
    neurons = results.of_type("neurons", models)
    model_a, model_b = compared.comparison.sides
    return Headline(
        model_a=model_a,
        model_b=model_b,
        width=compared.comparison.width or 0,
        width_b=compared.comparison.width_b,
        n_tokens=n_tokens,
        populations=tuple(part.population() for part in populations),
        summary=compared.summary,
        neurons=neurons.summary if neurons else None,
        units=units_of(config, *models),
        ceilings_of=tuple(result.comparison.models[0] for result in results.ceilings(compared)),
        no_ceilings=tuple((c.comparison.models[0], results.likeness(c).what) for c in results.no_ceilings(compared)),
        seeds_of=models[0] if compared.comparison.of == "seeds" else None,
        unlike="" if results.likeness(compared).is_ceiling else results.likeness(compared).what,
        apart=_trained_apart(config, models),
    )


def _trained_apart(config: Config, models: tuple[str, str]) -> bool:
    """Return whether two names are two models that share no training, as far as the configuration says."""
    return not config.models.one_basis and len({config.models.load.get(name, name) for name in models}) == 2


def logit_rows(results: RunResults, compared: ComparisonResult | None) -> tuple[LogitRow, ...]:
    """Make the rows of a comparison's matching by logit weights, of its neurons' and of its ceilings'."""
    if compared is None or compared.by_logit is None:
        return ()
    neurons = results.of_type("neurons", compared.comparison.models)
    parts: list[tuple[Role, str, ComparisonResult | None]] = [
        ("features", "SAE features", compared),
        ("neurons", units_of(results.config, *compared.comparison.models), neurons),
    ]
    parts += [("ceiling", results.label(result), result) for result in results.ceilings(compared)]
    parts += [("control", results.label(result), result) for result in results.no_ceilings(compared)]
    return tuple(
        _logit_row(results, role, label, part, part.by_logit)
        for role, label, part in parts
        if part is not None and part.by_logit is not None
    )


def _logit_row(
    results: RunResults, role: Role, label: str, compared: ComparisonResult, by_logit: Calibration
) -> LogitRow:
    firings = results.store(compared.comparison.b).moments().count
    # absent where an upgraded run was stopped between the two files
    of_pairs, by_chance = (
        compared.arrays.get(name, np.zeros(0)).astype(np.float64) for name in ("logit", "logit_by_chance")
    )
    drawn = by_chance[~np.isnan(by_chance)]
    return LogitRow(
        role,
        label,
        by_logit.summary(),
        coincidence(compared.calibration.match, by_logit.match, firings),
        pairs_median=known_median(of_pairs),
        random_pairs_median=known_median(drawn),
        random_pairs_95=float(np.quantile(drawn, 0.95)) if drawn.size else NAN,
    )


def language_models(results: RunResults) -> LanguageModels:
    """Make the table of language models: their losses beside those of counting models."""
    rows = [_language_model(results, name) for name in results.config.models.names]
    unigram, bigram = (
        NAN if loss is None else loss for loss in (results.corpus["unigram_loss"], results.corpus["bigram_loss"])
    )
    return LanguageModels(tuple(rows), unigram, bigram)


def _language_model(results: RunResults, name: str) -> LanguageModel:
    file = "source.json" if name in results.config.models.load else "config.json"
    path = results.folder.model(name) / file
    facts: dict[str, Any] = read_json(path) if results.has(f"the model {name}", path) else {"source": "not there"}
    seeds, loss = facts.get("seeds") or {}, facts.get("held_out_loss")
    overlap_file = results.folder.overlap(name)
    # runs of earlier versions have no such file
    overlap = read_json(overlap_file) if overlap_file.exists() else {"held_out": None, "seen": None}
    return LanguageModel(
        name,
        facts.get("source", "trained here"),
        seeds.get("init"),
        seeds.get("order"),
        NAN if loss is None else loss,
        **overlap,
    )


def width_rows(results: RunResults, headline: ComparisonResult | None) -> tuple[WidthRow, ...]:
    """Make one row a width of the comparison that answers."""
    if headline is None:
        return ()
    return tuple(width_row(results, c) for c in results.compared if c.comparison.like(headline.comparison))


def width_row(results: RunResults, compared: ComparisonResult) -> WidthRow:
    """Make the row of one comparison: both SAEs, and how their features match."""
    comparison = compared.comparison
    sides = zip(comparison.models, comparison.widths, comparison.seeds, strict=True)
    a, b = (results.quality(*side) for side in sides)
    return WidthRow(comparison.width or 0, a, b, compared.summary)


def other_saes(results: RunResults) -> tuple[SaeQuality, ...]:
    """List the SAEs that no row of ``width_rows`` shows."""
    rows = width_rows(results, results.headline)
    in_rows = {(sae.model, sae.width, sae.seed) for row in rows for sae in (row.a, row.b)}
    return tuple(results.quality(*item) for item in results.grid() if item not in in_rows)


def saved_families(results: RunResults) -> dict[str, Families]:
    """Load the families of every model that has them."""
    names = [name for name in results.config.models.names if len(results.config.saes.widths_for(name)) > 1]
    paths = {name: results.folder.families(name) for name in names}
    return {name: Families.load(path) for name, path in paths.items() if results.has(f"the families of {name}", path)}


def family_levels(name: str, families: Families) -> FamilyTable:
    """Make the table of a model's families by width."""
    return FamilyTable(name, tuple(FamilyLevel.from_summary(level) for level in families.summary()["levels"]))


def control_rows(results: RunResults) -> tuple[ControlRow, ...]:
    """Make a row of everything that was matched, and of the controls that ``universality controls`` made."""
    labels = {"models": "features of two models", "neurons": f"{units_of(results.config)}, two models"}
    study = [
        ControlRow(c.comparison.name, labels.get(c.comparison.of) or results.label(c), c.summary)
        for c in results.compared
    ]
    controls = [
        ControlRow(control.name, f"{control.bound}: {control.label}", Calibration.load(path).summary())
        for control, path in made_controls(results.config, results.folder)
    ]
    return (*study, *controls)
