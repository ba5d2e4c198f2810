"""SAEs of one model that differ in their seed: what they share, by width, k, training and frequency; TopK or ReLU.

Sources: Paulo & Belrose 2025 (which share of features two seeds share, falling with width and k, rising with training;
> 90% for ReLU against 42% for TopK), Song et al. 2025 (PW-MCC, rising with firing frequency; TopK 0.818 against 0.474
for ReLU). The two disagree on TopK against ReLU; neither matched L0 and the number of living features at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from compare import Compared, compare
from intervals import Estimate, Pair, of_differences, of_draws, over_seeds
from laboratory import Laboratory, Wanted, relu, topk
from tqdm import tqdm

from universality import Similarity, match
from universality.statistics import SONG_EDGES, by_frequency

KS, WIDTHS, GRID_WIDTHS = (8, 16, 32, 64), (256, 512, 1024, 2048), (512, 1024)
TOKENS = (125_000, 250_000, 500_000, 1_000_000)
PENALTIES = (3e-3, 4e-3, 5.5e-3, 7.5e-3)
K, WIDTH, FULL = 16, 1024, 1_000_000
MEASURES: dict[str, Callable[[Compared], float]] = {
    "shared": lambda found: float(np.nanmean(found.shared)),
    "pw_mcc": lambda found: found.pw_mcc,
    "encoder": lambda found: float(np.nanmean(found.encoder)),
    "r": lambda found: float(np.nanmean(found.r)),
}
"""Share of features with one partner at cosine 0.7 by encoder and decoder; mean cosines of decoder and of encoder rows
with their own one-to-one partners; mean held-out r of the partners by activation, of the pairs that are scored."""

Key = tuple[str, float, int, int]  # architecture, k or penalty, width, tokens


@dataclass(frozen=True, eq=False)
class Setting:
    """One kind of SAE over its seeds: every pair of seeds compared, and what each SAE is like."""

    key: Key
    pairs: Mapping[Pair, Compared]
    l0: Mapping[int, float]
    explained: Mapping[int, float]
    n_tokens: int

    def each(self, measure: str) -> dict[Pair, float]:
        """A measure of every pair of seeds."""
        return {pair: MEASURES[measure](found) for pair, found in self.pairs.items()}

    def row(self) -> dict[str, Any]:
        """A line of the table."""
        kind, sparsity, width, tokens = self.key
        found: dict[str, Any] = {"architecture": kind, "sparsity": sparsity, "width": width, "tokens": tokens}
        found |= {
            "seeds": len(self.l0),
            "l0": np.mean(list(self.l0.values())),
            "alive": np.mean([one.alive.mean() for one in self.pairs.values()]),
            "explained": np.mean(list(self.explained.values())),
        }
        for name in MEASURES:
            estimate = over_seeds(self.each(name))
            found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        documents = of_draws(float(found["r"]), np.mean([one.draws for one in self.pairs.values()], axis=0))
        return found | {"r_documents_low": documents.low, "r_documents_high": documents.high}


def keys() -> list[Key]:
    """Everything that is trained: TopK by k at two widths, by width and by tokens at one k; ReLU by penalty."""
    found: list[Key] = [("topk", k, width, FULL) for width in GRID_WIDTHS for k in KS]
    found += [("topk", K, width, FULL) for width in WIDTHS]
    found += [("topk", K, WIDTH, tokens) for tokens in TOKENS]
    found += [("relu", l1, WIDTH, FULL) for l1 in PENALTIES]
    return list(dict.fromkeys(found))


def wanted(key: Key, seed: int) -> Wanted:
    """The SAE of a setting with a seed."""
    kind, sparsity, width, tokens = key
    spec = topk(int(sparsity), width, seed) if kind == "topk" else relu(sparsity, width, seed)
    return Wanted(spec, tokens=tokens)


def settings(lab: Laboratory, seeds: Sequence[int]) -> dict[Key, Setting]:
    """Make what is missing, and compare every two seeds of every setting."""
    lab.make(wanted(key, seed) for key in keys() for seed in seeds)
    return {key: _setting(lab, key, seeds) for key in tqdm(keys(), desc="compare SAE seeds", disable=None)}


def _setting(lab: Laboratory, key: Key, seeds: Sequence[int]) -> Setting:
    pairs = {(i, j): compare(lab, wanted(key, i), wanted(key, j)) for i, j in combinations(seeds, 2)}
    quality = {seed: lab.quality(wanted(key, seed)) for seed in seeds}
    with lab.store(wanted(key, seeds[0])) as store:
        n_tokens = store.n_tokens
    l0, explained = ({s: q[name] for s, q in quality.items()} for name in ("l0", "explained_variance"))
    return Setting(key, pairs, l0, explained, n_tokens)


def table(found: Mapping[Key, Setting]) -> pd.DataFrame:
    """Every setting, a line each."""
    return pd.DataFrame([setting.row() for setting in found.values()])


def untrained(width: int, d_in: int = 512) -> float:
    """PW-MCC of two random dictionaries of unit rows."""
    x, y = np.random.default_rng(0).normal(size=(2, width, d_in))
    unit = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return float(match(Similarity.from_factors(*unit)).scores.mean())


def frequency(found: Mapping[Key, Setting], key: Key) -> pd.DataFrame:
    """Song et al.'s classes of firings per million tokens: mean decoder cosine, with the seeds' interval."""
    setting = found[key]
    classes = {pair: by_frequency(one.decoder, one.firings, setting.n_tokens) for pair, one in setting.pairs.items()}
    rows = []
    for c, (low, high) in enumerate(pairwise(SONG_EDGES)):
        estimate = over_seeds({pair: float(part.loc[c, "mean"]) for pair, part in classes.items()})
        n = np.mean([part.loc[c, "n"] for part in classes.values()])
        rows.append({"low": low, "high": high, "n": n, "pw_mcc": estimate.value}
                    | {"pw_mcc_low": estimate.low, "pw_mcc_high": estimate.high})  # fmt: skip
    return pd.DataFrame(rows)


def topk_against_relu(found: Mapping[Key, Setting]) -> pd.DataFrame:
    """TopK less ReLU at the ReLU SAEs' L0 and number of living features, a line a penalty and measure.

    TopK is interpolated linearly in log L0 between its k and in log(living features) between its widths, for each
    pair of seeds on its own; the difference is taken pair by pair (both began with the same decoder). Penalties whose
    L0 or living features lie outside of what TopK spans are left out, not extrapolated.
    """
    return pd.DataFrame(list(_matched(found)))


def _matched(found: Mapping[Key, Setting]) -> Iterator[dict[str, object]]:
    for key in (key for key in found if key[0] == "relu"):
        relu_ = found[key]
        for name in MEASURES:
            like = {pair: _topk_like(found, relu_, pair, name) for pair in relu_.pairs}
            if any(np.isnan(value) for value in like.values()):
                continue
            same_width = {pair: _at_width(found, WIDTH, _l0(relu_, pair), pair, name)[0] for pair in relu_.pairs}
            row = relu_.row()
            yield {"l1": key[1], "l0": row["l0"], "alive": row["alive"], "measure": name} | {
                f"{side}{bound}": value
                for side, estimate in (
                    ("topk", over_seeds(like)),
                    ("relu", over_seeds(relu_.each(name))),
                    ("difference", over_seeds(of_differences(like, relu_.each(name)))),
                    ("equal_width_difference", over_seeds(of_differences(same_width, relu_.each(name)))),
                )
                for bound, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
            }


def _topk_like(found: Mapping[Key, Setting], relu_: Setting, pair: Pair, measure: str) -> float:
    """What two TopK SAEs of this pair's L0 and living features would give; NaN outside of the grid."""
    at = [_at_width(found, width, _l0(relu_, pair), pair, measure) for width in GRID_WIDTHS]
    values, living = np.array(at).T
    wanted_ = float(relu_.pairs[pair].alive.mean())
    if not living.min() * 0.98 <= wanted_ <= living.max() * 1.02:  # two per cent are no extrapolation
        return float("nan")
    return float(np.interp(np.log(wanted_), np.log(living), values))


def _at_width(found: Mapping[Key, Setting], width: int, l0: float, pair: Pair, measure: str) -> tuple[float, float]:
    """(measure, living features) of TopK at a width and an L0 between its k."""
    grid = [found["topk", k, width, FULL] for k in KS]
    at = np.log(l0)
    if not np.log(KS[0]) <= at <= np.log(KS[-1]):
        return float("nan"), float("nan")
    values = [MEASURES[measure](setting.pairs[pair]) for setting in grid]
    living = [float(setting.pairs[pair].alive.mean()) for setting in grid]
    return float(np.interp(at, np.log(KS), values)), float(np.interp(at, np.log(KS), living))


def _l0(setting: Setting, pair: Pair) -> float:
    return float(np.mean([setting.l0[seed] for seed in pair]))


def pooled(table_: pd.DataFrame, measure: str) -> Estimate:
    """The range of the matched differences over penalties: mean of the values, lowest and highest bound."""
    part = table_[table_["measure"] == measure] if len(table_) else table_
    if part.empty:
        return Estimate(*[float("nan")] * 3)
    return Estimate(part["difference"].mean(), part["difference_low"].min(), part["difference_high"].max())
