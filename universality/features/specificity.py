r"""Specificity of features for kinds of text.

For feature i and kind k (``kind`` is the label of a token's document: a language, a script, base64, …), with
activations a:

- precision P = share of the feature's activation mass on tokens of the kind, Σ_{t in k} |a_it| / Σ_t |a_it|;
- recall R = share of the kind's tokens on which the feature fires, #{t in k: a_it ≠ 0} / #{t in k};
- F1 = 2 P R / (P + R): high only where the feature fires on the kind's tokens *and* on little else;
- the baseline of P is the kind's share of all tokens (``chance``); lift = P / that share.

The purity of a feature is its largest precision, and its kind is the one that reaches it. Magnitudes are used
because MLP neurons may be negative; for SAE features they are the activations themselves.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix

from universality.features.storage.store import FeatureStore

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Specificity:
    """Mass and firings of every feature on every kind of text.

    Parameters
    ----------
    kinds
        Names of the kinds, in the store's order.
    kind_tokens
        Tokens of each kind: int64 ``[n_kinds]``.
    mass
        Sum of \\|activation\\|: float64 ``[n_features, n_kinds]``.
    firings
        Stored activations, which are those other than 0: int64 ``[n_features, n_kinds]``.
    """

    kinds: tuple[str, ...]
    kind_tokens: npt.NDArray[np.int64]
    mass: npt.NDArray[np.float64]
    firings: npt.NDArray[np.int64]

    @cached_property
    def precision(self) -> npt.NDArray[np.float64]:
        """Share of each feature's mass in each kind, 0 for a dead feature: ``[n_features, n_kinds]``."""
        total = self.mass.sum(axis=1, keepdims=True)
        return _ratio(self.mass, total)

    @cached_property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of each kind's tokens on which each feature fires: ``[n_features, n_kinds]``."""
        return _ratio(self.firings, self.kind_tokens)

    @cached_property
    def f1(self) -> npt.NDArray[np.float64]:
        """Harmonic mean of precision and recall: ``[n_features, n_kinds]``."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def chance(self) -> npt.NDArray[np.float64]:
        """Precision of a feature that fires equally on all text: each kind's share of the tokens, ``[n_kinds]``."""
        return np.asarray(self.kind_tokens / max(1, int(self.kind_tokens.sum())))

    @cached_property
    def kind(self) -> npt.NDArray[np.int16]:
        """Code of each feature's kind, the one with most of its mass; -1 for a dead feature: ``[n_features]``."""
        if not self.kinds:
            return np.full(len(self.mass), -1, np.int16)
        best = self.mass.argmax(axis=1).astype(np.int16)
        return np.where(self.mass.sum(axis=1) > 0, best, np.int16(-1))

    @cached_property
    def purity(self) -> npt.NDArray[np.float64]:
        """Precision in the feature's own kind, 0 for a dead feature: ``[n_features]``."""
        return np.asarray(self.precision.max(axis=1, initial=0.0))

    @property
    def kind_names(self) -> list[str | None]:
        """Name of each feature's kind, None for a dead feature."""
        return [self.kinds[code] if code >= 0 else None for code in self.kind]

    def best(self) -> "pd.DataFrame":
        """Find the feature of highest F1 for every kind that has tokens.

        Returns
        -------
        pandas.DataFrame
            One row per kind: ``kind feature f1 precision recall chance lift tokens firings``; ``feature`` is -1
            where no feature fires on the kind. Among equal features the first is named.
        """
        import pandas as pd

        shown = [k for k in range(len(self.kinds)) if self.kind_tokens[k] > 0]
        rows = [self._best(k) for k in shown]
        names = ["kind", "feature", "f1", "precision", "recall", "chance", "lift", "tokens", "firings"]
        return pd.DataFrame(rows, columns=names)

    def _best(self, k: int) -> tuple[str, int, float, float, float, float, float, int, int]:
        i = int(self.f1[:, k].argmax())
        precision, chance = float(self.precision[i, k]), float(self.chance[k])
        feature = i if self.firings[i, k] else -1
        return (
            self.kinds[k], feature, float(self.f1[i, k]), precision, float(self.recall[i, k]), chance,
            precision / chance, int(self.kind_tokens[k]), int(self.firings[i, k]),
        )  # fmt: skip


def specificity(store: FeatureStore, documents: npt.ArrayLike | None = None) -> Specificity:
    """Measure mass and firings of every feature of a store on every kind, in one pass over its features.

    Memory is ``[n_features, n_kinds]`` twice and one block of features. `Described` holds the result for a store whose
    features are shown in several places.

    Parameters
    ----------
    documents
        Numbers of the documents that count; all by default.
    """
    tally = Tally(store, documents)
    for start, block in store.column_blocks():
        tally.add(start, block)
    return tally.result()


class Tally:
    """Sums by feature and kind, accumulated over blocks of features."""

    def __init__(self, store: FeatureStore, documents: npt.ArrayLike | None = None) -> None:
        self.kinds = tuple(store.tokens.kinds)
        self._code = np.asarray(store.tokens.kind, dtype=np.int64)
        self._counts = None if documents is None else np.isin(store.tokens.document, documents)
        self._mass = np.zeros((store.n_features, len(self.kinds)))
        self._firings = np.zeros((store.n_features, len(self.kinds)), dtype=np.int64)

    def add(self, low: int, columns: csc_matrix) -> None:
        """Add the features from ``low`` on, by their activations [n_tokens, n]."""
        high, n_kinds = low + columns.shape[1], len(self.kinds)
        feature = np.repeat(np.arange(high - low), np.diff(columns.indptr))
        rows, values = columns.indices, columns.data
        if self._counts is not None:
            counts = self._counts[rows]
            feature, rows, values = feature[counts], rows[counts], values[counts]
        cell, size = feature * n_kinds + self._code[rows], (high - low) * n_kinds
        self._mass[low:high] = np.bincount(cell, np.abs(values), size).reshape(-1, n_kinds)
        self._firings[low:high] = np.bincount(cell, minlength=size).reshape(-1, n_kinds)

    def result(self) -> Specificity:
        """Return the sums of all features that were added."""
        code = self._code if self._counts is None else self._code[self._counts]
        kind_tokens = np.bincount(code, minlength=len(self.kinds)).astype(np.int64)
        return Specificity(self.kinds, kind_tokens, self._mass, self._firings)


def kind_purity(store: FeatureStore) -> tuple[npt.NDArray[np.float64], list[str | None]]:
    """Measure the purity of every feature and the name of its kind (0 and None for a dead feature)."""
    measured = specificity(store)
    return measured.purity, measured.kind_names


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Divide part by whole, 0 where the whole is 0; shapes broadcast."""
    safe = np.where(whole > 0, whole, 1)
    return np.asarray(np.where(whole > 0, part / safe, 0.0))
