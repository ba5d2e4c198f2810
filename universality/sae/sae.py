"""A trained sparse autoencoder: from activations to sparse features and back.

    a = activation(W_encᵀ (x − b_dec) + b_enc),    x̂ = W_decᵀ a + b_dec

with ``activation`` as in the file of the architecture; without ``apply_b_dec_to_input``, a = activation(W_encᵀ x +
b_enc). x, a and x̂ are in the activations' own units: the scale used in training is folded into the biases.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from universality.errors import FormatError, MismatchError, ModelError
from universality.files import as_path, write_bytes
from universality.sae import formats
from universality.sae.architectures import architecture
from universality.sae.architectures.base import Architecture
from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute import torch_gradients as stock
from universality.sae.compute.codes import Codes
from universality.sae.compute.products import linear
from universality.sae.compute.selection import select
from universality.sae.compute.sparse_gradients import tokens_a_task
from universality.sae.compute.workers import ranges, share_out
from universality.sae.formats import ours, saelens
from universality.sae.formats.fields import fold_scale
from universality.sae.formats.hub_names import fetch_sae, hub_place, recorded_place
from universality.sae.formats.publish import model_card, saelens_metadata
from universality.sae.normalisation import NORMALISATIONS, Normalisation

TOKENS_A_TASK = 1024
LARGEST = 1e18
"""Of an activation: its square, and its product with weights, float32 holds."""


@dataclass(frozen=True, eq=False)
class SAE:
    """A sparse autoencoder that no longer learns. Its tensors are float32 and not to be written to.

    Raises
    ------
    FormatError
        If shapes disagree, a weight is NaN or infinite, or k does not suit the architecture.
    ModelError
        If the architecture is unknown.
    """

    W_enc: Tensor
    """[d_in, d_sae]."""
    b_enc: Tensor
    """[d_sae]."""
    W_dec: Tensor
    """[d_sae, d_in]; the rows of SAEs trained here have unit norm."""
    b_dec: Tensor
    """[d_in]."""
    architecture: str
    """``topk``, ``batchtopk``, ``matryoshka``, ``relu`` or ``jumprelu``."""
    k: int | None = None
    """Features that fire on a token (topk), or did in training on average (batchtopk, matryoshka)."""
    threshold: Tensor | None = None
    """[d_sae], in the activations' units: features fire above it (jumprelu, batchtopk, matryoshka)."""
    nested: tuple[int, ...] = ()
    """Widths at which it may be cut with `prefix` (matryoshka)."""
    apply_b_dec_to_input: bool = True
    """Whether the decoder's bias is subtracted before encoding."""
    normalize_activations: str = "none"
    """What is done to each token's activations before all else: ``none``, ``layer_norm``, ``constant_norm_rescale``."""
    scale: float = 1.0
    """What activations were multiplied by in training. A record: the weights are in the activations' own units."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from (model, site, seeds, tokens seen, …): anything that JSON holds."""

    def __post_init__(self) -> None:
        if self.W_dec.ndim != 2:
            raise FormatError(f"W_dec: expected shape [d_sae, d_in], found {list(self.W_dec.shape)}")
        if self.normalize_activations not in NORMALISATIONS:
            raise FormatError(
                f"normalize_activations is one of {', '.join(NORMALISATIONS)}; found {self.normalize_activations!r}"
            )
        shapes = {"W_enc": (self.d_in, self.d_sae), "b_enc": (self.d_sae,), "b_dec": (self.d_in,)}
        for name, shape in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise FormatError(
                    f"{name}: expected shape {shape} beside a W_dec [d_sae, d_in] of {tuple(self.W_dec.shape)}, "
                    f"found {found}"
                )
        self._check_threshold()
        for name in self._tensors():
            tensor = getattr(self, name).detach().to(torch.float32)
            if not _finite(tensor):
                raise FormatError(f"{name} of the SAE holds NaN or infinity")
            object.__setattr__(self, name, tensor)
        if self.architecture == "topk" and (self.k is None or not 1 <= self.k <= self.d_sae):
            raise FormatError(f"k of a topk SAE must be 1 to d_sae = {self.d_sae}, found {self.k}")

    def _check_threshold(self) -> None:
        """Thresholds where the architecture, which must be known, asks for them, and nowhere else."""
        shape = None if self.threshold is None else tuple(self.threshold.shape)
        expected = (self.d_sae,) if self._kind.has_threshold else None
        if shape != expected:
            raise FormatError(f"threshold of a {self.architecture} SAE: expected shape {expected}, found {shape}")
        if any(not 0 < a < b for a, b in pairwise((*self.nested, self.d_sae))):
            raise FormatError(f"nested widths must rise to below d_sae = {self.d_sae}, found {list(self.nested)}")

    def _tensors(self) -> tuple[str, ...]:
        return ours.TENSORS if self.threshold is None else (*ours.TENSORS, "threshold")

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return self.W_dec.shape[-1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_dec.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.W_dec.device

    @property
    def awaits_scale(self) -> bool:
        """Whether its weights are for activations that the caller is to multiply by √d_in / (their mean norm).

        So are SAELens's with ``expected_average_only_in``. `encode` leaves activations as they are, as SAELens does;
        `scaled` makes an SAE that takes them in their own units. A run measures the factor and does so.
        """
        return saelens.awaits_scale(self.metadata)

    def scaled(self, factor: float, **measured: Any) -> SAE:
        """The SAE for activations in their own units, where this one is for activations times ``factor``.

        Codes and reconstructions are in the activations' own units too: what this one gives for x · factor, divided by
        it.

        Parameters
        ----------
        factor
            For `awaits_scale`: √d_in divided by the mean norm of activations as the SAE was trained on.
        measured
            How the factor was found, for the metadata.

        Raises
        ------
        ModelError
            If the factor is not a finite number above 0, or activations are normalised per token besides.
        """
        if not 0 < factor < math.inf or self.normalize_activations != "none":
            raise ModelError(
                f"an SAE is scaled by a finite factor above 0, and not where each token is normalised; found {factor} "
                f"and normalize_activations {self.normalize_activations!r}"
            )
        fields = {name: getattr(self, name) for name in ("b_enc", "b_dec", "threshold")}
        return replace(
            self, **fold_scale(fields, factor), metadata=saelens.with_scale(self.metadata, factor, **measured)
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the function it computes: weights, architecture and its settings; not of scale and metadata."""
        digest = hashlib.sha256(f"{self.architecture} {self.k} {self.apply_b_dec_to_input}".encode())
        if self.normalize_activations != "none":
            digest.update(f" {self.normalize_activations}".encode())
        for name in self._tensors():
            array = np.ascontiguousarray(getattr(self, name).cpu().numpy(), dtype="<f4")
            digest.update(f" {name} {array.shape} ".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> SAE:
        """The same SAE on another device."""
        moved = {name: getattr(self, name).to(device) for name in self._tensors()}
        return replace(self, **moved)

    def prefix(self, width: int) -> SAE:
        """The SAE of the first ``width`` features; its codes are the first columns of the whole one's.

        Raises
        ------
        ModelError
            If it was not trained to be cut at this width.
        """
        if width not in (*self.nested, self.d_sae):
            nested = ", ".join(map(str, self.nested)) or "none"
            raise ModelError(f"this {self.architecture} SAE can be cut at its nested widths ({nested}), not at {width}")
        return replace(
            self,
            W_enc=self.W_enc[:, :width],
            b_enc=self.b_enc[:width],
            W_dec=self.W_dec[:width],
            threshold=None if self.threshold is None else self.threshold[:width],
            nested=tuple(n for n in self.nested if n < width),
        )

    @torch.no_grad()
    def encode(self, x: Tensor | NDArray[np.floating]) -> sparse.csr_matrix:
        """Sparse features.

        Parameters
        ----------
        x : [n_tokens, d_in]
            Activations; each token is encoded by itself, so batches may be cut anywhere (but for rounding).

        Returns
        -------
        csr_matrix [n_tokens, d_sae]
            float32, in the activations' units; indices rise within a row, zeros are not stored.

        Raises
        ------
        MismatchError
            If x is not [n_tokens, d_in].
        FormatError
            If x holds NaN, infinity, or numbers beyond `LARGEST`.
        """
        rows = torch.as_tensor(x)
        self._check_rows(rows, self.d_in, "activations")
        rows = rows.to(self.device, torch.float32)
        _check_size(rows)
        if self.normalize_activations != "none":
            rows = Normalisation.of(rows, self.normalize_activations).apply(rows)
        tasks = ranges(len(rows), tokens_a_task(self.d_sae))
        rule = self._kind.inference(self.threshold)
        if not tasks:
            return sparse.csr_matrix((0, self.d_sae), dtype=np.float32)
        if self.device.type == "cpu":
            return Codes.concatenate(share_out(lambda part: select(self._pre(rows[part]), rule), tasks)).csr()
        found = (stock.select(self._pre(rows[part]), rule) for part in tasks)
        return sparse.vstack([_csr(entries) for entries in found], format="csr")

    @overload
    def decode(self, features: Tensor, like: Tensor | None = None) -> Tensor: ...
    @overload
    def decode(self, features: sparse.csr_matrix, like: Tensor | None = None) -> NDArray[np.float32]: ...
    @torch.no_grad()
    def decode(self, features: Tensor | sparse.csr_matrix, like: Tensor | None = None) -> Tensor | NDArray[np.float32]:
        """Activations from features.

        Parameters
        ----------
        features : [n_tokens, d_sae]
            What `encode` returned, or a dense tensor.
        like : [n_tokens, d_in]
            The activations that were encoded. An SAE that normalises them reconstructs normalised ones, unless it is
            shown these; to others they make no difference.

        Returns
        -------
        array or Tensor [n_tokens, d_in]
            NumPy for a CSR matrix, a tensor for a tensor.

        Raises
        ------
        MismatchError
            If features is not [n_tokens, d_sae].
        """
        self._check_rows(features, self.d_sae, "features")
        if like is not None and self.normalize_activations != "none":
            return self._denormalised(self.decode(features), like)
        if isinstance(features, Tensor):
            return features.to(self.device, torch.float32) @ self.W_dec + self.b_dec
        codes = Codes.of(sparse.csr_matrix(features, dtype=np.float32))
        out = np.empty((codes.n_tokens, self.d_in), np.float32)
        decoder, bias = self._decoder, self.b_dec.cpu().numpy()

        def fill(part: slice) -> None:
            kernels.combine(codes.start[part], codes.stop[part], codes.indices, codes.values, decoder, bias, out[part])

        share_out(fill, ranges(codes.n_tokens, TOKENS_A_TASK))
        return out

    def reconstruct(self, x: Tensor) -> Tensor:
        """``decode(encode(x))`` of activations [n_tokens, d_in], on their device."""
        return torch.from_numpy(self.decode(self.encode(x), like=x)).to(x.device, x.dtype)

    def save(self, folder: str | Path) -> Path:
        """Write ``cfg.json`` and ``sae_weights.safetensors`` as SAELens names them; returns the folder.

        Equal SAEs are equal files. An SAE that stands there is replaced.
        """
        tensors = {name: getattr(self, name) for name in self._tensors()}
        ours.write(as_path(folder), tensors, self._settings(), dict(self.metadata))
        return as_path(folder)

    def export(self, folder: str | Path) -> Path:
        """`save`, for others: with the names that SAELens looks for in its metadata, and a model card ``README.md``.

        SAELens 6 and later reads the folder with ``SAE.load_from_disk``. It knows batchtopk and matryoshka as
        jumprelu, which is what they are once trained.
        """
        replace(self, metadata=saelens_metadata(self.metadata)).save(folder)
        card = model_card(as_path(folder).name, self._settings(), (self.d_in, self.d_sae), self.metadata)
        write_bytes(as_path(folder) / "README.md", card.encode())
        return as_path(folder)

    @classmethod
    def load(cls, path: str | Path) -> SAE:
        """Read an SAE of ours or of another tool from its folder, or from a file in it.

        Parameters
        ----------
        path
            A folder, a file, ``owner/repository@revision:path`` on the Hugging Face hub, or ``release/id`` of SAELens's
            directory (`universality.sae.formats.hub_names`). An SAE of ours, SAELens (of 6 and before), sparsify,
            dictionary_learning, Llamascopium, Gemma Scope or OpenAI: recognised by its files. It encodes as in its own
            library; see `universality.sae.formats`.

        Raises
        ------
        FormatError
            If a file is missing, torn or contradicts itself, or holds what this class cannot: gates, a transcoder.
        """
        place = hub_place(path)
        file = as_path(path) if place is None else fetch_sae(place)
        fields = formats.read(file)
        if place is not None:
            fields["metadata"] = {**fields["metadata"], "hub": recorded_place(place, file)}
        try:
            return cls(**fields)
        except (FormatError, ModelError) as error:
            raise FormatError(f"{path}: {error}") from None

    def _settings(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "k": self.k,
            "apply_b_dec_to_input": self.apply_b_dec_to_input,
            "normalize_activations": self.normalize_activations,
            "scale": self.scale,
            "nested": list(self.nested),
        }

    @cached_property
    def _kind(self) -> Architecture:
        return architecture(self.architecture, {"k": self.k, "nested": self.nested})

    @cached_property
    def _encoder(self) -> tuple[Tensor, Tensor]:
        """Feature-major encoder and the bias with the decoder's folded in."""
        rows = self.W_enc.T.contiguous()
        return rows, self.b_enc - rows @ self.b_dec if self.apply_b_dec_to_input else self.b_enc

    @cached_property
    def _decoder(self) -> NDArray[np.float32]:
        """W_dec by rows, on the CPU; other tools keep it by columns."""
        rows: NDArray[np.float32] = self.W_dec.contiguous().cpu().numpy()
        return rows

    def _denormalised(self, rows: Tensor | NDArray[np.float32], like: Tensor) -> Tensor | NDArray[np.float32]:
        """Rows [n_tokens, d_in] in the units of the activations that they reconstruct."""
        made = torch.as_tensor(rows)
        seen = torch.as_tensor(like).to(made.device, torch.float32)
        self._check_rows(seen, self.d_in, "activations")
        out = Normalisation.of(seen, self.normalize_activations).undo(made)
        return out if isinstance(rows, Tensor) else out.numpy()

    def _pre(self, rows: Tensor) -> Tensor:
        return linear(rows, *self._encoder)

    def _check_rows(self, rows: Any, width: int, what: str) -> None:
        if len(rows.shape) != 2 or rows.shape[1] != width:
            raise MismatchError(f"expected {what} [n_tokens, {width}], found shape {tuple(rows.shape)}")


def _finite(tensor: Tensor) -> bool:
    """Whether it holds neither NaN nor infinity. One of them makes the sum one, which takes no memory to see."""
    return bool(tensor.sum().isfinite()) or bool(torch.isfinite(tensor).all())


def _check_size(rows: Tensor) -> None:
    """All numbers, float32 already, are such that products with weights of ordinary size are finite."""
    if not rows.numel():
        return
    low, high = torch.aminmax(rows)
    if bool(low >= -LARGEST) and bool(high <= LARGEST):  # false of NaN
        return
    row, column = (~(rows.abs() <= LARGEST)).nonzero()[0].tolist()
    what = f"numbers beyond ±{LARGEST:g}" if bool(rows[row, column].isfinite()) else "NaN or infinity"
    raise FormatError(f"the activations hold {what}, first at row {row}, column {column}")


def _csr(entries: stock.Entries) -> sparse.csr_matrix:
    token, feature, values = (t.cpu().numpy() for t in (entries.token, entries.feature, entries.values))
    return sparse.csr_matrix((values, (token, feature)), shape=entries.shape)
