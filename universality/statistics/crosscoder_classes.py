"""Agreement of a crosscoder with a matching about the features that two models share.

A crosscoder learns one dictionary for both models; a matching compares two dictionaries that were learnt separately.
Each crosscoder feature has a *closest SAE feature* in A and one in B: the feature that fires most like it, chosen on
one half of the documents and scored on the other. Where the two methods agree, the closest SAE features of a *shared*
crosscoder feature are each other's partner in the matching, and the closest SAE feature of an *exclusive* one has no
good partner there.

Chance: the crosscoder's tokens are re-paired with other text of A and B (`universality.statistics.repairing`), while A
and B stay paired with each other. The crosscoder's features then only fire as often, or on the same kind of text. But
if such a feature resembles one in A by chance, it is likely to resemble that feature's partner in B, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError
from universality.matching import Match
from universality.matching.medians import median_of_all
from universality.similarity import Similarity
from universality.statistics.calibration import Calibration
from universality.statistics.held_out import Halves, evaluation_halves, held_out_scores
from universality.statistics.null_settings import NullSettings
from universality.statistics.repairing import Null, plan_repairing

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

EXCLUSIVE, SHARED = 0.1, 0.3
"""Features with a relative norm of B up to 0.1 or from 0.9 on are exclusive, those from 0.3 to 0.7 shared. These bounds
are conventions; the histogram shows what lies in between."""
CLASSES = ("exclusive A", "mostly A", "shared", "mostly B", "exclusive B")
PARTNER_R = 0.5
"""Minimum held-out r of a good partner."""
ROWS_AT_A_TIME = 512  # of the similarity, in memory


def feature_classes(relative_norm: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Classify features by the relative decoder norm of B [n_features], from 0 (A alone) to 1 (B alone).

    Examples
    --------
    >>> feature_classes([0.05, 0.2, 0.5, 0.95]).tolist()
    ['exclusive A', 'mostly A', 'shared', 'exclusive B']
    """
    norm = np.asarray(relative_norm, dtype=np.float64)
    # nextafter: both bounds of "shared" and those of "exclusive" belong to these classes.
    upper = np.array([np.nextafter(EXCLUSIVE, 1), SHARED, np.nextafter(1 - SHARED, 1), 1 - EXCLUSIVE])
    return np.asarray(CLASSES, dtype=np.str_)[np.searchsorted(upper, norm, side="right")]


@dataclass(frozen=True, eq=False)
class CrosscoderAgreement:
    """Results of `crosscoder_agreement`; NaN where the text cannot tell."""

    features: pd.DataFrame
    """One row per living feature: ``feature relative_norm class firings a a_r b b_r partners own_r pair_r twin
    twin_r``. ``a`` and ``b`` are the closest SAE features, with held-out r; ``partners`` tells whether they are each
    other's partner in the matching. ``own_r`` is r with the closest SAE feature in the model with the larger norm, and
    ``pair_r`` the matching's held-out r of that SAE feature. ``twin`` is, for an exclusive feature, the feature
    exclusive to the other model that fires most like it."""
    chance: dict[str, dict[str, float]]
    """Null → class → share of features whose closest SAE features are each other's partner on re-paired text. It may be
    large, because a chance resemblance to a feature of A is one to its partner in B, too."""
    chance_r: dict[str, float]
    """Null → 95th percentile of r with the closest SAE feature in A on re-paired text; good matches rarely score below
    it."""
    n_dead: int
    """Number of crosscoder features that do not vary on the choosing half."""
    of_matching: dict[str, float]
    """Shares of A's living SAE features. ``unmatched``: the pair's held-out r is below ``PARTNER_R``, or there is no
    pair. ``nearest_is_partner``: the best column is the partner, which bounds what ``partners`` can reach.
    ``matched_in_crosscoder`` and ``unmatched_in_crosscoder``: of these SAE features, the share for which some
    crosscoder feature has a held-out r of at least ``PARTNER_R``."""

    def to_frame(self) -> pd.DataFrame:
        """Tabulate the results, one row per class.

        Columns: ``class``; ``n``, number of features, and ``share`` of the living; ``r_a r_b``, median r with the
        closest SAE feature in A and in B; ``both_good``, share for which both are at least 0.5; ``partners``, share
        whose closest SAE features are each other's partner, and ``partners_good``, the same among ``both_good``;
        ``chance_…``, ``partners`` by chance; ``pair_r``, median r of the closest SAE feature's pair; ``unmatched``,
        share with ``pair_r`` below 0.5 among those with ``own_r`` of at least 0.5; ``twins``, share with a twin.
        Medians are of all n features; those without a score rank below every score.
        """
        rows = []
        for name in CLASSES:
            part = self.features[self.features["class"] == name]
            good = (part["a_r"] >= PARTNER_R) & (part["b_r"] >= PARTNER_R)
            represented = part[part["own_r"] >= PARTNER_R]
            rows.append(
                {
                    "class": name,
                    "n": len(part),
                    "share": len(part) / max(1, len(self.features)),
                    "r_a": median_of_all(part["a_r"].to_numpy(), len(part)),
                    "r_b": median_of_all(part["b_r"].to_numpy(), len(part)),
                    "both_good": _share(good),
                    "partners": _share(part["partners"]),
                    "partners_good": _share(part["partners"][good]),
                    **{f"chance_{null}": shares[name] for null, shares in self.chance.items()},
                    "pair_r": median_of_all(part["pair_r"].to_numpy(), len(part)),
                    "unmatched": _share(~(represented["pair_r"] >= PARTNER_R)),
                    "twins": _share(part["twin_r"] >= PARTNER_R) if name.startswith("exclusive") else np.nan,
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Summarise all classes together.

        ``evenness_against_pair`` is Spearman's correlation, over features with ``own_r`` of at least 0.5, of the
        evenness with which two models share a feature (1 − |2 · relative norm − 1|) with ``pair_r``.
        """
        represented = self.features[(self.features["own_r"] >= PARTNER_R) & self.features["pair_r"].notna()]
        evenness = 1 - (2 * represented["relative_norm"] - 1).abs()
        varies = len(represented) > 2 and evenness.nunique() > 1 and represented["pair_r"].nunique() > 1
        correlation = float(spearmanr(evenness, represented["pair_r"]).statistic) if varies else float("nan")
        return {
            "n_living": len(self.features),
            "n_dead": self.n_dead,
            **self.of_matching,
            **{f"chance_r_{null}": r for null, r in self.chance_r.items()},
            "n_known": len(represented),
            "evenness_against_pair": correlation,
        }


def crosscoder_agreement(
    crosscoder: FeatureStore,
    a: FeatureStore,
    b: FeatureStore,
    matched: Calibration,
    relative_norm: npt.ArrayLike,
    nulls: Sequence[Null] = ("global", "kind"),
    replicates: int = NullSettings.replicates,
    seed: int = 0,
    min_firings: int = NullSettings.min_firings,
) -> CrosscoderAgreement:
    """Compare a crosscoder's shared and exclusive features with the partners that a matching finds.

    Parameters
    ----------
    crosscoder
        Features of the crosscoder of models A and B.
    a, b
        Features of an SAE of each model, on the same tokens.
    matched
        Result of ``calibrate(a, b)``.
    relative_norm
        [n_features] B's share of each crosscoder feature's decoder norms, 0 to 1.
    nulls, replicates, seed
        Re-pairings of the crosscoder's text with that of A and B, as for `calibrate`.
    min_firings
        A pair with a feature that fires less often on the reporting half has no held-out r.

    Raises
    ------
    MismatchError
        When the stores saw different tokens, or the shape of the matching or of the norms does not fit.
    """
    norm = np.asarray(relative_norm, dtype=np.float64)
    if norm.shape != (crosscoder.n_features,) or matched.match.shape != (a.n_features, b.n_features):
        raise MismatchError(
            f"expected {crosscoder.n_features} relative norms and a matching of {a.n_features} × {b.n_features} "
            f"features, found {norm.shape} and {matched.match.shape}"
        )
    halves = evaluation_halves(a)
    sims = [Similarity.activation(crosscoder, other) for other in (a, b)]
    choose = [sim.restrict(halves.choose) for sim in sims]
    report = [sim.restrict(halves.report) for sim in sims]
    closest_a, closest_b = (_closest(*two, min_firings) for two in zip(choose, report, strict=True))
    alive = (closest_a[0] >= 0) & (closest_b[0] >= 0)
    counts = choose[0].counts
    assert counts is not None  # activation similarity comes from tokens
    frame = _features(norm, counts[0], closest_a, closest_b, matched)
    classes = np.where(alive, frame["class"], "").astype(np.str_)
    frame["twin"], frame["twin_r"] = _twins(crosscoder, classes, halves, min_firings)
    chance, chance_r = {}, {}
    for null in nulls:
        repairing = plan_repairing(crosscoder, null, halves.choose)
        draws = [repairing.draw(seed, replicate) for replicate in range(replicates)]
        chance[str(null)], chance_r[str(null)] = _chance(choose, draws, matched.match, classes)
    in_crosscoder = _closest(choose[0].transposed(), report[0].transposed(), min_firings)[1] >= PARTNER_R
    living = frame[alive].reset_index(drop=True)
    return CrosscoderAgreement(living, chance, chance_r, int((~alive).sum()), _of_matching(matched, in_crosscoder))


def _features(
    norm: FloatArray,
    firings: IntArray,
    closest_a: tuple[IntArray, FloatArray],
    closest_b: tuple[IntArray, FloatArray],
    matched: Calibration,
) -> pd.DataFrame:
    """Tabulate all features, dead ones included."""
    partner_of_a, pair_r_of_a = _pairs(matched.match, matched.held_out, 0)
    _, pair_r_of_b = _pairs(matched.match, matched.held_out, 1)
    mostly_b = norm > 0.5
    return pd.DataFrame(
        {
            "feature": np.arange(norm.size),
            "relative_norm": norm,
            "class": feature_classes(norm),
            "firings": firings,
            "a": closest_a[0],
            "a_r": closest_a[1],
            "b": closest_b[0],
            "b_r": closest_b[1],
            "partners": _are_partners(partner_of_a, closest_a[0], closest_b[0]),
            "own_r": np.where(mostly_b, closest_b[1], closest_a[1]),
            "pair_r": np.where(mostly_b, pair_r_of_b[closest_b[0]], pair_r_of_a[closest_a[0]]),
        }
    )


def _chance(
    choose: Sequence[Similarity],
    draws: Sequence[tuple[IntArray, IntArray]],
    match: Match,
    classes: npt.NDArray[np.str_],
) -> tuple[dict[str, float], float]:
    """Compute ``CrosscoderAgreement.chance`` and ``chance_r`` for one null."""
    partner_of_a, _ = _pairs(match, match.scores, 0)
    hits, scores = np.zeros(classes.size), []
    for rows in draws:
        (in_a, r), (in_b, _) = (sim.repaired(*rows).topk(1) for sim in choose)
        hits += _are_partners(partner_of_a, in_a[:, 0], in_b[:, 0]) / len(draws)
        scores.append(r[classes != "", 0])
    defined = np.concatenate(scores)[~np.isnan(np.concatenate(scores))] if draws else np.zeros(0)
    shares = {name: _share(hits[classes == name]) if draws else float("nan") for name in CLASSES}
    return shares, float(np.quantile(defined, 0.95)) if defined.size else float("nan")


def _of_matching(matched: Calibration, in_crosscoder: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Compute `CrosscoderAgreement.of_matching`."""
    partner, r = _pairs(matched.match, matched.held_out, 0)
    alive, good = ~matched.match.dead_rows, r >= PARTNER_R
    return {
        "unmatched": _share(~good[alive]),
        "nearest_is_partner": _share((partner == matched.match.nearest.best_col)[alive]),
        "matched_in_crosscoder": _share(in_crosscoder[alive & good]),
        "unmatched_in_crosscoder": _share(in_crosscoder[alive & ~good]),
    }


def _closest(choose: Similarity, report: Similarity, min_firings: int) -> tuple[IntArray, FloatArray]:
    """Find each row's closest column on the choosing half (-1: none) and their r on the reporting half."""
    closest = choose.topk(1)[0][:, 0]
    rows, r = np.flatnonzero(closest >= 0), np.full(closest.size, np.nan)
    r[rows] = held_out_scores(report, rows, closest[rows], min_firings)
    return closest, r


def _pairs(match: Match, held_out: FloatArray, side: int) -> tuple[IntArray, FloatArray]:
    """Return each feature's partner in the matching (-1: none) and the pair's held-out r (NaN: none)."""
    features, partners = (match.rows, match.cols) if side == 0 else (match.cols, match.rows)
    partner, r = np.full(match.shape[side], -1, np.int64), np.full(match.shape[side], np.nan)
    partner[features], r[features] = partners, held_out
    return partner, r


def _are_partners(partner_of_a: IntArray, a: IntArray, b: IntArray) -> npt.NDArray[np.bool_]:
    return (a >= 0) & (b >= 0) & (partner_of_a[a] == b)


def _twins(
    store: FeatureStore, classes: npt.NDArray[np.str_], halves: Halves, min_firings: int
) -> tuple[IntArray, FloatArray]:
    """Find for each exclusive feature the most similar one exclusive to the other model, and their held-out r."""
    sim = Similarity.activation(store, store)
    choose, twin = sim.restrict(halves.choose), np.full(classes.size, -1, np.int64)
    only_a, only_b = (np.flatnonzero(classes == name) for name in (CLASSES[0], CLASSES[-1]))
    if only_a.size and only_b.size:
        for exclusive, others in ((only_a, only_b), (only_b, only_a)):
            for low in range(0, exclusive.size, ROWS_AT_A_TIME):
                rows = exclusive[low : low + ROWS_AT_A_TIME]
                twin[rows] = others[choose.block(rows)[:, others].argmax(axis=1)]
    rows, r = np.flatnonzero(twin >= 0), np.full(classes.size, np.nan)
    r[rows] = held_out_scores(sim.restrict(halves.report), rows, twin[rows], min_firings)
    return twin, r


def _share(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
