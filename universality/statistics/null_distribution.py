"""Null distribution of a matching: the whole matcher rerun where only chance can pair features.

Each null is a `NullModel`: re-paired text (`universality.statistics.evaluated_text`), or exchanged token types and
random directions (`universality.statistics.evaluated_vocabulary`). What follows says "blocks of text"; for logit
weights read "token types".

The two nulls over text
-----------------------
- ``"global"``: blocks of text are re-paired across the whole corpus (`universality.statistics.repairing`).
- ``"kind"``, the null within kinds: blocks are re-paired among documents of one kind of text, so that features which
  share nothing but a kind (a script, say) score as high under the null. Features are also compared only with others
  that are bound to kinds as strongly (`universality.statistics.null_classes`).

What is compared
----------------
Every number comes from the *null's blocks*: the tokens of the choosing half that the null can re-pair. The observed
value T of a pair is its own score on those blocks, paired as they are. The null scores are those that the rerun matcher
gives to the anchoring features on the same blocks re-paired; each is the best of thousands, as the reported partner
was. They are pooled over replicates and over the features of one class.

Why P(p <= alpha) <= alpha
--------------------------
Suppose that A and B share nothing but what the null preserves: a document's topics within a run of blocks and, for the
null within kinds, the kinds. Then the blocks as they are and the blocks re-paired have the same distribution. Let U be
the score that the matcher would give to an anchoring feature on the blocks as they are. U is one more draw from that
feature's null distribution. Among the features of a class, the expected share with p(U) <= alpha is at most alpha,
whatever their individual null distributions are; the more alike these are, the better this also holds feature by
feature.

- If all tokens of the choosing half are in the null's blocks, the matcher saw exactly these, T = U, and p is uniform.
- Otherwise the partner was chosen on other tokens too, and p is conservative. For nearest partners T <= U holds for
  every feature, because U is the best of all partners on the blocks and T the score of one of them. For one-to-one
  pairs the sum of T is at most the sum of U, because an assignment made on the blocks has the largest sum there.
- A feature without a partner enters the Benjamini-Hochberg correction with p = 1, just as the null counts its unmatched
  features. Otherwise q would be too small where only some features form pairs (mutual partners, a floor).

Scores of the *fixed* pairs on re-paired text would not be a null: those pairs were not chosen as the best of thousands
on that text, so nearly every pair would beat it. They cannot be pooled within kinds either: pairs that were chosen for
sharing a kind score higher on other text of that kind than random pairs do.

``analyses/known_worlds.py`` measures both claims, and the power that is lost where half of the blocks can be re-paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.execution import SERIAL, Executor, Shared, run_units
from universality.matching import Match
from universality.matching.medians import known_median
from universality.progress import progress
from universality.similarity import Similarity
from universality.statistics.null_classes import refine, stratify
from universality.statistics.null_settings import AnyNull
from universality.statistics.pooled_p import beyond_chance, corrected, null_quantile, pooled_p

Side = Literal["rows", "cols"]


@dataclass(frozen=True, eq=False)
class NullModel:
    """What one null compares: the tokens or token types that it can exchange, as they are and by chance.

    Parameters
    ----------
    null
        Name of the null.
    as_is
        Scores on what the null can exchange, nothing exchanged.
    counts
        ([n_rows], [n_cols]) firings by which null scores are pooled.
    bound_to
        [n_anchor] number of each anchoring feature on which chance depends besides its firings, such as the share of
        its variance between kinds of text; None if there is none.
    by_chance
        Draws the scores of a replicate, given its number.
    too_rare
        Where ``counts`` were counted, and what a feature that fires too rarely there lacks, in words.
    executor
        Where replicates are matched, each as a unit of its own.
    """

    null: AnyNull
    as_is: Similarity
    counts: tuple[IntArray, IntArray]
    bound_to: FloatArray | None
    by_chance: Callable[[int], Similarity]
    too_rare: str
    executor: Executor = SERIAL


class ChosenMatch(NamedTuple):
    """A match on the choosing half, how it was made, and the settings that all nulls of a calibration share."""

    match: Match
    matcher: Callable[[Similarity], Match]
    anchor: Side
    counts: tuple[IntArray, IntArray]
    """Firings of all rows and columns on the choosing half."""
    replicates: int
    alpha: float
    min_firings: int
    n_strata: int

    @property
    def features(self) -> IntArray:
        """Anchoring feature of each pair: [n_pairs]."""
        return self.match.rows if self.anchor == "rows" else self.match.cols

    @property
    def unpaired(self) -> IntArray:
        """Living features of the anchoring side without a partner."""
        return self.match.unmatched_rows if self.anchor == "rows" else self.match.unmatched_cols


class FeatureClasses(NamedTuple):
    """Classes of the anchoring features by their activity, and the firing counts of each pair."""

    edges: FloatArray  # [n_strata + 1] firing counts that bound the strata
    code: IntArray  # [n_anchor] the class that null scores are pooled in, -1 for none
    count_a: IntArray  # [n_pairs] firings of the row
    count_b: IntArray  # [n_pairs] firings of the column
    stratum: IntArray  # [n_pairs] stratum of the anchoring feature, -1 if a feature of the pair fires too rarely

    @classmethod
    def of(
        cls, counts: tuple[IntArray, IntArray], chosen: ChosenMatch, bound_to: FloatArray | None = None
    ) -> FeatureClasses:
        """Class features by their firings, and by a number of each on which chance depends too."""
        anchor = counts[0 if chosen.anchor == "rows" else 1]
        strata = stratify(anchor, chosen.min_firings, chosen.n_strata, by_kind=bound_to is not None)
        code = strata.code if bound_to is None else refine(strata, bound_to)
        count_a, count_b = counts[0][chosen.match.rows], counts[1][chosen.match.cols]
        frequent = np.minimum(count_a, count_b) >= chosen.min_firings
        return cls(strata.edges, code, count_a, count_b, np.where(frequent, strata.code[chosen.features], -1))


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """Scores of the rerun matcher, and the pairs that are tested against them.

    Built once per null by `run_null`; `p`, `q`, `tau`, `calibrated` and `detectable` follow from it, each [n_pairs]
    with NaN where the null cannot tell.

    Parameters
    ----------
    null
        Name of the null: "global" or "kind"; for logit weights "vocabulary" or "directions".
    observed
        [n_pairs] score of each pair on the null's blocks (or token types) as they are; NaN where one of the two fires
        too rarely.
    scores
        [n_replicates, n_anchor] score of each anchoring feature in each replicate; -inf unmatched, NaN dead.
    features
        [n_pairs] anchoring feature of each pair.
    classes
        Classes within which ``scores`` are pooled.
    n_unpaired
        Features of a class that have no partner.
    alpha
        Level of `tau`, and the q that `detectable` aims at.
    best_of_rows, best_of_cols
        [n_replicates] median best partner's score of each replicate.

    Examples
    --------
    Three pairs against 2 replicates of 4 features that share one class; the fourth feature has no partner:

    >>> nothing = np.zeros(0)
    >>> classes = FeatureClasses(nothing, np.zeros(4, int), *np.full((2, 3), 50), np.zeros(3, int))
    >>> scores = np.array([[0.1, 0.2, 0.1, 0.3], [0.2, 0.1, 0.4, 0.1]])
    >>> observed = np.array([0.9, 0.35, 0.1])
    >>> null = NullDistribution("global", observed, scores, np.arange(3), classes, 1, 0.5, nothing, nothing)
    >>> null.p.round(2), null.q.round(2), null.tau
    (array([0.11, 0.22, 1.  ]), array([0.44, 0.44, 1.  ]), array([0.2, 0.2, 0.2]))
    """

    null: AnyNull
    observed: FloatArray
    scores: FloatArray
    features: IntArray
    classes: FeatureClasses
    n_unpaired: int
    alpha: float
    best_of_rows: FloatArray
    best_of_cols: FloatArray

    @cached_property
    def p(self) -> FloatArray:
        """Pooled p-value of each observed score.

        It is the p of the reported pair, not of the partner that a feature would get on the null's blocks alone. The
        reported partner was chosen on more tokens, so here it is not always the best one: p stays valid and is
        conservative (see the module's docstring).
        """
        return pooled_p(self.observed, self.scores, self.classes.code, self.features)

    @cached_property
    def _corrected(self) -> tuple[FloatArray, float]:
        return corrected(self.p, self.n_unpaired, self.alpha)

    @property
    def q(self) -> FloatArray:
        """Benjamini-Hochberg q-value of each pair."""
        return self._corrected[0]

    @cached_property
    def tau(self) -> FloatArray:
        """The (1 - alpha) quantile of the null scores of features of the same class."""
        quantile = null_quantile(self.scores, self.classes.code, self.features, 1 - self.alpha)
        return np.where(np.isnan(self.p), np.nan, quantile)

    @cached_property
    def detectable(self) -> FloatArray:
        """Score that a pair must exceed to get q <= alpha, given all others; infinite for want of replicates."""
        bound = beyond_chance(self.scores, self.classes.code, self.features, self._corrected[1])
        return np.where(np.isnan(self.p), np.nan, bound)

    @property
    def calibrated(self) -> FloatArray:
        """max(0, (observed - tau) / (1 - tau)), with tau taken as at least 0."""
        level = np.maximum(self.tau, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(level >= 1, 0.0, np.maximum(0, (self.observed - level) / (1 - level)))

    def result(self) -> Chance:
        """Collect the arrays that a calibration stores."""
        return Chance(
            null=self.null, observed=self.observed, p=self.p, q=self.q, tau=self.tau, calibrated=self.calibrated,
            detectable=self.detectable, count_a=self.classes.count_a, count_b=self.classes.count_b,
            stratum=self.classes.stratum, edges=self.classes.edges, scores=self.scores,
            best_of_rows=self.best_of_rows, best_of_cols=self.best_of_cols,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chance:
    """Result of one null distribution, as a calibration stores it; NaN where the null gives no answer.

    Parameters
    ----------
    null
        Name of the null.
    observed, p, q, tau, calibrated, detectable
        [n_pairs], see `NullDistribution`.
    count_a, count_b
        [n_pairs] firings of row and column on the null's blocks; on the choosing half if no null was run.
    stratum
        [n_pairs] class of the anchoring feature's firing count, -1 where one of the two fires too rarely.
    edges
        [n_strata + 1] counts that bound the classes.
    scores
        [n_replicates, n_anchor] score of each feature in each replicate; -inf unmatched, NaN dead.
    best_of_rows, best_of_cols
        [n_replicates] median best partner's score of each replicate.
    """

    null: AnyNull
    observed: FloatArray
    p: FloatArray
    q: FloatArray
    tau: FloatArray
    calibrated: FloatArray
    detectable: FloatArray
    count_a: IntArray
    count_b: IntArray
    stratum: IntArray
    edges: FloatArray
    scores: FloatArray
    best_of_rows: FloatArray
    best_of_cols: FloatArray

    def arrays(self) -> dict[str, FloatArray | IntArray]:
        """Return everything but the null's name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "null"}


def run_null(null: AnyNull, model: NullModel | None, chosen: ChosenMatch, notes: list[str]) -> NullDistribution:
    """Rerun the matcher where only chance is left and set the observed scores beside it.

    Parameters
    ----------
    null
        Name of the null.
    model
        What the null compares; None where it can exchange nothing.
    chosen
        The match that is tested.
    notes
        Receives what could not be concluded.

    Returns
    -------
    NullDistribution
        Without replicates (all NaN) where nothing can be exchanged or no replicate was asked for.
    """
    if model is None or not chosen.replicates:
        return _empty(null, chosen)
    classes = FeatureClasses.of(model.counts, chosen, model.bound_to)
    _note_rare(model, classes, chosen, notes)
    scores, best_of_rows, best_of_cols = _rerun(model, chosen)
    observed = np.where(classes.stratum >= 0, model.as_is.pairs(chosen.match.rows, chosen.match.cols), np.nan)
    n_unpaired = int((classes.code[chosen.unpaired] >= 0).sum())
    distribution = NullDistribution(
        null, observed, scores, chosen.features, classes, n_unpaired, chosen.alpha, best_of_rows, best_of_cols
    )
    _note_few_scores(distribution, notes)
    return distribution


def _empty(null: AnyNull, chosen: ChosenMatch) -> NullDistribution:
    """Return a null without replicates, whose classes are of the whole choosing half."""
    classes, nothing = FeatureClasses.of(chosen.counts, chosen), np.zeros(0)
    unknown, no_scores = np.full(classes.stratum.size, np.nan), np.zeros((0, classes.code.size))
    return NullDistribution(null, unknown, no_scores, chosen.features, classes, 0, chosen.alpha, nothing, nothing)


def _note_rare(model: NullModel, classes: FeatureClasses, chosen: ChosenMatch, notes: list[str]) -> None:
    rare = int((classes.stratum < 0).sum())
    if rare:
        pairs = "pair" if rare == 1 else "pairs"
        note = f"{rare} {pairs} with a feature that fires fewer than {chosen.min_firings} times {model.too_rare}"
        notes.extend([note] if note not in notes else [])


def _note_few_scores(distribution: NullDistribution, notes: list[str]) -> None:
    """Say so where no score at all could be significant: a share of 0 would then say nothing of the features."""
    best = np.where(np.isnan(distribution.observed), np.nan, np.inf)
    least = pooled_p(best, distribution.scores, distribution.classes.code, distribution.features)
    if not np.isnan(least).all() and np.nanmin(least) > distribution.alpha:
        notes.append(
            f"no pair can reach q <= {distribution.alpha:g} under the {distribution.null} null: with its few scores p "
            f"is at least {np.nanmin(least):.2g}; ask for more replicates"
        )


def _rerun(model: NullModel, chosen: ChosenMatch) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Match every replicate: the anchoring features' scores [n_replicates, n_anchor] and median best partners'."""
    given = Shared((model.by_chance, chosen.matcher, chosen.anchor))
    numbers = [(replicate,) for replicate in range(chosen.replicates)]
    matched = run_units(model.executor, _match_replicate, numbers, given)
    replicates = list(progress(matched, desc=f"{model.null} null", total=chosen.replicates, leave=False))
    scores, best_of_rows, best_of_cols = (np.array(part) for part in zip(*replicates, strict=True))
    return scores, best_of_rows, best_of_cols


def _match_replicate(
    given: tuple[Callable[[int], Similarity], Callable[[Similarity], Match], Side], replicate: int
) -> tuple[FloatArray, float, float]:
    """Match one replicate: the anchoring features' scores, and the medians of the best partners'."""
    by_chance, matcher, anchor = given
    match = matcher(by_chance(replicate))
    best = match.nearest
    return _anchor_scores(match, anchor), known_median(best.best_col_score), known_median(best.best_row_score)


def _anchor_scores(match: Match, anchor: Side) -> FloatArray:
    """Score of every feature of the anchoring side: [n_anchor], -inf unmatched, NaN dead."""
    dead = match.dead_rows if anchor == "rows" else match.dead_cols
    scores = np.where(dead, np.nan, -np.inf)
    scores[match.rows if anchor == "rows" else match.cols] = match.scores
    return scores
