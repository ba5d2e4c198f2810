"""Pairs of features on which explanations are tried: partners, and what they are compared with.

- *partner*: the feature of B that the matching pairs with A's feature.
- *second seed of A*: the partner of A's feature in a second SAE of model A, which differs in its seed only. So much a
  new SAE of one model loses. *second seed of B*: the same for the partner, with the explanation of the partner itself.
- *non-partner*: other features of B of the partner's kind of text, spread over r as far up as there are any. Each is
  used for one feature of A only. They are chosen by r on the half that chooses partners; their r is reported, as that
  of partners, on the other half.
- *equal density*: one random feature of B of the partner's kind and density (within a factor of two), of any r.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.checked_settings import CheckedSettings, Count, Natural, ShareBelowOne
from universality.errors import MismatchError
from universality.features.specificity import specificity
from universality.features.storage.selected import select_features
from universality.labels.label_file import Labels
from universality.labels.labelling import EQUAL_DENSITY, MOST_DENSITY_RATIO
from universality.similarity import Similarity
from universality.statistics.held_out import evaluation_halves, held_out_scores

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.statistics import Calibration

PARTNER, SECOND_A, SECOND_B, NON_PARTNER = "partner", "second seed of A", "second seed of B", "non-partner"
PAIRINGS = (PARTNER, SECOND_A, SECOND_B, NON_PARTNER, EQUAL_DENSITY)
"""Names of the pairs on which explanations are tried."""
_BIN = 0.1  # of r, of which non-partners of a feature are in different ones
_SPARE = 16  # candidates of a bin that are remembered, in case others take some
_ROWS = 256  # features of A whose r with all of B are held at once


@dataclass(frozen=True)
class TransferSettings(CheckedSettings):
    """Pairs on which explanations are tried, and the intervals of what they lose.

    Examples
    --------
    >>> TransferSettings(non_partners=5).non_partners
    5
    """

    non_partners: Natural = 3
    """Features of B that are not the partner, for each feature of A; each is asked for like the partner."""
    equal_density: bool = True
    """Try a random feature of the partner's density and kind of text as well."""
    same: bool = True
    """Have the scorer judge whether the explanations of partners describe the same thing, where B is labelled too."""
    draws: Count = 1000
    """Resamples of A's features for intervals."""
    level: ShareBelowOne = 0.95
    """Nominal coverage of intervals."""
    seed: Natural = 0
    """Seed of the random features and of the resamples."""


@dataclass(frozen=True)
class Trial:
    """An explanation and the feature that it is tried on.

    Parameters
    ----------
    feature
        Feature of A to which the trial belongs.
    pairing
        One of `PAIRINGS`.
    explained
        Feature whose explanation it is: that of A, or for ``"second seed of B"`` its partner.
    scored
        Feature that the explanation has to predict, in B or in a second SAE.
    r
        Held-out correlation of the activations of these two; NaN where it is not known.
    """

    feature: int
    pairing: str
    explained: int
    scored: int
    r: float = field(default=float("nan"), compare=False)


@dataclass(frozen=True, eq=False)
class SecondSeed:
    """A second SAE of one model, which differs from the first in its seed.

    Parameters
    ----------
    store
        Store of its features, over the same tokens.
    calibration
        Matching of the first SAE (rows) with it (columns).
    """

    store: FeatureStore
    calibration: Calibration


def partner_trials(labels: Labels, calibration: Calibration) -> list[Trial]:
    """List the explained features of A that have a partner, with it."""
    partner = _partners(calibration)
    explained = [feature for feature, one in sorted(labels.labels.items()) if one.explanation and feature in partner]
    return [Trial(feature, PARTNER, feature, *partner[feature]) for feature in explained]


def second_seed_trials(
    partners: list[Trial], second_a: SecondSeed | None, second_b: SecondSeed | None, labels_b: Labels | None
) -> Iterator[Trial]:
    """Pair A's features, and their partners as far as these are explained, with their partners in second SAEs."""
    if second_a is not None:
        of_a = _partners(second_a.calibration)
        yield from (Trial(t.feature, SECOND_A, t.feature, *of_a[t.feature]) for t in partners if t.feature in of_a)
    if second_b is not None and labels_b is not None:
        of_b = _partners(second_b.calibration)
        for t in partners:
            own = labels_b.labels.get(t.scored)
            if own is not None and own.explanation and t.scored in of_b:
                yield Trial(t.feature, SECOND_B, t.scored, *of_b[t.scored])


def control_trials(partners: list[Trial], a: FeatureStore, b: FeatureStore, settings: TransferSettings) -> list[Trial]:
    """Choose other features of B for each feature of A; see the module's description.

    Features of B that are silent in the half that reports are left out.
    """
    if not partners or not (settings.non_partners or settings.equal_density):
        return []
    halves, some_a = evaluation_halves(a), select_features(a, [t.feature for t in partners])
    choose, report = (
        Similarity.activation(some_a, b, documents=documents) for documents in (halves.choose, halves.report)
    )
    assert report.counts is not None  # a measure over tokens
    kind, density = specificity(b).kind, b.moments().count / b.n_tokens
    alive = (report.counts[1] > 0) & ~choose.dead_cols & ~report.dead_cols
    menus = []
    for part in np.array_split(np.arange(len(partners)), -(-len(partners) // _ROWS)):
        for partner, scores in zip((partners[k] for k in part.tolist()), choose.block(part), strict=True):
            candidates = np.flatnonzero(alive & (kind == kind[partner.scored]))
            rng = np.random.default_rng([settings.seed, partner.feature, 7])
            menus.append(_Menu.of(candidates[candidates != partner.scored], scores, density, partner.scored, rng))
    chosen = _allotted(menus, settings)
    rows = np.array([k for k, of_one in enumerate(chosen) for _ in of_one], np.int64)
    cols = np.array([other for of_one in chosen for _, other in of_one], np.int64)
    pairings = [pairing for of_one in chosen for pairing, _ in of_one]
    found = zip(rows.tolist(), pairings, cols.tolist(), held_out_scores(report, rows, cols).tolist(), strict=True)
    return [Trial(partners[k].feature, pairing, partners[k].feature, other, r) for k, pairing, other, r in found]


@dataclass(frozen=True, eq=False)
class _Menu:
    """Features of B that one partner can be compared with.

    Parameters
    ----------
    bins
        A few candidates of each bin of r, in random order, the highest bin first.
    alike
        A few candidates of the partner's density, in random order.
    """

    bins: list[list[int]]
    alike: list[int]

    @classmethod
    def of(
        cls, candidates: IntArray, scores: FloatArray, density: FloatArray, partner: int, rng: np.random.Generator
    ) -> _Menu:
        shuffled = rng.permutation(candidates)
        bins = np.floor(scores[shuffled] / _BIN).astype(np.int64)
        few = [shuffled[bins == code][:_SPARE].tolist() for code in np.unique(bins)[::-1]]
        distance = np.abs(np.log(density[shuffled] / density[partner]))
        return cls(few, shuffled[distance <= np.log(MOST_DENSITY_RATIO)][:_SPARE].tolist())


def _allotted(menus: list[_Menu], settings: TransferSettings) -> list[list[tuple[str, int]]]:
    """Choose from each menu non-partners of different bins, and one of equal density.

    All menus get their first non-partner before any gets its second, from the highest bin that has one left, so that
    none of low r for one partner is taken from another whose r with it is high.
    """
    order = np.random.default_rng([settings.seed, 7]).permutation(len(menus)).tolist()
    chosen: list[list[tuple[str, int]]] = [[] for _ in menus]
    unseen, used = [iter(menu.bins) for menu in menus], set[int]()
    for k in order * settings.non_partners:
        free = (next((j for j in candidates if j not in used), None) for candidates in unseen[k])
        other = next((j for j in free if j is not None), None)
        if other is not None:
            used.add(other)
            chosen[k].append((NON_PARTNER, other))
    for of_one, menu in zip(chosen, menus, strict=True):
        taken = {other for _, other in of_one}
        alike = next((j for j in menu.alike if j not in taken), None)
        if settings.equal_density and alike is not None:
            of_one.append((EQUAL_DENSITY, alike))
    return chosen


def _partners(calibration: Calibration) -> dict[int, tuple[int, float]]:
    """Partner of each matched row, and their held-out r."""
    match = calibration.match
    columns = (match.rows.tolist(), match.cols.tolist(), calibration.held_out.tolist())
    return {row: (col, r) for row, col, r in zip(*columns, strict=True)}


def check_match(calibration: Calibration, a: FeatureStore, b: FeatureStore, what: str) -> None:
    """Refuse a matching of other stores; ``what`` names it in the message.

    Raises
    ------
    MismatchError
        If it was made from dictionaries of other widths, or from other contents where that is recorded.
    """
    if calibration.match.shape != (a.n_features, b.n_features):
        found, wanted = calibration.match.shape, (a.n_features, b.n_features)
        raise MismatchError(
            f"{what}: a matching of {found[0]} x {found[1]} features, but {a.path} and {b.path} hold {wanted[0]} and "
            f"{wanted[1]}; pass the calibration of these two stores, in this order"
        )
    for side, store in (("a", a), ("b", b)):
        recorded = _recorded(calibration.match.provenance.get(side))
        if recorded is not None and recorded != store.content_hash():
            raise MismatchError(
                f"{what}: a matching of another store than {store.path} as its {side}; pass the calibration of these "
                "two stores, in this order"
            )


def _recorded(side: object) -> object:
    return side.get("content_hash") if isinstance(side, Mapping) else None
