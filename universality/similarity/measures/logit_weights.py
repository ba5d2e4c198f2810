"""Logit-weight similarity: Pearson's r of two features' direct effects on the logits.

Convention (Bricken et al. 2023): a feature's direction in the residual stream loses its mean over d_model where
the final norm is a LayerNorm (``center_d_model``), is scaled by that norm's gain, and is multiplied with the columns of
W_U that count in *both* models, centred over them: those of equal id, or of equal text where the models have different
tokenizers (`universality.similarity.measures.joint_vocabulary`). Effects through later layers are not included.

No array of features x vocabulary exists: with D the scaled directions and U the centred W_U, the covariance is
D₁ (U₁U₂ᵀ) D₂ᵀ and the variances diag(D UUᵀ Dᵀ), so d_model x d_model Gram matrices hold all of the vocabulary. That is
also so for part of the vocabulary (`LogitWeights.only`), for entries that are paired anew (`LogitWeights.permuted`)
and for other directions (`LogitWeights.redrawn`), which is what null distributions need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.effects.jacobian import MeanJacobian
from universality.errors import MismatchError, UniversalityError
from universality.models.unembedding import LEFT_OUT
from universality.similarity.engine.block_source import BLOCK_BYTES, DEFAULT_BUDGET, describe_store, rows_within
from universality.similarity.engine.factors import FactorSource
from universality.similarity.engine.group_sums import GroupMoments
from universality.similarity.engine.token_selection import check_stores
from universality.similarity.measures.joint_vocabulary import JointVocabulary, joint_vocabulary, unembedding_of

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.unembedding import Unembedding

VOCAB_CHUNK = 4096  # columns of W_U that are centred and multiplied at a time
RELATIVE_ZERO = 1e-24  # of squared lengths: what float64 rounding leaves of a direction that the centring removes


Through = Literal["direct", "layers"] | tuple[MeanJacobian, MeanJacobian]
"""Path from a feature to the logits: direct, or through the later layers by Jacobians beside the stores or given."""


class Grams(NamedTuple):
    """U₁U₁ᵀ, U₁U₂ᵀ and U₂U₂ᵀ of the centred columns that are compared, d_model x d_model."""

    aa: FloatArray
    ab: FloatArray
    bb: FloatArray


@dataclass(frozen=True, eq=False)
class WeightSide:
    """Directions of one side, through the final norm.

    Parameters
    ----------
    unembedding
        Unembedding of the side's model.
    directions
        float64 [n_features, d_model].
    length
        float64 [n_features], squared length before the final norm, times its largest squared gain: what a variance of
        logit weights is compared with to call it rounding.
    silent
        bool [n_features], features that never fire.
    """

    unembedding: Unembedding
    directions: FloatArray
    length: FloatArray
    silent: BoolArray

    @classmethod
    def of(cls, store: FeatureStore, jacobian: MeanJacobian | None = None) -> WeightSide:
        """Read the side of one store, on the direct path or through later layers."""
        raw = directions(store) if jacobian is None else _through_layers(store, jacobian)
        unembedding = unembedding_of(store)
        length = np.einsum("nd,nd->n", raw, raw) * np.max(unembedding.gain.astype(np.float64) ** 2, initial=0)
        return cls(unembedding, unembedding.through_final_norm(raw), length, ~store.alive)

    def standardised(self, gram: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Divide directions by the norm of their logit weights; features without weights or activations are dead."""
        variance = quadratic(self.directions, gram)
        dead = (variance <= RELATIVE_ZERO * self.length * np.trace(gram)) | self.silent
        norm = np.sqrt(np.where(dead, 1.0, variance))
        return np.where(dead[:, None], 0.0, self.directions / norm[:, None]), dead

    def redrawn(self, gram: FloatArray, rng: np.random.Generator) -> WeightSide:
        """Draw Gaussian directions with the mean and covariance of the living, standardised ones."""
        unit, dead = self.standardised(gram)
        living = unit[~dead]
        if len(living) < 2:
            return self
        mean = living.mean(axis=0)
        variances, axes = np.linalg.eigh((living - mean).T @ (living - mean) / len(living))
        drawn = rng.standard_normal(living.shape) * np.sqrt(np.maximum(variances, 0))
        unit[~dead] = drawn @ axes.T + mean
        return replace(self, directions=unit, length=np.einsum("nd,nd->n", unit, unit), silent=dead)


@dataclass(frozen=True, eq=False)
class LogitWeights:
    """Logit weights of two sides over the vocabulary entries that count in both, never as arrays.

    Parameters
    ----------
    stores
        The two stores.
    a, b
        Their directions and unembeddings.
    joint
        Entries that are compared.
    memory_budget
        Bytes, as for `Similarity.activation`.
    as_stored
        False where entries are paired anew or directions are random, so that scores are not of the stores' features.
    known_grams
        The Gram matrices, where another object has computed them; None to compute them when needed.
    jacobians
        Mean Jacobians that carried the directions through later layers; None on the direct path.
    """

    stores: tuple[FeatureStore, FeatureStore]
    a: WeightSide
    b: WeightSide
    joint: JointVocabulary
    memory_budget: int = DEFAULT_BUDGET
    as_stored: bool = True
    known_grams: Grams | None = None
    jacobians: tuple[MeanJacobian, MeanJacobian] | None = None

    @classmethod
    def of(
        cls, a: FeatureStore, b: FeatureStore, memory_budget: int = DEFAULT_BUDGET, through: Through = "direct"
    ) -> LogitWeights:
        """Read two stores; ``through`` and errors as for `Similarity.logit`."""
        check_stores(a, b)
        jacobians = _jacobians(a, b, through)
        of_a, of_b = jacobians or (None, None)
        sides = WeightSide.of(a, of_a), WeightSide.of(b, of_b)
        joint = joint_vocabulary(a, b, sides[0].unembedding, sides[1].unembedding)
        return cls((a, b), *sides, joint, memory_budget, jacobians=jacobians)

    @cached_property
    def grams(self) -> Grams:
        """Gram matrices of the centred columns of the entries that are compared."""
        return self.known_grams or _grams(self.a, self.b, self.joint)

    def only(self, positions: IntArray) -> LogitWeights:
        """Compare over some positions [n] of the joint vocabulary, over which weights are then centred."""
        return replace(self, joint=self.joint.only(positions), known_grams=None)

    def permuted(self, order: IntArray) -> LogitWeights:
        """Pair A's k-th entry with B's ``order[k]``-th, a permutation [n] of the entries."""
        joint = replace(self.joint, entries_b=self.joint.entries_b[order])
        grams = self.grams._replace(ab=_cross_gram(self.a, self.b, joint))
        return replace(self, joint=joint, known_grams=grams, as_stored=False)

    def redrawn(self, side: Literal["a", "b"], rng: np.random.Generator) -> LogitWeights:
        """Replace one side's directions by random ones (`WeightSide.redrawn`)."""
        if side == "a":
            return replace(self, a=self.a.redrawn(self.grams.aa, rng), known_grams=self.grams, as_stored=False)
        return replace(self, b=self.b.redrawn(self.grams.bb, rng), known_grams=self.grams, as_stored=False)

    def source(self) -> FactorSource:
        """Pearson's r of all features as two factors."""
        x, dead_a = self.a.standardised(self.grams.aa)
        y, dead_b = self.b.standardised(self.grams.bb)
        stores = self.stores if self.as_stored else None
        return FactorSource(
            x @ self.grams.ab, y, dead_a, dead_b, "logit", self._provenance(), 1.0, self.memory_budget, stores
        )

    def by_group(self, i: IntArray, j: IntArray, group: IntArray) -> GroupMoments:
        """Sum the weights of some pairs over groups of entries, from which r of any resample of groups follows.

        Parameters
        ----------
        i, j
            [n_pairs] features of A and of B.
        group
            [n] codes 0 … n_groups - 1 of the entries that are compared.
        """
        n_groups = int(group.max()) + 1
        sum_a, sum_b, sum_aa, sum_bb, sum_ab = np.zeros((5, n_groups, i.size))
        (x, _), (y, _) = self.a.standardised(self.grams.aa), self.b.standardised(self.grams.bb)
        means = _mean_columns(self.a, self.b, self.joint)
        for g in range(n_groups):
            columns_a, columns_b = _centred(self.a, self.b, self.joint, np.flatnonzero(group == g), means)
            step = rows_within(BLOCK_BYTES, columns_a.shape[1])  # pairs x entries of one group: bound them
            for low in range(0, i.size, step):
                part = slice(low, low + step)
                v, w = x[i[part]] @ columns_a, y[j[part]] @ columns_b
                sum_a[g, part], sum_b[g, part] = v.sum(axis=1), w.sum(axis=1)
                for total, first, second in ((sum_aa, v, v), (sum_bb, w, w), (sum_ab, v, w)):
                    total[g, part] = np.einsum("pt,pt->p", first, second)
        names = tuple(f"entries {g}" for g in range(n_groups))
        n, shift = np.bincount(group).astype(np.float64), np.zeros(i.size)
        return GroupMoments(names, n, sum_a, sum_b, sum_aa, sum_bb, sum_ab, shift, shift)

    def share_between(self, side: Literal["a", "b"], code: IntArray) -> FloatArray:
        """Compute the share of each feature's variance of logit weights that lies between classes of entries.

        Parameters
        ----------
        side
            Side of the features.
        code
            [n] class of each entry that is compared.

        Returns
        -------
        float64 [n_features]
            From 0 to 1; 0 for dead features.
        """
        own, entries = (self.a, self.joint.entries_a) if side == "a" else (self.b, self.joint.entries_b)
        mean, total = own.unembedding.mean_column(entries), 0.0
        for low in range(0, entries.size, VOCAB_CHUNK):
            part = slice(low, low + VOCAB_CHUNK)
            columns = own.unembedding.W_U[:, entries[part]] - mean
            belongs = sparse.csr_matrix(
                (np.ones(columns.shape[1]), (code[part], np.arange(columns.shape[1]))),
                (int(code.max()) + 1, columns.shape[1]),
            )
            total = total + belongs @ columns.T
        between = np.asarray(total).T / np.sqrt(np.maximum(np.bincount(code), 1))
        unit, _ = own.standardised(self.grams.aa if side == "a" else self.grams.bb)
        return np.clip(quadratic(unit, between @ between.T), 0, 1)

    def expected_square(self, side: Literal["a", "b"]) -> FloatArray:
        """Compute the mean r² [n_features] of each feature with the living features of the other side."""
        source = self.source() if side == "a" else self.source().transposed()
        living = source.y[~source.dead_cols]
        return quadratic(source.x, living.T @ living / max(1, len(living)))

    def _provenance(self) -> dict[str, object]:
        provenance: dict[str, object] = {
            "measure": "logit",
            "a": describe_store(self.stores[0]),
            "b": describe_store(self.stores[1]),
            "n_vocab": len(self.joint),
            "convention": convention(self.a.unembedding, self.b.unembedding, self.joint),
        }
        if self.jacobians is not None:
            provenance["through"] = [jacobian.describe() | {"hash": jacobian.hash} for jacobian in self.jacobians]
        if self.joint.strings is not None:
            provenance["shared_strings"] = self.joint.strings.describe()
        return provenance


def logit_source(
    a: FeatureStore, b: FeatureStore, through: Through = "direct", types: npt.ArrayLike | None = None
) -> FactorSource:
    """Logit-weight Pearson as two factors; see `Similarity.logit`.

    Raises
    ------
    UniversalityError
        When a store holds no residual directions or no unembedding, no mean Jacobian lies beside it, or a type does
        not count in both models.
    MismatchError
        When the vocabularies differ and share too few token strings, or a store does not hold them; when a mean
        Jacobian is of another model or hook than the features, or only one of the two sums over later positions.
    """
    weights = LogitWeights.of(a, b, through=through)
    return weights.source() if types is None else weights.only(weights.joint.positions(types)).source()


def quadratic(rows: FloatArray, gram: FloatArray) -> FloatArray:
    """Compute r G rᵀ of each row: float64 [n]."""
    squares: FloatArray = np.einsum("nd,nd->n", rows @ gram, rows)
    return squares


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


def _grams(a: WeightSide, b: WeightSide, joint: JointVocabulary) -> Grams:
    """Compute the Gram matrices of the centred columns in common, a chunk of the vocabulary at a time."""
    means = _mean_columns(a, b, joint)
    d_a, d_b = a.unembedding.d_model, b.unembedding.d_model
    aa, ab, bb = np.zeros((d_a, d_a)), np.zeros((d_a, d_b)), np.zeros((d_b, d_b))
    for low in range(0, len(joint), VOCAB_CHUNK):
        u_a, u_b = _centred(a, b, joint, slice(low, low + VOCAB_CHUNK), means)
        aa += u_a @ u_a.T
        ab += u_a @ u_b.T
        bb += u_b @ u_b.T
    return Grams(aa, ab, bb)


def _cross_gram(a: WeightSide, b: WeightSide, joint: JointVocabulary) -> FloatArray:
    """U₁U₂ᵀ alone, which is all that another pairing of the same entries changes."""
    means = _mean_columns(a, b, joint)
    ab = np.zeros((a.unembedding.d_model, b.unembedding.d_model))
    for low in range(0, len(joint), VOCAB_CHUNK):
        u_a, u_b = _centred(a, b, joint, slice(low, low + VOCAB_CHUNK), means)
        ab += u_a @ u_b.T
    return ab


def _mean_columns(a: WeightSide, b: WeightSide, joint: JointVocabulary) -> tuple[FloatArray, FloatArray]:
    return a.unembedding.mean_column(joint.entries_a), b.unembedding.mean_column(joint.entries_b)


def _centred(
    a: WeightSide, b: WeightSide, joint: JointVocabulary, part: slice | IntArray, means: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Columns of both unembeddings, float64 [d_model, n], of some entries in common, less their means over all."""
    u_a = a.unembedding.W_U[:, joint.entries_a[part]] - means[0]
    return u_a, b.unembedding.W_U[:, joint.entries_b[part]] - means[1]
