"""Map of one model's features by their decoder directions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.archive import read_archive, write_archive
from universality.arrays import FloatArray, IntArray
from universality.checked_settings import Count, Natural, checked
from universality.errors import FormatError
from universality.maps.faithfulness import Trust
from universality.maps.fuzzy_graph import fuzzy_graph
from universality.maps.neighbours import nearest_directions
from universality.maps.point_clusters import clusters
from universality.maps.point_layout import lay_out
from universality.similarity import Similarity

NEIGHBOURS, MIN_DIST = 15, 0.05


FORMAT, VERSION = "universality.feature_map", 1


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Places of a model's features in the plane.

    Parameters
    ----------
    xy
        float64 [n_features, 2]; NaN for features that are not placed: those of zeros, and those left out.
    cluster
        int64 [n_features] number of each feature's cluster on the map, -1 for none.
    trust
        How far neighbours on the map are neighbours by cosine.
    settings
        Arguments it was made with.
    """

    xy: FloatArray
    cluster: IntArray
    trust: Trust
    settings: dict[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """Tabulate feature, x, y and cluster of every feature that is placed."""
        placed = np.flatnonzero(~np.isnan(self.xy[:, 0]))
        columns = {"x": self.xy[placed, 0], "y": self.xy[placed, 1], "cluster": self.cluster[placed]}
        return pd.DataFrame({"feature": placed, **columns})

    def save(self, path: str | Path) -> Path:
        """Write the map to a .json or .npz file."""
        header = {"trust": self.trust.describe(), "settings": self.settings}
        return write_archive(path, FORMAT, VERSION, header, {"xy": self.xy, "cluster": self.cluster})

    @classmethod
    def load(cls, path: str | Path) -> FeatureMap:
        """Read a map that `save` wrote.

        Raises
        ------
        FormatError
            When the file is truncated, corrupt, or of another format or version.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        try:
            return cls(arrays["xy"], arrays["cluster"], Trust.read(header["trust"]), header["settings"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: contents contradict themselves ({error}); make the map again") from error


def feature_map(
    directions: npt.ArrayLike,
    alive: npt.ArrayLike | None = None,
    n_neighbours: int = NEIGHBOURS,
    min_dist: float = MIN_DIST,
    seed: int = 0,
) -> FeatureMap:
    """Place features by UMAP of their directions, by cosine.

    The result is that of umap-learn with ``metric="cosine"``, but for the start. It depends on nothing but the
    arguments: one thread computes it.

    Parameters
    ----------
    directions
        [n_features, d] such as ``store.decoder_rows()``.
    alive
        bool [n_features] features to place; None for all.
    n_neighbours
        Neighbours of each feature, itself among them, as umap-learn counts.
    min_dist
        Distance of points that count as together.
    seed
        Seed.

    Raises
    ------
    UniversalityError
        When the directions are not a finite matrix, or a setting is out of range.
    MissingExtraError
        When umap-learn or hdbscan is not installed.

    References
    ----------
    McInnes, Healy & Melville 2018, *UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction*.

    Examples
    --------
    Two bundles of directions are two groups of points:

    >>> rng = np.random.default_rng(0)
    >>> bundles = np.repeat([[1, 0, 0], [0, 1, 0]], 20, axis=0) + 0.1 * rng.normal(size=(40, 3))
    >>> made = feature_map(bundles, n_neighbours=5)
    >>> gap = np.linalg.norm(made.xy[:20].mean(axis=0) - made.xy[20:].mean(axis=0))
    >>> bool(gap > made.xy[:20].std()), made.trust.value > 0.8
    (True, True)
    """
    checked("n_neighbours", n_neighbours, Count)
    checked("seed", seed, Natural)
    rows = np.array(directions, np.float32)
    if alive is not None and rows.ndim == 2:
        rows[~np.asarray(alive, bool)] = 0  # a row of zeros has no neighbours and is none
    neighbours = nearest_directions(rows, n_neighbours - 1, seed)
    xy = lay_out(fuzzy_graph(neighbours), seed, min_dist)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    trust = Trust.of(xy, Similarity.from_factors(unit, unit), n_neighbours)
    settings = {"n_neighbours": n_neighbours, "min_dist": min_dist, "seed": seed}
    return FeatureMap(xy, clusters(xy), trust, settings)
