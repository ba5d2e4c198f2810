"""`Similarity`: scores between the features of two sides, computed a block of rows at a time.

Terms: a *row* is a feature of the first side, a *column* a feature of the second; *dead* is one for which the
measure is not defined (it never fires on the tokens, or does not vary). Matching, heatmaps and families see
only this class. A new measure over tokens is one file with a `TokenSource` and a line in
`universality.similarity.measures`; one of weights is a `BlockSource`, most simply two factors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.devices import card_of, checked_device
from universality.errors import UniversalityError
from universality.execution import Executor
from universality.extras import check_installed
from universality.notebook_card import card
from universality.similarity.engine.block_source import DEFAULT_BUDGET, Best, BlockSource, TopK, warn_of_cpu
from universality.similarity.engine.chosen_features import ChosenFeatures
from universality.similarity.engine.factors import FactorSource, dense_source, factor_source
from universality.similarity.engine.group_sums import GroupMoments
from universality.similarity.engine.token_source import TokenSource
from universality.similarity.measures import token_measure
from universality.similarity.measures.decoder import decoder_source
from universality.similarity.measures.fingerprint import fingerprint_source
from universality.similarity.measures.logit_weights import Through, logit_source
from universality.similarity.measures.masked import Coverage

if TYPE_CHECKING:
    from universality.effects.fingerprints import Fingerprints, Weighting
    from universality.features.storage.store import FeatureStore
    from universality.similarity.measures.alignment import Alignment

RowsLike: TypeAlias = slice | npt.ArrayLike


class Similarity:
    """A matrix of scores [n_rows, n_cols] that is never held whole unless it fits into memory.

    Use a constructor: `activation`, `firing`, `attribution`, `effect`, `masked_cosine`, `coverage` compare over tokens,
    `logit` and `decoder` compare weights, `fingerprint` compares effects on all tokens; or `from_dense`,
    `from_factors`.

    Examples
    --------
    >>> sim = Similarity.from_dense([[0.9, 0.1], [0.2, 0.8]])
    >>> sim.topk(1)[0].ravel().tolist()
    [0, 1]
    """

    def __init__(self, source: BlockSource) -> None:
        self._source = source

    @classmethod
    def over_tokens(
        cls,
        measure: str,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        executor: Executor | None = None,
    ) -> Self:
        """Compare by a measure over tokens, named as in `universality.similarity.measures.TOKEN_MEASURES`.

        Other parameters and errors as for `activation`; an unknown name is a `UniversalityError`.
        """
        return cls(token_measure(measure).of(a, b, memory_budget, documents, rows, executor))

    @classmethod
    def activation(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        measure: Literal["pearson", "cosine"] = "pearson",
        executor: Executor | None = None,
    ) -> Self:
        """Compare activations over the same tokens by Pearson's r, or by the cosine.

        Parameters
        ----------
        a, b
            Stores written from the same tokens; may be one store.
        memory_budget
            Bytes for the two stores in memory (A counts twice), and again for an array of features x features.
            Stores that do not fit are read slice by slice, scores that do not fit are computed on demand.
        documents
            Only the tokens of these documents (indices into the document table).
        rows
            (rows_a, rows_b): row ``rows_a[p]`` of A is paired with row ``rows_b[p]`` of B; for nulls.
        measure
            "pearson", or "cosine" for the same without subtracting the means.
        executor
            Where best partners, scores of pairs and co-moments are computed: a `concurrent.futures` executor, a
            ``distributed.Client``, or None for this process. Its workers open the stores by their paths, and each uses
            as much memory as this process would (`universality.execution`).

        Raises
        ------
        MismatchError
            When the stores saw different tokens.
        UniversalityError
            When ``documents`` or ``rows`` are out of range, empty, or both given.

        References
        ----------
        Bricken et al. 2023, *Towards Monosemanticity*.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from scipy import sparse
        >>> from universality.features import FeatureStore
        >>> folder = tempfile.TemporaryDirectory()
        >>> def store(name, rows):
        ...     writer = FeatureStore.create(Path(folder.name, name), n_features=2, provenance={})
        ...     rows = sparse.csr_matrix(np.array(rows, np.float32))
        ...     writer.append(rows, token=[5, 6, 7], document=[0, 0, 0], position=[1, 2, 3], kind=["prose"] * 3)
        ...     return writer.finish()
        >>> a, b = store("a.h5", [[1, 0], [0, 2], [0, 3]]), store("b.h5", [[0, 2], [1, 0], [2, 0]])
        >>> sim = Similarity.activation(a, b)
        >>> sim.dense().round(2).tolist()
        [[-0.87, 1.0], [0.98, -0.94]]
        >>> sim.topk(1)[0].ravel().tolist()
        [1, 0]
        >>> a.close(), b.close(), folder.cleanup()
        (None, None, None)
        """
        _check_choice(measure, ("pearson", "cosine"))
        name = "activation" if measure == "pearson" else "cosine"
        return cls.over_tokens(name, a, b, memory_budget, documents, rows, executor)

    @classmethod
    def firing(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        measure: Literal["phi", "jaccard"] = "phi",
        executor: Executor | None = None,
    ) -> Self:
        """Compare the tokens on which features fire by the phi coefficient or the Jaccard index.

        Other parameters and errors as for `activation`.
        """
        _check_choice(measure, ("phi", "jaccard"))
        return cls.over_tokens(measure, a, b, memory_budget, documents, rows, executor)

    @classmethod
    def attribution(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        executor: Executor | None = None,
    ) -> Self:
        """Compare attributions, activation x logit weight of the next token, by Pearson's r.

        Parameters and errors as for `activation` and `logit`; tokens without a next one are left out.

        References
        ----------
        Bricken et al. 2023, *Towards Monosemanticity*.
        """
        return cls.over_tokens("attribution", a, b, memory_budget, documents, rows, executor)

    @classmethod
    def effect(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        executor: Executor | None = None,
    ) -> Self:
        """Compare first-order effects on the loss over the same tokens by Pearson's r.

        Tokens on which neither feature fires count with effects of 0, so r mostly measures whether two features fire
        together, as `activation` does. It does not show that they do the same where both fire.

        Parameters and errors as for `activation`, and a MismatchError for stores that do not hold effects:
        `universality.effects.collect_effects` writes those.
        """
        return cls.over_tokens("effect", a, b, memory_budget, documents, rows, executor)

    @classmethod
    def masked_cosine(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        executor: Executor | None = None,
    ) -> Self:
        """Compare by the larger of two cosines: over tokens where the row fires, and where the column fires.

        Parameters and errors as for `activation`; negative activations are an error too.
        """
        return cls.over_tokens("masked_cosine", a, b, memory_budget, documents, rows, executor)

    @classmethod
    def coverage(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        of: Literal["tokens", "rows", "cols"] = "tokens",
        executor: Executor | None = None,
    ) -> Self:
        """Count the tokens on which both fire, or take their share of one side's firings (``of``).

        Other parameters and errors as for `masked_cosine`.
        """
        return cls(Coverage.of(a, b, memory_budget, documents, rows, executor, of_=of))

    @classmethod
    def logit(
        cls, a: FeatureStore, b: FeatureStore, through: Through = "direct", types: npt.ArrayLike | None = None
    ) -> Self:
        """Compare logit weights over the vocabulary by Pearson's r.

        Models with different tokenizers are compared over the token strings that both vocabularies hold, such as
        `` the``; ``provenance["shared_strings"]`` counts them and gives the share of each model's tokens that they
        cover.

        Parameters
        ----------
        a, b
            Stores with unembeddings.
        through
            "direct": effects of what a feature writes into the residual stream, without later layers. "layers": effects
            through all later layers to first order, by the mean Jacobians that lie beside the stores
            (`MeanJacobian.save_beside`), or by two that are given.
        types
            Only these token types: ids in A's vocabulary that count in both models. None for all that count.

        Raises
        ------
        UniversalityError
            When a store holds no residual directions or no unembedding, no mean Jacobian lies beside it, or a type
            does not count in both models.
        MismatchError
            When the vocabularies differ and share too few token strings, or a store does not hold its strings; when a
            mean Jacobian is of another model or hook.
        """
        return cls(logit_source(a, b, through, types))

    @classmethod
    def fingerprint(cls, x: Fingerprints, y: Fingerprints, weighting: Weighting = "equal") -> Self:
        """Compare fingerprints over tokens by Pearson's r; features without a fingerprint are dead.

        Rows and columns are the features of the whole dictionaries, of which only some may have a fingerprint.

        Parameters
        ----------
        x, y
            Fingerprints of the two sides on the same tokens, made alike.
        weighting
            "equal" weight of tokens, or by their mean "probability". Report both: rare tokens decide the first.

        Raises
        ------
        MismatchError
            When tokens, interventions or projections differ.

        Examples
        --------
        >>> from universality.effects import Fingerprints, TokenSet
        >>> tokens = TokenSet.of([0, 1, 2], [0.5, 0.25, 0.25])
        >>> x = Fingerprints([[1, 0, 0], [0, 1, 0]], [8, 8], tokens, "ablation", later=False)
        >>> Similarity.fingerprint(x, x).dense().round(2).tolist()
        [[1.0, -0.5], [-0.5, 1.0]]
        >>> Similarity.fingerprint(x, x, "probability").dense().round(2).tolist()
        [[1.0, -0.58], [-0.58, 1.0]]
        """
        return cls(fingerprint_source(x, y, weighting))

    @classmethod
    def decoder(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        force: bool = False,
        alignment: Alignment | None = None,
        absolute: bool = False,
    ) -> Self:
        """Compare decoder rows by the cosine: within one model and site, or across models after an alignment.

        Parameters
        ----------
        a, b
            Stores with dictionaries.
        force
            Compare although the bases are unrelated or unknown.
        alignment
            A map of A's space into B's: ``align(a, b)``.
        absolute
            Take the absolute value of the cosine.

        Raises
        ------
        UniversalityError
            When a store holds no dictionary.
        MismatchError
            When models or sites differ or are unknown (and not ``force``), or the rows' widths differ.
        """
        return cls(decoder_source(a, b, force, alignment, absolute))

    @classmethod
    def from_dense(
        cls,
        array: npt.ArrayLike,
        dead_rows: npt.ArrayLike | None = None,
        dead_cols: npt.ArrayLike | None = None,
    ) -> Self:
        """Wrap finite scores [n_rows, n_cols], with optional bool masks of dead rows and columns.

        Raises
        ------
        UniversalityError
            When the array is not two-dimensional or not finite, or a mask does not fit.
        """
        return cls(dense_source(array, dead_rows, dead_cols))

    @classmethod
    def from_factors(cls, x: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Compute S = x yᵀ from x [n_rows, k] and y [n_cols, k]; rows of zeros are dead.

        Raises
        ------
        UniversalityError
            When the factors are not finite matrices of one width k.

        Examples
        --------
        >>> Similarity.from_factors([[1.0, 0.0]], [[2.0, 5.0], [3.0, 7.0]]).dense().tolist()
        [[2.0, 3.0]]
        """
        return cls(factor_source(x, y))

    def covered(self) -> Similarity:
        """Co-firing counts on this similarity's tokens, from the stores that it has loaded.

        Raises
        ------
        UniversalityError
            When this is a measure of weights.
        """
        source = self._tokens("covered")
        sides = source.a, source.b, source.selection, source.memory_budget
        return Similarity(Coverage(*sides, executor=source.executor, of_="tokens"))

    @property
    def name(self) -> str:
        """The measure: "activation", "logit", "decoder", ..."""
        return self._source.name

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return self._source.shape

    @property
    def dead_rows(self) -> BoolArray:
        """bool [n_rows], features of the first side without a defined score; their scores are 0."""
        return self._source.dead_rows

    @property
    def dead_cols(self) -> BoolArray:
        """bool [n_cols], features of the second side without a defined score; their scores are 0."""
        return self._source.dead_cols

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of what was compared and how, as JSON."""
        return self._source.provenance

    @property
    def memory_budget(self) -> int:
        """Bytes that an array of features x features may take."""
        return self._source.memory_budget

    @property
    def counts(self) -> tuple[IntArray, IntArray] | None:
        """Firings of each row's and each column's feature over the compared tokens; None for measures of weights."""
        return self._source.counts if isinstance(self._source, TokenSource) else None

    @property
    def stores(self) -> tuple[FeatureStore, FeatureStore] | None:
        """The two stores that are compared; None for scores of other origin, and for nulls."""
        return getattr(self._source, "stores", None)  # sources of scores from elsewhere have none

    @property
    def in_units(self) -> bool:
        """True where a pass over the whole matrix is divided into units of rows, for an executor."""
        return isinstance(self._source, TokenSource) and self._source.in_units

    def here(self) -> Similarity:
        """Return the same similarity, computed by this process alone."""
        return Similarity(self._source.here) if isinstance(self._source, TokenSource) else self

    def __repr__(self) -> str:
        strings = self.provenance.get("shared_strings") if self.name == "logit" else None
        over = "" if strings is None else f", over {self.provenance['n_vocab']:,} shared token strings"
        return f"Similarity({self.name}, {self.shape[0]} x {self.shape[1]}{over})"

    def _repr_html_(self) -> str:
        numbers = {
            "rows": self.shape[0],
            "columns": self.shape[1],
            "dead rows": int(self.dead_rows.sum()),
            "dead columns": int(self.dead_cols.sum()),
            "tokens": self.provenance.get("tokens", {}).get("n_tokens"),
        }
        return card(f"Similarity by {self.name}", numbers)

    def block(self, rows: RowsLike) -> FloatArray:
        """Scores float64 [n_rows, n_cols] of a slice or an integer array of rows."""
        index = self._index(rows, 0)
        distinct, back = np.unique(index, return_inverse=True)
        repeats = distinct.size < index.size
        out = self._source.block(distinct)[back] if repeats else self._source.block(index)
        out[self.dead_rows[index]] = 0
        out[:, self.dead_cols] = 0
        return out

    def blocks(self, n_rows: int | None = None) -> Iterator[tuple[slice, FloatArray]]:
        """Iterate over the whole matrix as (rows, scores), ``n_rows`` (or a number that suits) at a time."""
        step = n_rows or min(self._source.rows_per_block, max(1, self.shape[0]))
        for low in range(0, self.shape[0], step):
            rows = slice(low, min(low + step, self.shape[0]))
            yield rows, self.block(rows)

    @overload
    def topk(self, k: int, axis: Literal[0, 1] = ...) -> TopK: ...
    @overload
    def topk(self, k: int, axis: None) -> tuple[TopK, TopK]: ...
    def topk(self, k: int, axis: Literal[0, 1] | None = 1) -> TopK | tuple[TopK, TopK]:
        """Find the k best partners, best first; among equal scores the lower index comes first.

        Parameters
        ----------
        k
            Number of partners.
        axis
            1: the best columns of each row, arrays [n_rows, k]. 0: the best rows of each column, [n_cols, k].
            None: both, from one pass.

        Returns
        -------
        index, score : int64, float64
            Or two such pairs for both axes. Dead features have no partners and are none: index -1 and score NaN fill
            the places of missing partners.
        """
        if k < 1 or axis not in (0, 1, None):
            raise UniversalityError(f"topk: expected k >= 1 and axis 0, 1 or None, found k={k}, axis={axis}")
        if axis == 0:
            return self.transposed().topk(k)
        threshold = np.where(self.dead_rows, np.inf, -np.inf)
        by_row, by_col = self._source.best(k, np.where(self.dead_cols, np.inf, 0.0), threshold, axis is None)
        rows = by_row.partner, by_row.score
        return rows if by_col is None else (rows, (by_col.partner, by_col.score))

    def best(self, k: int, prices: FloatArray, threshold: FloatArray) -> Best:
        """Find the k columns of each row with the largest score - price above the row's threshold.

        Parameters
        ----------
        k
            Number of columns.
        prices
            Finite [n_cols].
        threshold
            [n_rows].
        """
        prices = np.where(self.dead_cols, np.inf, prices)
        return self._source.best(k, prices, np.where(self.dead_rows, np.inf, threshold), both=False)[0]

    def transposed(self) -> Similarity:
        """Exchange rows and columns."""
        return Similarity(self._source.transposed())

    def above(self, threshold: float) -> tuple[IntArray, IntArray, FloatArray]:
        """Find all pairs of living features with a score >= ``threshold``: rows, columns, scores."""
        rows, cols, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        for part, block in self.blocks():
            keep = block >= threshold
            keep[self.dead_rows[part]] = False
            keep[:, self.dead_cols] = False
            i, j = np.nonzero(keep)
            rows.append(i + part.start)
            cols.append(j)
            scores.append(block[i, j])
        return np.concatenate(rows), np.concatenate(cols), np.concatenate(scores)

    def on(self, device: str) -> Similarity:
        """Compute blocks and best partners on a card, with all that is derived from this similarity.

        Scores are float64 sums as on the CPU, in another order: they differ by rounding. Of equal scores the lower
        index comes first, as on the CPU. Given pairs are scored on the CPU.

        Parameters
        ----------
        device
            "cuda" or the number of a card, "cuda:1"; "auto" for a card where there is one; "cpu", which changes
            nothing.

        Returns
        -------
        Similarity
            This one, with a warning, where the card is missing or cannot compute the measure.

        Raises
        ------
        UniversalityError
            When there is no device of such a name, or this similarity has an executor.
        MissingExtraError
            When a card is asked for and torch is not installed.

        Warns
        -----
        DeviceWarning
            When the CPU computes all the same: there is no such card, the measure is no product of two factors or
            scaled sum of products over tokens, its stores do not fit into the memory budget; or later, when a pass
            finds no room on the card.
        """
        if device not in ("auto", "cpu"):
            check_installed(f"computation on {checked_device(device)!r}", ["torch"])
        card = card_of(device)
        if card is None:
            return self
        if not isinstance(self._source, TokenSource | FactorSource | ChosenFeatures):
            warn_of_cpu(self.name, card, "its scores are given")
            return self
        return Similarity(self._source.on(card))

    @overload
    def pairs(self, i: npt.ArrayLike, j: npt.ArrayLike, by: None = ...) -> FloatArray: ...
    @overload
    def pairs(self, i: npt.ArrayLike, j: npt.ArrayLike, by: Literal["group"]) -> GroupMoments: ...
    def pairs(
        self, i: npt.ArrayLike, j: npt.ArrayLike, by: Literal["group"] | None = None
    ) -> FloatArray | GroupMoments:
        """Compute the scores of given pairs, without the full matrix.

        Parameters
        ----------
        i, j
            [n_pairs] rows and columns.
        by
            None for scores float64 [n_pairs]. "group", for measures that are Pearson's r over tokens, for sums per
            group of documents (per document in kinds with few groups), from which `GroupMoments.pearson` computes r
            of any resample.

        Raises
        ------
        UniversalityError
            When indices are out of range or do not pair up, or the measure has no statistics by group.
        """
        rows, cols = self._index(i, 0), self._index(j, 1)
        if rows.size != cols.size:
            raise UniversalityError(f"pairs: {rows.size} rows and {cols.size} columns do not pair up")
        if by is None:
            scores = self._source.pairs(rows, cols)
            return np.where(self.dead_rows[rows] | self.dead_cols[cols], 0.0, scores)
        if by != "group":
            raise UniversalityError(f"pairs: by={by!r}; expected None or 'group'")
        return self._tokens("statistics by group").pairs_by_group(rows, cols)

    def restrict(self, documents: npt.ArrayLike) -> Similarity:
        """Apply the same measure to the tokens of some documents; moments are recomputed on exactly those.

        Raises
        ------
        UniversalityError
            When the measure does not compare tokens, or none of the documents has one.
        """
        return Similarity(self._tokens("documents to restrict to").restrict(documents))

    def repaired(self, rows_a: npt.ArrayLike, rows_b: npt.ArrayLike) -> Similarity:
        """Apply the same measure with row ``rows_a[p]`` of A paired with row ``rows_b[p]`` of B; for nulls.

        Raises
        ------
        UniversalityError
            When the measure does not compare tokens, or the rows do not pair up.
        """
        return Similarity(self._tokens("rows to pair again").repaired(rows_a, rows_b))

    def dense(self, memory_budget: int | None = None) -> FloatArray:
        """Compute the whole matrix, float64 [n_rows, n_cols].

        Raises
        ------
        UniversalityError
            When it takes more than ``memory_budget`` bytes (default: the similarity's own budget).
        """
        budget = self.memory_budget if memory_budget is None else memory_budget
        needed = 8 * self.shape[0] * self.shape[1]
        if needed > budget:
            raise UniversalityError(
                f"{self!r} takes {needed:,} bytes as a dense array, over the budget of {budget:,}; "
                "use blocks(), or raise memory_budget"
            )
        out = np.empty(self.shape)
        for rows, block in self.blocks():
            out[rows] = block
        return out

    def _tokens(self, what: str) -> TokenSource:
        if not isinstance(self._source, TokenSource):
            raise UniversalityError(f"{self.name} similarity does not come from tokens: it has no {what}")
        return self._source

    def _index(self, given: RowsLike, axis: Literal[0, 1]) -> IntArray:
        n = self.shape[axis]
        if isinstance(given, slice):
            return np.arange(n, dtype=np.int64)[given]
        array = np.asarray(given)
        if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or not array.size):
            raise UniversalityError(
                f"expected a slice or an array of integers [n], found {array.dtype} of shape {array.shape}"
            )
        if array.size and (array.min() < 0 or array.max() >= n):
            what = ("row", "column")[axis]
            raise UniversalityError(f"{what} indices from 0 to {n - 1} exist, found {array.min()} to {array.max()}")
        return array.astype(np.int64)


def _check_choice(measure: str, choices: tuple[str, ...]) -> None:
    if measure not in choices:
        raise UniversalityError(f"unknown measure {measure!r}; choose one of {', '.join(choices)}")
