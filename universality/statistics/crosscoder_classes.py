"""Does a crosscoder say the same as a matching about which features two models share?

A crosscoder learns one dictionary for both models; a matching compares two dictionaries learnt apart. Each feature of
the crosscoder is put beside the SAE features of A and of B that fire most like it (*own partners*, chosen on one half
of the documents, scored on the other). Where both methods agree, the own partners of a *shared* feature are each
other's partner in the matching, and the own partner of an *exclusive* one has no good partner there.

Chance: the crosscoder's tokens re-paired with other text of A and B (`universality.statistics.repairing`), which stay
paired with each other: its features then fire as often, or on the same kind of text, and no more, but whatever they
resemble in A they are likely to resemble in B, too.
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
"""Relative norms of B up to 0.1 and from 0.9 on are exclusive, those from 0.3 to 0.7 shared. Conventions: the histogram
shows what lies between."""
CLASSES = ("exclusive A", "mostly A", "shared", "mostly B", "exclusive B")
PARTNER_R = 0.5
"""Least held-out r of a good partner."""
ROWS_AT_A_TIME = 512


def feature_classes(relative_norm: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Class of each feature, one of ``CLASSES``, by the relative decoder norm of B [n_features], 0 (A alone) to 1."""
    norm = np.asarray(relative_norm, dtype=np.float64)
    upper = np.array([np.nextafter(EXCLUSIVE, 1), SHARED, np.nextafter(1 - SHARED, 1), 1 - EXCLUSIVE])
    return np.asarray(CLASSES, dtype=np.str_)[np.searchsorted(upper, norm, side="right")]


@dataclass(frozen=True, eq=False)
class CrosscoderAgreement:
    """What `crosscoder_agreement` finds; NaN stands for what the text cannot tell."""

    features: pd.DataFrame
    """One line a living feature: ``feature relative_norm class firings a a_r b b_r partners own_r pair_r twin
    twin_r``. ``a`` and ``b`` are its own partners with held-out r, ``partners`` says whether they are each other's in
    the matching; ``own_r`` is the r, ``pair_r`` the matching's held-out r of the own partner in the model with the
    larger norm; ``twin`` is the feature exclusive to the other model that fires most like an exclusive one."""
    chance: dict[str, dict[str, float]]
    """Null → class → share of features whose own partners are each other's on re-paired text; it may be large, since a
    chance resemblance to a feature of A is one to its partner in B, too."""
    chance_r: dict[str, float]
    """Null → r below which 95% of the own partners in A lie on re-paired text, and so do hardly any good ones."""
    n_dead: int
    """Features of the crosscoder that do not vary on the choosing half."""
    of_matching: dict[str, float]
    """Of A's living SAE features: the share ``unmatched``, whose pair has a held-out r below ``PARTNER_R`` or that have
    none; the share whose ``nearest_is_partner``, beyond which ``partners`` can hardly go; and of the matched and of the
    unmatched the share ``in_crosscoder``, for which some feature of it has a held-out r of at least that."""

    def to_frame(self) -> pd.DataFrame:
        """One line a class.

        ``class n share r_a r_b both_good partners partners_good chance… pair_r unmatched twins``: features, their share
        of the living, median r with the own partner in A and in B; the share for which both are at least 0.5;
        the share whose own partners are each other's, of all and of those; the same by chance; median r of the own
        partner's pair; of own partners with r of at least 0.5 the share whose pair is below; the share with a twin.
        Medians are of all n features, those without a score below every score.
        """
        rows = []
        for name in CLASSES:
            part = self.features[self.features["class"] == name]
            good = (part["a_r"] >= PARTNER_R) & (part["b_r"] >= PARTNER_R)
            known = part[part["own_r"] >= PARTNER_R]
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
                    "unmatched": _share(~(known["pair_r"] >= PARTNER_R)),
                    "twins": _share(part["twin_r"] >= PARTNER_R) if name.startswith("exclusive") else np.nan,
                }
            )
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """The numbers over all classes.

        ``evenness_against_pair`` is Spearman's correlation, over features with ``own_r`` of at least 0.5, of how evenly
        two models share a feature (1 − |2 · relative norm − 1|) with the r of the own partner's pair.
        """
        known = self.features[(self.features["own_r"] >= PARTNER_R) & self.features["pair_r"].notna()]
        evenness = 1 - (2 * known["relative_norm"] - 1).abs()
        varies = len(known) > 2 and evenness.nunique() > 1 and known["pair_r"].nunique() > 1
        return {
            "n_living": len(self.features),
            "n_dead": self.n_dead,
            **self.of_matching,
            **{f"chance_r_{null}": r for null, r in self.chance_r.items()},
            "n_known": len(known),
            "evenness_against_pair": float(spearmanr(evenness, known["pair_r"]).statistic) if varies else float("nan"),
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
    """Compare what a crosscoder calls shared and exclusive with the partners that a matching finds.

    Parameters
    ----------
    crosscoder
        Features of the crosscoder of models A and B.
    a, b
        Features of an SAE of each, on the same tokens.
    matched
        ``calibrate(a, b)``.
    relative_norm
        [n_features] of B in the crosscoder's decoder norms, 0 to 1.
    nulls, replicates, seed
        Re-pairings of the crosscoder's text with that of A and B, as for `calibrate`.
    min_firings
        A pair with a feature that fires less often on the reporting half has no held-out r.

    Raises
    ------
    MismatchError
        When the stores saw different tokens, the matching is of other stores, or the norms of another crosscoder.
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
    own_a, own_b = (_own_partners(*two, min_firings) for two in zip(choose, report, strict=True))
    alive = (own_a[0] >= 0) & (own_b[0] >= 0)
    counts = choose[0].counts
    assert counts is not None  # activation similarity comes from tokens
    frame = _features(norm, counts[0], own_a, own_b, matched)
    classes = np.where(alive, frame["class"], "").astype(np.str_)
    frame["twin"], frame["twin_r"] = _twins(crosscoder, classes, halves, min_firings)
    chance, chance_r = {}, {}
    for null in nulls:
        repairing = plan_repairing(crosscoder, null, halves.choose)
        draws = [repairing.draw(seed, replicate) for replicate in range(replicates)]
        chance[str(null)], chance_r[str(null)] = _chance(choose, draws, matched.match, classes)
    in_crosscoder = _own_partners(choose[0].transposed(), report[0].transposed(), min_firings)[1] >= PARTNER_R
    living = frame[alive].reset_index(drop=True)
    return CrosscoderAgreement(living, chance, chance_r, int((~alive).sum()), _of_matching(matched, in_crosscoder))


def _features(
    norm: FloatArray,
    firings: IntArray,
    own_a: tuple[IntArray, FloatArray],
    own_b: tuple[IntArray, FloatArray],
    matched: Calibration,
) -> pd.DataFrame:
    """One line a feature, dead ones included."""
    partner_of_a, pair_r_of_a = _pairs(matched.match, matched.held_out, 0)
    _, pair_r_of_b = _pairs(matched.match, matched.held_out, 1)
    mostly_b = norm > 0.5
    return pd.DataFrame(
        {
            "feature": np.arange(norm.size),
            "relative_norm": norm,
            "class": feature_classes(norm),
            "firings": firings,
            "a": own_a[0],
            "a_r": own_a[1],
            "b": own_b[0],
            "b_r": own_b[1],
            "partners": _are_partners(partner_of_a, own_a[0], own_b[0]),
            "own_r": np.where(mostly_b, own_b[1], own_a[1]),
            "pair_r": np.where(mostly_b, pair_r_of_b[own_b[0]], pair_r_of_a[own_a[0]]),
        }
    )


def _chance(
    choose: Sequence[Similarity],
    draws: Sequence[tuple[IntArray, IntArray]],
    match: Match,
    classes: npt.NDArray[np.str_],
) -> tuple[dict[str, float], float]:
    """By class the share of features whose own partners on re-paired text are each other's; 95% quantile of r in A."""
    partner_of_a, _ = _pairs(match, match.scores, 0)
    hits, scores = np.zeros(classes.size), []
    for rows in draws:
        (in_a, r), (in_b, _) = (sim.repaired(*rows).topk(1) for sim in choose)
        hits += _are_partners(partner_of_a, in_a[:, 0], in_b[:, 0]) / len(draws)
        scores.append(r[classes != "", 0])
    known = np.concatenate(scores)[~np.isnan(np.concatenate(scores))] if draws else np.zeros(0)
    shares = {name: _share(hits[classes == name]) if draws else float("nan") for name in CLASSES}
    return shares, float(np.quantile(known, 0.95)) if known.size else float("nan")


def _of_matching(matched: Calibration, in_crosscoder: npt.NDArray[np.bool_]) -> dict[str, float]:
    """See `CrosscoderAgreement.of_matching`."""
    partner, r = _pairs(matched.match, matched.held_out, 0)
    alive, good = ~matched.match.dead_rows, r >= PARTNER_R
    return {
        "unmatched": _share(~good[alive]),
        "nearest_is_partner": _share((partner == matched.match.nearest.best_col)[alive]),
        "matched_in_crosscoder": _share(in_crosscoder[alive & good]),
        "unmatched_in_crosscoder": _share(in_crosscoder[alive & ~good]),
    }


def _own_partners(choose: Similarity, report: Similarity, min_firings: int) -> tuple[IntArray, FloatArray]:
    """The column most like each row on the choosing half, -1 for none, and their r on the reporting half."""
    chosen = choose.topk(1)[0][:, 0]
    rows, r = np.flatnonzero(chosen >= 0), np.full(chosen.size, np.nan)
    r[rows] = held_out_scores(report, rows, chosen[rows], min_firings)
    return chosen, r


def _pairs(match: Match, held_out: FloatArray, side: int) -> tuple[IntArray, FloatArray]:
    """Each feature's partner in the matching (-1: none) and the pair's held-out r (NaN: none)."""
    own, other = (match.rows, match.cols) if side == 0 else (match.cols, match.rows)
    partner, r = np.full(match.shape[side], -1, np.int64), np.full(match.shape[side], np.nan)
    partner[own], r[own] = other, held_out
    return partner, r


def _are_partners(partner_of_a: IntArray, a: IntArray, b: IntArray) -> npt.NDArray[np.bool_]:
    return (a >= 0) & (b >= 0) & (partner_of_a[a] == b)


def _twins(
    store: FeatureStore, classes: npt.NDArray[np.str_], halves: Halves, min_firings: int
) -> tuple[IntArray, FloatArray]:
    """For each feature exclusive to one model the one exclusive to the other that fires most alike, and held-out r."""
    sim = Similarity.activation(store, store)
    choose, twin = sim.restrict(halves.choose), np.full(classes.size, -1, np.int64)
    only_a, only_b = (np.flatnonzero(classes == name) for name in (CLASSES[0], CLASSES[-1]))
    if only_a.size and only_b.size:
        for own, others in ((only_a, only_b), (only_b, only_a)):
            for low in range(0, own.size, ROWS_AT_A_TIME):
                rows = own[low : low + ROWS_AT_A_TIME]
                twin[rows] = others[choose.block(rows)[:, others].argmax(axis=1)]
    rows, r = np.flatnonzero(twin >= 0), np.full(classes.size, np.nan)
    r[rows] = held_out_scores(sim.restrict(halves.report), rows, twin[rows], min_firings)
    return twin, r


def _share(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
