"""Similarities between all pairs of several stores, each read and measured once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy.typing as npt

from universality.errors import UniversalityError
from universality.similarity.engine.block_source import DEFAULT_BUDGET
from universality.similarity.engine.comoments import CoMoments
from universality.similarity.engine.side_moments import measure_side
from universality.similarity.engine.store_rows import ENTRY_BYTES, StoreRows, entries
from universality.similarity.engine.token_selection import check_same_tokens, select
from universality.similarity.engine.token_source import TokenSource
from universality.similarity.measures.activation import ActivationCosine, ActivationPearson
from universality.similarity.measures.firing import FiringJaccard, FiringPhi
from universality.similarity.similarity import Similarity

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

Measure: TypeAlias = Literal["activation", "cosine", "phi", "jaccard"]
_SOURCES: dict[Measure, type[TokenSource]] = {
    "activation": ActivationPearson,
    "cosine": ActivationCosine,
    "phi": FiringPhi,
    "jaccard": FiringJaccard,
}


def all_pairs(
    stores: Mapping[str, FeatureStore],
    measure: Measure = "activation",
    memory_budget: int = DEFAULT_BUDGET,
    documents: npt.ArrayLike | None = None,
) -> dict[tuple[str, str], Similarity]:
    """The same measure between every two of several stores over the same tokens.

    Parameters
    ----------
    stores
        At least two, by the names of their models.
    measure
        "activation" (Pearson's r), "cosine", "phi" or "jaccard".
    memory_budget
        Bytes for all stores in memory (and a second time for one of them), and again for each array of features x
        features.
    documents
        Only the tokens of these documents.

    Returns
    -------
    dict
        Similarities by (name, name), in the order of the mapping; the earlier name is the row side.

    Raises
    ------
    UniversalityError
        When there are fewer than two stores, or the measure is unknown.
    MismatchError
        When stores saw different tokens.
    """
    if len(stores) < 2:
        raise UniversalityError(f"all_pairs: expected at least two stores, found {len(stores)}")
    if measure not in get_args(Measure):
        raise UniversalityError(f"unknown measure {measure!r}; choose one of {', '.join(get_args(Measure))}")
    cls = _SOURCES[measure]
    names = list(stores)
    first = stores[names[0]]
    for name in names[1:]:
        check_same_tokens(first, stores[name])
    selection = select(first, first, documents)
    sizes = [entries(store) for store in stores.values()]
    in_memory = (sum(sizes) + max(sizes)) * ENTRY_BYTES <= memory_budget
    rows = {name: StoreRows.open(store, in_memory, cls.values(store, store)) for name, store in stores.items()}
    sides = {name: measure_side(rows[name], selection.rows_a) for name in names}
    alone = {name: CoMoments(side, side, memory_budget) for name, side in sides.items()}
    found = {}
    for one, other in combinations(names, 2):
        source = cls(rows[one], rows[other], selection, memory_budget)
        source.check(sides[one])
        source.check(sides[other])
        source.__dict__["moments"] = alone[one].with_b(sides[other])  # shares the feature-major copy of one side
        found[one, other] = Similarity(source)
    return found
