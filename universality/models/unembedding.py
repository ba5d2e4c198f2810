"""Logit weights: the map from directions of the residual stream to logits, and the file that stores it.

The logit weights of a direction d [d_model] follow one convention throughout the package (Bricken et al. 2023,
*Towards Monosemanticity*), which `Unembedding.logit_weights` implements: subtract the mean of d over d_model where the
final norm is a LayerNorm, multiply by the gain of that norm, and multiply by W_U. Comparisons between features use the
vocabulary that counts and centre over it. ``LEFT_OUT`` lists what the convention omits. The module needs NumPy and
safetensors only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.errors import FormatError, MismatchError
from universality.files import as_path, replacing
from universality.models.vocabulary import Vocabulary
from universality.obstacles import check_openable

FORMAT = "universality-unembedding"
VERSION, VERSION_WITH_TEXT = "1", "2"  # files without the vocabulary's text stay readable by older programs
LEFT_OUT = (
    "scale of the final norm (held fixed)",
    "scale of a norm between the site and the residual stream (held fixed; its gain is in the stored directions)",
    "bias of the final norm",
    "bias of the unembedding",
    "multiplier of the logits",
    "soft-cap of the logits",
    "multiplier of what a layer adds to the residual stream",
)
"""Steps on a model's way to its logits that logit weights omit."""


@dataclass(frozen=True, eq=False)
class Unembedding:
    """Linear part of the last step of a language model, from the residual stream to logits.

    The scale of the final norm, which differs from token to token, counts as fixed; ``LEFT_OUT`` lists what else is
    omitted. An unembedding that is tied to the embedding is stored like any other.

    Parameters
    ----------
    W_U
        float32 [d_model, d_vocab].
    gain
        float32 [d_model], factor by which the final norm multiplies: w, or 1 + w in families that store it so; ones
        without a norm.
    mask
        bool [d_vocab], True for vocabulary entries that count (neither padding nor rare).
    center_d_model
        Whether the mean of a direction over d_model is subtracted first (LayerNorm does, RMSNorm does not).
    vocabulary
        Text and frequency of each entry, by which models with different tokenizers are compared; None if unknown.

    Raises
    ------
    MismatchError
        If shapes do not agree.
    FormatError
        If a value is not finite, or the mask is False everywhere.
    """

    W_U: NDArray[np.float32]
    gain: NDArray[np.float32]
    mask: NDArray[np.bool_]
    center_d_model: bool
    vocabulary: Vocabulary | None = None

    def __post_init__(self) -> None:
        W_U, gain = _finite("W_U", self.W_U), _finite("gain", self.gain)
        mask = np.ascontiguousarray(self.mask)
        if W_U.ndim != 2 or gain.shape != W_U.shape[:1] or mask.shape != W_U.shape[1:]:
            raise MismatchError(
                "unembedding: expected W_U [d_model, d_vocab], gain [d_model], mask [d_vocab]; "
                f"found {list(W_U.shape)}, {list(gain.shape)}, {list(mask.shape)}"
            )
        if mask.dtype != np.bool_:
            raise FormatError(f"unembedding: mask must be bool, found {mask.dtype}")
        if not mask.any():
            raise FormatError("unembedding: the mask leaves no vocabulary; at least one entry must be True")
        if self.vocabulary is not None and len(self.vocabulary) != mask.size:
            raise MismatchError(
                f"unembedding: W_U has {mask.size} entries, the vocabulary has {len(self.vocabulary)}; they are of "
                "different models"
            )
        object.__setattr__(self, "W_U", W_U)
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "center_d_model", bool(self.center_d_model))

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.W_U.shape[0])

    @property
    def d_vocab(self) -> int:
        """Number of columns of W_U, whether or not they count."""
        return int(self.W_U.shape[1])

    @cached_property
    def hash(self) -> str:
        """Return the sha256 (64 hex digits) of shapes, little-endian bytes and the centring."""
        digest = hashlib.sha256(f"{FORMAT} {self._version} {self.W_U.shape} {self.center_d_model}".encode())
        for array, dtype in ((self.W_U, "<f4"), (self.gain, "<f4"), (self.mask, "?")):
            digest.update(array.astype(dtype, copy=False).data)
        if self.vocabulary is not None:
            for name, values in self.vocabulary.to_arrays().items():
                digest.update(f" {name} {values.size} ".encode())
                digest.update(values.astype("u1" if values.dtype == np.uint8 else "<i8", copy=False).data)
        return digest.hexdigest()

    @property
    def _version(self) -> str:
        return VERSION if self.vocabulary is None else VERSION_WITH_TEXT

    def through_final_norm(self, directions: NDArray[Any]) -> NDArray[Any]:
        """Apply the linear part of the final norm: its centring, if any, and its gain.

        Parameters
        ----------
        directions
            float [n, d_model], directions of the residual stream.

        Returns
        -------
        NDArray
            float [n, d_model], in the precision of ``directions`` and at least float32.
        """
        if self.center_d_model:  # a LayerNorm projects the mean out before it scales; an RMSNorm does not
            directions = directions - directions.mean(axis=1, keepdims=True)
        return directions * self.gain

    def logit_weights(self, directions: NDArray[Any], centred_over: BoolArray | None = None) -> NDArray[Any]:
        """Map residual directions to their direct effect on every logit.

        Parameters
        ----------
        directions
            float [n, d_model], directions of the residual stream.
        centred_over
            bool [d_vocab]. Subtract from each row its mean over these entries, usually ``mask``: a constant added to
            all logits changes no probability. None leaves rows as they are.

        Returns
        -------
        NDArray
            float [n, d_vocab], in the precision of ``directions`` and at least float32; entries that do not count are
            included.

        Examples
        --------
        >>> u = Unembedding(W_U=[[1, 0, 0], [0, 2, 0]], gain=[1, 3], mask=[True, True, False], center_d_model=False)
        >>> u.logit_weights(np.array([[1.0, 1.0]])).tolist()
        [[1.0, 6.0, 0.0]]
        >>> u.logit_weights(np.array([[1.0, 1.0]]), centred_over=u.mask).tolist()
        [[-2.5, 2.5, -3.5]]
        """
        weights: NDArray[Any] = self.through_final_norm(directions) @ self.W_U
        if centred_over is not None:
            weights -= weights[:, centred_over].mean(axis=1, keepdims=True)
        return weights

    def mean_column(self, over: BoolArray | IntArray) -> FloatArray:
        """Mean column of W_U over some vocabulary entries (a mask or distinct indices), float64 [d_model, 1].

        Subtracting it from W_U centres all logit weights over these entries without an array of features x vocabulary.
        """
        mean: FloatArray = self.W_U[:, np.sort(np.arange(self.d_vocab)[over])].mean(axis=1, dtype=np.float64)[:, None]
        return mean

    @property
    def file_name(self) -> str:
        """Name of the file that stores share: ``unembedding-`` followed by the first 12 digits of the hash."""
        return file_name(self.hash)

    def save(self, path: str | Path) -> Path:
        """Write to ``path`` atomically; return the path."""
        path = as_path(path)
        metadata = {
            "format": FORMAT,
            "format-version": self._version,
            "center_d_model": str(self.center_d_model).lower(),
            "sha256": self.hash,
        }
        with replacing(path) as partial:
            partial.write_bytes(_ordered(save(self._tensors(), metadata)))
        return path

    def _tensors(self) -> dict[str, NDArray[Any]]:
        texts = {} if self.vocabulary is None else self.vocabulary.to_arrays()
        return {"W_U": self.W_U, "gain": self.gain, "mask": self.mask, **texts}

    @classmethod
    def load(cls, path: str | Path) -> Unembedding:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If the file is truncated, corrupt, or of another format or version.
        """
        path = as_path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such unembedding file")
        check_openable(path)
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no __iter__)
        except (SafetensorError, OSError) as error:
            raise FormatError(f"{path}: not a whole safetensors file: {error}") from None
        return _checked(path, metadata, tensors)


_WEIGHTS, _TEXTS = ("W_U", "gain", "mask"), ("text", "text_end", "count")


def vocabulary_mask(train: TokenBlocks, d_vocab: int, min_count: int) -> NDArray[np.bool_]:
    """Mark the token types that occur at least ``min_count`` times in the text of these blocks, bool [d_vocab].

    Types beyond the tokenizer's are False: many models pad their vocabulary to a round number.
    """
    counts: NDArray[np.int64] = np.bincount(train.tokens[train.valid], minlength=d_vocab)
    return (counts >= min_count) & (np.arange(len(counts)) < train.d_vocab)


def file_name(sha256: str) -> str:
    """Return the name of the file of an unembedding with this hash."""
    return f"unembedding-{sha256[:12]}.safetensors"


def _checked(path: Path, metadata: dict[str, str], tensors: dict[str, NDArray[np.generic]]) -> Unembedding:
    stated = (metadata.get("format"), metadata.get("format-version"))
    if stated not in ((FORMAT, VERSION), (FORMAT, VERSION_WITH_TEXT)):
        raise FormatError(
            f"{path}: expected {FORMAT} version {VERSION} or {VERSION_WITH_TEXT}, found {stated[0]} version {stated[1]}"
        )
    names = [*_WEIGHTS, *(_TEXTS if stated[1] == VERSION_WITH_TEXT else ())]
    if set(tensors) != set(names) or metadata.get("center_d_model") not in ("true", "false"):
        raise FormatError(f"{path}: expected {', '.join(names)} and center_d_model, found {sorted(tensors)}")
    try:
        texts = {name: tensors[name] for name in _TEXTS if name in tensors}
        loaded = Unembedding(
            **{name: tensors[name] for name in _WEIGHTS},  # type: ignore[arg-type]
            center_d_model=metadata["center_d_model"] == "true",
            vocabulary=Vocabulary.from_arrays(**texts) if texts else None,
        )
    except (FormatError, MismatchError) as error:
        raise FormatError(f"{path}: {error}") from None
    if loaded.hash != metadata.get("sha256"):
        raise FormatError(
            f"{path}: the contents hash to {loaded.hash[:12]}, but the file says "
            f"{str(metadata.get('sha256'))[:12]}; the file is corrupt or was altered; write it again"
        )
    return loaded


def _finite(name: str, given: ArrayLike) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused below
        array = np.ascontiguousarray(given, dtype=np.float32)
    if not np.isfinite(array).all():
        raise FormatError(f"unembedding: {name} holds values that are not finite in float32")
    return array


def _ordered(content: bytes) -> bytes:
    """Sort the keys in the header of a safetensors file, which the library writes in arbitrary order."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    return content[:8] + header.ljust(length) + content[8 + length :]
