"""Logit-weight similarity: Pearson's r of two features' direct effects on the logits.

Convention (Bricken et al. 2023): a feature's direction in the residual stream loses its mean over d_model where
the final norm is a LayerNorm (``center_d_model``), is scaled by that norm's gain, and is multiplied with the columns of
W_U that count in *both* models, centred over them: those of equal id, or of equal text where the models have different
tokenizers (`universality.similarity.measures.joint_vocabulary`). Effects through later layers are not included.

No array of features x vocabulary exists: with D the scaled directions and U the centred W_U, the covariance is
D₁ (U₁U₂ᵀ) D₂ᵀ and the variances diag(D UUᵀ Dᵀ), so d_model x d_model Gram matrices hold all of the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from universality.arrays import BoolArray, FloatArray
from universality.effects.jacobian import MeanJacobian
from universality.errors import MismatchError, UniversalityError
from universality.models.unembedding import LEFT_OUT
from universality.similarity.engine.block_source import describe_store
from universality.similarity.engine.factors import FactorSource
from universality.similarity.engine.token_selection import check_stores
from universality.similarity.measures.joint_vocabulary import JointVocabulary, joint_vocabulary, unembedding_of

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.unembedding import Unembedding

VOCAB_CHUNK = 4096  # columns of W_U that are centred and multiplied at a time
RELATIVE_ZERO = 1e-24  # of squared lengths: what float64 rounding leaves of a direction that the centring removes


Through = Literal["direct", "layers"] | tuple[MeanJacobian, MeanJacobian]
"""Path from a feature to the logits: direct, or through the later layers by Jacobians beside the stores or given."""


def logit_source(a: FeatureStore, b: FeatureStore, through: Through = "direct") -> FactorSource:
    """Logit-weight Pearson as two factors; see `Similarity.logit`.

    Raises
    ------
    UniversalityError
        When a store holds no residual directions or no unembedding, or no mean Jacobian lies beside it.
    MismatchError
        When the vocabularies differ and share too few token strings, or a store does not hold them; when a mean
        Jacobian is of another model or hook than the features, or only one of the two sums over later positions.
    """
    check_stores(a, b)
    jacobians = _jacobians(a, b, through)
    if jacobians is None:
        direction_a, direction_b = directions(a), directions(b)
    else:
        direction_a, direction_b = (_through_layers(*side) for side in zip((a, b), jacobians, strict=True))
    u_a, u_b = unembedding_of(a), unembedding_of(b)
    joint = joint_vocabulary(a, b, u_a, u_b)
    aa, ab, bb = _grams(u_a, u_b, joint)
    x, dead_a = _standardise(direction_a, u_a, aa, ~a.alive)
    y, dead_b = _standardise(direction_b, u_b, bb, ~b.alive)
    provenance = {
        "measure": "logit",
        "a": describe_store(a),
        "b": describe_store(b),
        "n_vocab": len(joint),
        "convention": convention(u_a, u_b, joint),
    }
    if jacobians is not None:
        provenance["through"] = [jacobian.describe() | {"hash": jacobian.hash} for jacobian in jacobians]
    if joint.strings is not None:
        provenance["shared_strings"] = joint.strings.describe()
    return FactorSource(x @ ab, y, dead_a, dead_b, "logit", provenance, limit=1.0, stores=(a, b))


def convention(u_a: Unembedding, u_b: Unembedding, joint: JointVocabulary) -> dict[str, object]:
    """Record of how logit weights are computed, as JSON: unembeddings, final norms and vocabulary."""
    sides = {
        name: {"unembedding": u.hash, "mean_over_d_model_removed": u.center_d_model, "gain": "final norm"}
        for name, u in (("a", u_a), ("b", u_b))
    }
    what = "vocabulary that counts" if joint.strings is None else "token strings that count"
    return sides | {
        "left_out": list(LEFT_OUT),
        "stored_directions": "raw: neither centred nor scaled",
        "centred_over": f"{what} in both",
        "n_vocab": len(joint),
        "entries_hash": joint.hash,
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


def _jacobians(a: FeatureStore, b: FeatureStore, through: Through) -> tuple[MeanJacobian, MeanJacobian] | None:
    """Return the mean Jacobians of both sides; None for the direct path."""
    if through == "direct":
        return None
    jacobians = (MeanJacobian.beside(a), MeanJacobian.beside(b)) if through == "layers" else through
    if not isinstance(jacobians, tuple) or [type(jacobian) for jacobian in jacobians] != [MeanJacobian] * 2:
        raise UniversalityError(f"through: expected 'direct', 'layers' or two mean Jacobians, found {through!r}")
    if jacobians[0].later != jacobians[1].later:
        raise MismatchError(
            "mean Jacobians: one sums effects on later positions, the other does not; compute both alike"
        )
    return jacobians


def _through_layers(store: FeatureStore, jacobian: MeanJacobian) -> FloatArray:
    """Directions at the end of the residual stream, float64 [n_features, d_model]."""
    model, unembedding = store.provenance.get("model"), unembedding_of(store)
    recorded = model.get("hash") if isinstance(model, dict) else None
    if (recorded or jacobian.model, store.site_written or jacobian.hook) != (jacobian.model, jacobian.hook):
        raise MismatchError(
            f"{store.path}: its features are written at {store.site_written} of model {str(recorded)[:12]}, the mean "
            f"Jacobian is of {jacobian.hook} of model {jacobian.model[:12]}"
        )
    if jacobian.matrix.shape[1] != unembedding.d_model:
        raise MismatchError(
            f"{store.path}: its unembedding reads d_model {unembedding.d_model}, the mean Jacobian has "
            f"{jacobian.matrix.shape[1]}"
        )
    return jacobian.apply(store.decoder_rows())


def _grams(a: Unembedding, b: Unembedding, joint: JointVocabulary) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute U₁U₁ᵀ, U₁U₂ᵀ, U₂U₂ᵀ of the centred columns in common, a chunk of the vocabulary at a time."""
    mean_a, mean_b = a.mean_column(joint.entries_a), b.mean_column(joint.entries_b)
    aa, ab, bb = (np.zeros(shape) for shape in ((a.d_model,) * 2, (a.d_model, b.d_model), (b.d_model,) * 2))
    for low in range(0, len(joint), VOCAB_CHUNK):
        part = slice(low, low + VOCAB_CHUNK)
        u_a, u_b = a.W_U[:, joint.entries_a[part]] - mean_a, b.W_U[:, joint.entries_b[part]] - mean_b
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
