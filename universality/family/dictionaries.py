"""Dictionaries of a family graph: the numbers that it keeps of each, and checks that they belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import MismatchError
from universality.features.specificity import kind_purity
from universality.features.storage.elements import ACTIVATION
from universality.similarity.engine.token_selection import check_same_tokens
from universality.similarity.measures.decoder import check_same_space

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Level:
    """One dictionary of a family graph.

    Parameters
    ----------
    name
        File name of its store, for display.
    n_tokens
        Number of tokens of the store.
    count
        int64 ``[width]`` number of firings of each feature.
    max_activation
        float32 ``[width]`` largest activation of each feature.
    purity
        float64 ``[width]`` share of each feature's activation mass in its kind, 0 if it never fires.
    kind
        ``[width]`` name of the kind of text with most of its activation mass, None if it never fires.
    """

    name: str
    n_tokens: int
    count: IntArray
    max_activation: npt.NDArray[np.float32]
    purity: FloatArray
    kind: tuple[str | None, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.count)

    @property
    def alive(self) -> BoolArray:
        """Whether each feature fires at least once: bool ``[width]``."""
        return self.count > 0

    @property
    def density(self) -> FloatArray:
        """Share of tokens on which each feature fires: float64 ``[width]``."""
        return self.count / max(1, self.n_tokens)

    def eligible(self, min_firings: int) -> BoolArray:
        """Flag the features that fire often enough to have edges: bool ``[width]``."""
        return self.count >= max(1, min_firings)


def read_level(store: "FeatureStore") -> Level:
    """Read the numbers that the family graph keeps of one store."""
    moments = store.moments()
    purity, kind = kind_purity(store)
    return Level(store.path.name, store.n_tokens, moments.count, moments.max, purity, tuple(kind))


def unit_decoder(store: "FeatureStore") -> npt.NDArray[np.float32]:
    """Return the decoder rows at unit length, zero rows unchanged: float32 ``[width, d_in]``."""
    rows = store.decoder_rows()
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norm > 0, norm, 1), dtype=np.float32)


def check_stores(stores: Sequence["FeatureStore"]) -> None:
    """Check that stores are dictionaries of rising width of one model at one site over the same tokens.

    Raises
    ------
    MismatchError
        Names the first store that does not fit, and the reason.
    UniversalityError
        When a store holds no decoder rows.
    """
    if len(stores) < 2:
        raise MismatchError(
            f"families need dictionaries of at least two widths, found {len(stores)}; collect features "
            "from SAEs of several widths of one model"
        )
    for small, large in pairwise(stores):
        if large.n_features <= small.n_features:
            raise MismatchError(
                f"{large.path}: {large.n_features} features after {small.n_features} in {small.path}; "
                "give the stores by rising width, one a width"
            )
        check_related(small, large)
    for store in stores:
        check_fires(store)
        if store.quantity != ACTIVATION:
            raise MismatchError(
                f"{store.path}: holds values of quantity {store.quantity!r}, families are built from activations; "
                "build them from those, then compare the effects of parents and children by Similarity.effect"
            )


def check_reseeded(stores: Sequence["FeatureStore"], others: Sequence["FeatureStore"]) -> list[int]:
    """Find the level whose width each further store has, and check that it belongs there."""
    widths = [store.n_features for store in stores]
    for other in others:
        if other.n_features not in widths:
            raise MismatchError(
                f"{other.path}: {other.n_features} features, expected one of the families' widths, "
                f"{', '.join(map(str, widths))}: another seed is compared at equal width"
            )
        store = stores[widths.index(other.n_features)]
        check_related(store, other)
        check_fires(other)
        # A copy would count every feature as persisting and hide how much two seeds differ.
        if np.array_equal(store.decoder_rows(), other.decoder_rows()):
            raise MismatchError(f"{other.path}: the decoder of {store.path} itself, expected an SAE of another seed")
    return [widths.index(other.n_features) for other in others]


def check_related(a: "FeatureStore", b: "FeatureStore") -> None:
    """Check that two stores are of one model, site and token stream, with decoder rows of one width."""
    check_same_tokens(a, b)
    rows_a, rows_b = a.decoder_rows(), b.decoder_rows()
    if rows_a.shape[1] != rows_b.shape[1]:
        raise MismatchError(
            f"{b.path}: decoder rows of width {rows_b.shape[1]}, but {a.path} has {rows_a.shape[1]}; "
            "the SAEs of a family read one site of one model"
        )
    check_same_space(a, b)


def check_fires(store: "FeatureStore") -> None:
    """Check that some feature of a dictionary fires."""
    if not store.alive.any():
        raise MismatchError(
            f"{store.path}: every one of its {store.n_features} features is dead on these tokens, so "
            "nothing could be its child; train that SAE again or leave it out"
        )
