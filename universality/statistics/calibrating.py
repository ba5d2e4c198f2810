"""Match two stores and compare the result with chance.

Partners are chosen on one half of what is compared and scored again on the other: halves of the documents for measures
over tokens, halves of the token types for logit weights. Each null (`universality.statistics.null_distribution`) reruns
the whole matcher where only chance is left, so that it includes the choice of the best among thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np

from universality.arrays import FloatArray
from universality.checked_settings import Count, checked
from universality.devices import CPU
from universality.errors import UniversalityError
from universality.execution import Executor, check_executor
from universality.matching import Match, Method, match
from universality.similarity import DEFAULT_BUDGET, TOKEN_MEASURES, Similarity
from universality.statistics.bootstrap import MIN_RESAMPLED_GROUPS, Intervals, resampled
from universality.statistics.calibration import Calibration
from universality.statistics.evaluated_text import EvaluatedText
from universality.statistics.evaluated_vocabulary import EvaluatedVocabulary
from universality.statistics.evaluation import Evaluation
from universality.statistics.held_out import Halves, held_out_scores
from universality.statistics.null_distribution import ChosenMatch, Side, run_null
from universality.statistics.null_settings import AnyNull, NullSettings, WeightNull

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.vocabulary import Vocabulary

LOGIT = "logit"
"""The measure of weights that is calibrated; all others are over tokens."""
FEW_GROUPS = 8  # below, the quantile of the draws rests on few distinct combinations of groups
FEW_DRAWS = 20  # resamples of which one lies beyond the 95% quantile


def calibrate(
    a: FeatureStore,
    b: FeatureStore,
    measure: str = "activation",
    method: Method = "hungarian",
    null: AnyNull | Sequence[AnyNull] | None = None,
    replicates: int = NullSettings.replicates,
    bootstrap: int = NullSettings.bootstrap,
    seed: int = NullSettings.seed,
    floor: float | None = None,
    alpha: float = NullSettings.alpha,
    min_firings: int = NullSettings.min_firings,
    n_strata: int = NullSettings.n_strata,
    block_length: int | None = None,
    memory_budget: int = DEFAULT_BUDGET,
    vocabulary: Vocabulary | None = None,
    halves: Halves | None = None,
    executor: Executor | None = None,
    device: str = CPU,
) -> Calibration:
    """Match two stores and compare the result with chance.

    Parameters
    ----------
    a, b
        Stores of the same tokens, whose documents have the splits "choose" and "report"; for logit weights two stores
        with residual directions and unembeddings, of whatever text.
    measure
        A measure over tokens: a name in `universality.similarity.TOKEN_MEASURES`. Or "logit": logit weights over token
        types, of which one half chooses partners and the other reports.
    method, floor
        As for `match`.
    null
        Re-pair blocks with documents of any other group ("global") or of another group of the same kind ("kind", the
        null within kinds). For logit weights, exchange token types of one script and nearly equal frequency
        ("vocabulary"), or replace one side's directions by random ones of the same mean and covariance
        ("directions"). The first null gives the result's ``p`` and ``q``. None: both.
    replicates
        Matchings by chance for each null; 0 for no p-values.
    bootstrap
        Resamples of groups of documents, or of token types, for the intervals; 0 for none. Activation, effect and logit
        only.
    seed
        Seed for halves of the vocabulary, nulls and resamples.
    alpha
        The calibrated score is 0 at the null's (1 - alpha) quantile; ``detectable`` aims at this q.
    min_firings
        A pair with a feature that fires less often has no p-value (counted on the blocks that the null re-pairs) or no
        held-out score (counted on the reporting half); NaN stands in its place. By logit weights every living pair has
        a held-out score, and firings are counted on all tokens of the store.
    n_strata
        Number of classes of firing counts within which null scores are pooled.
    block_length
        Tokens per re-paired block; None for full blocks only (the longest that occur).
    memory_budget
        Bytes, as for `Similarity.activation`.
    vocabulary
        For logit weights of models with one tokenizer: text and frequency of each token type, in place of what the
        stores hold. Without any, frequency is counted in the stores' own tokens and scripts are not told apart.
    halves
        For measures over tokens: documents that choose partners and those that report, such as
        `universality.statistics.equal_halves` of stores that hold the reporting half alone. None: by split.
    executor
        Where scores, replicates of the nulls and intervals are computed, as for `Similarity.activation`; None for this
        process. A replicate is one unit, or for large dictionaries as many as their match.
    device
        Where the best partners of the match and of every null are found, as for `Similarity.on`: "cuda" for a card.
        Held-out scores and intervals are computed on the CPU.

    Returns
    -------
    Calibration
        The match of the choosing half with the numbers of every pair; NaN, and the reason, where the data cannot tell.

    Raises
    ------
    MismatchError
        When the stores saw different tokens.
    UniversalityError
        When an option is unknown, a number is out of range, one half has no document, or both an executor and a card
        are given.

    Warns
    -----
    DeviceWarning
        When the CPU computes in place of the card; see `Similarity.on`.

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
    where = ("memory_budget", "executor", "device")  # decide where numbers are computed, and not what they are
    settings = {k: v for k, v in locals().items() if k not in ("a", "b", "vocabulary", "halves", "where", *where)}
    nulls = _nulls(measure, null)
    settings["null"] = list(nulls)
    _check(measure, block_length, vocabulary, halves)
    # refuses values out of range; the nulls of logit weights are no setting of a run
    of_text = list(nulls) if measure != LOGIT else ["global"]
    NullSettings(of_text, replicates, bootstrap, alpha, min_firings, n_strata, seed)  # type: ignore[arg-type]
    notes: list[str] = []
    given = memory_budget, check_executor(executor), device
    evaluation: Evaluation = (
        EvaluatedVocabulary.of(a, b, seed, vocabulary, *given)
        if measure == LOGIT
        else EvaluatedText.of(measure, a, b, seed, block_length, *given, halves)
    )
    matched = match(evaluation.choose, method, floor)
    held_out, best_col, best_row = _held_out(evaluation.report, matched, min_firings)
    intervals = _intervals(evaluation, matched, held_out, bootstrap, seed, notes)
    counts, anchor = evaluation.counts, _anchor(matched)
    chosen = ChosenMatch(
        matched, partial(match, method=method, floor=floor), anchor, counts, replicates, alpha, min_firings, n_strata
    )
    distributions = [run_null(name, evaluation.null_model(name, anchor, notes), chosen, notes) for name in nulls]
    return Calibration(
        match=matched, held_out=held_out, ci_low=intervals.low, ci_high=intervals.high, median_ci=intervals.median,
        n_groups=intervals.n_groups, count_a=counts[0][matched.rows], count_b=counts[1][matched.cols],
        best_col_held_out=best_col, best_row_held_out=best_row, anchor=anchor,
        chances=tuple(distribution.result() for distribution in distributions), settings=settings, notes=tuple(notes),
    )  # fmt: skip


def _nulls(measure: str, null: AnyNull | Sequence[AnyNull] | None) -> tuple[AnyNull, ...]:
    if null is None:
        return get_args(WeightNull) if measure == LOGIT else ("global", "kind")
    nulls: tuple[AnyNull, ...] = (null,) if isinstance(null, str) else tuple(null)  # type: ignore[assignment]
    wrong = [name for name in nulls if name not in get_args(WeightNull)] if measure == LOGIT else []
    if measure == LOGIT and (wrong or not nulls or len(set(nulls)) < len(nulls)):
        raise UniversalityError(
            f"calibrate: nulls of logit weights must be vocabulary or directions, each once, found "
            f"{', '.join(nulls) or 'none'}"
        )
    return nulls


def _check(measure: str, block_length: int | None, vocabulary: Vocabulary | None, halves: Halves | None) -> None:
    if measure not in (*TOKEN_MEASURES, LOGIT):
        raise UniversalityError(
            f"calibrate: measure {measure!r} is not one of {', '.join(TOKEN_MEASURES)}, {LOGIT}; the other measures of "
            "weights have no null"
        )
    if measure == LOGIT and block_length is not None:
        raise UniversalityError("calibrate: block_length is of nulls that re-pair text; logit weights have no blocks")
    if measure == LOGIT and halves is not None:
        raise UniversalityError(
            "calibrate: halves are of documents; logit weights are compared over halves of the types"
        )
    if measure != LOGIT and vocabulary is not None:
        raise UniversalityError(f"calibrate: vocabulary is for logit weights, and {measure} compares tokens of text")
    checked("block_length", block_length, Count | None)


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
    evaluation: Evaluation, matched: Match, held_out: FloatArray, draws: int, seed: int, notes: list[str]
) -> Intervals:
    """Bootstrap the held-out scores and their median; NaN, with a note, where that is not possible."""
    low, high = np.full(held_out.size, np.nan), np.full(held_out.size, np.nan)
    scored = np.flatnonzero(~np.isnan(held_out))
    if not scored.size or draws == 0:
        return Intervals(low, high, np.full(2, np.nan), 0)
    moments, budget = evaluation.moments, evaluation.report.memory_budget
    if moments is None:
        notes.append(f"no intervals: {evaluation.report.name} keeps no statistics by group")
        return Intervals(low, high, np.full(2, np.nan), 0)
    if draws < FEW_DRAWS:
        notes.append(f"intervals rest on {draws} resamples: below {FEW_DRAWS} a 95% bound is their largest")
    # The median is of all counted features, as in the summary: those without a held-out score lie below every score.
    of_scored = resampled(
        moments, matched.rows[scored], matched.cols[scored], draws, seed, memory_budget=budget, n_of=matched.n_counted,
        executor=evaluation.executor,
    )  # fmt: skip
    groups = f"{of_scored.n_groups} group{'' if of_scored.n_groups == 1 else 's'} of {evaluation.grouped}"
    if of_scored.n_groups < MIN_RESAMPLED_GROUPS:
        notes.append(f"the reporting half holds {groups}: no intervals, which need {MIN_RESAMPLED_GROUPS}")
    elif of_scored.n_groups < FEW_GROUPS:
        notes.append(f"the reporting half holds {groups}: intervals are rough below {FEW_GROUPS}")
    low[scored], high[scored] = of_scored.low, of_scored.high
    return of_scored._replace(low=low, high=high)


def _anchor(matched: Match) -> Side:
    """Return the side whose living features an assignment pairs without exception; rows for directional methods.

    The larger side has features that an assignment leaves over, whose null scores would all be -inf.
    """
    if matched.method != "hungarian":
        return "rows"
    return "rows" if (~matched.dead_rows).sum() <= (~matched.dead_cols).sum() else "cols"
