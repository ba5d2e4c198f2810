"""A sample of firings, and how far their first-order effects are from exact ones.

Firings are drawn from strata of the feature's density and of the effect's size, the same number from each, so that rare
features and large effects are seen. Numbers over several strata weight each firing by how many it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.archive import read_archive, write_archive
from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import MismatchError, UniversalityError

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

N_STRATA = 5
"""Classes of density, and of size within each."""
FEATURES_A_STRATUM = 40
"""Most features that a class of density is represented by."""
FIRINGS_A_STRATUM = 5_000_000
"""Most firings of these that are read, from one feature on: 200 MB."""
_FORMAT, _VERSION = "universality.exact-effects", 1


@dataclass(frozen=True, eq=False)
class FiringSample:
    """Firings of features on tokens, arrays [n].

    Parameters
    ----------
    feature, row
        Indices of the feature and of the store's row.
    activation
        Values in the store of activations.
    first_order
        First-order effects, in nats.
    density, size
        Stratum: class of the feature's density, and of the effect's absolute size within that class, from 0 for the
        lowest.
    weight
        Number of firings that each stands for.
    """

    feature: IntArray
    row: IntArray
    activation: FloatArray
    first_order: FloatArray
    density: IntArray
    size: IntArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.feature)


def sample_firings(activations: FeatureStore, effects: FeatureStore, n: int = 2000, seed: int = 0) -> FiringSample:
    """Draw firings, stratified by the feature's density and the size of the first-order effect.

    The last token of each block, on which no prediction depends, is left out. Living features are divided into
    ``N_STRATA`` classes of equal number by density; up to ``FEATURES_A_STRATUM`` of each class are drawn (fewer if they
    have more than ``FIRINGS_A_STRATUM`` firings), and their firings are divided into as many classes by the effect's
    absolute size.

    Parameters
    ----------
    activations, effects
        Stores of one SAE over the same tokens.
    n
        Number of firings; fewer where a stratum has too few.
    seed
        Seed for the draws.

    Raises
    ------
    MismatchError
        If the stores are of other tokens, SAEs or quantities.
    UniversalityError
        If no feature fires.
    """
    check_same_features(activations, effects)
    counts, rng = activations.moments().count, np.random.default_rng([seed, 0xEFFEC7])
    living = np.flatnonzero(counts)
    if not living.size or n < 1:
        raise UniversalityError(
            f"{activations.path}: expected features that fire and n >= 1, found {living.size} and n = {n}"
        )
    followed = has_successor(activations)
    ranked = living[np.argsort(counts[living], kind="stable")]
    strata = []
    for density, features in enumerate(np.array_split(ranked, N_STRATA)):
        drawn = rng.permutation(features)[:FEATURES_A_STRATUM]
        fits = np.cumsum(counts[drawn]) <= FIRINGS_A_STRATUM
        chosen = np.sort(drawn[: max(1, int(fits.sum()))]) if drawn.size else drawn
        firings = _firings(activations, effects, chosen, followed)
        firings["weight"] = np.full(len(firings["row"]), counts[features].sum() / max(1, counts[chosen].sum()))
        strata += list(_by_size(firings, density, -(-n // N_STRATA**2), rng))
    joined = {name: np.concatenate([part[name] for part in strata]) for name in strata[0]}
    return FiringSample(**joined)


def _firings(
    activations: FeatureStore, effects: FeatureStore, features: IntArray, followed: BoolArray
) -> dict[str, npt.NDArray[Any]]:
    """All firings of some features on tokens that another follows."""
    from universality.features.storage.selected import read_features

    stored = {i: (rows, values) for i, rows, values in read_features(effects, features)}
    parts: dict[str, list[npt.NDArray[Any]]] = {"feature": [], "row": [], "activation": [], "first_order": []}
    for i, rows, values in read_features(activations, features):
        at, effect = stored[i]
        place = np.minimum(np.searchsorted(at, rows), max(0, len(at) - 1))
        known = at[place] == rows if len(at) else np.zeros(len(rows), bool)
        first_order = np.where(known, effect[place] if len(at) else 0.0, 0.0)  # effects of exactly 0 are not stored
        kept = followed[rows]
        for name, column in {"row": rows, "activation": values, "first_order": first_order}.items():
            parts[name].append(column[kept])
        parts["feature"].append(np.full(int(kept.sum()), i))
    dtypes = {"feature": np.int64, "row": np.int64, "activation": np.float64, "first_order": np.float64}
    return {name: np.concatenate(columns or [np.zeros(0)]).astype(dtypes[name]) for name, columns in parts.items()}


def _by_size(
    firings: dict[str, npt.NDArray[Any]], density: int, n: int, rng: np.random.Generator
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Draw n firings from each class of size."""
    # ties, above all effects of 0, are divided at random
    order = np.lexsort((rng.random(len(firings["row"])), np.abs(firings["first_order"])))
    for size, members in enumerate(np.array_split(order, N_STRATA)):
        drawn = np.sort(rng.permutation(members)[:n])
        part = {name: column[drawn] for name, column in firings.items()}
        part["weight"] = part["weight"] * len(members) / max(1, len(drawn))
        yield part | {"density": np.full(len(drawn), density), "size": np.full(len(drawn), size)}


def has_successor(store: FeatureStore) -> BoolArray:
    """Flag the rows that another follows in the same block, bool [n_tokens]."""
    tokens = store.tokens
    followed = np.zeros(store.n_tokens, bool)
    followed[:-1] = (np.diff(tokens.position) == 1) & (np.diff(tokens.document) == 0)
    return followed


def check_same_features(activations: FeatureStore, effects: FeatureStore) -> None:
    """Refuse a store of effects that does not belong to a store of activations.

    Raises
    ------
    MismatchError
        If quantities, tokens, models or SAEs differ.
    """
    for store, quantity in ((activations, "activation"), (effects, "effect")):
        if store.quantity != quantity:
            raise MismatchError(f"{store.path}: expected a store of quantity {quantity!r}, found {store.quantity!r}")
    if activations.tokens_hash != effects.tokens_hash:
        raise MismatchError(f"{effects.path}: its tokens are not those of {activations.path}; collect both from them")
    for key in ("model", "sae", "site", "site_out"):
        if activations.provenance.get(key) != effects.provenance.get(key):
            raise MismatchError(
                f"{effects.path}: its {key} is {effects.provenance.get(key)}, that of {activations.path} "
                f"{activations.provenance.get(key)}; give two stores of one SAE"
            )


def read_gradient_norms(store: FeatureStore) -> npt.NDArray[np.float32]:
    """Read the norms of the loss gradient that `collect_effects` wrote, float32 [n_tokens].

    Raises
    ------
    MismatchError
        If the store holds something else.
    """
    if store.quantity != "gradient_norm":
        raise MismatchError(f"{store.path}: expected a store of quantity 'gradient_norm', found {store.quantity!r}")
    return np.asarray(store.csr().toarray()[:, 0])


@dataclass(frozen=True)
class Accuracy:
    """Agreement of first-order with exact effects over some firings.

    Parameters
    ----------
    n
        Firings in the sample.
    spearman
        Rank correlation; NaN where one side does not vary.
    slope
        Least-squares slope of exact on first-order effects through 0: 1 where these are right on average, below 1
        where they are too large.
    sign
        Share of the firings whose two effects have one sign, or are both 0.
    mean_first_order, mean_exact
        Mean absolute effects, in nats.
    """

    n: int
    spearman: float
    slope: float
    sign: float
    mean_first_order: float
    mean_exact: float


@dataclass(frozen=True, eq=False)
class ExactEffects:
    """Exact effects of sampled firings: ΔL in nats when the feature is ablated at the token alone.

    Parameters
    ----------
    firings
        The sample.
    exact
        float64 [n], the loss summed from the token on without the feature, minus the loss with it.
    provenance
        Record of the model, the SAE and the sample.

    Examples
    --------
    >>> column, same = np.array([1.0, 2.0]), np.zeros(2, int)
    >>> firings = FiringSample(np.arange(2), np.arange(2), column, column / 10, same, same, column)
    >>> result = ExactEffects(firings, column / 20, {})
    >>> result.accuracy().slope, result.accuracy().spearman
    (0.5, 1.0)
    """

    firings: FiringSample
    exact: FloatArray
    provenance: dict[str, Any]

    def accuracy(self, where: BoolArray | None = None) -> Accuracy:
        """Compare the two effects over the sample, or over some of its firings, weighted by what each stands for."""
        at = np.ones(len(self.firings), bool) if where is None else where
        x, y, weight = self.firings.first_order[at], self.exact[at], self.firings.weight[at]
        if not x.size:
            return Accuracy(0, *[float("nan")] * 5)
        squares = float(weight @ x**2)
        return Accuracy(
            n=int(x.size),
            spearman=_correlation(_ranks(x, weight), _ranks(y, weight), weight),
            slope=float(weight @ (x * y)) / squares if squares else float("nan"),
            sign=float(np.average(np.sign(x) == np.sign(y), weights=weight)),
            mean_first_order=float(np.average(np.abs(x), weights=weight)),
            mean_exact=float(np.average(np.abs(y), weights=weight)),
        )

    def summary(self) -> pd.DataFrame:
        """Accuracy over all firings, by class of density, and by class of size within a class of density.

        Returns
        -------
        DataFrame
            Columns ``by`` ("all", "density", "size"), ``stratum`` (0 for the rarest features or the smallest effects)
            and those of `Accuracy`.
        """
        rows = [{"by": "all", "stratum": 0, **asdict(self.accuracy())}]
        for by, stratum in (("density", self.firings.density), ("size", self.firings.size)):
            rows += [{"by": by, "stratum": k, **asdict(self.accuracy(stratum == k))} for k in range(N_STRATA)]
        return pd.DataFrame(rows)

    def to_frame(self) -> pd.DataFrame:
        """One row a firing."""
        return pd.DataFrame({**vars(self.firings), "exact": self.exact})

    def save(self, path: str | Path) -> Path:
        """Write a .json or .npz file."""
        return write_archive(path, _FORMAT, _VERSION, {"provenance": self.provenance}, self._arrays())

    @classmethod
    def load(cls, path: str | Path) -> ExactEffects:
        """Read a file that `save` wrote.

        Raises
        ------
        FormatError
            If it is not whole, or of another format.
        """
        header, arrays = read_archive(path, _FORMAT, _VERSION)
        exact = arrays.pop("exact")
        return cls(FiringSample(**arrays), exact, header["provenance"])

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {**vars(self.firings), "exact": self.exact}


def _ranks(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Weighted midranks: the weight below each value, and half of the weight equal to it."""
    distinct, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weight, len(distinct))
    return np.asarray((np.cumsum(mass) - mass / 2)[place])


def _correlation(x: FloatArray, y: FloatArray, weight: FloatArray) -> float:
    x, y = x - np.average(x, weights=weight), y - np.average(y, weights=weight)
    scale = float(np.sqrt((weight @ x**2) * (weight @ y**2)))
    return float(weight @ (x * y)) / scale if scale else float("nan")
