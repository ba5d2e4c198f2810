"""The mean Jacobian from a hook to the end of the residual stream, and the file that stores it.

    J̄ = mean over source positions t of Σ_{s ≥ t} ∂ resid_final(s) / ∂ x(t)      [d_in, d_model]

with x the activations at a hook and resid_final the stream in front of the final norm. A direction d at the hook moves
the end of the stream by d J̄ on average and to first order, through all later layers; the direct path leaves those out.
`universality.effects.jacobian_estimation` computes it. This module needs NumPy only.

References
----------
Hernandez et al. 2024, *Linearity of Relation Decoding in Transformer Language Models*, for mean Jacobians as linear
stand-ins of later layers.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.archive import read_archive, write_archive
from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import FormatError, MismatchError, UniversalityError

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

FORMAT, VERSION = "universality-jacobian", 1
LEAST_COSINE = 0.7
"""Mean cosine below which a feature's direction through J̄ is flagged: J̄ is then no good stand-in for its effects."""


@dataclass(frozen=True, eq=False)
class MeanJacobian:
    """Mean Jacobian of one model at one hook.

    Parameters
    ----------
    matrix
        float32 [d_in, d_model].
    model
        Hash of the model.
    hook
        Canonical name of the hook.
    later
        Whether effects on later positions are summed, or those on the position itself are taken alone.
    n_tokens
        Number of source positions.
    text
        Hash of the blocks of text.

    Raises
    ------
    FormatError
        If the matrix does not have two axes or holds values that are not finite.
    """

    matrix: NDArray[np.float32]
    model: str
    hook: str
    later: bool
    n_tokens: int
    text: str

    def __post_init__(self) -> None:
        matrix = np.ascontiguousarray(self.matrix, np.float32)
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise FormatError(
                f"mean Jacobian: expected finite values [d_in, d_model], found shape {list(matrix.shape)}"
                + ("" if matrix.ndim != 2 else " with NaN or infinity")
            )
        object.__setattr__(self, "matrix", matrix)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the matrix and of what it is a Jacobian of."""
        digest = hashlib.sha256(f"{FORMAT} {VERSION} {self.matrix.shape} {sorted(self.describe().items())}".encode())
        digest.update(self.matrix.astype("<f4", copy=False).data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Record of what it is a Jacobian of, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "matrix"}

    def apply(self, decoder: NDArray[Any]) -> FloatArray:
        """Map decoder rows at the hook [n, d_in] to directions at the end of the stream, float64 [n, d_model].

        Raises
        ------
        MismatchError
            If the widths differ.
        """
        if decoder.ndim != 2 or decoder.shape[1] != self.matrix.shape[0]:
            raise MismatchError(
                f"mean Jacobian of {self.hook}: expected decoder rows [n, {self.matrix.shape[0]}], found "
                f"{list(decoder.shape)}"
            )
        mapped: FloatArray = decoder.astype(np.float64) @ self.matrix.astype(np.float64)
        return mapped

    def save_beside(self, store: FeatureStore) -> Path:
        """Write into the folder of a store, under the name by which `beside` finds it; return the path.

        All stores of this model and hook in the folder share the file.

        Raises
        ------
        MismatchError
            If the store's features are of another model or are written at another hook.
        """
        place = _place(store)
        if place != (self.model, self.hook):
            raise MismatchError(
                f"{store.path}: its features are written at {place[1]} of model {place[0][:12]}, the mean Jacobian is "
                f"of {self.hook} of model {self.model[:12]}"
            )
        return self.save(store.path.with_name(file_name(self.model, self.hook)))

    def save(self, path: str | Path) -> Path:
        """Write an .npz file atomically; return the path."""
        return write_archive(path, FORMAT, VERSION, self.describe() | {"sha256": self.hash}, {"matrix": self.matrix})

    @classmethod
    def beside(cls, store: FeatureStore) -> MeanJacobian:
        """Read the mean Jacobian of a store's model and hook from the store's folder.

        Raises
        ------
        UniversalityError
            If there is none, or the store does not record its model and hook.
        FormatError
            If the file is damaged, or of another model or hook.
        """
        model, hook = _place(store)
        path = store.path.with_name(file_name(model, hook))
        if not path.exists():
            raise UniversalityError(
                f"{store.path}: no mean Jacobian {path.name} lies beside it, which logit weights through the later "
                "layers need; write one with mean_jacobian(site, blocks).save_beside(store)"
            )
        loaded = cls.load(path)
        if (loaded.model, loaded.hook) != (model, hook):
            raise FormatError(
                f"{path}: is of {loaded.hook} of model {loaded.model[:12]}, expected {hook} of {model[:12]}"
            )
        return loaded

    @classmethod
    def load(cls, path: str | Path) -> MeanJacobian:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is damaged, of another format or version, or was altered.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        sha256 = header.pop("sha256", None)
        try:
            loaded = cls(**(header | arrays))
        except TypeError as error:
            raise FormatError(f"{path}: not a whole {FORMAT} file: {error}") from None
        if loaded.hash != sha256:
            raise FormatError(f"{path}: its contents do not have the hash that it states; write it again")
        return loaded


@dataclass(frozen=True, eq=False)
class JacobianSpread:
    """Agreement of J̄ with the Jacobians where features fire, for a sample of features.

    Parameters
    ----------
    feature
        int64 [n].
    n_firings
        int64 [n], firings over which cosines are summarised.
    cosine
        float64 [n], mean cosine of d J(x) with d J̄.
    lowest
        float64 [n], least of these cosines.
    """

    feature: IntArray
    n_firings: IntArray
    cosine: FloatArray
    lowest: FloatArray

    @property
    def flagged(self) -> BoolArray:
        """bool [n], features whose mean cosine is below ``LEAST_COSINE``."""
        return self.cosine < LEAST_COSINE

    def to_frame(self) -> pd.DataFrame:
        """One row a feature: ``feature n_firings cosine lowest flagged``."""
        return pd.DataFrame({**vars(self), "flagged": self.flagged})


def file_name(model: str, hook: str) -> str:
    """Return the name of the file of a model's mean Jacobian at a hook."""
    return f"jacobian-{hashlib.sha256(f'{model} {hook}'.encode()).hexdigest()[:12]}.npz"


def _place(store: FeatureStore) -> tuple[str, str]:
    """Return the hash of a store's model and the hook where its features write."""
    model, hook = store.provenance.get("model"), store.site_written
    if not isinstance(model, dict) or not model.get("hash") or hook is None:
        raise UniversalityError(
            f"{store.path}: its provenance does not record model and hook, so its mean Jacobian cannot be found; give "
            "one for each store: through=(jacobian_a, jacobian_b)"
        )
    return str(model["hash"]), hook
