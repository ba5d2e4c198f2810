"""What raises the agreement of SAEs: an L2 penalty on the encoder, or nested widths?

Jedryszek & Crook 2026 (arXiv 2603.04198) report that an L2 penalty on the weights of TopK SAEs raises the share of
features that three seeds share. Their penalty also silences features, and any change that lowers the explained variance
may change agreement by itself. So all variants have the same L0, and each is compared with the plain trainer twice:
after equally many tokens, and at equal explained variance, interpolated between plain SAEs trained for fewer and more
tokens. Shares are of living features and of all, since a share of the living rises when the others fall silent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from intervals import Estimate, Pair, of_differences, of_independent, over_seeds
from laboratory import Laboratory, Wanted, topk
from tqdm import tqdm

from universality import FeatureStore, calibrate
from universality.config import SEEDS_OF_A_MODEL
from universality.files import read_json, write_json
from universality.matching.medians import median_of_all
from universality.sae import SAESpec
from universality.statistics import shared_by_weights

PLAIN, K, WIDTH, NESTED = "TopK", 24, 1024, (128, 256, 512)
DECAYS = (1e-5, 3e-5, 1e-4)
ACROSS = (PLAIN, f"{PLAIN}, decay {DECAYS[1]:g}", "Matryoshka")
"""Variants that are compared between models too."""
TOKENS = 2_500_000
"""Tokens of each SAE by default, as in the library's configuration."""
SHARES = (0.5, 1, 1.5)
"""Shares of the tokens after which plain SAEs are made, between which agreement is interpolated."""
MODELS = ("starter/seed0", "starter/seed1")
RECURS_AT, Q, REPLICATES = 0.7, 0.05, 2
MEASURES = ("recurs", "recurs_of_all", "median_r", "shared", "shared_of_all", "pw_mcc")
"""Share of the living, and of all, features with a partner at held-out r ≥ 0.7 and q ≤ 0.05; median held-out r; share
of the living, and of all, with one partner at cosine 0.7 by encoder and decoder; mean decoder cosine of partners. The
last three compare weights, which two models do not share."""
Measured = Mapping[Pair, Mapping[str, float]]
Trained = tuple[str, int]  # variant, tokens


@cache
def variants() -> dict[str, SAESpec]:
    """Return the settings of every variant, with seed 0."""
    decays = {f"{PLAIN}, decay {decay:g}": topk(K, WIDTH, weight_decay=decay) for decay in DECAYS}
    return {
        PLAIN: topk(K, WIDTH),
        **decays,
        "BatchTopK": topk(K, WIDTH, architecture="batchtopk"),
        "Matryoshka": topk(K, WIDTH, architecture="matryoshka", nested=NESTED),
    }


def wanted(variant: str, seed: int, tokens: int) -> Wanted:
    """Return an SAE; seeds of 1,000 and more are of the second model, so that no two SAEs begin alike."""
    model = MODELS[seed // SEEDS_OF_A_MODEL]
    return Wanted(replace(variants()[variant], seed=seed), model, tokens)


def pairs(seeds: Sequence[int]) -> dict[str, list[Pair]]:
    """Return the pairs of SAEs that are compared: of one model, and of two."""
    return {"two seeds": list(combinations(seeds, 2)), "two models": [(s, SEEDS_OF_A_MODEL + s) for s in seeds]}


def compared(kind: str, tokens: int) -> list[Trained]:
    """Return the variants that a kind of pair compares; of one model the plain one also after fewer and more tokens."""
    if kind == "two models":
        return [(variant, tokens) for variant in ACROSS]
    plain = [(PLAIN, round(share * tokens)) for share in SHARES]
    return list(dict.fromkeys([*((variant, tokens) for variant in variants()), *plain]))


def all_wanted(seeds: Sequence[int], tokens: int) -> list[Wanted]:
    """Return every SAE of the study."""
    every = (
        wanted(variant, seed, length)
        for kind, those in pairs(seeds).items()
        for variant, length in compared(kind, tokens)
        for pair in those
        for seed in pair
    )
    return list(dict.fromkeys(every))


def agreement(a: FeatureStore, b: FeatureStore, by_weights: bool) -> dict[str, float]:
    """Measure the agreement of two dictionaries over the same tokens; NaN for weights of two models."""
    found = calibrate(a, b, null="global", replicates=REPLICATES, bootstrap=0)
    living, every = float(a.alive.sum() + b.alive.sum()) / 2, (a.n_features + b.n_features) / 2
    recurs = float(((found.held_out >= RECURS_AT) & (found.q <= Q)).sum())
    shared = pw_mcc = float("nan")
    if by_weights:
        weights = shared_by_weights(a, b)
        shared, pw_mcc = float(weights["shared"].sum()), float(np.nanmean(weights["decoder_cosine"]))
    return {
        "recurs": recurs / living,
        "recurs_of_all": recurs / every,
        "median_r": float(median_of_all(found.held_out, int(living))),
        "shared": shared / living,
        "shared_of_all": shared / every,
        "pw_mcc": pw_mcc,
        "alive": living / every,
    }


def measured(lab: Laboratory, a: Wanted, b: Wanted) -> dict[str, float]:
    """Measure two SAEs of a laboratory, or read what an earlier call measured."""
    path = lab.root / "agreement" / f"{a.name}--{b.name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with lab.store(a) as first, lab.store(b) as second:
            numbers = agreement(first, second, by_weights=a.model == b.model)
        quality = [lab.quality(sae) for sae in (a, b)]
        numbers |= {name: float(np.mean([q[name] for q in quality])) for name in ("explained_variance", "l0")}
        write_json(path, {name: None if np.isnan(value) else value for name, value in numbers.items()})
    return {name: float("nan") if value is None else value for name, value in read_json(path).items()}


def at_variance(explained: float, curve: Sequence[tuple[float, float]]) -> float:
    """Interpolate a measure at an explained variance; NaN outside of the curve's.

    Parameters
    ----------
    curve
        (explained variance, measure) of the plain trainer at several lengths.
    """
    x, y = np.array(sorted(curve)).T
    return float(np.interp(explained, x, y)) if x[0] <= explained <= x[-1] else float("nan")


def table(lab: Laboratory, seeds: Sequence[int], tokens: int) -> pd.DataFrame:
    """Train the missing SAEs, and return one line for each kind of pair, variant and length of training."""
    lab.make(all_wanted(seeds, tokens))
    rows: list[dict[str, Any]] = []
    for kind, those in pairs(seeds).items():
        numbers = {
            (variant, length): {pair: measured(lab, *(wanted(variant, s, length) for s in pair)) for pair in those}
            for variant, length in tqdm(compared(kind, tokens), desc=f"compare {kind}", disable=None)
        }
        rows += _rows(kind, numbers, tokens)
    return pd.DataFrame(rows)


def _rows(kind: str, numbers: Mapping[Trained, Measured], tokens: int) -> Iterator[dict[str, Any]]:
    plain = numbers[PLAIN, tokens]
    curves = [of_pairs for (variant, _), of_pairs in numbers.items() if variant == PLAIN]
    for (variant, length), of_pairs in numbers.items():
        row: dict[str, Any] = {"pairs": kind, "variant": variant, "tokens": length}
        for name in ("l0", "alive", "explained_variance"):
            row[name] = np.mean([numbers_[name] for numbers_ in of_pairs.values()])
        for measure in MEASURES if kind == "two seeds" else MEASURES[:3]:
            each = {pair: numbers_[measure] for pair, numbers_ in of_pairs.items()}
            like = {
                pair: at_variance(
                    numbers_["explained_variance"],
                    [(curve[pair]["explained_variance"], curve[pair][measure]) for curve in curves],
                )
                for pair, numbers_ in of_pairs.items()
            }
            same_tokens = of_differences(each, {pair: plain[pair][measure] for pair in each})
            for name, values in (
                (measure, each),
                (f"{measure}_gain", same_tokens),
                (f"{measure}_gain_at_equal_variance", of_differences(each, like)),
            ):
                estimate = _estimate(kind, values)
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        yield row


def _estimate(kind: str, values: Mapping[Pair, float]) -> Estimate:
    if any(np.isnan(value) for value in values.values()):  # a mean of the pairs that remain would be of other seeds
        return Estimate(*[float("nan")] * 3)
    return over_seeds(values) if kind == "two seeds" else of_independent(values)
