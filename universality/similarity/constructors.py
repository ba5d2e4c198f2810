"""The constructors of `Similarity`, one a measure: what is compared, and over what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy.typing as npt

from universality.errors import UniversalityError
from universality.similarity.engine.block_source import DEFAULT_BUDGET, BlockSource
from universality.similarity.engine.factors import dense_source, factor_source
from universality.similarity.engine.token_source import TokenSource
from universality.similarity.measures.activation import ActivationCosine, ActivationPearson
from universality.similarity.measures.attribution import Attribution
from universality.similarity.measures.decoder import decoder_source
from universality.similarity.measures.firing import FiringJaccard, FiringPhi
from universality.similarity.measures.logit_weights import logit_source
from universality.similarity.measures.masked import Coverage, MaskedCosine

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.similarity.measures.alignment import Alignment


class Measures:
    """Holds the source of the scores; made by one of these."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source

    @classmethod
    def activation(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        measure: Literal["pearson", "cosine"] = "pearson",
    ) -> Self:
        """Pearson's r (or the cosine) of activations over the same tokens.

        Parameters
        ----------
        a, b
            Stores written from the same tokens; may be one store.
        memory_budget
            Bytes for the two stores in memory (A counts twice), and again for an array of features x features.
            What does not fit is read slice by slice or computed on demand.
        documents
            Only the tokens of these documents (indices into the document table).
        rows
            (rows_a, rows_b): row ``rows_a[p]`` of A meets row ``rows_b[p]`` of B; for nulls.
        measure
            "pearson", or "cosine" for the same without taking the means off.

        Raises
        ------
        MismatchError
            When the stores saw different tokens.
        UniversalityError
            When ``documents`` or ``rows`` are out of range, empty, or both given.

        References
        ----------
        Bricken et al. 2023, *Towards Monosemanticity*.
        """
        source = _chosen(measure, {"pearson": ActivationPearson, "cosine": ActivationCosine})
        return cls(source.of(a, b, memory_budget, documents, rows))

    @classmethod
    def firing(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        measure: Literal["phi", "jaccard"] = "phi",
    ) -> Self:
        """On which tokens features fire, whatever the strength: the phi coefficient, or the Jaccard index.

        Other parameters and errors as for `activation`.
        """
        source = _chosen(measure, {"phi": FiringPhi, "jaccard": FiringJaccard})
        return cls(source.of(a, b, memory_budget, documents, rows))

    @classmethod
    def attribution(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    ) -> Self:
        """Pearson's r of per-token attributions: activation x logit weight of the token that follows.

        Parameters and errors as for `activation` and `logit`; tokens that none follows are left out.

        References
        ----------
        Bricken et al. 2023, *Towards Monosemanticity*.
        """
        return cls(Attribution.of(a, b, memory_budget, documents, rows))

    @classmethod
    def masked_cosine(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    ) -> Self:
        """The larger of the cosine over tokens where the row fires and that over tokens where the column fires.

        Parameters and errors as for `activation`; besides, activations must not be negative.
        """
        return cls(MaskedCosine.of(a, b, memory_budget, documents, rows))

    @classmethod
    def coverage(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        of: Literal["tokens", "rows", "cols"] = "tokens",
    ) -> Self:
        """On how many tokens both fire, or which share of the row's (``of="rows"``) or column's firings that is.

        Other parameters and errors as for `masked_cosine`.
        """
        return cls(Coverage.of(a, b, memory_budget, documents, rows, of_=of))

    @classmethod
    def logit(cls, a: FeatureStore, b: FeatureStore) -> Self:
        """Pearson's r over the vocabulary of direct logit weights.

        Raises
        ------
        UniversalityError
            When a store holds no residual directions or no unembedding.
        MismatchError
            When the vocabularies differ.
        """
        return cls(logit_source(a, b))

    @classmethod
    def decoder(cls, a: FeatureStore, b: FeatureStore, force: bool = False, alignment: Alignment | None = None) -> Self:
        """Cosine of decoder rows; within one model and site only, unless ``force``, or across after an alignment.

        Parameters
        ----------
        a, b
            Stores with dictionaries.
        force
            Compare although the bases are unrelated or not known.
        alignment
            What takes A's space into B's: ``align(a, b)``.

        Raises
        ------
        UniversalityError
            When a store holds no dictionary.
        MismatchError
            When models or sites differ or are unknown (and not ``force``), or the rows' widths differ.
        """
        return cls(decoder_source(a, b, force, alignment))

    @classmethod
    def from_dense(
        cls,
        array: npt.ArrayLike,
        dead_rows: npt.ArrayLike | None = None,
        dead_cols: npt.ArrayLike | None = None,
    ) -> Self:
        """Scores that exist already, finite [n_rows, n_cols]; optionally bool masks of what is dead.

        Raises
        ------
        UniversalityError
            When the array is not two-dimensional or not finite, or a mask does not fit.
        """
        return cls(dense_source(array, dead_rows, dead_cols))

    @classmethod
    def from_factors(cls, x: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """S = x yᵀ with x [n_rows, k] and y [n_cols, k]; rows of zeros are dead.

        Raises
        ------
        UniversalityError
            When the factors are not finite matrices of one width k.
        """
        return cls(factor_source(x, y))


def _chosen(measure: str, known: dict[str, type[TokenSource]]) -> type[TokenSource]:
    if measure not in known:
        raise UniversalityError(f"unknown measure {measure!r}; choose one of {', '.join(known)}")
    return known[measure]
