"""The families of a tree, one by one: size, depth, and whether their members are about one kind of text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.family.dictionaries import Level
from universality.family.edges import Edges
from universality.family.networkx_graph import roots

if TYPE_CHECKING:
    import pandas as pd

SHUFFLES = 20


def family_table(levels: Sequence[Level], tree: Edges) -> "pd.DataFrame":
    """One row a family of at least two members, in the order of their roots.

    Returns
    -------
    pandas.DataFrame
        ``family`` (label of the root), ``root_width``, ``root``; ``size``, members, the root included; ``depth``,
        levels below the root that it reaches; ``kind``, the kind of most members (of equal ones the first by name), and
        ``purity``, their share.
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
    widths = np.array([some.width for some in levels])[root_level]
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
    """Mean purity of families of three members or more, and with the kinds of each level's features shuffled.

    Only features with an edge are shuffled among each other, so chance has the kinds that members have.
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
        for some in np.unique(level):
            here = np.flatnonzero(level == some)
            other[here] = code[rng.permutation(here)]
        shuffled.append(_mean_purity(key, other))
    return {"families": int(np.unique(key).size), "purity": _mean_purity(key, code), "chance": float(np.mean(shuffled))}


def _members(
    levels: Sequence[Level], tree: Edges
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """(key of the family, level, kind) of every feature that fires."""
    stride = _stride(levels)
    family, place, kind = [], [], []
    for i, (some, (level, feature)) in enumerate(zip(levels, roots(levels, tree), strict=True)):
        family.append((level * stride + feature)[some.alive])
        place.append(np.full(int(some.alive.sum()), i))
        kind.append(np.array([k or "" for k in some.kind], dtype=np.str_)[some.alive])
    return np.concatenate(family), np.concatenate(place), np.concatenate(kind)


def _stride(levels: Sequence[Level]) -> int:
    return max(level.width for level in levels)


def _mean_purity(key: npt.NDArray[np.int64], code: npt.NDArray[np.int64]) -> float:
    """Mean over families of the share of members that are of the commonest kind."""
    pairs, count = np.unique(np.stack([key, code]), axis=1, return_counts=True)
    families, size = np.unique(key, return_counts=True)
    most = np.zeros(families.size)
    np.maximum.at(most, np.searchsorted(families, pairs[0]), count)
    return float((most / size).mean())
