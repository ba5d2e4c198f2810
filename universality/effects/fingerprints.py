"""Fingerprints: what each feature does to the whole next-token distribution, and the file that stores them.

A fingerprint is the mean change of the log-probabilities of a fixed set of tokens, with an intervention minus without.
Two features are compared by Pearson's r over the tokens, each with equal weight or weighted by its mean probability:
unweighted log-probabilities let thousands of rare tokens decide. `universality.effects.fingerprinting` makes
fingerprints, and `Similarity.fingerprint` compares them. This module needs NumPy only.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from universality.archive import read_archive, write_archive
from universality.arrays import BoolArray, FloatArray, IntArray
from universality.effects.projection import ProjectionError
from universality.errors import FormatError, MismatchError, UniversalityError

Weighting = Literal["equal", "probability"]
"""Weight of a token in a comparison: equal, or its mean probability."""
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
FORMAT, VERSION = "universality-fingerprints", 2
RELATIVE_ZERO = 1e-7  # of a row's length: what float32 rounding leaves of a change that the centring removes


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Tokens over which fingerprints are compared, as entries of one model's vocabulary.

    Parameters
    ----------
    entries
        int64 [n], distinct entries.
    probability
        float64 [n], weights of the tokens; the same for all models that are compared. They are divided by their sum.
    identity
        Name of the set, which the same tokens have in every model.

    Raises
    ------
    MismatchError
        If lengths differ, there are fewer than 2 tokens, an entry occurs twice, or weights are negative or all 0.
    """

    entries: IntArray
    probability: FloatArray
    identity: str

    def __post_init__(self) -> None:
        entries, weights = np.asarray(self.entries, np.int64), np.asarray(self.probability, np.float64)
        if entries.ndim != 1 or entries.size < 2 or weights.shape != entries.shape:
            raise MismatchError(
                f"tokens of fingerprints: expected at least 2 entries and a weight for each, found {entries.shape} and "
                f"{weights.shape}"
            )
        if np.unique(entries).size < entries.size or entries.min() < 0:
            raise MismatchError("tokens of fingerprints: expected distinct entries of the vocabulary")
        if not np.isfinite(weights).all() or weights.min() < 0 or not weights.sum() > 0:
            raise MismatchError("tokens of fingerprints: expected weights of at least 0 that are not all 0")
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "probability", weights / weights.sum())

    def __len__(self) -> int:
        return int(self.entries.size)

    @classmethod
    def of(cls, entries: npt.ArrayLike, probability: npt.ArrayLike) -> TokenSet:
        """Name a set of one vocabulary by its entries.

        Examples
        --------
        >>> tokens = TokenSet.of([3, 5], [0.2, 0.6])
        >>> len(tokens), tokens.probability.round(2).tolist()
        (2, [0.25, 0.75])
        """
        return cls(np.asarray(entries), np.asarray(probability), set_identity(entries))

    def weights(self, weighting: Weighting) -> FloatArray:
        """Weights of the tokens, float64 [n] with sum 1."""
        check_weighting(weighting)
        return np.full(len(self), 1 / len(self)) if weighting == "equal" else self.probability


@dataclass(frozen=True)
class Projection:
    """Random projection of fingerprints that were too large for memory."""

    n_components: int
    seed: int
    error: dict[Weighting, ProjectionError]
    """Error in r, measured on pairs of these fingerprints."""


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Mean changes of log-probabilities, one row for each feature that was measured, or for each pair of features.

    Parameters
    ----------
    values
        float32 [n_rows, n_tokens], in nats; of projected ones [2, n_rows, n_components], the unit vectors for each of
        ``WEIGHTINGS``.
    n_contexts
        int64 [n_rows], tokens at which each feature was changed. Rows with 0 have no fingerprint: such a feature never
        fires on the text.
    tokens
        Tokens whose log-probabilities were read.
    how
        "ablation" or "addition".
    later
        Whether changes at the position and all later ones of its block are summed, or the position's own are taken.
    projection
        The projection, if there was one.
    provenance
        Record of model, SAE, text and settings, as JSON.
    features
        int64 [n_rows], rising features of the dictionary that the rows are of; by default 0 … n_rows − 1, as for pairs.
    n_features
        Features of the dictionary; by default n_rows. Those without a row are dead in a similarity.

    Raises
    ------
    MismatchError
        If shapes disagree, or features do not rise or are none of the dictionary's.
    FormatError
        If a value is not finite.
    """

    values: NDArray[np.float32]
    n_contexts: IntArray
    tokens: TokenSet
    how: str
    later: bool
    projection: Projection | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    features: IntArray = None  # type: ignore[assignment]  # set in __post_init__
    n_features: int = -1

    def __post_init__(self) -> None:
        values, n_rows = np.asarray(self.values, np.float32), np.asarray(self.n_contexts).size
        expected = (n_rows, len(self.tokens))
        if self.projection is not None:
            expected = (len(WEIGHTINGS), n_rows, self.projection.n_components)  # type: ignore[assignment]
        if values.shape != expected:
            raise MismatchError(f"fingerprints: expected values {list(expected)}, found {list(values.shape)}")
        if not np.isfinite(values).all():
            raise FormatError("fingerprints: a value is NaN or infinite; does the model overflow?")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "n_contexts", np.asarray(self.n_contexts, np.int64))
        self._set_features(n_rows)

    def _set_features(self, n_rows: int) -> None:
        features = np.arange(n_rows) if self.features is None else np.asarray(self.features, np.int64)
        n_features = n_rows if self.n_features < 0 else self.n_features
        inside = features.size == 0 or (features[0] >= 0 and features[-1] < n_features)
        if features.shape != (n_rows,) or (np.diff(features) <= 0).any() or not inside:
            raise MismatchError(
                f"fingerprints: expected {n_rows} rising features from 0 to {n_features - 1}, found {features}"
            )
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "n_features", n_features)

    def __len__(self) -> int:
        return int(self.n_contexts.size)

    @property
    def present(self) -> BoolArray:
        """bool [n_rows], rows that have a fingerprint."""
        return self.n_contexts > 0

    def factor(self, weighting: Weighting = "equal") -> FloatArray:
        """Unit vectors whose inner products are Pearson's r, float64 [n_rows, n_tokens or n_components].

        Rows of features without a fingerprint, or whose changes do not vary over the tokens, are 0.
        """
        if self.projection is not None:
            return self.values[WEIGHTINGS.index(check_weighting(weighting))].astype(np.float64)
        return standardised(self.values, self.tokens.weights(weighting))

    def describe(self) -> dict[str, Any]:
        """Summary as JSON: how they were made, of how many features, over how many tokens and contexts."""
        n = self.n_contexts[self.present]
        return {
            "how": self.how,
            "positions": "the position and later ones" if self.later else "the position alone",
            "n_features": self.n_features,
            "n_rows": len(self),
            "n_without": int((~self.present).sum()),
            "contexts": {"median": float(np.median(n)) if n.size else 0.0, "largest": int(n.max(initial=0))},
            "tokens": {"n": len(self.tokens), "identity": self.tokens.identity},
            "projection": None if self.projection is None else asdict(self.projection),
            **self.provenance,
        }

    def save(self, path: str | Path) -> Path:
        """Write an .npz (or .json) file atomically; return the path."""
        projection = None if self.projection is None else asdict(self.projection)
        header = {
            "how": self.how,
            "later": self.later,
            "identity": self.tokens.identity,
            "projection": projection,
            "n_features": self.n_features,
            "provenance": self.provenance,
        }
        arrays: dict[str, NDArray[Any]] = {
            "values": self.values,
            "n_contexts": self.n_contexts,
            "features": self.features,
            "entries": self.tokens.entries,
            "probability": self.tokens.probability,
        }
        return write_archive(path, FORMAT, VERSION, header, arrays, compressed=False)

    @classmethod
    def load(cls, path: str | Path) -> Fingerprints:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is damaged, of another format or version, or contradicts itself.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        try:
            tokens = TokenSet(arrays["entries"], arrays["probability"], header["identity"])
            stored = header["projection"]
            if stored is not None:
                errors = {weighting: ProjectionError(**stored["error"][weighting]) for weighting in WEIGHTINGS}
                stored = Projection(stored["n_components"], stored["seed"], errors)
            how, later, provenance = header["how"], header["later"], header["provenance"]
            of = arrays["features"], header["n_features"]
            return cls(arrays["values"], arrays["n_contexts"], tokens, how, later, stored, provenance, *of)
        except (KeyError, TypeError, MismatchError, FormatError) as error:
            raise FormatError(f"{path}: not a whole {FORMAT} file: {error}") from None


def standardised(values: NDArray[np.float32], weights: FloatArray) -> FloatArray:
    """Centre rows by weighted means and scale them to unit vectors in the weighted inner product, float64."""
    rows: FloatArray = values.astype(np.float64)
    length = np.sqrt(rows**2 @ weights)
    rows -= (rows @ weights)[:, None]
    rows *= np.sqrt(weights)
    norm = np.linalg.norm(rows, axis=1)
    constant = norm <= RELATIVE_ZERO * length
    rows /= np.where(constant, 1.0, norm)[:, None]
    rows[constant] = 0
    return rows


def check_weighting(weighting: Weighting) -> Weighting:
    """Return a weighting if there is such a one; otherwise raise an error that names those that there are."""
    if weighting not in WEIGHTINGS:
        raise UniversalityError(f"weighting: expected one of {', '.join(WEIGHTINGS)}, found {weighting!r}")
    return weighting


def set_identity(*parts: npt.ArrayLike) -> str:
    """Return 16 hex digits over arrays."""
    digest = hashlib.sha256()
    for part in parts:
        array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype.kind}{array.shape}".encode())
        digest.update(array.astype(f"<{array.dtype.kind}8" if array.dtype.kind in "if" else array.dtype).tobytes())
    return digest.hexdigest()[:16]
