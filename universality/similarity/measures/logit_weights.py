"""Logit-weight similarity: Pearson's r of two features' direct effects on the logits.

Convention (Bricken et al. 2023): a feature's direction in the residual stream loses its mean over d_model where
the final norm is a LayerNorm (``center_d_model``), is scaled by that norm's gain, and is multiplied with the columns of
W_U that count in *both* models, centred over them. Effects through later layers are not included.

No array of features x vocabulary exists: with D the scaled directions and U the centred W_U, the covariance is
D₁ (U₁U₂ᵀ) D₂ᵀ and the variances diag(D UUᵀ Dᵀ), so d_model x d_model Gram matrices hold all of the vocabulary.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import BoolArray, FloatArray
from universality.errors import MismatchError, UniversalityError
from universality.models.unembedding import LEFT_OUT
from universality.similarity.engine.block_source import describe_store
from universality.similarity.engine.factors import FactorSource
from universality.similarity.engine.token_selection import check_stores

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.unembedding import Unembedding

VOCAB_CHUNK = 4096  # columns of W_U that are centred and multiplied at a time
RELATIVE_ZERO = 1e-24  # of squared lengths: what float64 rounding leaves of a direction that the centring removes


def logit_source(a: FeatureStore, b: FeatureStore) -> FactorSource:
    """Logit-weight Pearson as two factors; see `Similarity.logit`.

    Raises
    ------
    UniversalityError
        When a store holds no residual directions or no unembedding.
    MismatchError
        When the vocabularies differ.
    """
    check_stores(a, b)
    direction_a, direction_b = directions(a), directions(b)
    u_a, u_b = unembedding(a), unembedding(b)
    mask = joint_mask(a, b, u_a, u_b)
    aa, ab, bb = _grams(u_a, u_b, mask)
    x, dead_a = _standardise(direction_a, u_a, aa, ~a.alive)
    y, dead_b = _standardise(direction_b, u_b, bb, ~b.alive)
    provenance = {
        "measure": "logit",
        "a": describe_store(a),
        "b": describe_store(b),
        "n_vocab": int(mask.sum()),
        "convention": convention(a, b),
    }
    return FactorSource(x @ ab, y, dead_a, dead_b, "logit", provenance, limit=1.0)


def convention(a: FeatureStore, b: FeatureStore) -> dict[str, object]:
    """Record of how logit weights are computed, as JSON: unembedding, final norm and mask."""
    sides = {}
    for name, store in (("a", a), ("b", b)):
        u = unembedding(store)
        sides[name] = {"unembedding": u.hash, "mean_over_d_model_removed": u.center_d_model, "gain": "final norm"}
    mask = joint_mask(a, b, unembedding(a), unembedding(b))
    return sides | {
        "left_out": list(LEFT_OUT),
        "stored_directions": "raw: neither centred nor scaled",
        "centred_over": "vocabulary that counts in both",
        "n_vocab": int(mask.sum()),
        "mask_hash": hashlib.sha256(mask.tobytes()).hexdigest()[:16],
    }


def directions(store: FeatureStore) -> FloatArray:
    """Directions that features write into the residual stream, raw, float64 [n_features, d_model]."""
    dictionary = store.dictionary
    if dictionary is None or dictionary.residual is None:
        held = "no dictionary" if dictionary is None else "a dictionary without residual directions"
        raise UniversalityError(
            f"{store.path}: holds {held}; logit similarity needs what each feature writes into the residual stream "
            "(finish(dictionary=Dictionary(..., residual=...)))"
        )
    return dictionary.residual.astype(np.float64)


def unembedding(store: FeatureStore) -> Unembedding:
    """The store's unembedding; an error where it has none."""
    stored = store.unembedding()
    if stored is None and "segments" in store.provenance:
        raise UniversalityError(
            f"{store.path}: its rows are segments, read by models of several tokenizers; logit weights and "
            "attributions compare over one vocabulary"
        )
    if stored is None:
        raise UniversalityError(
            f"{store.path}: holds no unembedding; logit similarity needs one (finish(unembedding=...))"
        )
    return stored


def joint_mask(a: FeatureStore, b: FeatureStore, u_a: Unembedding, u_b: Unembedding) -> BoolArray:
    """Mask of the vocabulary that counts in both models, bool [d_vocab]."""
    if u_a.mask.size != u_b.mask.size:
        raise MismatchError(
            f"{b.path}: a vocabulary of {u_b.mask.size}, but {a.path} one of {u_a.mask.size}; "
            "logit weights compare only over one vocabulary"
        )
    tokenizers = [store.provenance.get("tokenizer_hash") for store in (a, b)]
    if None not in tokenizers and tokenizers[0] != tokenizers[1]:
        raise MismatchError(
            f"{b.path}: tokenizer {str(tokenizers[1])[:12]}, but {a.path} has {str(tokenizers[0])[:12]}; "
            "logit weights compare only over one vocabulary"
        )
    mask = u_a.mask & u_b.mask
    if mask.sum() < 2:
        raise MismatchError(
            f"{a.path} and {b.path}: {int(mask.sum())} vocabulary entries count in both; r needs at least 2"
        )
    return mask


def _grams(a: Unembedding, b: Unembedding, mask: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute U₁U₁ᵀ, U₁U₂ᵀ, U₂U₂ᵀ of the masked, centred unembeddings, a chunk of the vocabulary at a time."""
    counted = np.flatnonzero(mask)
    mean_a, mean_b = a.mean_column(mask), b.mean_column(mask)
    aa, ab, bb = (np.zeros(shape) for shape in ((a.d_model,) * 2, (a.d_model, b.d_model), (b.d_model,) * 2))
    for low in range(0, counted.size, VOCAB_CHUNK):
        part = counted[low : low + VOCAB_CHUNK]
        u_a, u_b = a.W_U[:, part] - mean_a, b.W_U[:, part] - mean_b
        aa += u_a @ u_a.T
        ab += u_a @ u_b.T
        bb += u_b @ u_b.T
    return aa, ab, bb


def _standardise(
    raw: FloatArray, unembedding: Unembedding, gram: FloatArray, silent: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Divide each direction by the norm of its logit weights; those without weights or activations are dead."""
    length = np.einsum("nd,nd->n", raw, raw) * np.max(unembedding.gain.astype(np.float64) ** 2, initial=0)
    direction = unembedding.through_final_norm(raw)
    variance = np.einsum("nd,nd->n", direction @ gram, direction)
    dead = (variance <= RELATIVE_ZERO * length * np.trace(gram)) | silent
    norm = np.sqrt(np.where(dead, 1.0, variance))
    return np.where(dead[:, None], 0.0, direction / norm[:, None]), dead
