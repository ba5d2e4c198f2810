"""Null distribution of a matching: the whole matcher run again on re-paired text, where only chance can pair features.

What is compared
----------------
Every number here comes from the *null's blocks*: the tokens of the choosing half that the null can re-pair
(`universality.statistics.repairing`). The observed value T of a pair is its own score on those blocks, paired as they
are. The null scores are those that the re-run matcher gives to the anchoring features on the same blocks re-paired,
each the best of thousands as the reported partner was. They are pooled over replicates and over features of one class:
about as many firings on those blocks, since what chance gives depends mostly on that. Within kinds features are also
classed by the share of their variance that lies between kinds, since any two Hebrew features agree on Hebrew text,
however it is re-paired.

Why P(p <= alpha) <= alpha
--------------------------
Suppose that A and B share nothing but what the null keeps: a document's topics in a run of blocks, and kinds within
kinds. Then the blocks as they are and the blocks re-paired have one distribution. Let U be the score that the matcher
would give to an anchoring feature on the blocks as they are. U is then one more draw of that feature's null scores, and
of the features of a class a share of at most alpha has a p(U) <= alpha in expectation, whatever their own null
distributions are; class by class, the more alike these are, the better it also holds for each.

- Where all tokens of the choosing half are in the null's blocks, the matcher saw just these, T = U, and p is uniform.
- Where they are more, the partner was chosen on other tokens too, and p is conservative. For the nearest partner T <= U
  for every feature, since U is the best of all partners on the blocks and T is the score of one. For one-to-one pairs
  the sum of T is at most the sum of U, since an assignment made on the blocks has the largest sum there.
- A feature that found no partner has p = 1 in the Benjamini-Hochberg correction, as the null counts its unmatched
  features: without it q would be too small where only some features form pairs (mutual partners, a floor).

Scores of the *fixed* pairs on re-paired text would be no null: nobody chose them as the best of thousands on that text,
so nearly every pair would beat it. Nor may they be pooled within kinds: pairs that were chosen for sharing a kind have
a higher score on other text of that kind than random pairs.

``analyses/known_worlds.py`` measures both claims, and the power that is lost where half of the blocks can be re-paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from universality.arrays import FloatArray, IntArray
from universality.errors import UniversalityError
from universality.matching import Match
from universality.matching.medians import known_median
from universality.progress import progress
from universality.similarity import Similarity
from universality.statistics.kind_share import between_kinds
from universality.statistics.pooled_p import Strata, beyond_chance, null_quantile, pooled_p, refine, stratify
from universality.statistics.repairing import Null, Repairing, plan_repairing

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

Side = Literal["rows", "cols"]
MIN_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Chance:
    """One null beside a matching, everything on the null's blocks. NaN stands for what it cannot tell.

    Parameters
    ----------
    null
        "global" or "kind".
    observed
        [n_pairs] score of the pair on the null's blocks as they are, which `p`, `tau`, `calibrated` and `detectable`
        are about; NaN where one of the two fires too rarely there.
    p, q
        [n_pairs] pooled p-value of that score, and its Benjamini-Hochberg q-value.
    tau, calibrated
        [n_pairs] the null's (1 - alpha) quantile among features like the anchoring one, and
        max(0, (observed - tau) / (1 - tau)).
    detectable
        [n_pairs] what an observed score must exceed to get q <= alpha, given all the others; infinite where no score
        could, for want of replicates.
    count_a, count_b
        [n_pairs] firings of row and column on the null's blocks; on the choosing half where no null was run.
    stratum
        [n_pairs] class of the anchoring feature's firing count, -1 where one of the two fires too rarely.
    edges
        [n_strata + 1] counts that bound the classes.
    scores
        [n_replicates, n_anchor] the score that each feature got in each replicate; -inf unmatched, NaN dead.
    best_of_rows, best_of_cols
        [n_replicates] median best partner's score of each replicate.
    """

    null: Null
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
        """Everything but the null's name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "null"}


class Setting(NamedTuple):
    """What every null of a calibration shares."""

    choose: Similarity
    found: Match
    matcher: Callable[[Similarity], Match]
    anchor: Side
    documents: IntArray
    replicates: int
    seed: int
    alpha: float
    min_firings: int
    n_strata: int
    block_length: int | None

    @property
    def features(self) -> IntArray:
        """[n_pairs] the anchoring feature of each."""
        return self.found.rows if self.anchor == "rows" else self.found.cols

    @property
    def n_anchor(self) -> int:
        """Features of the anchoring side."""
        return self.found.shape[0 if self.anchor == "rows" else 1]

    @property
    def unpaired(self) -> IntArray:
        """Living features of the anchoring side in no pair."""
        return self.found.unmatched_rows if self.anchor == "rows" else self.found.unmatched_cols


class _Classes(NamedTuple):
    """Classes of features by what they do on some tokens."""

    strata: Strata
    code: IntArray  # [n_anchor] the class that null scores are pooled in, -1 for none
    count_a: IntArray  # [n_pairs]
    count_b: IntArray
    stratum: IntArray  # [n_pairs], -1: a feature of the pair fires too rarely


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
    plan = _plan(store, null, setting, notes)
    if plan is None or not setting.replicates:
        return _without(null, _classes(setting.choose, setting))
    rows = plan.draw(setting.seed)[0]
    as_it_is = setting.choose.repaired(rows, rows)
    classes = _classes(as_it_is, setting, between_kinds(store, rows) if null == "kind" else None)
    _note_rare(null, classes, setting, notes)
    scores, of_rows, of_cols = _run(plan, null, setting)
    observed = np.where(classes.stratum >= 0, as_it_is.pairs(setting.found.rows, setting.found.cols), np.nan)
    p = pooled_p(observed, scores, classes.code, setting.features)
    q, level = _corrected(p, int((classes.code[setting.unpaired] >= 0).sum()), setting.alpha)
    tau, detectable = (
        np.where(np.isnan(p), np.nan, of(scores, classes.code, setting.features, at))
        for of, at in ((null_quantile, 1 - setting.alpha), (beyond_chance, level))
    )
    return Chance(
        null=null, observed=observed, p=p, q=q, tau=tau, calibrated=_calibrated(observed, tau), detectable=detectable,
        count_a=classes.count_a, count_b=classes.count_b, stratum=classes.stratum, edges=classes.strata.edges,
        scores=scores, best_of_rows=of_rows, best_of_cols=of_cols,
    )  # fmt: skip


def _without(null: Null, classes: _Classes) -> Chance:
    """A null that says nothing."""
    unknown, nothing = np.full(classes.stratum.size, np.nan), np.zeros(0)
    return Chance(
        null=null, observed=unknown, p=unknown, q=unknown, tau=unknown, calibrated=unknown, detectable=unknown,
        count_a=classes.count_a, count_b=classes.count_b, stratum=classes.stratum, edges=classes.strata.edges,
        scores=np.zeros((0, classes.code.size)), best_of_rows=nothing, best_of_cols=nothing,
    )  # fmt: skip


def _classes(sim: Similarity, setting: Setting, kind_share: FloatArray | None = None) -> _Classes:
    """Classes by the firings on the tokens of ``sim`` and, where given, by the share of variance between kinds."""
    counts = sim.counts
    assert counts is not None  # every measure that is calibrated comes from tokens
    anchor = counts[0 if setting.anchor == "rows" else 1]
    strata = stratify(anchor, setting.min_firings, setting.n_strata, by_kind=kind_share is not None)
    code = strata.code if kind_share is None else refine(strata, kind_share)
    count_a, count_b = counts[0][setting.found.rows], counts[1][setting.found.cols]
    often = np.minimum(count_a, count_b) >= setting.min_firings
    return _Classes(strata, code, count_a, count_b, np.where(often, strata.code[setting.features], -1))


def _note_rare(null: Null, classes: _Classes, setting: Setting, notes: list[str]) -> None:
    rare = int((classes.stratum < 0).sum())
    if rare:
        pairs = "pair" if rare == 1 else "pairs"
        notes.append(
            f"{rare} {pairs} with a feature that fires fewer than {setting.min_firings} times on the blocks of the "
            f"{null} null: no p-value under it"
        )


def _corrected(p: FloatArray, n_unpaired: int, alpha: float) -> tuple[FloatArray, float]:
    """Benjamini-Hochberg q [n_pairs] among the known p and one p of 1 a feature without partner; the p it takes."""
    known, q = np.flatnonzero(~np.isnan(p)), np.full(p.size, np.nan)
    if not known.size:
        return q, alpha
    tested = np.concatenate([p[known], np.ones(n_unpaired)])
    q[known] = false_discovery_control(tested, method="bh")[: known.size]
    rejected = p[known][q[known] <= alpha]
    return q, float(rejected.max()) if rejected.size else alpha / tested.size


def _run(plan: Repairing, null: Null, setting: Setting) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The anchoring features' scores [n_replicates, n_anchor] on re-paired blocks, and the median best partners'."""
    runs = []
    for replicate in progress(range(setting.replicates), desc=f"{null} null", leave=False):
        found = setting.matcher(setting.choose.repaired(*plan.draw(setting.seed, replicate)))
        best = found.nearest
        medians = known_median(best.best_col_score), known_median(best.best_row_score)
        runs.append((_anchor_scores(found, setting.anchor), *medians))
    scores, of_rows, of_cols = (np.array(part) for part in zip(*runs, strict=True))
    return scores, of_rows, of_cols


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
