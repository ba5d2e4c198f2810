"""Selection of the token rows that are compared, and the check that two stores saw the same tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.arrays import IntArray, from_runs, to_runs
from universality.errors import MismatchError, UniversalityError

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


def check_stores(*stores: Any) -> None:
    """Raise a TypeError that says how to get an open store unless all of these are."""
    from universality.features.storage.store import FeatureStore  # here only, for isinstance

    for store in stores:
        if not isinstance(store, FeatureStore):
            shown = repr(store) if isinstance(store, str | Path) else type(store).__name__
            raise TypeError(
                f"expected an open FeatureStore, found {shown}; open one with FeatureStore.open(path), or give scores "
                "that you have to Similarity.from_dense and vectors to Similarity.from_factors"
            )


@dataclass(frozen=True)
class Selection:
    """Position p compares row ``rows_a[p]`` of one store with row ``rows_b[p]`` of the other.

    Parameters
    ----------
    rows_a, rows_b
        [n_positions] token rows; the same array unless the stores were re-paired.
    documents
        Sorted document indices that the rows were restricted to, or None for all.
    repaired
        True where tokens were deliberately paired with other tokens (a null).
    """

    rows_a: IntArray
    rows_b: IntArray
    documents: IntArray | None = None
    repaired: bool = False

    @property
    def n(self) -> int:
        """Number of positions."""
        return int(self.rows_a.size)

    def __getstate__(self) -> dict[str, Any]:
        # Runs in place of rows; None where both sides are one array, which `is` tells.
        rows_b = None if self.rows_b is self.rows_a else to_runs(self.rows_b)
        return self.__dict__ | {"rows_a": to_runs(self.rows_a), "rows_b": rows_b}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows_a = from_runs(*state["rows_a"])
        rows_b = rows_a if state["rows_b"] is None else from_runs(*state["rows_b"])
        self.__dict__.update(state | {"rows_a": rows_a, "rows_b": rows_b})

    def describe(self) -> dict[str, Any]:
        """Record of the selection for provenance."""
        described: dict[str, Any] = {"n_tokens": self.n, "repaired": self.repaired}
        if self.documents is not None:
            described["n_documents"] = int(self.documents.size)
            described["documents_hash"] = hashlib.sha256(self.documents.astype("<i8").tobytes()).hexdigest()[:16]
        return described


def check_same_tokens(a: FeatureStore, b: FeatureStore) -> None:
    """Refuse two stores that were written from different tokens.

    Raises
    ------
    MismatchError
        Naming both files and both hashes.
    """
    if a.tokens_hash != b.tokens_hash:
        raise MismatchError(
            f"{b.path}: written from tokens {b.tokens_hash[:12]}…, but {a.path} from {a.tokens_hash[:12]}…; "
            "both stores must see the same tokens"
        )
    tokenizers = [store.provenance.get("tokenizer_hash") for store in (a, b)]
    if None not in tokenizers and tokenizers[0] != tokenizers[1]:
        raise MismatchError(
            f"{b.path}: tokenizer {str(tokenizers[1])[:12]}, but {a.path} has {str(tokenizers[0])[:12]}; equal token "
            "ids of two tokenizers are not the same text: write both stores from one tokenizer"
        )


def select(
    a: FeatureStore,
    b: FeatureStore,
    documents: npt.ArrayLike | None = None,
    rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Selection:
    """Select all token rows, those of ``documents``, or explicit pairs of ``rows``.

    Parameters
    ----------
    a, b
        Two stores over the same tokens; may be the same store.
    documents
        Indices into the stores' document table.
    rows
        (rows_a, rows_b), equally long arrays of token rows.

    Raises
    ------
    MismatchError
        When the stores saw different tokens.
    UniversalityError
        When the stores are empty, both choices are given, an index is out of range, or nothing is left.
    """
    check_same_tokens(a, b)
    if not a.n_tokens:
        raise UniversalityError(f"{a.path}: the store holds no tokens, so there is nothing to compare")
    if documents is not None and rows is not None:
        raise UniversalityError("give documents or rows, not both: rows already say which tokens are compared")
    if rows is not None:
        return _explicit(a, *rows)
    if documents is None:
        return Selection(*(np.arange(a.n_tokens, dtype=np.int64),) * 2)  # one array: `is` tells that rows are paired
    chosen = _indices(documents, len(a.documents.id), "documents", str(a.path))
    wanted = np.zeros(len(a.documents.id), dtype=bool)
    wanted[chosen] = True
    rows_in = np.flatnonzero(wanted[a.tokens.document]).astype(np.int64)
    if not rows_in.size:
        raise UniversalityError(f"{a.path}: none of the {chosen.size} documents asked for has a token in the store")
    return Selection(rows_in, rows_in, documents=np.flatnonzero(wanted).astype(np.int64))


def _explicit(a: FeatureStore, rows_a: npt.ArrayLike, rows_b: npt.ArrayLike) -> Selection:
    left = _indices(rows_a, a.n_tokens, "rows", str(a.path))
    right = _indices(rows_b, a.n_tokens, "rows", str(a.path))
    if left.size != right.size:
        raise UniversalityError(f"rows must pair up: {left.size} rows of one store, {right.size} of the other")
    return Selection(left, right, repaired=not np.array_equal(left, right))


def _indices(given: npt.ArrayLike, n: int, what: str, where: str) -> IntArray:
    array = np.asarray(given)
    if array.ndim != 1 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise UniversalityError(
            f"{what}: expected a non-empty array of integers [n], found {array.dtype} of shape {array.shape}"
        )
    if array.min() < 0 or array.max() >= n:
        raise UniversalityError(
            f"{what}: expected indices from 0 to {n - 1} ({where}), found {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)
