"""Where features without a parent come from: new to the dictionary, or torn out of one that is silent on them.

A feature of a wider level that may have edges and has none to the narrower level is an *orphan*. It is *absorbed* iff a
feature of the narrower level knows its concept and does not say so, otherwise *novel*. Known and silent means, for the
feature i with the decoder row nearest to the orphan's:

1. their decoder cosine is at least the rule's: the orphan writes what i writes;
2. i is silent on more than half of the orphan's firings;
3. *presence* ≥ 0.5: on the orphan's tokens the activations stand, along i's decoder row, at least half as far above
   average as where i fires (``universality.family.reconstruction``). The concept is there, i is not.

That is feature absorption (Chanin et al. 2024) seen from two widths: i fires for a concept, but not on the tokens that
the orphan owns. Their probe for the concept is i's own direction here, so it needs no labels.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.family.edges import Edges

SILENT, PRESENT = 0.5, 0.5
TILE = 1 << 26  # bytes of cosines at a time
STATUSES = ("dead", "rare", "root", "child", "novel", "absorbed")


@dataclass(frozen=True, eq=False)
class Origins:
    """What is known of the features of one level towards the narrower one; all NaN and -1 at the narrowest.

    Parameters
    ----------
    missing
        float64 ``[width]`` share of what a feature writes that the narrower SAE lacks; above 1/2, inserting it
        lowers that SAE's error.
    nearest
        int64 ``[width]`` of an orphan, the feature of the narrower level with the nearest decoder row; -1 for others.
    nearest_cosine
        float64 ``[width]`` cosine of those rows.
    nearest_coverage
        float64 ``[width]`` share of the orphan's firings on which that feature fires.
    presence
        float64 ``[width]`` see above.
    """

    missing: FloatArray
    nearest: IntArray
    nearest_cosine: FloatArray
    nearest_coverage: FloatArray
    presence: FloatArray

    @classmethod
    def none(cls, width: int) -> "Origins":
        """Of the narrowest level."""
        unknown = np.full(width, np.nan)
        return cls(unknown, np.full(width, -1, np.int64), unknown, unknown, unknown)

    def numbers(self) -> dict[str, FloatArray]:
        """All but ``nearest``, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "nearest"}

    def absorbed(self, rule: EdgeRule) -> BoolArray:
        """The definition above, whatever the edges: bool ``[width]``."""
        writes = self.nearest_cosine >= rule.min_decoder_cosine  # NaN compares False
        return writes & (self.nearest_coverage < SILENT) & (self.presence >= PRESENT)


def status(level: int, this: Level, origins: Origins, parents: IntArray, rule: EdgeRule) -> npt.NDArray[np.str_]:
    """One of ``STATUSES`` for every feature of a level, given its number of parents: ``[width]``.

    - ``dead``: never fires; ``rare``: fires too seldom to take part in edges;
    - ``root``: of the narrowest level; ``child``: has a parent;
    - ``absorbed``, ``novel``: has none, and does or does not have a silent one.
    """
    without = np.where(origins.absorbed(rule), "absorbed", "novel")
    among_eligible = np.where(parents > 0, "child", "root" if level == 0 else without)
    among_alive = np.where(this.eligible(rule.min_firings), among_eligible, "rare")
    return np.where(this.alive, among_alive, "dead")


def vanished(level: int, levels: tuple[Level, ...], edges: Edges, rule: EdgeRule) -> BoolArray:
    """Features that may have edges and have none to the wider level: bool ``[width]``, all False at the widest."""
    this = levels[level]
    children = np.bincount(edges.parent[edges.level == level], minlength=this.width)
    return np.asarray(this.eligible(rule.min_firings) & (children == 0) & (level < len(levels) - 1))


def nearest_rows(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], may: BoolArray, orphan: BoolArray
) -> tuple[IntArray, FloatArray]:
    """For every orphan the nearest of A's unit rows ``x`` among those that ``may`` have edges, and its cosine.

    Returns
    -------
    int64 [n_b], -1 for others; float64 [n_b], NaN for others.
    """
    nearest, cosine = np.full(len(y), -1, np.int64), np.full(len(y), np.nan)
    those, known = np.flatnonzero(orphan), np.flatnonzero(may)
    if not known.size:
        return nearest, cosine
    candidates = x[known]
    step = max(1, TILE // (4 * known.size))
    for low in range(0, those.size, step):
        some = those[low : low + step]
        found = y[some] @ candidates.T
        best = found.argmax(axis=1)
        nearest[some], cosine[some] = known[best], np.minimum(found[np.arange(some.size), best], 1)
    return nearest, cosine
