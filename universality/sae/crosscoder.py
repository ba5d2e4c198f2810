"""A crosscoder: one dictionary for several models that read the same tokens, to tell shared features from exclusive.

    z = Σ_m W_enc_mᵀ (s_m x_m − b_m) + b_enc,    a = BatchTopK(z),    s_m x̂_m = W_dec_mᵀ a + b_m
    loss = Σ_m ‖s_m x_m − s_m x̂_m‖², averaged over tokens and activations

Side by side the models' scaled activations are one long vector, and a crosscoder is an SAE of it: the trainer, its
kernels, checkpoints and architectures are those of `SAETrainer`, the widths d_in of the models need not agree. s_m
gives every model the same total variance (`universality.activations.joint_site`).

*Norm and selection.* A feature's row, all models together, has norm 1: Σ_m ‖d_m‖² = 1. BatchTopK then picks by a · ‖d‖,
the size of what a feature adds to the reconstruction, which favours neither shared nor exclusive features: what lowers
the squared error counts. Minder et al. (2025) leave the norms free and pick by a · Σ_m ‖d_m‖, the term that Lindsey et
al. (2024) penalise by L1; it weighs a feature shared equally by two models up to √2 more. Unlike L1, neither rule
shrinks the smaller of two norms, or makes two exclusive features as cheap as one shared.

*Relative norm* of model m: ‖d_m‖ / Σ_m' ‖d_m'‖, of the scaled rows; with two models near 0 or 1 for an *exclusive*
feature, about a half for a *shared* one (`feature_classes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from universality.activations.joint_site import joined
from universality.checked_json import Settings
from universality.errors import FormatError, MismatchError
from universality.sae.sae import SAE

SECTION = "crosscoder"


@dataclass(frozen=True, eq=False)
class Crosscoder:
    """A trained crosscoder.

    Raises
    ------
    FormatError
        If names, widths and scales do not fit each other or the SAE.
    """

    sae: SAE
    """Of the scaled activations side by side; ``d_in`` is the sum of the models'."""
    models: tuple[str, ...]
    """Names, in the order in which their activations stand."""
    widths: tuple[int, ...]
    """d_in of each."""
    scales: tuple[float, ...]
    """What each model's activations are multiplied by."""

    def __post_init__(self) -> None:
        counts = {len(self.models), len(self.widths), len(self.scales)}
        if len(counts) > 1 or len(self.models) < 2 or len(set(self.models)) < len(self.models):
            raise FormatError(
                "a crosscoder needs two models or more, each with one name, width and scale; found models "
                f"{list(self.models)}, widths {list(self.widths)}, scales {list(self.scales)}"
            )
        if min(self.widths) < 1 or sum(self.widths) != self.sae.d_in:
            raise FormatError(
                f"widths of the models must add up to the dictionary's d_in of {self.sae.d_in}, "
                f"found {list(self.widths)}"
            )
        if not all(0 < scale < np.inf for scale in self.scales):
            raise FormatError(f"scales of the models must be positive and finite, found {list(self.scales)}")

    @property
    def norms(self) -> NDArray[np.float64]:
        """Norms of each feature's scaled decoder rows [n_models, d_sae]."""
        rows = self.sae.W_dec.double()
        return np.stack([rows[:, self._columns(name)].norm(dim=1).cpu().numpy() for name in self.models])

    @property
    def relative_norms(self) -> NDArray[np.float64]:
        """Share of each model in a feature's norms [n_models, d_sae]; columns add up to 1."""
        norms = self.norms
        shares: NDArray[np.float64] = norms / np.maximum(norms.sum(axis=0), np.finfo(np.float64).tiny)
        return shares

    def cosines(self, a: str, b: str) -> NDArray[np.float64]:
        """Cosine of each feature's decoder rows in two models [d_sae]; 0 where one is 0.

        It means something only where the models share a basis, as a base and its fine-tune do; where they do not it is
        about 0 ± 1 / √d_in.

        Raises
        ------
        MismatchError
            If a model is not in it, or their widths differ.
        """
        x, y = (self.sae.W_dec[:, self._columns(name)].double().cpu().numpy() for name in (a, b))
        if x.shape != y.shape:
            raise MismatchError(f"a cosine needs one space; {a!r} is {x.shape[1]} wide, {b!r} {y.shape[1]}")
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosines: NDArray[np.float64] = np.einsum("fi,fi->f", x, y) / np.where(norms > 0, norms, 1)
        return cosines

    def of(self, model: str) -> SAE:
        """The part of one model, in its own units: encoder, decoder and bias are its own, b_enc and threshold shared.

        Encoding with it takes the other models' activations to be what their decoder biases say.

        Raises
        ------
        MismatchError
            If there is no such model.
        """
        columns, scale = self._columns(model), self.scales[self.models.index(model)]
        return replace(
            self.sae,
            W_enc=self.sae.W_enc[columns] * scale,
            W_dec=self.sae.W_dec[:, columns] / scale,
            b_dec=self.sae.b_dec[columns] / scale,
        )

    def encode(self, activations: Mapping[str, Tensor]) -> sparse.csr_matrix:
        """Sparse features [n_tokens, d_sae] of every model's activations [n_tokens, d_in] on the same tokens.

        Raises
        ------
        MismatchError
            If a model is missing, has another width, or other tokens than the rest.
        """
        for name, width in zip(self.models, self.widths, strict=True):
            if name in activations and activations[name].shape[1:] != (width,):
                raise MismatchError(
                    f"expected activations of {name!r} [n_tokens, {width}], found shape "
                    f"{tuple(activations[name].shape)}"
                )
        return self.sae.encode(joined(activations, dict(zip(self.models, self.scales, strict=True))))

    def decode(self, features: sparse.csr_matrix) -> dict[str, NDArray[np.float32]]:
        """Model → its reconstructed activations [n_tokens, d_in], in its own units."""
        rows = self.sae.decode(features)
        return {
            name: rows[:, self._columns(name)] / np.float32(scale)
            for name, scale in zip(self.models, self.scales, strict=True)
        }

    def save(self, folder: str | Path) -> Path:
        """Write ``cfg.json`` and ``sae_weights.safetensors`` as `SAE.save` does, with the models in the metadata."""
        models = [
            {"name": name, "d_in": width, "scale": scale}
            for name, width, scale in zip(self.models, self.widths, self.scales, strict=True)
        ]
        return replace(self.sae, metadata={**self.sae.metadata, SECTION: models}).save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Crosscoder:
        """Read what `save` wrote.

        Raises
        ------
        FormatError
            As `SAE.load`; if it is an SAE of one model, or what it says of the models contradicts its weights.
        """
        sae = SAE.load(folder)
        metadata = dict(sae.metadata)
        found = metadata.pop(SECTION, None)
        if not isinstance(found, list) or not all(isinstance(model, dict) for model in found):
            raise FormatError(
                f"{folder}: no crosscoder: expected a list of models under metadata.{SECTION} in cfg.json, found "
                f"{type(found).__name__}"
            )
        models = [Settings(model, f"{folder}: model {place} of {SECTION}") for place, model in enumerate(found)]
        names, widths = [m.text("name") for m in models], [m.integer("d_in") for m in models]
        scales = [float(m.number("scale")) for m in models]
        try:
            return cls(replace(sae, metadata=metadata), tuple(names), tuple(widths), tuple(scales))
        except FormatError as error:
            raise FormatError(f"{folder}: {error}") from None

    def _columns(self, model: str) -> slice:
        if model not in self.models:
            raise MismatchError(f"the crosscoder is of {', '.join(self.models)}, not of {model!r}")
        at = self.models.index(model)
        start = sum(self.widths[:at])
        return slice(start, start + self.widths[at])
