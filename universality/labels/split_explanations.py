r"""Does splitting a feature make explanations more specific? Scores of parents beside those of their children.

When a dictionary grows, a feature splits into children, each of which fires on part of what it fired on. If that makes
what they respond to more specific, the children's explanations predict the children better than the parent's
explanation predicts the parent. The *gain* of a parent is the mean score of its children's explanations, each on its
own feature, minus the score of its own.

A wider dictionary may have better explained features whether or not any splits. So the gain of parents with two
children or more stands beside that of parents with one child, which did not split, and the difference is the answer.
Each child counts for its heaviest parent, as in `universality.family.Families.tree`.

Means are over families (trees), each with the mean gain of its parents, since members of one family share features: a
child is the parent of the next step. With ψ_f the part of family f in the mean of one group minus its part in that of
the other,

    ψ_f = (s_f − s̄) / n_s − (u_f − ū) / n_u,

where a family without parents of a group has no such term, the variance of the difference is Σ ψ_f² · n / (n − 1) over
all n families, whatever the two groups have in common. Intervals are Student's, with the smaller group's n − 1 degrees
of freedom.

Children are rarer than their parent. What rarity alone does to a score is part of the gain; balanced accuracy has the
same chance level at every density.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from universality.arrays import FloatArray
from universality.errors import MismatchError
from universality.family.edges import best_parents
from universality.labels.label_file import Labels
from universality.notebook_card import card, histogram

if TYPE_CHECKING:
    from universality.family import Families

SPLIT, UNSPLIT, DIFFERENCE = "split", "not split", "difference"
"""Groups of parents: two children or more, one child; and the gain of the first minus that of the second."""
ALL = "all"
"""Name of the rows over all widths."""
_COLUMNS = ("width", "parent", "child_width", "family", "n_children", "n_scored", "parent_score", "score", "gain")


@dataclass(frozen=True, eq=False)
class SplitGain:
    """Scores of explanations of parents and of their children.

    Parameters
    ----------
    parents
        One row a parent: ``width`` and ``parent``, ``child_width``, ``family`` (number of its root), ``n_children``,
        ``n_scored`` of them, ``parent_score``, mean ``score`` of the scored children, ``gain``.
    n_without
        Parents that are left out: without a score, or with fewer scored children than two (one that did not split:
        than one).
    level
        Nominal coverage of intervals.
    """

    parents: pd.DataFrame
    n_without: int
    level: float

    def to_frame(self) -> pd.DataFrame:
        """Return the table of parents."""
        return self.parents.copy()

    def summary(self) -> pd.DataFrame:
        """Average over families.

        Returns
        -------
        DataFrame
            Three rows a step from one width to the next (``step``, such as ``"512 → 2,048"``) and over ``"all"`` steps
            if there are several; ``parents`` is ``"split"``, ``"not split"`` or ``"difference"``: ``n`` parents in
            ``n_families``, mean ``parent_score``, ``score`` of the children and ``gain``, with ``low`` to ``high``.
        """
        steps = {
            f"{width:,} → {child_width:,}": part
            for (width, child_width), part in self.parents.groupby(["width", "child_width"])
        }
        if len(steps) > 1:
            steps[ALL] = self.parents
        rows = [(step, *row) for step, part in steps.items() for row in _summarised(part, self.level)]
        columns = ["step", "parents", "n", "n_families", "parent_score", "score", "gain", "low", "high"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        table = self.summary().to_string(float_format="{:.3f}".format)
        return f"SplitGain: {len(self.parents):,} parents with scored children, {self.n_without:,} without\n{table}"

    def _repr_html_(self) -> str:
        numbers: dict[str, Any] = {"parents": len(self.parents), "left out": self.n_without}
        for row in self.summary().itertuples():
            numbers[f"gain, {row.step}, {row.parents}"] = f"{row.gain:.3f} [{row.low:.3f}, {row.high:.3f}]"
        gains = self.parents.loc[self.parents["n_children"] > 1, "gain"]
        return card("Explanations of parents and children", numbers, histogram(gains, "gain of split parents", mark=0))


def split_gain(families: Families, scores: Sequence[Mapping[int, float]], level: float = 0.95) -> SplitGain:
    """Compare the scores of the explanations of parents and of their children.

    Parameters
    ----------
    families
        The family graph of one model.
    scores
        For each of its levels, feature → score of its explanation, as `explanation_scores` takes them from labels.
        Missing and NaN ones are left out.
    level
        Nominal coverage of intervals.

    Raises
    ------
    MismatchError
        If there is another number of levels.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from universality.family import Edges
    >>> none = np.full(3, np.nan)
    >>> edges = Edges(np.zeros(3, int), np.array([0, 0, 1]), np.arange(3), *[none] * 6, np.ones(3))
    >>> tree = SimpleNamespace(levels=[SimpleNamespace(width=2), SimpleNamespace(width=3)], edges=edges)
    >>> found = split_gain(tree, [{0: 0.6, 1: 0.8}, {0: 0.9, 1: 0.7, 2: 0.8}])
    >>> found.to_frame()[["parent", "n_children", "score", "gain"]].round(2).values.tolist()
    [[0.0, 2.0, 0.8, 0.2], [1.0, 1.0, 0.8, 0.0]]
    """
    if len(scores) != len(families.levels):
        n_levels = len(families.levels)
        raise MismatchError(f"scores: expected one mapping for each of {n_levels} levels, got {len(scores)}")
    widths = [level_of.width for level_of in families.levels]
    tree = families.edges.take(best_parents(families.edges))
    children: dict[tuple[int, int], list[int]] = {}
    parent_of: dict[tuple[int, int], tuple[int, int]] = {}
    for at, parent, child in zip(tree.level.tolist(), tree.parent.tolist(), tree.child.tolist(), strict=True):
        children.setdefault((at, parent), []).append(child)
        parent_of[at + 1, child] = at, parent
    starts = [0, *np.cumsum(widths).tolist()]
    rows, n_without = [], 0
    for (at, parent), below in sorted(children.items()):
        own = scores[at].get(parent, float("nan"))
        known = [value for child in below if not np.isnan(value := scores[at + 1].get(child, float("nan")))]
        if np.isnan(own) or len(known) < min(2, len(below)):
            n_without += 1
            continue
        root = _root((at, parent), parent_of)
        mean = float(np.mean(known))
        place = (widths[at], parent, widths[at + 1], starts[root[0]] + root[1])
        rows.append((*place, len(below), len(known), float(own), mean, mean - float(own)))
    return SplitGain(pd.DataFrame(rows, columns=list(_COLUMNS)), n_without, level)


def explanation_scores(labels: Labels | None, name: str = "detection") -> dict[int, float]:
    """Return one score of each feature's explanation; empty without labels."""
    known = {} if labels is None else {feature: one.score(name) for feature, one in labels.labels.items()}
    return {feature: score.value for feature, score in known.items() if score is not None}


def _root(node: tuple[int, int], parent_of: Mapping[tuple[int, int], tuple[int, int]]) -> tuple[int, int]:
    while node in parent_of:
        node = parent_of[node]
    return node


def _summarised(parents: pd.DataFrame, level: float) -> list[tuple[Any, ...]]:
    """Rows of the two groups and of their difference."""
    of_family, rows = {}, []
    for group, part in ((SPLIT, parents[parents["n_children"] > 1]), (UNSPLIT, parents[parents["n_children"] == 1])):
        means = part.groupby("family")[["parent_score", "score", "gain"]].mean()
        of_family[group] = means["gain"]
        low, high = _bounds(_parts(means["gain"]), len(means), level)
        mean = means.mean()
        bounds = (mean["gain"] + low, mean["gain"] + high)
        rows.append((group, len(part), len(means), mean["parent_score"], mean["score"], mean["gain"], *bounds))
    split, unsplit = of_family[SPLIT], of_family[UNSPLIT]
    gain = float(split.mean() - unsplit.mean())
    both = _parts(split).sub(_parts(unsplit), fill_value=0)
    low, high = _bounds(both, min(len(split), len(unsplit)), level)
    of_all = (DIFFERENCE, len(parents), parents["family"].nunique(), float("nan"), float("nan"))
    rows.append((*of_all, gain, gain + low, gain + high))
    return rows


def _parts(values: pd.Series[float]) -> pd.Series[float]:
    """Part of each family in the error of a mean."""
    return (values - values.mean()) / max(1, len(values))


def _bounds(parts: pd.Series[float], n: int, level: float) -> tuple[float, float]:
    """Student's interval around 0, with n - 1 degrees of freedom; NaN for n below 2."""
    if n < 2:
        return float("nan"), float("nan")
    values: FloatArray = parts.to_numpy(np.float64)
    spread = sqrt(float((values**2).sum()) * values.size / (values.size - 1))
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * spread
    return -reach, reach
