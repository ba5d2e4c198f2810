"""Origin of features without a parent: novel, or absorbed from a narrower feature that is silent on them.

A feature of a wider level that may have edges but has none to the narrower level is an *orphan*. It is *absorbed* iff
a feature of the narrower level represents its concept but does not fire on it; otherwise it is *novel*. For the
narrower feature i whose decoder row is nearest to the orphan's, absorbed means:

1. their decoder cosine reaches the rule's threshold: the orphan writes what i writes;
2. i is silent on more than half of the orphan's firings;
3. *presence* ≥ 0.5: on the orphan's tokens the activations lie, along i's decoder row, at least half as far above
   average as where i fires (``universality.family.reconstruction``). The concept is present, but i does not fire.

This is feature absorption (Chanin et al. 2024) across two widths: i fires for a concept, but not on the tokens that the
orphan has taken over. Their probe for the concept is replaced by i's own direction, so no labels are needed.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.family.edges import Edges

SILENT, PRESENT = 0.5, 0.5
TILE_BYTES = 1 << 26  # cosines at a time
STATUSES = ("dead", "rare", "root", "child", "novel", "absorbed")


@dataclass(frozen=True, eq=False)
class Origins:
    """Relation of the features of one level to the narrower level; all NaN and -1 at the narrowest level.

    Parameters
    ----------
    missing
        float64 ``[width]`` share of what a feature writes that the narrower SAE lacks; inserting it lowers that SAE's
        error iff this is above 1/2.
    nearest
        int64 ``[width]`` for an orphan, the feature of the narrower level with the nearest decoder row; -1 for others.
    nearest_cosine
        float64 ``[width]`` cosine of those rows.
    nearest_coverage
        float64 ``[width]`` share of the orphan's firings on which that feature fires.
    presence
        float64 ``[width]`` see the module's docstring.
    """

    missing: FloatArray
    nearest: IntArray
    nearest_cosine: FloatArray
    nearest_coverage: FloatArray
    presence: FloatArray

    @classmethod
    def none(cls, width: int) -> "Origins":
        """Return the origins of the narrowest level, which are unknown."""
        unknown = np.full(width, np.nan)
        return cls(unknown, np.full(width, -1, np.int64), unknown, unknown, unknown)

    def numbers(self) -> dict[str, FloatArray]:
        """Return all arrays but ``nearest``, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "nearest"}

    def absorbed(self, rule: EdgeRule) -> BoolArray:
        """Flag the features that meet the definition of absorbed, whatever their edges: bool ``[width]``."""
        writes = self.nearest_cosine >= rule.min_decoder_cosine  # NaN compares False
        return writes & (self.nearest_coverage < SILENT) & (self.presence >= PRESENT)


def status(level: int, this: Level, origins: Origins, parents: IntArray, rule: EdgeRule) -> npt.NDArray[np.str_]:
    """Assign one of ``STATUSES`` to every feature of a level, given its number of parents: ``[width]``.

    - ``dead``: never fires; ``rare``: fires too rarely to have edges;
    - ``root``: feature of the narrowest level; ``child``: has a parent;
    - ``absorbed``, ``novel``: orphans.
    """
    without = np.where(origins.absorbed(rule), "absorbed", "novel")
    among_eligible = np.where(parents > 0, "child", "root" if level == 0 else without)
    among_alive = np.where(this.eligible(rule.min_firings), among_eligible, "rare")
    return np.where(this.alive, among_alive, "dead")


def vanished(level: int, levels: tuple[Level, ...], edges: Edges, rule: EdgeRule) -> BoolArray:
    """Flag features that may have edges but have none to the wider level; none at the widest: bool ``[width]``."""
    this = levels[level]
    children = np.bincount(edges.parent[edges.level == level], minlength=this.width)
    return np.asarray(this.eligible(rule.min_firings) & (children == 0) & (level < len(levels) - 1))


def nearest_rows(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], eligible: BoolArray, orphan: BoolArray
) -> tuple[IntArray, FloatArray]:
    """Find the eligible unit row of ``x`` nearest to each orphan's row of ``y``.

    Returns
    -------
    nearest : int64 [n_b]
        Row of ``x``; -1 for features that are no orphans.
    cosine : float64 [n_b]
        Cosine with that row; NaN for features that are no orphans.

    Examples
    --------
    >>> x, y = np.eye(2, dtype=np.float32), np.array([[0.6, 0.8], [1, 0]], np.float32)
    >>> nearest_rows(x, y, eligible=np.array([True, True]), orphan=np.array([True, False]))[0]
    array([ 1, -1])
    """
    nearest, cosine = np.full(len(y), -1, np.int64), np.full(len(y), np.nan)
    orphans, candidates = np.flatnonzero(orphan), np.flatnonzero(eligible)
    if not candidates.size:
        return nearest, cosine
    rows = x[candidates]
    step = max(1, TILE_BYTES // (4 * candidates.size))
    for low in range(0, orphans.size, step):
        tile = orphans[low : low + step]
        cosines = y[tile] @ rows.T
        best = cosines.argmax(axis=1)
        nearest[tile], cosine[tile] = candidates[best], np.minimum(cosines[np.arange(tile.size), best], 1)
    return nearest, cosine
