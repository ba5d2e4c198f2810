"""Stability of features: in how many SAE seeds of one model does a feature occur again?

Every two dictionaries are matched one to one and calibrated. A feature *recurs* in another seed where its pair beats
the null and its held-out score reaches a threshold. Its stability is the share of the other seeds in which it recurs.
Recurring pairs, the best first, also join features into groups with at most one feature of each seed, of which a pooled
dictionary can be made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.checked_settings import Share, checked
from universality.errors import MismatchError, UniversalityError
from universality.matching import Groups
from universality.matching.multimodel import group
from universality.notebook_card import card, histogram
from universality.progress import progress
from universality.statistics.calibrating import calibrate
from universality.statistics.calibration import Calibration
from universality.statistics.null_settings import NullSettings

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

RECURS_AT = 0.7
"""Held-out score from which a feature recurs."""


@dataclass(frozen=True, eq=False)
class Stability:
    """Stability of the features of several dictionaries, as `stability` measures it.

    Parameters
    ----------
    names
        [n_seeds] names of the dictionaries.
    recurs
        For each dictionary bool [n_features, n_seeds]: whether the feature recurs in each other one; False in its own.
    held_out
        For each dictionary float64 [n_features, n_seeds]: held-out score of its pair in each other one, NaN where it
        has none or fires too rarely.
    alive
        For each dictionary bool [n_features]: whether the feature fires where partners are chosen.
    by_chance
        Mean share of matched scores that reach the threshold under the null, over all pairs of dictionaries.
    groups
        Groups of features joined by recurring pairs, at most one of each dictionary.
    q_level, threshold
        Level of q and held-out score that a recurring pair needs.
    """

    names: tuple[str, ...]
    recurs: tuple[BoolArray, ...]
    held_out: tuple[FloatArray, ...]
    alive: tuple[BoolArray, ...]
    by_chance: float
    groups: Groups
    q_level: float
    threshold: float

    def score(self, name: str) -> FloatArray:
        """Return the share of the other dictionaries in which each feature recurs: [n_features]; NaN where it is dead.

        A feature whose pair has no held-out score, or that is in no pair, does not recur there.
        """
        side = self._side(name)
        shares: FloatArray = self.recurs[side].sum(axis=1) / (len(self.names) - 1)
        return np.where(self.alive[side], shares, np.nan)

    def stable(self, name: str, share: float = 1.0) -> IntArray:
        """List the features that recur in at least a share of the other dictionaries: int64 [n]."""
        return np.flatnonzero(np.nan_to_num(self.score(name), nan=-1.0) >= share).astype(np.int64)

    def unstable(self, name: str) -> IntArray:
        """List the living features that recur in no other dictionary: int64 [n]."""
        return np.flatnonzero(self.score(name) == 0).astype(np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Tabulate the living features: ``seed feature stability median_held_out``.

        ``median_held_out`` is over the other dictionaries; where a feature has no score, it lies below every score, and
        the median is NaN where most have none.
        """
        tables = []
        for side, name in enumerate(self.names):
            features = np.flatnonzero(self.alive[side])
            others = np.delete(self.held_out[side][features], side, axis=1)
            median = np.median(np.where(np.isnan(others), -np.inf, others), axis=1)
            columns = {"seed": name, "feature": features, "stability": self.score(name)[features]}
            tables.append(pd.DataFrame(columns | {"median_held_out": np.where(np.isfinite(median), median, np.nan)}))
        return pd.concat(tables, ignore_index=True)

    def summary(self) -> dict[str, Any]:
        """Summarise the living features of all dictionaries.

        Returns
        -------
        dict
            ``seeds``, ``n_living``, mean ``stability`` with ``stability_low`` and ``stability_high`` (smallest and
            largest mean of a dictionary), ``in_all`` and ``in_none`` (shares of features that recur in all others and
            in none), ``by_chance``, and ``groups_in_all`` (groups with a feature of every dictionary).
        """
        scores = [self.score(name)[alive] for name, alive in zip(self.names, self.alive, strict=True)]
        together = np.concatenate(scores)
        means = [float(each.mean()) for each in scores if each.size] or [math.nan]
        return {
            "seeds": len(self.names),
            "n_living": together.size,
            "stability": float(together.mean()) if together.size else math.nan,
            "stability_low": min(means),
            "stability_high": max(means),
            "in_all": float((together == 1).mean()) if together.size else math.nan,
            "in_none": float((together == 0).mean()) if together.size else math.nan,
            "by_chance": self.by_chance,
            "groups_in_all": int((self.groups.n_models == len(self.names)).sum()),
        }

    def __repr__(self) -> str:
        return f"Stability({len(self.names)} dictionaries; mean {self.summary()['stability']:.2f})"

    def _repr_html_(self) -> str:
        scores = np.concatenate([self.score(name)[alive] for name, alive in zip(self.names, self.alive, strict=True)])
        return card("Stability of features", self.summary(), histogram(scores, "share of seeds in which it recurs"))

    def _side(self, name: str) -> int:
        if name not in self.names:
            raise UniversalityError(f"stability: no dictionary {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)


def stability(
    stores: Mapping[str, FeatureStore],
    threshold: float = RECURS_AT,
    q_level: float = NullSettings.alpha,
    **options: Any,
) -> Stability:
    """Measure in how many SAE seeds each feature recurs.

    Parameters
    ----------
    stores
        Stores of the same tokens by name, one for each dictionary: at least two, usually eight to ten SAEs of one model
        that differ in their seed.
    threshold
        Held-out score that a recurring pair reaches at least.
    q_level
        Largest q of a recurring pair.
    options
        Further options of `calibrate`, such as ``replicates``, ``null`` and ``executor``. By default one null
        ("global") and no bootstrap.

    Returns
    -------
    Stability

    Raises
    ------
    UniversalityError
        If there are fewer than two stores, or an option is refused.
    MismatchError
        If stores saw different tokens.

    Notes
    -----
    n dictionaries are n (n - 1) / 2 calibrations. Keep them and call `stability_of` to ask with another threshold.

    Examples
    --------
    Two dictionaries that share half of their features:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from universality.statistics.synthetic import World, plant
    >>> world = World(n_documents=60, n_shared=20, n_alone=20, density=(0.02, 0.05), topic_share=1.0)
    >>> with TemporaryDirectory() as folder:
    ...     planted = plant(world, Path(folder))
    ...     found = stability({"seed 0": planted.a, "seed 1": planted.b}, replicates=5)
    >>> bool((found.score("seed 0") == planted.has_partner).all()), found.summary()["groups_in_all"]
    (True, 20)
    """
    options = {"bootstrap": 0, "null": "global", **options}
    if not isinstance(stores, Mapping) or len(stores) < 2:
        count = len(stores) if isinstance(stores, Mapping) else 1
        raise UniversalityError(f"stability: expected a mapping of two stores or more by name, found {count}")
    pairs = list(combinations(stores, 2))
    calibrations = {
        (a, b): calibrate(stores[a], stores[b], **options)
        for a, b in progress(pairs, desc="stability", unit="pair", leave=False)
    }
    return stability_of(calibrations, threshold, q_level)


def stability_of(
    calibrations: Mapping[tuple[str, str], Calibration],
    threshold: float = RECURS_AT,
    q_level: float = NullSettings.alpha,
) -> Stability:
    """Derive the stability of features from calibrations of every two dictionaries.

    Parameters
    ----------
    calibrations
        One calibration by a one-to-one matcher for each two names, with at least one null; rows are the first's.
    threshold, q_level
        As for `stability`.

    Raises
    ------
    UniversalityError
        If two names have no calibration or two, or a calibration has no null or is not one to one.
    MismatchError
        If a dictionary has different numbers of features in two calibrations, or measures differ.
    """
    checked("threshold", threshold, float)
    checked("q_level", q_level, Share)
    names, sizes = _dictionaries(calibrations)
    index = {name: side for side, name in enumerate(names)}
    recurs = tuple(np.zeros((sizes[name], len(names)), np.bool_) for name in names)
    held_out = tuple(np.full((sizes[name], len(names)), np.nan) for name in names)
    alive: dict[str, BoolArray] = {}
    recurring = {}
    for (a, b), calibration in calibrations.items():
        matched, i, j = calibration.match, index[a], index[b]
        passed = (calibration.held_out >= threshold) & (calibration.q <= q_level)  # False where one of them is NaN
        for side, other, features in ((i, j, matched.rows), (j, i, matched.cols)):
            recurs[side][features, other] = passed
            held_out[side][features, other] = calibration.held_out
        alive[a], alive[b] = ~matched.dead_rows, ~matched.dead_cols
        kept = {name: getattr(matched, name)[passed] for name in ("rows", "cols")}
        recurring[a, b] = replace(matched, scores=calibration.held_out[passed], **kept)
    provenance = {"threshold": threshold, "q_level": q_level}
    return Stability(
        names, recurs, held_out, tuple(alive[name] for name in names), _by_chance(calibrations, threshold),
        group(names, sizes, recurring, provenance), q_level, threshold,
    )  # fmt: skip


def _dictionaries(calibrations: Mapping[tuple[str, str], Calibration]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names and widths, after checking that every two are calibrated once and alike."""
    names = tuple(dict.fromkeys(name for pair in calibrations for name in pair))
    given = sorted(tuple(sorted(pair)) for pair in calibrations)
    if not calibrations or given != sorted(tuple(sorted(pair)) for pair in combinations(names, 2)):
        raise UniversalityError(
            f"stability: expected one calibration for each two of {', '.join(names) or 'several dictionaries'}, found "
            + (", ".join(f"{a}-{b}" for a, b in calibrations) or "none")
        )
    sizes: dict[str, int] = {}
    for pair, calibration in calibrations.items():
        without_null = not calibration.chances or not calibration.null_scores.size
        if without_null or calibration.match.method == "nearest":
            raise UniversalityError(
                f"stability: the calibration of {pair[0]} and {pair[1]} has "
                + ("no null" if without_null else "features in several pairs")
                + "; calibrate with one replicate or more and the method hungarian or mutual"
            )
        for name, n in zip(pair, calibration.match.shape, strict=True):
            if sizes.setdefault(name, n) != n:
                raise MismatchError(f"stability: {name} has {sizes[name]} features in one calibration, {n} in another")
    measures = {str(calibration.settings["measure"]) for calibration in calibrations.values()}
    if len(measures) > 1:
        raise MismatchError(f"stability: calibrations by different measures: {', '.join(sorted(measures))}")
    return names, sizes


def _by_chance(calibrations: Mapping[tuple[str, str], Calibration], threshold: float) -> float:
    """Return the share of null scores at or above the threshold; -inf, a feature without a partner, lies below."""
    shares = [float((each.null_scores >= threshold).mean()) for each in calibrations.values() if each.null_scores.size]
    return float(np.mean(shares)) if shares else math.nan
