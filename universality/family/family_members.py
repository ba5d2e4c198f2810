"""Families of a tree one by one: size, depth, and purity of their members' kinds of text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.arrays import IntArray
from universality.family.dictionaries import Level
from universality.family.edges import Edges
from universality.family.networkx_graph import roots

if TYPE_CHECKING:
    import pandas as pd

SHUFFLES = 20


def family_table(levels: Sequence[Level], tree: Edges) -> "pd.DataFrame":
    """Tabulate the families of at least two members, in the order of their roots.

    Returns
    -------
    pandas.DataFrame
        ``family`` (label of the root), ``root_width``, ``root``; ``size``, number of members including the root;
        ``depth``, number of levels that it reaches below the root; ``kind``, the kind of most members (of equally
        frequent ones the first by name), and ``purity``, their share.
    """
    import pandas as pd

    family, level, kind = _members(levels, tree)
    members = pd.DataFrame({"key": family, "level": level, "kind": kind})
    members = members[members.groupby("key")["key"].transform("size") > 1]
    by = members.groupby("key")
    size = by.size()
    counts = members.groupby(["key", "kind"], sort=True).size().reset_index(name="n")
    best = counts.sort_values(["key", "n"], ascending=[True, False], kind="stable").groupby("key").first()
    root_level, root = np.divmod(size.index.to_numpy(), _stride(levels))
    widths = np.array([one.width for one in levels])[root_level]
    return pd.DataFrame(
        {
            "family": [f"{width}/{feature}" for width, feature in zip(widths, root, strict=True)],
            "root_width": widths,
            "root": root,
            "size": size.to_numpy(),
            "depth": (by["level"].max() - by["level"].min()).to_numpy(),
            "kind": best["kind"].to_numpy(),
            "purity": (best["n"] / size).to_numpy(),
        }
    )


def purity_of_families(levels: Sequence[Level], tree: Edges, seed: int = 0) -> dict[str, Any]:
    """Compute the mean purity of families of three members or more, and the same with shuffled kinds.

    Kinds are shuffled within each level among members of such families, so that chance has the kinds that members have.
    """
    family, level, kind = _members(levels, tree)
    _, code = np.unique(kind, return_inverse=True)
    _, key, size = np.unique(family, return_inverse=True, return_counts=True)
    chosen = size[key] >= 3
    key, level, code = key[chosen], level[chosen], code[chosen]
    if not key.size:
        return {"families": 0, "purity": None, "chance": None}
    rng = np.random.default_rng(seed)
    shuffled = []
    for _ in range(SHUFFLES):
        other = code.copy()
        for each in np.unique(level):
            here = np.flatnonzero(level == each)
            other[here] = code[rng.permutation(here)]
        shuffled.append(_mean_purity(key, other))
    return {"families": int(np.unique(key).size), "purity": _mean_purity(key, code), "chance": float(np.mean(shuffled))}


def _members(levels: Sequence[Level], tree: Edges) -> tuple[IntArray, IntArray, npt.NDArray[np.str_]]:
    """Return (key of the family, level, kind) of every feature that fires."""
    stride = _stride(levels)
    family, level, kind = [], [], []
    for i, (this, (root_level, root)) in enumerate(zip(levels, roots(levels, tree), strict=True)):
        family.append((root_level * stride + root)[this.alive])
        level.append(np.full(int(this.alive.sum()), i))
        kind.append(np.array([k or "" for k in this.kind], dtype=np.str_)[this.alive])
    return np.concatenate(family), np.concatenate(level), np.concatenate(kind)


def _stride(levels: Sequence[Level]) -> int:
    """Return a factor that makes level * stride + feature unique."""
    return max(level.width for level in levels)


def _mean_purity(key: IntArray, code: IntArray) -> float:
    """Average over families the share of members that are of the most frequent kind."""
    pairs, count = np.unique(np.stack([key, code]), axis=1, return_counts=True)
    families, size = np.unique(key, return_counts=True)
    most = np.zeros(families.size)
    np.maximum.at(most, np.searchsorted(families, pairs[0]), count)
    return float((most / size).mean())
