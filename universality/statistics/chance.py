"""What one null says of a matching: the whole matcher run again where nothing but chance can pair features.

The p-value of a pair compares its score with the null scores of features like it, pooled over replicates. Alike means
about as many firings, since what chance gives depends mostly on that; within kinds it depends as much on how far a
feature is a matter of kind (any two Hebrew features agree on Hebrew text, however it is re-paired), so there features
are also classed by the share of their variance that lies between kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from universality.errors import UniversalityError
from universality.features.specificity import specificity
from universality.matching import Match
from universality.matching.median import known_median
from universality.progress import progress
from universality.similarity import Similarity
from universality.similarity.rows import FloatArray, IntArray
from universality.statistics.null import Null, Repairing, plan_repairing
from universality.statistics.strata import Strata, beyond_chance, null_quantile, pooled_p, refine

if TYPE_CHECKING:
    from universality.features.store import FeatureStore

Side = Literal["rows", "cols"]
MIN_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Chance:
    """One null beside a matching. NaN stands for what it cannot tell.

    Parameters
    ----------
    null
        "global" or "kind".
    p, q
        [n_pairs] pooled p-value of the anchoring feature's score, and its Benjamini-Hochberg q-value. That score is
        of a matching on the very blocks that the null re-pairs, still paired as they are, so that both have seen
        equally many tokens.
    tau, calibrated
        [n_pairs] the null's (1 - alpha) quantile among features like the anchoring one, and
        max(0, (score - tau) / (1 - tau)).
    detectable
        [n_pairs] what a score must exceed to get q <= alpha, given all the others; infinite where no score could,
        for want of replicates.
    scores
        [n_replicates, n_anchor] the score that each feature got in each replicate; -inf unmatched, NaN dead.
    best_of_rows, best_of_cols
        [n_replicates] median best partner's score of each replicate.
    """

    null: Null
    p: FloatArray
    q: FloatArray
    tau: FloatArray
    calibrated: FloatArray
    detectable: FloatArray
    scores: FloatArray
    best_of_rows: FloatArray
    best_of_cols: FloatArray

    def arrays(self) -> dict[str, FloatArray]:
        """Everything but the null's name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "null"}

    def summary(self, q_level: float) -> dict[str, Any]:
        """Medians and quantiles of the null's matched scores, and the share of tested pairs that beat it."""
        known = self.scores[np.isfinite(self.scores)]
        tested = self.q[~np.isnan(self.q)]
        quantiles = np.quantile(known, (0.5, 0.95, 0.99)) if known.size else np.full(3, np.nan)
        return {
            "replicates": len(self.scores),
            "null_matched_median": float(quantiles[0]),
            "null_matched_q95": float(quantiles[1]),
            "null_matched_q99": float(quantiles[2]),
            "null_best_of_rows": known_median(self.best_of_rows),
            "null_best_of_cols": known_median(self.best_of_cols),
            "n_tested": int(tested.size),
            f"share_q_{q_level:g}": float((tested <= q_level).mean()) if tested.size else float("nan"),
            "calibrated_median": known_median(self.calibrated),
        }


class Setting(NamedTuple):
    """What every null of a calibration shares."""

    choose: Similarity
    found: Match
    matcher: Callable[[Similarity], Match]
    anchor: Side
    strata: Strata
    tested: IntArray  # positions of the pairs both of whose features fire often enough
    documents: IntArray
    replicates: int
    seed: int
    alpha: float
    block_length: int | None

    @property
    def features(self) -> IntArray:
        """[n_pairs] the anchoring feature of each."""
        return self.found.rows if self.anchor == "rows" else self.found.cols


def chance(store: FeatureStore, null: Null, setting: Setting, notes: list[str]) -> Chance:
    """Run one null; what could not be concluded is added to ``notes``.

    Parameters
    ----------
    store
        The store of the anchoring side.

    Raises
    ------
    UniversalityError
        If there is no such null.
    """
    n_pairs, n_anchor = setting.found.rows.size, setting.found.shape[0 if setting.anchor == "rows" else 1]
    p, q, tau, calibrated, detectable = np.full((5, n_pairs), np.nan)
    plan = _plan(store, null, setting, notes)
    if plan is None or not setting.replicates:
        nothing = np.zeros(0)
        return Chance(null, p, q, tau, calibrated, detectable, np.zeros((0, n_anchor)), nothing, nothing)
    observed, scores, of_rows, of_cols = _run(plan, null, setting)
    code = setting.strata.code if null == "global" else refine(setting.strata, between_kinds(store))
    features, tested = setting.features, setting.tested
    p[tested] = pooled_p(observed[features[tested]], scores, code, features[tested])
    known = np.flatnonzero(~np.isnan(p))
    q[known] = false_discovery_control(p[known], method="bh") if known.size else q[known]
    tau[tested] = null_quantile(scores, code, features[tested], 1 - setting.alpha)
    rejected = p[known][q[known] <= setting.alpha]
    level = rejected.max() if rejected.size else setting.alpha / max(1, known.size)
    detectable[tested] = beyond_chance(scores, code, features[tested], level)
    calibrated[tested] = _calibrated(setting.found.scores[tested], tau[tested])
    return Chance(null, p, q, tau, calibrated, detectable, scores, of_rows, of_cols)


def between_kinds(store: FeatureStore) -> FloatArray:
    """Share of each feature's variance that lies between the kinds of text (eta squared) [n_features]; 0 if constant.

    From Σ|a| per kind, so it is exact where activations are not negative.
    """
    found, moments = specificity(store), store.moments()
    n, kind_tokens = max(1, store.n_tokens), np.maximum(found.kind_tokens, 1)
    mean = found.mass.sum(axis=1) / n
    total = moments.sum_sq - n * mean**2
    between = (found.mass**2 / kind_tokens).sum(axis=1) - n * mean**2
    return np.clip(np.divide(between, total, out=np.zeros_like(total), where=total > 0), 0, 1)


def _run(plan: Repairing, null: Null, setting: Setting) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The anchoring features' scores on the null's blocks as they are [n_anchor], and re-paired, again and again."""
    choose, matcher = setting.choose, setting.matcher
    rows = plan.draw(setting.seed)[0]
    observed = _anchor_scores(matcher(choose.repaired(rows, rows)), setting.anchor)
    runs = []
    for replicate in progress(range(setting.replicates), desc=f"{null} null", leave=False):
        found = matcher(choose.repaired(*plan.draw(setting.seed, replicate)))
        best = found.nearest
        medians = known_median(best.best_col_score), known_median(best.best_row_score)
        runs.append((_anchor_scores(found, setting.anchor), *medians))
    scores, of_rows, of_cols = (np.array(part) for part in zip(*runs, strict=True))
    return observed, scores, of_rows, of_cols


def _plan(store: FeatureStore, null: Null, setting: Setting, notes: list[str]) -> Repairing | None:
    documents = setting.documents if setting.documents.size else None
    try:
        plan = plan_repairing(store, null, documents, setting.block_length)
    except UniversalityError as error:
        if null not in ("global", "kind"):
            raise
        notes.append(f"no p-values: {error}")
        return None
    notes.extend(note for note in plan.notes if note not in notes)
    if plan.share < MIN_SHARE:
        notes.append(
            f"only {plan.share:.0%} of the tokens lie in blocks of {plan.length} that the {null} null can re-pair: it "
            "has fewer tokens than the match and is too wide; a smaller corpus.n_ctx would take in more, or a "
            "shorter block_length in Python"
        )
    return plan


def _anchor_scores(found: Match, anchor: Side) -> FloatArray:
    dead = found.dead_rows if anchor == "rows" else found.dead_cols
    scores = np.where(dead, np.nan, -np.inf)
    scores[found.rows if anchor == "rows" else found.cols] = found.scores
    return scores


def _calibrated(scores: FloatArray, tau: FloatArray) -> FloatArray:
    """max(0, (score - tau) / (1 - tau)) with tau at least 0; NaN without a null."""
    level = np.maximum(tau, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(level >= 1, 0.0, np.maximum(0, (scores - level) / (1 - level)))
