"""A trained sparse autoencoder: from activations to sparse features and back.

    a = activation(W_encᵀ (x − b_dec) + b_enc),    x̂ = W_decᵀ a + b_dec

with ``activation`` as in the architecture's module; without ``apply_b_dec_to_input``, a = activation(W_encᵀ x + b_enc).
x, a and x̂ are in the activations' own units: the scale s used in training is folded into the biases and thresholds,
which changes nothing where activation(s z) = s activation(z), as for the architectures that are built in. One that is
registered elsewhere may be no such function; its activations are activation(s z) / s.

A *transcoder* reads activations x at one hook and reconstructs those at another, y, as those of an MLP's output from
its input; a *skip transcoder* adds a linear map of what it reads (Dunefsky et al. 2024, Paulo et al. 2025):

    a = activation(W_encᵀ x + b_enc),    ŷ = W_decᵀ a + b_dec + W_skipᵀ x
"""

from __future__ import annotations

import hashlib
import json
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
from universality.notebook_card import card
from universality.sae import formats
from universality.sae.architectures import BUILT_IN, build_architecture
from universality.sae.architectures.base import Architecture, AutogradArchitecture, FiringRule
from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute import torch_gradients
from universality.sae.compute.codes import Codes
from universality.sae.compute.dense_gradients import activations
from universality.sae.compute.products import linear
from universality.sae.compute.selection import select
from universality.sae.compute.tiles import by_tiles, joined, named, rule_of
from universality.sae.compute.weights import own_parameters
from universality.sae.compute.workers import ranges, share_out
from universality.sae.formats import ours, saelens
from universality.sae.formats.fields import fold_scale
from universality.sae.formats.hub_names import fetch_sae, hub_place, recorded_place
from universality.sae.formats.publish import model_card, saelens_metadata
from universality.sae.formats.stated_hook import stated_hook
from universality.sae.normalisation import NORMALISATIONS, Normalisation

TOKENS_A_TASK = 1024
LEAST_ROWS_A_TASK, PRE_ACTIVATIONS_A_TASK = 128, 2**22  # rows with all features; 16 MB
LARGEST = 1e18
"""Largest activation that is accepted: float32 holds its square and its products with weights of ordinary size."""


@dataclass(frozen=True, eq=False)
class SAE:
    """A trained sparse autoencoder. Its tensors are float32 and must not be written to.

    Raises
    ------
    FormatError
        If shapes disagree, a weight is NaN or infinite, or k does not suit the architecture.
    ModelError
        If the architecture is unknown.

    Examples
    --------
    Two features, each the positive part of one coordinate:

    >>> import torch
    >>> from universality.sae import SAE
    >>> sae = SAE(torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2), architecture="topk", k=1)
    >>> codes = sae.encode(torch.tensor([[3.0, 1.0], [-1.0, -2.0]]))
    >>> codes.toarray()
    array([[3., 0.],
           [0., 0.]], dtype=float32)
    >>> sae.decode(codes)
    array([[3., 0.],
           [0., 0.]], dtype=float32)
    """

    W_enc: Tensor
    """[d_in, d_sae]."""
    b_enc: Tensor
    """[d_sae]."""
    W_dec: Tensor
    """[d_sae, d_out]; the rows of SAEs trained here have unit norm. d_out is d_in except in transcoders."""
    b_dec: Tensor
    """[d_out]."""
    architecture: str
    """``topk``, ``batchtopk``, ``matryoshka``, ``relu``, ``jumprelu`` or a name given to `register_architecture`."""
    k: int | None = None
    """Number of features that fire on a token (topk), or fired on average in training (batchtopk, matryoshka)."""
    threshold: Tensor | None = None
    """[d_sae], in the activations' units: features fire above it (jumprelu, batchtopk, matryoshka)."""
    nested: tuple[int, ...] = ()
    """Widths at which `prefix` can cut the SAE (matryoshka)."""
    apply_b_dec_to_input: bool = True
    """Whether b_dec is subtracted before encoding; a transcoder cannot."""
    normalize_activations: str = "none"
    """Normalisation of each token before all else: ``none``, ``layer_norm`` or ``constant_norm_rescale``."""
    scale: float = 1.0
    """Factor that scaled activations in training. The weights are in the activations' own units nevertheless."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Provenance (model, hook, seeds, tokens seen, …): anything that JSON holds."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a registered architecture."""
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    """Own parameters [d_sae, …] of a registered architecture, in the units of training."""
    transcoder: bool = False
    """Whether the activations that are reconstructed are at another hook than those that are encoded."""
    W_skip: Tensor | None = None
    """[d_in, d_out], a linear map of the input that a skip transcoder adds to its output."""

    def __post_init__(self) -> None:
        if self.W_dec.ndim != 2:
            raise FormatError(f"W_dec: expected shape [d_sae, d_in], found {list(self.W_dec.shape)}")
        if self.normalize_activations not in NORMALISATIONS:
            raise FormatError(
                f"normalize_activations is one of {', '.join(NORMALISATIONS)}; found {self.normalize_activations!r}"
            )
        self._check_shapes()
        self._check_threshold()
        self._check_parameters()
        for name in self._tensors():
            tensor = getattr(self, name).detach().to(torch.float32)
            if not _finite(tensor):
                raise FormatError(f"{name} of the SAE holds NaN or infinity")
            object.__setattr__(self, name, tensor)  # how a frozen dataclass sets its own fields
        if self.architecture == "topk" and (self.k is None or not 1 <= self.k <= self.d_sae):
            raise FormatError(f"k of a topk SAE must be 1 to d_sae = {self.d_sae}, found {self.k}")

    def __repr__(self) -> str:
        sparsity = "" if self.k is None else f", k={self.k}"
        return f"SAE({self.architecture}, d_in={self.d_in}, d_sae={self.d_sae}{sparsity})"

    def _repr_html_(self) -> str:
        training, model = self.metadata.get("training"), self.metadata.get("model")  # other tools may hold anything
        numbers = {
            "architecture": self.architecture,
            "d_in": self.d_in,
            "d_sae": self.d_sae,
            "k": self.k,
            "normalises activations": self.normalize_activations,
            "trained at": stated_hook(self.metadata),
            "model": model.get("name") if isinstance(model, Mapping) else self.metadata.get("model_name"),
            "seed": training.get("seed") if isinstance(training, Mapping) else None,
            "device": str(self.device),
            "hash": self.hash[:12],
        }
        return card("Sparse autoencoder", numbers)

    def _check_shapes(self) -> None:
        d_out = self.W_dec.shape[1]
        d_in = self.W_enc.shape[0] if self.transcoder and self.W_enc.ndim == 2 else d_out
        shapes = {"W_enc": (d_in, self.d_sae), "b_enc": (self.d_sae,), "b_dec": (d_out,)}
        shapes |= {} if self.W_skip is None else {"W_skip": (d_in, d_out)}
        for name, shape in shapes.items():
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                raise FormatError(
                    f"{name}: expected shape {shape} beside a W_dec [d_sae, {'d_out' if self.transcoder else 'd_in'}] "
                    f"of {tuple(self.W_dec.shape)}, found {actual}"
                )
        if self.W_skip is not None and not self.transcoder:
            raise FormatError("W_skip belongs to a transcoder: expected transcoder=True beside it")
        if self.transcoder and self.apply_b_dec_to_input:
            raise FormatError(
                "apply_b_dec_to_input of a transcoder must be false: b_dec is of the activations that it reconstructs"
            )
        if self.transcoder and self.architecture not in BUILT_IN:
            raise FormatError(f"a transcoder has one of the built-in architectures, found {self.architecture!r}")

    def _check_threshold(self) -> None:
        """Check that there are thresholds if and only if the architecture uses them."""
        shape = None if self.threshold is None else tuple(self.threshold.shape)
        expected = (self.d_sae,) if self._architecture.has_threshold else None
        if shape != expected:
            raise FormatError(f"threshold of a {self.architecture} SAE: expected shape {expected}, found {shape}")
        if any(not 0 < a < b for a, b in pairwise((*self.nested, self.d_sae))):
            raise FormatError(f"nested widths must rise to below d_sae = {self.d_sae}, found {list(self.nested)}")

    def _check_parameters(self) -> None:
        expected = {name: value.shape for name, value in own_parameters(self._architecture, self.d_sae).items()}
        shapes = {name: value.shape for name, value in self.parameters.items()}
        if shapes != expected:
            raise FormatError(
                f"parameters of a {self.architecture} SAE: expected shapes {_shown(expected)}, found {_shown(shapes)}"
            )
        parameters = {name: value.detach().to(torch.float32) for name, value in self.parameters.items()}
        if bad := [name for name, value in parameters.items() if not _finite(value)]:
            raise FormatError(f"{bad[0]} of the SAE holds NaN or infinity")
        object.__setattr__(self, "parameters", parameters)

    def _tensors(self) -> tuple[str, ...]:
        optional = ("threshold", "W_skip")
        return (*ours.TENSORS, *(name for name in optional if getattr(self, name) is not None))

    @property
    def d_in(self) -> int:
        """Width of the activations that are encoded."""
        return self.W_enc.shape[0]

    @property
    def d_out(self) -> int:
        """Width of the activations that are reconstructed: d_in except in transcoders."""
        return self.W_dec.shape[1]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_dec.shape[0]

    @property
    def device(self) -> torch.device:
        """Device that holds the weights."""
        return self.W_dec.device

    @property
    def awaits_scale(self) -> bool:
        """Whether the weights expect activations that the caller multiplies by √d_in / (their mean norm).

        So do SAEs of SAELens with ``expected_average_only_in``. Like SAELens, `encode` leaves the multiplication to its
        caller; `scaled` returns an SAE that takes activations in their own units. A run measures the factor.
        """
        return saelens.awaits_scale(self.metadata)

    def scaled(self, factor: float, **measured: Any) -> SAE:
        """Convert an SAE for activations times ``factor`` into one for activations in their own units.

        Codes and reconstructions of x are then those of this SAE for x · factor, divided by the factor.

        Parameters
        ----------
        factor
            For `awaits_scale`: √d_in divided by the mean norm of activations like those in training.
        measured
            How the factor was measured, for the metadata.

        Raises
        ------
        ModelError
            If the factor is not a finite number above 0, or each token is normalised as well, or for a transcoder,
            whose input and output have scales of their own.
        """
        if self.transcoder:
            raise ModelError("a transcoder cannot be scaled: a factor of what it reads is none of what it writes")
        if not 0 < factor < math.inf or self.normalize_activations != "none":
            raise ModelError(
                f"an SAE is scaled by a finite factor above 0, and not where each token is normalised; found {factor} "
                f"and normalize_activations {self.normalize_activations!r}"
            )
        fields = fold_scale({name: getattr(self, name) for name in ("b_enc", "b_dec", "threshold")}, factor)
        if isinstance(self._architecture, AutogradArchitecture):
            fields["scale"] = self.scale * factor  # its forward function is called on activations times the scale
        return replace(self, **fields, metadata=saelens.with_scale(self.metadata, factor, **measured))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the function that the SAE computes: weights, architecture and settings, but no metadata."""
        digest = hashlib.sha256(f"{self.architecture} {self.k} {self.apply_b_dec_to_input}".encode())
        if self.normalize_activations != "none":
            digest.update(f" {self.normalize_activations}".encode())
        if self.transcoder:
            digest.update(b" transcoder")
        if isinstance(self._architecture, AutogradArchitecture):
            digest.update(f" {self.scale} {json.dumps(dict(self.settings), sort_keys=True)}".encode())
        tensors = {name: getattr(self, name) for name in self._tensors()} | dict(sorted(self.parameters.items()))
        for name, tensor in tensors.items():
            array = np.ascontiguousarray(tensor.cpu().numpy(), dtype="<f4")
            digest.update(f" {name} {array.shape} ".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> SAE:
        """The same SAE on another device."""
        moved = {name: getattr(self, name).to(device) for name in self._tensors()}
        parameters = {name: value.to(device) for name, value in self.parameters.items()}
        return replace(self, **moved, parameters=parameters)

    def prefix(self, width: int) -> SAE:
        """The SAE of the first ``width`` features; its codes are the first columns of this SAE's codes.

        Raises
        ------
        ModelError
            If ``width`` is neither a nested width nor d_sae.
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
            parameters={name: value[:width] for name, value in self.parameters.items()},
        )

    @torch.no_grad()
    def encode(self, x: Tensor | NDArray[np.floating]) -> sparse.csr_matrix:
        """Encode activations into sparse features.

        Parameters
        ----------
        x : [n_tokens, d_in]
            Activations. Each token is encoded by itself: how tokens are cut into batches matters only to rounding.

        Returns
        -------
        csr_matrix [n_tokens, d_sae]
            float32, in the activations' own units; indices rise within a row, zeros are not stored.

        Raises
        ------
        MismatchError
            If x is not [n_tokens, d_in].
        FormatError
            If x holds NaN, infinity, or numbers beyond `LARGEST`.
        ModelError
            If the forward function of a registered architecture returns anything but activations of at least 0.
        """
        rows = torch.as_tensor(x)
        self._check_rows(rows, self.d_in, "activations")
        rows = rows.to(self.device, torch.float32)
        _check_size(rows)
        if self.normalize_activations != "none":
            rows = Normalisation.of(rows, self.normalize_activations).apply(rows)
        if not len(rows):
            return sparse.csr_matrix((0, self.d_sae), dtype=np.float32)
        own_forward = isinstance(self._architecture, AutogradArchitecture)
        if self.device.type == "cpu" and not own_forward:
            return self._encoded_by_tiles(rows).csr()
        tasks = ranges(len(rows), max(LEAST_ROWS_A_TASK, PRE_ACTIVATIONS_A_TASK // self.d_sae))
        # activations that an own forward function gave are selected by their sign
        rule = FiringRule() if own_forward else self._architecture.inference(self.threshold)
        if self.device.type == "cpu":
            return Codes.concatenate(share_out(lambda part: select(self._to_select(rows[part]), rule), tasks)).csr()
        entries = (torch_gradients.select(self._to_select(rows[part]), rule) for part in tasks)
        return sparse.vstack([_csr(part) for part in entries], format="csr")

    def _encoded_by_tiles(self, rows: Tensor) -> Codes:
        """Encode rows [n_tokens, d_in] on a CPU."""
        weight, bias = self._encoder
        rule = self._architecture.inference(self.threshold)

        def encode(tokens: slice, features: slice) -> Codes:
            pre = linear(rows[tokens], weight[features], bias[features])
            return named(select(pre, rule_of(rule, features)), features, self.d_sae)

        return joined(by_tiles(encode, len(rows), self.d_sae), rule.k)

    @overload
    def decode(self, features: Tensor, like: Tensor | None = None) -> Tensor: ...
    @overload
    def decode(self, features: sparse.csr_matrix, like: Tensor | None = None) -> NDArray[np.float32]: ...
    @torch.no_grad()
    def decode(self, features: Tensor | sparse.csr_matrix, like: Tensor | None = None) -> Tensor | NDArray[np.float32]:
        """Reconstruct activations from features.

        Parameters
        ----------
        features : [n_tokens, d_sae]
            What `encode` returned, or a dense tensor.
        like : [n_tokens, d_in]
            The activations that were encoded. A skip transcoder needs them. An SAE with ``normalize_activations`` needs
            them to return to the activations' own units, and otherwise reconstructs normalised activations. Others
            ignore them.

        Returns
        -------
        array or Tensor [n_tokens, d_out]
            NumPy for a CSR matrix, a tensor for a tensor.

        Raises
        ------
        MismatchError
            If features is not [n_tokens, d_sae], or ``like``, of a skip transcoder, is missing or not [n_tokens, d_in].
        """
        self._check_rows(features, self.d_sae, "features")
        if self.W_skip is not None:
            return self._with_skip(self._decoded(features), like)
        # what a transcoder reconstructs was never normalised
        if like is not None and self.normalize_activations != "none" and not self.transcoder:
            return self._denormalised(self._decoded(features), like)
        return self._decoded(features)

    def _decoded(self, features: Tensor | sparse.csr_matrix) -> Tensor | NDArray[np.float32]:
        """Sum decoder rows and b_dec for features [n_tokens, d_sae]."""
        if isinstance(features, Tensor):
            return features.to(self.device, torch.float32) @ self.W_dec + self.b_dec
        return self._combined(features, self.b_dec.cpu().numpy())

    def _combined(self, features: sparse.csr_matrix, bias: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum decoder rows and a bias [d_out] for features [n_tokens, d_sae]."""
        codes = Codes.of(sparse.csr_matrix(features, dtype=np.float32))
        out = np.empty((codes.n_tokens, self.d_out), np.float32)
        decoder = self._decoder

        def fill(part: slice) -> None:
            kernels.combine(codes.start[part], codes.stop[part], codes.indices, codes.values, decoder, bias, out[part])

        share_out(fill, ranges(codes.n_tokens, TOKENS_A_TASK))
        return out

    @torch.no_grad()
    def contribution(self, codes: sparse.csr_matrix, like: Tensor | None = None) -> Tensor:
        """Sum decoder rows weighted by codes: what they add to a reconstruction, without b_dec and W_skip.

        Parameters
        ----------
        codes : [n_tokens, d_sae]
            Codes or differences of codes.
        like : [n_tokens, d_in]
            The activations that were encoded; SAEs with ``normalize_activations`` need them.

        Returns
        -------
        Tensor [n_tokens, d_out]
            In the activations' own units, on the SAE's device.

        Raises
        ------
        MismatchError
            If codes is not [n_tokens, d_sae], or ``like`` is missing where it is needed.
        """
        self._check_rows(codes, self.d_sae, "codes")
        rows = torch.from_numpy(self._combined(codes, np.zeros(self.d_out, np.float32))).to(self.device)
        return rows * self._sizes(like, "contribution(codes, like=x)")

    @torch.no_grad()
    def contribution_along(
        self, codes: sparse.csr_matrix, vectors: Tensor, like: Tensor | None = None
    ) -> sparse.csr_matrix:
        """Compute the inner product of each feature's contribution with one vector a token, f_i ⟨d_i, v_t⟩.

        Parameters
        ----------
        codes : [n_tokens, d_sae]
            Codes f.
        vectors : [n_tokens, d_out]
            v, in the activations' own units.
        like : [n_tokens, d_in]
            As for `contribution`, whose rows' products with ``vectors`` are the sums of these.

        Returns
        -------
        csr_matrix [n_tokens, d_sae]
            float32, with the entries of ``codes``.

        Raises
        ------
        MismatchError
            If a shape does not fit, or ``like`` is missing where it is needed.
        """
        self._check_rows(codes, self.d_sae, "codes")
        self._check_rows(vectors, self.d_out, "vectors")
        if vectors.shape[0] != codes.shape[0]:
            raise MismatchError(f"expected vectors of {codes.shape[0]} tokens, as the codes, found {len(vectors)}")
        sizes = self._sizes(like, "contribution_along(codes, vectors, like=x)")
        v = (vectors.to(self.device, torch.float32) * sizes).cpu().contiguous().numpy()
        entries = Codes.of(sparse.csr_matrix(codes, dtype=np.float32))
        out = np.zeros(len(entries.values), np.float32)
        decoder = self._decoder

        def fill(part: slice) -> None:
            kernels.products(entries.start[part], entries.stop[part], entries.indices, decoder, v[part], out)

        share_out(fill, ranges(entries.n_tokens, TOKENS_A_TASK))
        return sparse.csr_matrix((out * entries.values, codes.indices, codes.indptr), shape=codes.shape, copy=True)

    def _sizes(self, like: Tensor | None, call: str) -> Tensor | float:
        """Factor [n_tokens, 1] between decoder rows and the activations' own units; 1 unless tokens are normalised."""
        if self.normalize_activations == "none" or self.transcoder:
            return 1.0
        if like is None:
            raise MismatchError(f"this SAE normalises each token: pass the activations that were encoded, {call}")
        originals = torch.as_tensor(like).to(self.device, torch.float32)
        self._check_rows(originals, self.d_in, "activations")
        return Normalisation.of(originals, self.normalize_activations).size

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return ``decode(encode(x))`` [n_tokens, d_out] for activations [n_tokens, d_in], on their device."""
        return torch.from_numpy(self.decode(self.encode(x), like=x)).to(x.device, x.dtype)

    def save(self, folder: str | Path) -> Path:
        """Write ``cfg.json`` and ``sae_weights.safetensors``, the file names of SAELens; returns the folder.

        Equal SAEs give equal files. An SAE that is already there is replaced.
        """
        tensors = {name: getattr(self, name) for name in self._tensors()} | dict(self.parameters)
        ours.write(as_path(folder), tensors, self._config(), dict(self.metadata))
        return as_path(folder)

    def export(self, folder: str | Path) -> Path:
        """Write as `save` does, with the metadata that SAELens looks for and a model card ``README.md``.

        SAELens 6 and later reads the folder with ``SAE.load_from_disk``. To SAELens batchtopk and matryoshka are
        jumprelu, which is what they compute once trained.

        Raises
        ------
        ModelError
            If the architecture is one that SAELens does not have.
        """
        if self.architecture not in BUILT_IN:
            raise ModelError(f"SAELens has no architecture {self.architecture!r}; write the SAE with save instead")
        replace(self, metadata=saelens_metadata(self.metadata)).save(folder)
        card = model_card(as_path(folder).name, self._config(), (self.d_in, self.d_sae), self.metadata)
        write_bytes(as_path(folder) / "README.md", card.encode())
        return as_path(folder)

    @classmethod
    def load(cls, path: str | Path) -> SAE:
        """Read an SAE of this or another tool from its folder, or from a file in it.

        Parameters
        ----------
        path
            A folder, a file in it, ``owner/repository@revision:path`` on the Hugging Face hub, or ``release/id`` of
            SAELens's directory (`universality.sae.formats.hub_names`). The SAE was saved here or by one of the tools
            in `universality.sae.formats`; it is recognised by its files and encodes as in the library that wrote it.

        Raises
        ------
        FormatError
            If a file is missing, corrupt or contradicts itself, if the SAE is of a kind that this class cannot hold (a
            crosscoder, a cross-layer transcoder), or its architecture is not registered.
        """
        place = hub_place(path)
        file = as_path(path) if place is None else fetch_sae(place)
        fields = formats.read(file)
        if place is not None:
            fields = fields if place.listing is None else place.listing.apply(fields)
            fields["metadata"] = {**fields["metadata"], "hub": recorded_place(place, file)}
        try:
            return cls(**fields)
        except (FormatError, ModelError) as error:
            raise FormatError(f"{path}: {error}") from None

    def _config(self) -> dict[str, Any]:
        config = {
            "architecture": self.architecture,
            "k": self.k,
            "apply_b_dec_to_input": self.apply_b_dec_to_input,
            "normalize_activations": self.normalize_activations,
            "scale": self.scale,
            "nested": list(self.nested),
            **({"transcoder": True} if self.transcoder else {}),
        }
        return config if self.architecture in BUILT_IN else {**config, "settings": dict(self.settings)}

    @cached_property
    def _architecture(self) -> Architecture:
        return build_architecture(self.architecture, {"k": self.k, "nested": self.nested, **self.settings})

    @cached_property
    def _encoder(self) -> tuple[Tensor, Tensor]:
        """Feature-major encoder, and its bias with b_dec folded in: one product gives pre-activations."""
        rows = self.W_enc.T.contiguous()
        return rows, self.b_enc - rows @ self.b_dec if self.apply_b_dec_to_input else self.b_enc

    @cached_property
    def _decoder(self) -> NDArray[np.float32]:
        """W_dec by rows on the CPU; tensors of other tools may be stored by columns."""
        rows: NDArray[np.float32] = self.W_dec.contiguous().cpu().numpy()
        return rows

    def _with_skip(self, rows: Tensor | NDArray[np.float32], like: Tensor | None) -> Tensor | NDArray[np.float32]:
        """Add to what decoder rows give [n_tokens, d_out] the linear map of the activations ``like``."""
        if like is None or self.W_skip is None:
            raise MismatchError("a skip transcoder adds a linear map of its input: pass it, decode(features, like=x)")
        originals = torch.as_tensor(like).to(self.device, torch.float32)
        self._check_rows(originals, self.d_in, "activations")
        skipped = originals @ self.W_skip
        return rows + (skipped if isinstance(rows, Tensor) else skipped.cpu().numpy())

    def _denormalised(self, rows: Tensor | NDArray[np.float32], like: Tensor) -> Tensor | NDArray[np.float32]:
        """Undo the normalisation of reconstructions [n_tokens, d_in] of the activations ``like``."""
        normalised = torch.as_tensor(rows)
        originals = torch.as_tensor(like).to(normalised.device, torch.float32)
        self._check_rows(originals, self.d_in, "activations")
        out = Normalisation.of(originals, self.normalize_activations).undo(normalised)
        return out if isinstance(rows, Tensor) else out.numpy()

    def _to_select(self, rows: Tensor) -> Tensor:
        """Pre-activations [n_tokens, d_sae], or activations where the architecture has its own forward function."""
        pre = linear(rows, *self._encoder)
        if not isinstance(self._architecture, AutogradArchitecture):
            return pre
        return activations(self._architecture, pre * self.scale, self.parameters) / self.scale

    def _check_rows(self, rows: Any, width: int, what: str) -> None:
        if len(rows.shape) != 2 or rows.shape[1] != width:
            raise MismatchError(f"expected {what} [n_tokens, {width}], found shape {tuple(rows.shape)}")


def _finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity."""
    # NaN or infinity anywhere makes the sum NaN or infinite, which needs no second array; a finite sum settles it. The
    # sum of finite numbers may overflow, and then each is looked at.
    return bool(tensor.sum().isfinite()) or bool(torch.isfinite(tensor).all())


def _check_size(rows: Tensor) -> None:
    """Check that float32 activations are small enough for products with weights to be finite."""
    if not rows.numel():
        return
    low, high = torch.aminmax(rows)
    if bool(low >= -LARGEST) and bool(high <= LARGEST):  # false for NaN
        return
    row, column = (~(rows.abs() <= LARGEST)).nonzero()[0].tolist()
    what = f"numbers beyond ±{LARGEST:g}" if bool(rows[row, column].isfinite()) else "NaN or infinity"
    raise FormatError(f"the activations hold {what}, first at row {row}, column {column}")


def _shown(shapes: Mapping[str, torch.Size]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "none"


def _csr(entries: torch_gradients.Entries) -> sparse.csr_matrix:
    token, feature, values = (t.cpu().numpy() for t in (entries.token, entries.feature, entries.values))
    return sparse.csr_matrix((values, (token, feature)), shape=entries.shape)
