"""Numbers on effects written into a run that was made by hand, as the stage ``effects`` would write them."""

import math
from typing import Any

import numpy as np
import pandas as pd

from universality.effects.firing_sample import ExactEffects, FiringSample
from universality.family import Families
from universality.pipeline.paths import RunFolder
from universality.statistics import Calibration, EffectAgreement, SharedLoss
from universality.statistics.carried_loss import SubsetLoss

NAME, THRESHOLDS, SEED = "A-B.w24", (0.5, 0.7), "A seed 1"
CONTROLS = ("same number", "same density", "same mass")


def plant_effects(folder: RunFolder, *, control_r: float = 0.05, shared: float = 0.76, slope: float = 1.04) -> None:
    """Write an agreement of A and B, of parents and children in A's families, and what the features of A carry.

    Parameters
    ----------
    control_r
        r per norm of every control; that of the pairs is 0.6, but for the first ten, with 0.3, and the last three,
        which were not compared.
    shared
        Share that the shared features recover; random ones of equal mass recover 0.60.
    slope
        Slope of exact on first-order effects.
    """
    (folder.root / "effects").mkdir(exist_ok=True)
    matched = Calibration.load(folder.calibration(NAME)).match
    agreement(matched.rows, matched.cols, control_r).save(folder.effect_agreement(NAME))
    edges = Families.load(folder.families("A")).edges
    agreement(edges.parent, edges.child).save(folder.family_effects("A", 16, 24))
    carried(shared).save(folder.shared_loss("A"))
    exact(slope).save(folder.exact_effects("A"))


def agreement(rows: Any, cols: Any, control_r: float = 0.05) -> EffectAgreement:
    """Return numbers of pairs: ten with r per norm 0.3 and q 0.2, then pairs with 0.6 and 0.01, three without any."""
    n, place = len(rows), np.arange(len(rows))
    compared = place < n - 3
    numbers = {
        "n": np.where(compared, 200, 12),
        "r": 0.7,
        "r_per_norm": np.where(place < 10, 0.3, 0.6),
        "ci_low": 0.25,
        "ci_high": 0.65,
        "null_r": 0.02,
        "p": 0.01,
        "q": np.where(place < 10, 0.2, 0.01),
        "p_opposite": 0.9,
        "q_opposite": 0.95,
        "sign_agreement": 0.71,
        "sign_chance": 0.52,
        "n_controls": 5,
        "overlap": 0.4,
        "control_r": control_r,
        "control_rank": np.where(place < 10, 2.0, 1.0),
        "ablation_r": 0.44,
        "ablation_control_r": 0.11,
        "ablation_rank": 1.0,
        "ceiling_a": 0.81,
        "ceiling_b": 0.84,
    }
    frame = pd.DataFrame({"row": rows, "col": cols, **numbers})
    known = [name for name in numbers if name not in ("n", "n_controls")]
    frame.loc[~compared, known] = np.nan
    frame["note"] = pd.Series(["" if good else "fire together on 12 tokens" for good in compared], dtype=object)
    return EffectAgreement(frame, {"fingerprints": ["ablation"]}, {"n_tokens": 4321}, (0.41, 0.48), 37)


def carried(shared: float = 0.76) -> SharedLoss:
    """Return losses of A's subsets at two thresholds, with partners in B and in a second seed."""
    rows = []
    for kept in (False, True):
        rows += [_subset("", math.nan, "all", kept, 1.0), _subset("", math.nan, "none", kept, 0.31)]
        for partners, threshold in ((name, t) for name in ("B", SEED) for t in THRESHOLDS):
            recovered = 0.97 if partners == SEED else shared
            rows.append(_subset(partners, threshold, "shared", kept, recovered))
            rows.append(_subset(partners, threshold, "unshared", kept, 0.94))
            rows += [_subset(partners, threshold, name, kept, 0.6, recovered - 0.6) for name in CONTROLS]
    return SharedLoss("A", 3.1, 3.2, 4.2, 3840, 120, 40, 2, tuple(rows))


def _subset(
    partners: str, threshold: float, subset: str, kept: bool, recovered: float, over: float = math.nan
) -> SubsetLoss:
    return SubsetLoss(
        partners, threshold, subset, kept, n_features=15, mass=0.63, loss=3.5, recovered=recovered,
        recovered_low=recovered - 0.03, recovered_high=recovered + 0.03, explained_variance=0.42, explained_low=0.4,
        explained_high=0.45, draws_low=0.59, draws_high=0.61, over_random=over, over_random_low=over - 0.02,
        over_random_high=over + 0.02,
    )  # fmt: skip


def exact(slope: float = 1.04) -> ExactEffects:
    """Return a sample of 100 firings whose exact effects are the first-order ones times a slope."""
    place = np.arange(100)
    first_order = np.linspace(-0.5, 1, 100)
    firings = FiringSample(place % 20, place, np.ones(100), first_order, place // 20, place % 5, np.ones(100))
    return ExactEffects(firings, slope * first_order, {})
