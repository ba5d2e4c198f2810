"""From two stores to a matching with everything that says how far to trust it.

Partners are chosen on the documents of split "choose" and scored again on those of split "report". The null repeats
the whole matching on re-paired text of the choosing half, so choosing the best of thousands is in it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray
from universality.defaults import ALPHA, MIN_FIRINGS, N_STRATA, REPLICATES, RESAMPLES
from universality.errors import UniversalityError
from universality.matching import Match, Method, match
from universality.similarity import DEFAULT_BUDGET, TOKEN_MEASURES, Similarity
from universality.statistics.bootstrap import MIN_GROUPS, Intervals, resampled
from universality.statistics.calibration import Calibration
from universality.statistics.held_out import Halves, evaluation_halves, held_out_scores
from universality.statistics.null_distribution import Setting, Side, chance
from universality.statistics.repairing import Null

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

FEW_GROUPS = 8
FEW_DRAWS = 20  # resamples from which one lies beyond the 95% quantile


def calibrate(
    a: FeatureStore,
    b: FeatureStore,
    measure: str = "activation",
    method: Method = "hungarian",
    null: Null | Sequence[Null] = ("global", "kind"),
    replicates: int = REPLICATES,
    bootstrap: int = RESAMPLES,
    seed: int = 0,
    floor: float | None = None,
    alpha: float = ALPHA,
    min_firings: int = MIN_FIRINGS,
    n_strata: int = N_STRATA,
    block_length: int | None = None,
    memory_budget: int = DEFAULT_BUDGET,
) -> Calibration:
    """Match two stores and say what of it chance would give.

    Parameters
    ----------
    a, b
        Stores of the same tokens, whose documents have the splits "choose" and "report".
    measure
        A measure over tokens: a name in `universality.similarity.TOKEN_MEASURES`. Measures of weights have no tokens to
        pair anew.
    method, floor
        As for `match`.
    null
        Re-pair blocks with documents of any other group ("global") or of one of the same kind ("kind"); the first
        gives the result's ``p`` and ``q``.
    replicates
        Matchings of re-paired text, for each null; 0 for no p-values.
    bootstrap
        Resamples of groups of documents for the intervals; 0 for none. Activation only.
    seed
        Of re-pairings and resamples.
    alpha
        The calibrated score is 0 at the null's (1 - alpha) quantile; q aimed at by ``detectable``.
    min_firings
        A pair with a feature that fires less often gets NaN: instead of a p-value, where it fires less on the blocks
        that the null re-pairs; instead of a held-out score, where on the reporting half.
    n_strata
        Classes of firing counts within which null scores are pooled.
    block_length
        Tokens of a block that is re-paired; None for full blocks only (the longest that occur).
    memory_budget
        Bytes, as for `Similarity.activation`.

    Returns
    -------
    Calibration
        The match of the choosing half, with a number for every pair and NaN, and why, where the data cannot tell.

    Raises
    ------
    MismatchError
        When the stores saw different tokens.
    UniversalityError
        When a choice is unknown or a number out of range.
    """
    nulls: tuple[Null, ...] = (null,) if isinstance(null, str) else tuple(null)  # type: ignore[assignment]
    settings = {k: v for k, v in locals().items() if k not in ("a", "b", "memory_budget", "nulls")}
    settings["null"] = list(nulls)
    _check(
        measure, nulls, alpha, replicates=replicates, bootstrap=bootstrap, min_firings=min_firings, n_strata=n_strata,
        seed=seed, **({} if block_length is None else {"block_length": block_length}),
    )  # fmt: skip
    notes: list[str] = []
    whole = Similarity.over_tokens(measure, a, b, memory_budget)
    halves = evaluation_halves(a)
    choose, report = _halves(whole, halves, notes)
    found = match(choose, method, floor)
    held_out, best_col, best_row = _report(report, found, min_firings)
    intervals = _intervals(report, found, held_out, bootstrap, seed, notes)
    counts = choose.counts
    assert counts is not None  # every measure in TOKEN_MEASURES comes from tokens
    anchor = _anchor(found)
    setting = Setting(
        choose, found, partial(match, method=method, floor=floor), anchor, halves.choose, replicates, seed, alpha,
        min_firings, n_strata, block_length,
    )  # fmt: skip
    chances = tuple(chance(a if anchor == "rows" else b, name, setting, notes) for name in nulls)
    return Calibration(
        match=found, held_out=held_out, ci_low=intervals.low, ci_high=intervals.high, median_ci=intervals.median,
        n_groups=intervals.n_groups, count_a=counts[0][found.rows], count_b=counts[1][found.cols],
        best_col_held_out=best_col, best_row_held_out=best_row, anchor=anchor,
        chances=chances, settings=settings, notes=tuple(notes),
    )  # fmt: skip


def _check(measure: str, nulls: tuple[Null, ...], alpha: float, **counts: int) -> None:
    if measure not in TOKEN_MEASURES:
        raise UniversalityError(
            f"calibrate: measure {measure!r} is not one of {', '.join(TOKEN_MEASURES)}: the null pairs tokens anew, "
            "and a measure of weights has none"
        )
    if not nulls or len(set(nulls)) < len(nulls):
        raise UniversalityError(f"calibrate: expected one null or several different ones, found {list(nulls)}")
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise UniversalityError(f"calibrate: {name} must be a whole number, found {value!r}")
        least = 0 if name in ("replicates", "bootstrap", "seed") else 1
        if value < least:
            raise UniversalityError(f"calibrate: {name} must be at least {least}, found {value}")
    if not 0 < alpha < 1:
        raise UniversalityError(f"calibrate: alpha must lie between 0 and 1, found {alpha}")


def _halves(whole: Similarity, halves: Halves, notes: list[str]) -> tuple[Similarity, Similarity | None]:
    """The measure on the choosing half (or on everything) and on the reporting half (or None)."""
    if not halves.choose.size or not halves.report.size:
        missing = "choose" if not halves.choose.size else "report"
        notes.append(
            f"no document of split {missing!r}: partners are chosen and scored on the same tokens, "
            "so held-out scores, their intervals and the optimism are unknown"
        )
        return (whole.restrict(halves.choose) if halves.choose.size else whole), None
    return whole.restrict(halves.choose), whole.restrict(halves.report)


def _report(report: Similarity | None, found: Match, min_firings: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Held-out scores of the pairs, of every row's best column and of every column's best row; one walk for all."""
    best = found.nearest
    rows, cols = np.flatnonzero(best.best_col >= 0), np.flatnonzero(best.best_row >= 0)
    i = np.concatenate([found.rows, rows, best.best_row[cols]])
    j = np.concatenate([found.cols, best.best_col[rows], cols])
    pairs, of_rows, of_cols = np.split(
        held_out_scores(report, i, j, min_firings), [found.rows.size, found.rows.size + rows.size]
    )
    best_col, best_row = np.full(found.shape[0], np.nan), np.full(found.shape[1], np.nan)
    best_col[rows], best_row[cols] = of_rows, of_cols
    return pairs, best_col, best_row


def _intervals(
    report: Similarity | None, found: Match, held_out: FloatArray, draws: int, seed: int, notes: list[str]
) -> Intervals:
    low, high = np.full(held_out.size, np.nan), np.full(held_out.size, np.nan)
    known = np.flatnonzero(~np.isnan(held_out))
    if report is None or not known.size or draws == 0:
        return Intervals(low, high, np.full(2, np.nan), 0)
    if report.name != "activation":
        notes.append(f"no intervals: {report.name} keeps no statistics by group")
        return Intervals(low, high, np.full(2, np.nan), 0)
    if draws < FEW_DRAWS:
        notes.append(f"intervals rest on {draws} resamples: below {FEW_DRAWS} a 95% bound is their largest")
    living = int((~found.dead_rows).sum())
    of_known = resampled(report, found.rows[known], found.cols[known], draws, seed, n_of=living)
    groups = "1 group" if of_known.n_groups == 1 else f"{of_known.n_groups} groups"
    if of_known.n_groups < MIN_GROUPS:
        notes.append(f"the reporting half holds {groups} of documents: no intervals, which need {MIN_GROUPS}")
    elif of_known.n_groups < FEW_GROUPS:
        notes.append(f"the reporting half holds {groups} of documents: intervals are rough below {FEW_GROUPS}")
    low[known], high[known] = of_known.low, of_known.high
    return of_known._replace(low=low, high=high)


def _anchor(found: Match) -> Side:
    """The side all of whose living features an assignment would pair; rows for directional methods."""
    if found.method != "hungarian":
        return "rows"
    return "rows" if (~found.dead_rows).sum() <= (~found.dead_cols).sum() else "cols"
