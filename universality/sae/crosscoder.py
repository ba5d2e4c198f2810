"""Crosscoder: one dictionary for several models, which distinguishes shared from exclusive features.

    z = Σ_m W_enc_mᵀ (s_m x_m − b_m) + b_enc,    a = BatchTopK(z),    s_m x̂_m = W_dec_mᵀ a + b_m
    loss = Σ_m ‖s_m x_m − s_m x̂_m‖², averaged over tokens and activations

The models' scaled activations are concatenated to one vector, and a crosscoder is an SAE of that vector. It uses the
kernels, checkpoints and architectures of `SAETrainer`, and the widths d_in of the models need not agree. s_m gives
every model the same total variance (`universality.activations.joint_site`).

*Norm and selection.* The concatenated row of a feature has norm 1: Σ_m ‖d_m‖² = 1. BatchTopK then selects by a · ‖d‖,
the norm of a feature's contribution to the reconstruction, which favours neither shared nor exclusive features. Minder
et al. (2025) leave the norms free and select by a · Σ_m ‖d_m‖, the term that Lindsey et al. (2024) penalise by L1; it
weights a feature shared equally by two models up to √2 more. Unlike L1, neither rule shrinks the smaller of two norms,
or makes two exclusive features as cheap as one shared feature.

The *relative norm* of model m is ‖d_m‖ / Σ_m' ‖d_m'‖, from the scaled rows. With two models it is near 0 or 1 for an
*exclusive* feature and about a half for a *shared* one (`feature_classes`).
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

    Examples
    --------
    A feature that both models have, and one that only the second has:

    >>> import torch
    >>> from universality.sae import SAE, Crosscoder
    >>> rows = torch.tensor([[0.6, 0.8], [0.0, 1.0]])  # [d_sae, d_in of A + d_in of B]
    >>> sae = SAE(rows.T, torch.zeros(2), rows, torch.zeros(2), architecture="relu")
    >>> crosscoder = Crosscoder(sae, models=("A", "B"), widths=(1, 1), scales=(1.0, 1.0))
    >>> crosscoder.relative_norms.round(2)  # models by features
    array([[0.43, 0.  ],
           [0.57, 1.  ]])
    """

    sae: SAE
    """SAE of the concatenated scaled activations; its ``d_in`` is the sum of ``widths``."""
    models: tuple[str, ...]
    """Names, in the order in which the activations are concatenated."""
    widths: tuple[int, ...]
    """d_in of each model."""
    scales: tuple[float, ...]
    """Factor by which each model's activations are multiplied."""

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
        """Share of each model in the sum of a feature's norms [n_models, d_sae]; columns add up to 1."""
        norms = self.norms
        shares: NDArray[np.float64] = norms / np.maximum(norms.sum(axis=0), np.finfo(np.float64).tiny)
        return shares

    def cosines(self, a: str, b: str) -> NDArray[np.float64]:
        """Cosine of each feature's decoder rows in two models [d_sae]; 0 where a row is 0.

        It is meaningful only if the models share a basis, as a base model and its fine-tune do; otherwise it is about
        0 ± 1 / √d_in.

        Raises
        ------
        MismatchError
            If the crosscoder lacks one of the models, or their widths differ.
        """
        x, y = (self.sae.W_dec[:, self._columns(name)].double().cpu().numpy() for name in (a, b))
        if x.shape != y.shape:
            raise MismatchError(f"a cosine needs one space; {a!r} is {x.shape[1]} wide, {b!r} {y.shape[1]}")
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosines: NDArray[np.float64] = np.einsum("fi,fi->f", x, y) / np.where(norms > 0, norms, 1)
        return cosines

    def of(self, model: str) -> SAE:
        """One model's part as an SAE in that model's units; models share b_enc and the threshold.

        Encoding with it assumes that the other models' activations equal their decoder biases.

        Raises
        ------
        MismatchError
            If the crosscoder lacks the model.
        """
        columns, scale = self._columns(model), self.scales[self.models.index(model)]
        return replace(
            self.sae,
            W_enc=self.sae.W_enc[columns] * scale,
            W_dec=self.sae.W_dec[:, columns] / scale,
            b_dec=self.sae.b_dec[columns] / scale,
        )

    def encode(self, activations: Mapping[str, Tensor]) -> sparse.csr_matrix:
        """Encode the activations [n_tokens, d_in] of all models on the same tokens into features [n_tokens, d_sae].

        Raises
        ------
        MismatchError
            If a model is missing, or its width or number of tokens is wrong.
        """
        for name, width in zip(self.models, self.widths, strict=True):
            if name in activations and activations[name].shape[1:] != (width,):
                raise MismatchError(
                    f"expected activations of {name!r} [n_tokens, {width}], found shape "
                    f"{tuple(activations[name].shape)}"
                )
        return self.sae.encode(joined(activations, dict(zip(self.models, self.scales, strict=True))))

    def decode(self, features: sparse.csr_matrix) -> dict[str, NDArray[np.float32]]:
        """Reconstruct activations: model → [n_tokens, d_in], in its own units."""
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
        """Read a crosscoder that `save` wrote.

        Raises
        ------
        FormatError
            As `SAE.load`; also if the SAE belongs to a single model, or the models contradict the weights.
        """
        sae = SAE.load(folder)
        metadata = dict(sae.metadata)
        section = metadata.pop(SECTION, None)
        if not isinstance(section, list) or not all(isinstance(model, dict) for model in section):
            raise FormatError(
                f"{folder}: not a crosscoder: expected a list of models under metadata.{SECTION} in cfg.json, found "
                f"{type(section).__name__}"
            )
        models = [Settings(model, f"{folder}: model {place} of {SECTION}") for place, model in enumerate(section)]
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
