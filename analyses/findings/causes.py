"""What makes features differ: the model's initial weights or data order, or the SAE's seed or data order?

Each of the four factors has two or more levels, fully crossed: one model for every (weights, order), and on it one
SAE for every (seed, order). Every two SAEs are matched by activations and labelled by the factors in which they
differ. The levels are too few for variance components, so the tables show means with the lowest and highest pair, and
paired differences. At the end of training two of the models are shipped ones, and the others are trained as those were.
"""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
from compare import compare
from laboratory import Laboratory, Model, Trained, Wanted, topk
from lengths import Length
from tqdm import tqdm

FACTORS = ("model weights", "model data order", "SAE seed", "SAE data order")
K, WIDTH = 16, 512
FIRST_ORDER = 100  # seed of the models' first data order, as in the shipped set
SHIPPED = {(init, FIRST_ORDER + init): f"starter/seed{init}" for init in range(3)}
"""Shipped models by the seeds of their weights and data order."""
SHIPPED_EPOCHS = 6.0
Level = tuple[int, ...]


def crossed(
    length: Length, inits: int = 2, orders: int = 2, seeds: int = 2, sae_orders: int = 2
) -> dict[Level, Wanted]:
    """Return the design: (weights, model order, SAE seed, SAE order) → the SAE."""
    levels = product(range(inits), range(FIRST_ORDER, FIRST_ORDER + orders), range(seeds), range(sae_orders))
    return {
        (i, o, s, d): Wanted(topk(K, WIDTH, s), _model(i, o, length), tokens=length.crossed_tokens, order=d)
        for i, o, s, d in levels
    }


def _model(init: int, order: int, length: Length) -> Model:
    """Return a shipped model where there is one of these seeds and epochs, or one to train."""
    if length.crossed_epochs != SHIPPED_EPOCHS:
        return Trained(init, order, length.crossed_epochs)
    return SHIPPED.get((init, order), Trained(init, order, SHIPPED_EPOCHS, products="bfloat16"))  # as the shipped ones


def pairs(lab: Laboratory, design: dict[Level, Wanted]) -> pd.DataFrame:
    """Match every two SAEs; columns: levels ``a b``, ``differs`` (a bool per factor), mean held-out ``r``."""
    lab.make(design.values())
    rows = []
    for a, b in tqdm(list(combinations(design, 2)), desc="compare crossed SAEs", disable=None):
        comparison = compare(lab, design[a], design[b])
        differs = tuple(x != y for x, y in zip(a, b, strict=True))
        rows.append({"a": a, "b": b, "differs": differs, "r": float(np.nanmean(comparison.r))})
    return pd.DataFrame(rows)


def by_factors(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return mean, lowest and highest r of the pairs that differ in each set of factors."""
    rows = [
        {name: "differs" if is_so else "same" for name, is_so in zip(FACTORS, differs, strict=True)}
        | {"pairs": len(part), "r": part["r"].mean(), "lowest": part["r"].min(), "highest": part["r"].max()}
        for differs, part in pairs.groupby("differs", sort=False)
    ]
    return pd.DataFrame(rows).sort_values("r", ascending=False, ignore_index=True)


def drops(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return how much lower r is when one more factor differs: paired differences r(x, y) − r(x, y′).

    y and y′ differ only in that factor, where y agrees with x and y′ does not; x and y differ in another factor.
    ``alone`` is r where only that factor differs.
    """
    r = {frozenset((a, b)): value for a, b, value in zip(pairs["a"], pairs["b"], pairs["r"], strict=True)}
    levels = sorted(set(pairs["a"]) | set(pairs["b"]))
    rows = []
    for f, name in enumerate(FACTORS):
        alone = [r[frozenset(pair)] for pair in combinations(levels, 2) if _differ(*pair) == (f,)]
        paired = [
            r[frozenset((x, y))] - r[frozenset((x, z))]
            for x in levels
            for y in levels
            for z in levels
            if x != y and x[f] == y[f] and _differ(y, z) == (f,)
        ]
        rows.append(
            {"factor": name, "alone": np.mean(alone), "alone_lowest": min(alone), "alone_highest": max(alone)}
            | {"drop": np.mean(paired), "drop_lowest": min(paired), "drop_highest": max(paired), "n": len(paired)}
        )
    return pd.DataFrame(rows)


def _differ(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(f for f, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
