"""Features that several models of a run share, grouped by the matchings of every pair of models."""

from dataclasses import replace

from universality.matching import Match
from universality.matching.multimodel import Groups, group
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.report.data import THRESHOLDS, SharedRow


def shared_rows(results: RunResults) -> tuple[SharedRow, ...]:
    """Count the features found in several models; none before every pair of three or more models is matched."""
    every = [(least, shared_groups(results, least)) for least in THRESHOLDS]
    return tuple(_shared_row(least, groups) for least, groups in every if groups is not None)


def shared_groups(results: RunResults, least: float) -> Groups | None:
    """Group the partners with a held-out r of at least ``least``, scored by that r.

    None before every pair of three or more models is matched.
    """
    matched = {c.comparison.models: c for c in results.headline_peers if c.comparison.of == "models"}
    names = tuple(results.config.models.names)
    if len(names) < 3 or len(matched) < len(names) * (len(names) - 1) // 2:
        return None
    matches = {models: _good_pairs(compared, least) for models, compared in matched.items()}
    sizes = {name: n for models, match in matches.items() for name, n in zip(models, match.shape, strict=True)}
    return group(names, sizes, matches, {})


def _shared_row(least: float, groups: Groups) -> SharedRow:
    numbers = groups.summary()
    counts = numbers["in_models"]
    return SharedRow(
        least=least,
        in_models=tuple(counts[m] for m in range(len(groups.names), 1, -1)),
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
