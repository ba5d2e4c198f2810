"""Match two stores and compare the result with chance.

Partners are chosen on the documents of split "choose" and scored again on those of split "report". Each null
(`universality.statistics.null_distribution`) reruns the whole matcher on re-paired text of the choosing half, so that
it includes the choice of the best among thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray
from universality.checked_settings import Count, checked
from universality.errors import UniversalityError
from universality.matching import Match, Method, match
from universality.similarity import DEFAULT_BUDGET, TOKEN_MEASURES, Similarity
from universality.statistics.bootstrap import MIN_RESAMPLED_GROUPS, Intervals, resampled
from universality.statistics.calibration import Calibration
from universality.statistics.held_out import Halves, evaluation_halves, held_out_scores
from universality.statistics.null_distribution import ChosenMatch, Side, run_null
from universality.statistics.null_settings import NullSettings
from universality.statistics.repairing import Null

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

FEW_GROUPS = 8  # below, the quantile of the draws rests on few distinct combinations of groups
FEW_DRAWS = 20  # resamples of which one lies beyond the 95% quantile


def calibrate(
    a: FeatureStore,
    b: FeatureStore,
    measure: str = "activation",
    method: Method = "hungarian",
    null: Null | Sequence[Null] = ("global", "kind"),
    replicates: int = NullSettings.replicates,
    bootstrap: int = NullSettings.bootstrap,
    seed: int = NullSettings.seed,
    floor: float | None = None,
    alpha: float = NullSettings.alpha,
    min_firings: int = NullSettings.min_firings,
    n_strata: int = NullSettings.n_strata,
    block_length: int | None = None,
    memory_budget: int = DEFAULT_BUDGET,
) -> Calibration:
    """Match two stores and compare the result with chance.

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
        Re-pair blocks with documents of any other group ("global") or of another group of the same kind ("kind", the
        null within kinds). The first null gives the result's ``p`` and ``q``.
    replicates
        Matchings of re-paired text for each null; 0 for no p-values.
    bootstrap
        Resamples of groups of documents for the intervals; 0 for none. Activation only.
    seed
        Seed for re-pairings and resamples.
    alpha
        The calibrated score is 0 at the null's (1 - alpha) quantile; ``detectable`` aims at this q.
    min_firings
        A pair with a feature that fires less often has no p-value (counted on the blocks that the null re-pairs) or no
        held-out score (counted on the reporting half); NaN stands in its place.
    n_strata
        Number of classes of firing counts within which null scores are pooled.
    block_length
        Tokens per re-paired block; None for full blocks only (the longest that occur).
    memory_budget
        Bytes, as for `Similarity.activation`.

    Returns
    -------
    Calibration
        The match of the choosing half with the numbers of every pair; NaN, and the reason, where the data cannot tell.

    Raises
    ------
    MismatchError
        When the stores saw different tokens.
    UniversalityError
        When an option is unknown, a number is out of range, or one half has no document.

    Examples
    --------
    Two stores that share 20 of 40 concepts; every shared one is found, and little else passes:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from universality.statistics.synthetic import World, plant
    >>> world = World(n_documents=60, n_shared=20, n_alone=20, density=(0.02, 0.05), topic_share=1.0)
    >>> with TemporaryDirectory() as folder:
    ...     planted = plant(world, Path(folder))
    ...     frame = calibrate(planted.a, planted.b, replicates=5, bootstrap=0).to_frame()
    >>> true = planted.is_true(frame["row"], frame["col"])
    >>> int(true.sum()), bool((frame["q"][true] <= 0.05).all()), bool((frame["q"][~true] > 0.05).mean() > 0.9)
    (20, True, True)
    """
    nulls: tuple[Null, ...] = (null,) if isinstance(null, str) else tuple(null)  # type: ignore[assignment]
    settings = {k: v for k, v in locals().items() if k not in ("a", "b", "memory_budget", "nulls")}
    settings["null"] = list(nulls)
    _check(measure, block_length)
    NullSettings(list(nulls), replicates, bootstrap, alpha, min_firings, n_strata, seed)  # refuses values out of range
    notes: list[str] = []
    whole = Similarity.over_tokens(measure, a, b, memory_budget)
    halves = evaluation_halves(a)
    _check_halves(halves)
    choose, report = whole.restrict(halves.choose), whole.restrict(halves.report)
    matched = match(choose, method, floor)
    held_out, best_col, best_row = _held_out(report, matched, min_firings)
    intervals = _intervals(report, matched, held_out, bootstrap, seed, notes)
    counts = choose.counts
    assert counts is not None  # every measure in TOKEN_MEASURES is computed from tokens
    anchor = _anchor(matched)
    chosen = ChosenMatch(
        choose, matched, partial(match, method=method, floor=floor), anchor, halves.choose, replicates, seed, alpha,
        min_firings, n_strata, block_length,
    )  # fmt: skip
    distributions = [run_null(a if anchor == "rows" else b, name, chosen, notes) for name in nulls]
    return Calibration(
        match=matched, held_out=held_out, ci_low=intervals.low, ci_high=intervals.high, median_ci=intervals.median,
        n_groups=intervals.n_groups, count_a=counts[0][matched.rows], count_b=counts[1][matched.cols],
        best_col_held_out=best_col, best_row_held_out=best_row, anchor=anchor,
        chances=tuple(distribution.result() for distribution in distributions), settings=settings, notes=tuple(notes),
    )  # fmt: skip


def _check(measure: str, block_length: int | None) -> None:
    if measure not in TOKEN_MEASURES:
        raise UniversalityError(
            f"calibrate: measure {measure!r} is not one of {', '.join(TOKEN_MEASURES)}: the null pairs tokens anew, "
            "and a measure of weights has none"
        )
    checked("block_length", block_length, Count | None)


def _check_halves(halves: Halves) -> None:
    n_choose, n_report = halves.choose.size, halves.report.size
    if not n_choose or not n_report:
        raise UniversalityError(
            f"calibrate: expected documents in both halves of the evaluation, found {n_choose} of split 'choose', "
            f"which choose partners, and {n_report} of split 'report', which score them. Write the stores with "
            "at least two documents (`document` of FeatureStore.from_csr names each token's), or with one in each split"
        )


def _held_out(report: Similarity, matched: Match, min_firings: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Score the pairs, every row's best column and every column's best row on the reporting half."""
    best = matched.nearest
    rows, cols = np.flatnonzero(best.best_col >= 0), np.flatnonzero(best.best_row >= 0)
    # One call for all three, since each walks over the tokens.
    i = np.concatenate([matched.rows, rows, best.best_row[cols]])
    j = np.concatenate([matched.cols, best.best_col[rows], cols])
    pairs, of_rows, of_cols = np.split(
        held_out_scores(report, i, j, min_firings), [matched.rows.size, matched.rows.size + rows.size]
    )
    best_col, best_row = np.full(matched.shape[0], np.nan), np.full(matched.shape[1], np.nan)
    best_col[rows], best_row[cols] = of_rows, of_cols
    return pairs, best_col, best_row


def _intervals(
    report: Similarity, matched: Match, held_out: FloatArray, draws: int, seed: int, notes: list[str]
) -> Intervals:
    """Bootstrap the held-out scores and their median; NaN, with a note, where that is not possible."""
    low, high = np.full(held_out.size, np.nan), np.full(held_out.size, np.nan)
    scored = np.flatnonzero(~np.isnan(held_out))
    if not scored.size or draws == 0:
        return Intervals(low, high, np.full(2, np.nan), 0)
    if report.name != "activation":
        notes.append(f"no intervals: {report.name} keeps no statistics by group")
        return Intervals(low, high, np.full(2, np.nan), 0)
    if draws < FEW_DRAWS:
        notes.append(f"intervals rest on {draws} resamples: below {FEW_DRAWS} a 95% bound is their largest")
    # The median is of all counted features, as in the summary: those without a held-out score lie below every score.
    of_scored = resampled(report, matched.rows[scored], matched.cols[scored], draws, seed, n_of=matched.n_counted)
    groups = "1 group" if of_scored.n_groups == 1 else f"{of_scored.n_groups} groups"
    if of_scored.n_groups < MIN_RESAMPLED_GROUPS:
        notes.append(f"the reporting half holds {groups} of documents: no intervals, which need {MIN_RESAMPLED_GROUPS}")
    elif of_scored.n_groups < FEW_GROUPS:
        notes.append(f"the reporting half holds {groups} of documents: intervals are rough below {FEW_GROUPS}")
    low[scored], high[scored] = of_scored.low, of_scored.high
    return of_scored._replace(low=low, high=high)


def _anchor(matched: Match) -> Side:
    """Return the side whose living features an assignment pairs without exception; rows for directional methods.

    The larger side has features that an assignment leaves over, whose null scores would all be -inf.
    """
    if matched.method != "hungarian":
        return "rows"
    return "rows" if (~matched.dead_rows).sum() <= (~matched.dead_cols).sum() else "cols"
