"""Similarities between all pairs of several stores; each store is read and measured once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy.typing as npt

from universality.errors import UniversalityError
from universality.execution import Executor, check_executor
from universality.similarity.engine.block_source import DEFAULT_BUDGET
from universality.similarity.engine.comoments import CoMoments
from universality.similarity.engine.side_moments import measure_side
from universality.similarity.engine.store_rows import ENTRY_BYTES, StoreRows, entries
from universality.similarity.engine.token_selection import check_same_tokens, select
from universality.similarity.measures import token_measure
from universality.similarity.similarity import Similarity

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.similarity.engine.token_source import TokenSource


def all_pairs(
    stores: Mapping[str, FeatureStore],
    measure: str = "activation",
    memory_budget: int = DEFAULT_BUDGET,
    documents: npt.ArrayLike | None = None,
    executor: Executor | None = None,
) -> dict[tuple[str, str], Similarity]:
    """Compare every two of several stores over the same tokens by one measure.

    Parameters
    ----------
    stores
        At least two, by the names of their models.
    measure
        A measure over tokens: a name in `universality.similarity.measures.TOKEN_MEASURES`.
    memory_budget
        Bytes for all stores in memory (and a second time for one of them), and again for each array of features x
        features.
    documents
        Only the tokens of these documents.
    executor
        As for `Similarity.activation`.

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

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from universality.features import FeatureStore
    >>> folder, stores = tempfile.TemporaryDirectory(), {}
    >>> toy = {"A": [[1, 0], [0, 2], [0, 3]], "B": [[0, 2], [1, 0], [2, 0]], "C": [[1, 1], [0, 1], [1, 0]]}
    >>> for name, rows in toy.items():
    ...     writer = FeatureStore.create(Path(folder.name, f"{name}.h5"), n_features=2, provenance={})
    ...     rows = sparse.csr_matrix(np.array(rows, np.float32))
    ...     writer.append(rows, token=[5, 6, 7], document=[0, 0, 0], position=[1, 2, 3], kind=["prose"] * 3)
    ...     stores[name] = writer.finish()
    >>> pairs = all_pairs(stores, "jaccard")
    >>> sorted(pairs)
    [('A', 'B'), ('A', 'C'), ('B', 'C')]
    >>> pairs["A", "B"].dense().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    >>> [store.close() for store in stores.values()], folder.cleanup()
    ([None, None, None], None)
    """
    if len(stores) < 2:
        raise UniversalityError(f"all_pairs: expected at least two stores, found {len(stores)}")
    cls = token_measure(measure)
    cls.check_quantity(*stores.values())
    names = list(stores)
    for name in names[1:]:
        check_same_tokens(stores[names[0]], stores[name])
    pairs = list(combinations(names, 2))
    if cls.depends_on_partner:
        sources = [cls.of(stores[a], stores[b], memory_budget, documents, None, executor) for a, b in pairs]
    else:
        sources = _shared(cls, stores, pairs, memory_budget, documents, check_executor(executor))
    return {pair: Similarity(source) for pair, source in zip(pairs, sources, strict=True)}


def _shared(
    cls: type[TokenSource],
    stores: Mapping[str, FeatureStore],
    pairs: list[tuple[str, str]],
    memory_budget: int,
    documents: npt.ArrayLike | None,
    executor: Executor,
) -> list[TokenSource]:
    """Sources that share loaded rows, moments and feature-major copies."""
    first = next(iter(stores.values()))
    selection = cls.admit(first, first, select(first, first, documents))
    sizes = [entries(store) for store in stores.values()]
    # All stores by token, and the largest of them by feature too: copies of row sides that are done with can go.
    in_memory = (sum(sizes) + max(sizes)) * ENTRY_BYTES <= memory_budget
    rows = {name: StoreRows.open(store, in_memory, cls.values(store, store)) for name, store in stores.items()}
    sides = {name: measure_side(rows[name], selection.rows_a, executor) for name in stores}
    as_rows = {name: CoMoments(side, side, memory_budget) for name, side in sides.items()}
    sources = []
    for a, b in pairs:
        given = as_rows[a].with_b(sides[b])
        source = cls(rows[a], rows[b], selection, memory_budget, given=given, executor=executor)
        source.check(sides[a])
        source.check(sides[b])
        sources.append(source)
    return sources
