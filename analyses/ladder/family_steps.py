"""Features from each size to the next: how many split, merge and appear, and are they found in the other model?"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from rungs import Rung

from universality import Calibration, Families, FeatureStore, families
from universality.family import recurrence

MODELS = ("A", "B")
PARTNERED = 0.7
"""Held-out r from which a partner counts."""


def family_trees(rungs: Sequence[Rung], root: Path) -> dict[str, Families]:
    """Link each model's dictionaries; the trees are kept in ``root`` for the next call with the same rungs."""
    trees = {}
    for model in MODELS:
        kept = root / f"families.{model}.{'-'.join(str(rung.width) for rung in rungs)}.json"
        if not kept.is_file():
            with ExitStack() as stack:
                stores = [
                    stack.enter_context(FeatureStore.open(rung.folder(root).store(model, rung.width, 0)))
                    for rung in rungs
                ]
                families(stores, n_replicates=1, bootstrap=0).save(kept)
        trees[model] = Families.load(kept)
    return trees


def steps(trees: dict[str, Families]) -> pd.DataFrame:
    """Tabulate what splits, merges and appears at each step; one row for each model and step."""
    rows = []
    for model, tree in trees.items():
        levels = tree.summary()["levels"]
        for narrow, wide in pairwise(levels):
            rows.append(
                {
                    "model": model, "from": narrow["width"], "to": wide["width"],
                    "edges": wide["edges_in"], "by_chance": wide["chance_edges_in"],
                    "split": narrow["split"] / narrow["eligible"],
                    "vanish": narrow["childless"] / narrow["eligible"],
                    "merge": wide["merge_rate"],
                    "eligible": wide["eligible"], "rare": wide["rare"], "dead": wide["dead"],
                    "novel": wide["novel_share"], "absorbed": wide["absorbed_share"],
                    "novel_missing": wide["novel_missing"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def recurring(trees: dict[str, Families], rungs: Sequence[Rung], root: Path) -> pd.DataFrame:
    """Tabulate whether A's edges and splits recur in B, beside chance."""
    partners = [Calibration.load(rung.folder(root).calibration(f"A-B.w{rung.width}")).match for rung in rungs]
    return recurrence(trees["A"], trees["B"], partners, replicates=100, bootstrap=200).to_frame()


def appearing(trees: dict[str, Families], rungs: Sequence[Rung], root: Path) -> pd.DataFrame:
    """Tabulate partners of features that are novel at a size, and of those with a parent; one row for each comparison.

    ``novel`` and ``child`` are the shares of these features of A whose partner has a held-out r of `PARTNERED`; the
    partner is B's, or that of a second SAE seed of A.
    """
    nodes = trees["A"].nodes_frame().set_index(["width", "feature"])["status"]
    rows = []
    for rung in rungs[1:]:
        named = {"A-B": f"A-B.w{rung.width}"}
        if len(rung.seeds) > 1:
            named["A-A"] = f"A-A.w{rung.width}.s{rung.seeds[0]}-s{rung.seeds[1]}"
        for label, name in named.items():
            calibration = Calibration.load(rung.folder(root).calibration(name))
            held_out = np.full(rung.width, -np.inf)  # features without a partner or a score lie below every score
            held_out[calibration.match.rows] = np.nan_to_num(calibration.held_out, nan=-np.inf)
            states = nodes.loc[rung.width].reindex(range(rung.width)).to_numpy()
            row = {"width": rung.width, "models": label}
            for state in ("child", "novel", "absorbed"):
                mine = states == state
                row |= {
                    f"n_{state}": int(mine.sum()),
                    state: float((held_out[mine] >= PARTNERED).mean()) if mine.any() else np.nan,
                }
            rows.append(row)
    return pd.DataFrame(rows)
