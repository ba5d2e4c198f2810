"""What SAEs of one model that differ in their seed share, by width, k, training and frequency; TopK against ReLU.

Sources: Paulo & Belrose 2025 (share of features that two seeds share, falling with width and k, rising with training;
> 90% for ReLU against 42% for TopK) and Song et al. 2025 (PW-MCC, rising with firing frequency; TopK 0.818 against
0.474 for ReLU). The two disagree on TopK against ReLU. Neither matched L0 and the number of living features at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from compare import Compared, compare
from intervals import Estimate, Pair, of_differences, of_draws, over_seeds
from laboratory import Laboratory, Wanted, relu, topk
from lengths import Length, name_of
from tqdm import tqdm

from universality import Similarity, match
from universality.statistics import SONG_EDGES, by_frequency

KS, WIDTHS, GRID_WIDTHS = (8, 16, 32, 64), (256, 512, 1024, 2048), (512, 1024)
K, WIDTH = 16, 1024
MEASURES: dict[str, Callable[[Compared], float]] = {
    "shared": lambda pair: float(np.nanmean(pair.shared)),
    "pw_mcc": lambda pair: pair.pw_mcc,
    "encoder": lambda pair: float(np.nanmean(pair.encoder)),
    "r": lambda pair: float(np.nanmean(pair.r)),
}
"""Share of features with one partner at cosine 0.7 by encoder and decoder; mean cosines of decoder and of encoder rows
with their respective one-to-one partners; mean held-out r of the scored pairs by activation."""

Key = tuple[str, float, int, int]  # architecture, k or penalty, width, tokens


@dataclass(frozen=True, eq=False)
class Setting:
    """The SAEs of one setting: comparisons of every pair of seeds, and each SAE's quality."""

    key: Key
    pairs: Mapping[Pair, Compared]
    l0: Mapping[int, float]
    explained: Mapping[int, float]
    n_tokens: int

    def each(self, measure: str) -> dict[Pair, float]:
        """Return a measure of every pair of seeds."""
        return {pair: MEASURES[measure](compared) for pair, compared in self.pairs.items()}

    def row(self) -> dict[str, Any]:
        """Return the setting's line of the table."""
        architecture, sparsity, width, tokens = self.key
        row: dict[str, Any] = {"training": name_of(tokens), "architecture": architecture, "sparsity": sparsity}
        row |= {
            "width": width,
            "tokens": tokens,
            "seeds": len(self.l0),
            "l0": np.mean(list(self.l0.values())),
            "alive": np.mean([compared.alive.mean() for compared in self.pairs.values()]),
            "explained": np.mean(list(self.explained.values())),
        }
        for name in MEASURES:
            estimate = over_seeds(self.each(name))
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        documents = of_draws(float(row["r"]), np.mean([compared.draws for compared in self.pairs.values()], axis=0))
        return row | {"r_documents_low": documents.low, "r_documents_high": documents.high}


def keys(length: Length) -> list[Key]:
    """Return the settings of a length: TopK by k at two widths, by width and by tokens at one k; ReLU by penalty."""
    settings: list[Key] = [("topk", k, width, length.tokens) for width in GRID_WIDTHS for k in KS]
    settings += [("topk", K, width, length.tokens) for width in WIDTHS]
    settings += [("topk", K, WIDTH, tokens) for tokens in length.trend]
    settings += [("relu", l1, WIDTH, length.tokens) for l1 in length.penalties]
    return list(dict.fromkeys(settings))


def all_wanted(seeds: Sequence[int], lengths: Iterable[Length]) -> list[Wanted]:
    """Return every SAE of the settings of some lengths."""
    return [wanted(key, seed) for length in lengths for key in keys(length) for seed in seeds]


def wanted(key: Key, seed: int) -> Wanted:
    """Return the SAE of a setting with a seed."""
    architecture, sparsity, width, tokens = key
    spec = topk(int(sparsity), width, seed) if architecture == "topk" else relu(sparsity, width, seed)
    return Wanted(spec, tokens=tokens)


def settings(lab: Laboratory, seeds: Sequence[int], lengths: Sequence[Length]) -> dict[Key, Setting]:
    """Train the missing SAEs, and compare every two seeds of every setting."""
    lab.make(all_wanted(seeds, lengths))
    every = [key for length in lengths for key in keys(length)]
    return {key: _setting(lab, key, seeds) for key in tqdm(every, desc="compare SAE seeds", disable=None)}


def _setting(lab: Laboratory, key: Key, seeds: Sequence[int]) -> Setting:
    pairs = {(i, j): compare(lab, wanted(key, i), wanted(key, j)) for i, j in combinations(seeds, 2)}
    quality = {seed: lab.quality(wanted(key, seed)) for seed in seeds}
    with lab.store(wanted(key, seeds[0])) as store:
        n_tokens = store.n_tokens
    l0, explained = ({s: q[name] for s, q in quality.items()} for name in ("l0", "explained_variance"))
    return Setting(key, pairs, l0, explained, n_tokens)


def table(settings: Mapping[Key, Setting]) -> pd.DataFrame:
    """Return the table of settings, one line each."""
    return pd.DataFrame([setting.row() for setting in settings.values()])


def untrained(width: int, d_in: int = 512) -> float:
    """Return the PW-MCC of two random dictionaries of unit rows."""
    x, y = np.random.default_rng(0).normal(size=(2, width, d_in))
    unit = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return float(match(Similarity.from_factors(*unit)).scores.mean())


def frequency(settings: Mapping[Key, Setting], key: Key) -> pd.DataFrame:
    """Return the mean decoder cosine by Song et al.'s classes of firings per million tokens, with intervals."""
    setting = settings[key]
    classes = {
        pair: by_frequency(compared.decoder, compared.firings, setting.n_tokens)
        for pair, compared in setting.pairs.items()
    }
    rows = []
    for c, (low, high) in enumerate(pairwise(SONG_EDGES)):
        estimate = over_seeds({pair: float(part.loc[c, "mean"]) for pair, part in classes.items()})
        n = np.mean([part.loc[c, "n"] for part in classes.values()])
        rows.append({"low": low, "high": high, "n": n, "pw_mcc": estimate.value}
                    | {"pw_mcc_low": estimate.low, "pw_mcc_high": estimate.high})  # fmt: skip
    return pd.DataFrame(rows)


def topk_against_relu(settings: Mapping[Key, Setting]) -> pd.DataFrame:
    """Subtract ReLU from TopK at the ReLU SAEs' tokens, L0 and living features, per penalty and measure.

    TopK is interpolated linearly in log L0 between its k and in log(living features) between its widths, for each
    pair of seeds on its own; the difference is taken pair by pair (both began with the same decoder). Penalties whose
    L0 or living features lie outside of what TopK spans are left out, not extrapolated.
    """
    return pd.DataFrame(list(_matched(settings)))


def _matched(settings: Mapping[Key, Setting]) -> Iterator[dict[str, object]]:
    for key in (key for key in settings if key[0] == "relu"):
        relu_ = settings[key]
        for name in MEASURES:
            like = {pair: _topk_like(settings, relu_, pair, name) for pair in relu_.pairs}
            if any(np.isnan(value) for value in like.values()):
                continue
            same_width = {pair: _at_width(settings, WIDTH, relu_, pair, name)[0] for pair in relu_.pairs}
            row = relu_.row()
            yield {
                "training": row["training"],
                "l1": key[1],
                "l0": row["l0"],
                "alive": row["alive"],
                "measure": name,
            } | {
                f"{side}{bound}": value
                for side, estimate in (
                    ("topk", over_seeds(like)),
                    ("relu", over_seeds(relu_.each(name))),
                    ("difference", over_seeds(of_differences(like, relu_.each(name)))),
                    ("equal_width_difference", over_seeds(of_differences(same_width, relu_.each(name)))),
                )
                for bound, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
            }


def _topk_like(settings: Mapping[Key, Setting], relu_: Setting, pair: Pair, measure: str) -> float:
    """Interpolate the measure of TopK SAEs with this pair's L0 and living features; NaN outside the grid."""
    at = [_at_width(settings, width, relu_, pair, measure) for width in GRID_WIDTHS]
    values, living = np.array(at).T
    wanted_ = float(relu_.pairs[pair].alive.mean())
    if not living.min() * 0.98 <= wanted_ <= living.max() * 1.02:  # 2% outside the grid is not yet extrapolation
        return float("nan")
    return float(np.interp(np.log(wanted_), np.log(living), values))


def _at_width(
    settings: Mapping[Key, Setting], width: int, relu_: Setting, pair: Pair, measure: str
) -> tuple[float, float]:
    """Interpolate (measure, living features) of TopK at a width, after the tokens and at the L0 of ReLU SAEs."""
    grid = [settings["topk", k, width, relu_.key[3]] for k in KS]
    at = np.log(np.mean([relu_.l0[seed] for seed in pair]))
    if not np.log(KS[0]) <= at <= np.log(KS[-1]):
        return float("nan"), float("nan")
    values = [MEASURES[measure](setting.pairs[pair]) for setting in grid]
    living = [float(setting.pairs[pair].alive.mean()) for setting in grid]
    return float(np.interp(at, np.log(KS), values)), float(np.interp(at, np.log(KS), living))


def pooled(table_: pd.DataFrame, measure: str) -> Estimate:
    """Pool the matched differences over penalties: mean of the values, lowest and highest bound."""
    part = table_[table_["measure"] == measure] if len(table_) else table_
    if part.empty:
        return Estimate(*[float("nan")] * 3)
    return Estimate(part["difference"].mean(), part["difference_low"].min(), part["difference_high"].max())
