"""Numbers on effects of a run's page: agreement of partners, accuracy of the first order, loss of shared features."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from universality.effects.firing_sample import ExactEffects
from universality.files import read_json
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.stages.measure_effects import partner_seed
from universality.pipeline.study import units_of
from universality.plot.effects_by_similarity import EffectPoints
from universality.plot.loss_by_threshold import LossCurve, loss_curves
from universality.report.data import CarriedLoss, EffectRow, Effects, FirstOrderAccuracy, Role
from universality.report.data.effects import ALL_FIRINGS, threshold_of_sentence
from universality.report.figures.figure_table import Table
from universality.statistics.carried_loss import SharedLoss


def effects_of(results: RunResults, compared: ComparisonResult | None) -> Effects | None:
    """Collect everything that was measured on the effects of one comparison; None if nothing was."""
    if compared is None or not results.config.effects.measure:  # files may be left from an earlier configuration
        return None
    models = tuple(dict.fromkeys(compared.comparison.models))
    found = Effects(
        rows=tuple(_rows(results, compared)),
        accuracy=tuple(row for name in models for row in _accuracy(name, results.folder.exact_effects(name))),
        carried=tuple(carried_losses(results, compared)),
        n_tokens=compared.effects.provenance["n_tokens"] if compared.effects else 0,
        unmeasured=_unmeasured(results.folder.unmeasured_effects(compared.comparison.name)),
    )
    return found if found.rows or found.accuracy or found.carried or found.unmeasured else None


def _unmeasured(path: Path) -> tuple[str, ...]:
    """List what the stage could not measure, and why."""
    reasons = read_json(path) if path.exists() else {}
    return tuple(f"Not measured: {what}, since {reason}" for what, reason in reasons.items())


def _rows(results: RunResults, compared: ComparisonResult) -> Iterator[EffectRow]:
    models = compared.comparison.models
    neurons = results.of_type("neurons", models)
    parts: list[tuple[Role, str, ComparisonResult]] = [("features", "SAE features", compared)]
    if neurons is not None:
        parts.append(("neurons", units_of(results.config, *models), neurons))
    parts += [("ceiling", results.label(result), result) for result in results.ceilings(compared)]
    parts += [("control", results.label(result), result) for result in results.no_ceilings(compared)]
    for role, label, result in parts:
        if result.effects is not None:
            yield EffectRow.of(role, label, result.effects)


def _accuracy(model: str, path: Path) -> Iterator[FirstOrderAccuracy]:
    """Yield the accuracy over all firings, then by density and by size of the effect."""
    if not path.exists():
        return
    table = ExactEffects.load(path).summary()
    last = {by: int(part.max()) for by, part in table.groupby("by")["stratum"]}
    ends = {"density": ("the rarest features", "the densest features"), "size": ("smallest effects", "largest effects")}
    for row in table.itertuples():
        if row.by == "all":
            where = ALL_FIRINGS
        elif row.stratum in (0, last[row.by]):
            where = ends[row.by][int(row.stratum > 0)]
        else:
            continue
        yield FirstOrderAccuracy(model, where, int(row.n), float(row.spearman), float(row.slope), float(row.sign))


def carried_losses(results: RunResults, compared: ComparisonResult) -> Iterator[CarriedLoss]:
    """Yield what the shared features of each side carry, where it was measured.

    Losses are of each model's SAE of the first seed. Where two seeds of one model are compared, it is the first side.
    """
    (a, b), (first, second) = compared.comparison.models, compared.comparison.seeds
    if not results.config.effects.measure:
        return
    ceilings = {c.comparison.models[0]: c.comparison.seeds[1] for c in results.ceilings(compared)}
    sides = [(a, partner_seed(a, second))] if a == b else [(a, b), (b, a)]
    for model, partners in sides:
        path = results.folder.shared_loss(model)
        if not path.exists() or first != results.config.saes.seeds[0]:
            continue
        loss = SharedLoss.load(path)
        measured = {row.partners for row in loss.rows}
        ceiling = partner_seed(model, ceilings[model]) if model in ceilings else None
        if partners in measured:
            threshold = threshold_of_sentence(loss, partners)
            yield CarriedLoss(loss, partners, ceiling if ceiling in measured else None, threshold)


def carried_table(carried: Sequence[CarriedLoss]) -> Table:
    """Make the table of the figure: ``model role threshold recovered low high``, one row a point."""
    rows = [
        (found.loss.model, curve.role, *point)
        for found in carried
        for curve in loss_curves(found.loss, found.partners, found.ceiling)
        for point in _points(curve)
    ]
    model, role, *numbers = zip(*rows, strict=True) if rows else ((),) * 6
    return {
        "model": np.asarray(model, np.str_),
        "role": np.asarray(role, np.str_),
        **dict(zip(("threshold", "recovered", "low", "high"), map(np.asarray, numbers), strict=True)),
    }


def _points(curve: LossCurve) -> Iterator[tuple[float, ...]]:
    columns = (curve.threshold, curve.recovered, curve.low, curve.high)
    return zip(*(column.tolist() for column in columns), strict=True)


def pairs_table(compared: ComparisonResult) -> Table | None:
    """Make the table of the figure of pairs: the columns of `EffectPoints`; None where effects were not compared."""
    if compared.effects is None:
        return None
    return dict(vars(EffectPoints.of(compared.effects, compared.calibration)))


def effect_figure_tables(results: RunResults, compared: ComparisonResult) -> Iterator[tuple[str, Table]]:
    """Yield name and table of every figure of effects that the run has the numbers for."""
    carried = list(carried_losses(results, compared))
    if carried:
        yield "carried_loss", carried_table(carried)
    pairs = pairs_table(compared)
    if pairs is not None:
        yield "effects", pairs
