"""Measures of how far a map can be believed: within a model, and between two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from universality.arrays import FloatArray, IntArray, evenly_spaced
from universality.similarity import Similarity

TRUSTED, ROWS = 512, 64
"""Features on which trustworthiness is measured, and how many at a time: each is compared with all others."""
NEAR = 10
"""Rank up to which a partner counts as near."""


@dataclass(frozen=True)
class Trust:
    """Trustworthiness of a map: 1 where all neighbours on the map are neighbours among the features.

    Parameters
    ----------
    value
        Trustworthiness (Venna & Kaski 2001, *Neighborhood preservation in nonlinear projection methods*); 0.5 is about
        what a random map has. NaN for fewer than five features.
    n_features
        Features whose neighbours were looked up, among all on the map: an evenly spaced sample where there are many.
    n_neighbours
        Neighbours of each.
    """

    value: float
    n_features: int
    n_neighbours: int

    @classmethod
    def of(cls, xy: FloatArray, similarity: Similarity, n_neighbours: int, sample: int = TRUSTED) -> Trust:
        """Measure it for points [n, 2], NaN for those that are not placed, by a similarity of their features."""
        placed = np.flatnonzero(~np.isnan(xy[:, 0]))
        n, k = placed.size, min(n_neighbours, (placed.size - 1) // 2)
        if n < 5:
            return cls(float("nan"), int(n), 0)
        asked = evenly_spaced(n, sample)
        near = cKDTree(xy[placed]).query(xy[placed[asked]], k + 1)[1]
        own = near == asked[:, None]
        own[~own.any(axis=1), -1] = True  # of points at one place, the feature itself may not be among the first
        near = near[~own].reshape(asked.size, k)
        excess = 0
        for low in range(0, asked.size, ROWS):
            here, rows = slice(low, low + ROWS), asked[low : low + ROWS]
            scores = similarity.block(placed[rows])[:, placed]
            scores[np.arange(rows.size), rows] = -np.inf
            of_near = np.take_along_axis(scores, near[here], axis=1)
            ranks = 1 + np.stack([(scores > column[:, None]).sum(axis=1) for column in of_near.T])
            excess += int(np.maximum(ranks - k, 0).sum())
        return cls(1 - 2 * excess / (asked.size * k * (2 * n - 3 * k - 1)), int(asked.size), k)

    def describe(self) -> list[float | int | None]:
        """Return the three values for a file, with None for NaN."""
        return [_or_none(self.value), self.n_features, self.n_neighbours]

    @classmethod
    def read(cls, described: list[Any]) -> Trust:
        """Read what `describe` returned."""
        value, n_features, n_neighbours = described
        return cls(float("nan") if value is None else value, n_features, n_neighbours)


@dataclass(frozen=True, eq=False)
class PartnerRanks:
    """Place of each feature's partner among all features of the other model, by distance on a map.

    Parameters
    ----------
    nearer
        [2, n_pairs] features of the other model that lie nearer than the partner: seen from A's feature, and from B's.
    n_others
        Features of B, and of A, on the map.
    """

    nearer: IntArray
    n_others: tuple[int, int]

    @classmethod
    def of(cls, xy_a: FloatArray, xy_b: FloatArray, rows: IntArray, cols: IntArray) -> PartnerRanks:
        """Rank the partners of pairs (rows [n_pairs] of A, cols [n_pairs] of B); pairs not on the map are left out."""
        on_map = ~np.isnan(xy_a[rows, 0]) & ~np.isnan(xy_b[cols, 0])
        ends = xy_a[rows[on_map]], xy_b[cols[on_map]]
        others = xy_b[~np.isnan(xy_b[:, 0])], xy_a[~np.isnan(xy_a[:, 0])]
        nearer = [_nearer(here, there, all_) for here, there, all_ in zip(ends, ends[::-1], others, strict=True)]
        return cls(np.stack(nearer), (len(others[0]), len(others[1])))

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return int(self.nearer.shape[1])

    @property
    def median_share(self) -> float:
        """Median share of the other model's features that lie nearer than the partner; 0.5 by chance, NaN for none."""
        others = np.maximum(np.asarray(self.n_others) - 1, 1)[:, None]
        return float(np.median(self.nearer / others)) if self.nearer.size else float("nan")

    def near(self, k: int = NEAR) -> float:
        """Share of the features whose partner is among the k nearest of the other model."""
        return float((self.nearer < k).mean()) if self.nearer.size else float("nan")

    def near_by_chance(self, k: int = NEAR) -> float:
        """Share that `near` has where a partner is as likely to lie anywhere."""
        return float(np.mean([min(1.0, k / max(1, n)) for n in self.n_others]))

    def describe(self) -> dict[str, Any]:
        """Return the numbers that are reported."""
        return {
            "n_pairs": self.n_pairs,
            "n_others": list(self.n_others),
            "median_share_nearer": _or_none(self.median_share),
            f"within_{NEAR}": _or_none(self.near()),
            f"within_{NEAR}_by_chance": self.near_by_chance(),
        }


def _nearer(here: FloatArray, there: FloatArray, others: FloatArray) -> IntArray:
    """Count the others that lie strictly nearer to each point ``here`` than its partner ``there``."""
    if not len(here) or not len(others):
        return np.zeros(len(here), np.int64)
    distance = np.linalg.norm(here - there, axis=1)
    # slightly within the distance of the partner, which rounding would otherwise count itself
    inside = cKDTree(others).query_ball_point(here, distance * (1 - 1e-12), return_length=True)
    return np.where(distance > 0, inside, 0).astype(np.int64)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
