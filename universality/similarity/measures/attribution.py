"""Attribution similarity: Pearson's r of two features' direct effects on the next token's logit.

a_i(t) = f_i(t) v_i[token t + 1] with v_i the logit weights of feature i (Bricken et al. 2023, *Towards
Monosemanticity*; convention as in `universality.similarity.measures.logit_weights`: scaled by the final norm's gain,
centred over the vocabulary that counts in both models). The last token of a block has no next one, and a next token
that does not count has no weight: those positions enter no moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, IntArray
from universality.compiled import njit
from universality.errors import MismatchError, UniversalityError
from universality.similarity.engine.store_rows import Rows, Values
from universality.similarity.engine.token_selection import Selection
from universality.similarity.measures.activation import ActivationPearson
from universality.similarity.measures.joint_vocabulary import JointVocabulary, joint_vocabulary, unembedding_of
from universality.similarity.measures.logit_weights import convention, directions

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


@dataclass(frozen=True, eq=False)
class Attributions:
    """Attributions of a store's firings; 0 at positions that are left out. Other processes receive the stores' paths.

    Parameters
    ----------
    store
        Store of the activations.
    other
        Store that it is compared with: token types count where they do in both models.
    """

    store: FeatureStore
    other: FeatureStore

    def __reduce__(self) -> tuple[type[Attributions], tuple[FeatureStore, FeatureStore]]:
        return Attributions, (self.store, self.other)

    @property
    def key(self) -> tuple[str, str]:
        """Hashes that tell these attributions from others."""
        return self.store.content_hash(), self.other.content_hash()

    @cached_property
    def weights(self) -> tuple[IntArray, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Following tokens, directions of the features, and columns of the unembedding."""
        own, mask = unembedding_of(self.store), _mask(self.store, _joint(self.store, self.other))
        direction = own.through_final_norm(directions(self.store)).astype(np.float32)
        W_U = (own.W_U - own.mean_column(mask)).T.astype(np.float32, order="C")
        return _following(self.store, mask), direction, W_U

    def __call__(self, rows: Rows, tokens: IntArray) -> Rows:
        """Replace the activations of token rows."""
        following, direction, W_U = self.weights
        data = np.zeros_like(rows.data)
        _attribute(rows.start, rows.stop, rows.indices, rows.data, following[tokens], direction, W_U, data)
        return rows._replace(data=data)


@dataclass(frozen=True, eq=False)
class Attribution(ActivationPearson):
    """Pearson's r of per-token attributions between all features of two stores."""

    name: ClassVar[str] = "attribution"
    depends_on_partner: ClassVar[bool] = True  # the vocabulary that counts in both models

    @classmethod
    def values(cls, store: FeatureStore, other: FeatureStore) -> Values:
        """Attributions in place of activations."""
        made = Attributions(store, other)
        _ = made.weights  # an error for a store without weights comes here, before anything is summed
        return made

    @classmethod
    def admit(cls, a: FeatureStore, b: FeatureStore, selection: Selection) -> Selection:
        """Restrict a selection to positions with a next token that counts."""
        counts = _following(a, _mask(a, _joint(a, b))) >= 0
        admitted = counts[selection.rows_a] & counts[selection.rows_b]
        if not admitted.any():
            raise UniversalityError(
                f"{a.path}: none of the {selection.n} tokens compared is followed by one that counts in both "
                "vocabularies, so there is no attribution"
            )
        rows_a = selection.rows_a[admitted]
        rows_b = rows_a if selection.rows_b is selection.rows_a else selection.rows_b[admitted]
        return Selection(rows_a, rows_b, selection.documents, selection.repaired)

    @property
    def convention(self) -> dict[str, object]:
        """Convention of the logit weights."""
        a, b = self.a.store, self.b.store
        return convention(unembedding_of(a), unembedding_of(b), _joint(a, b))


def _joint(a: FeatureStore, b: FeatureStore) -> JointVocabulary:
    """Vocabulary that counts in both models, which must read the same tokens."""
    for store in (a, b):
        if "segments" in store.provenance:
            raise UniversalityError(
                f"{store.path}: its rows are segments, read by models of several tokenizers, of which the next is no "
                "token; compare such stores by activation or logit weights"
            )
    return joint_vocabulary(a, b, unembedding_of(a), unembedding_of(b))


def _mask(store: FeatureStore, joint: JointVocabulary) -> BoolArray:
    mask = np.zeros(unembedding_of(store).d_vocab, bool)
    mask[joint.entries_a] = True
    return mask


def _following(store: FeatureStore, mask: BoolArray) -> IntArray:
    """[n_tokens] the next token of each row within its block; -1 without one, or for one that does not count."""
    tokens = store.tokens
    if tokens.token.max(initial=0) >= mask.size:
        raise MismatchError(
            f"{store.path}: token {tokens.token.max()}, but its unembedding has a vocabulary of {mask.size}; "
            "attribution needs the unembedding of the model that read these tokens"
        )
    follows = np.zeros(store.n_tokens, bool)
    follows[:-1] = (np.diff(tokens.position) == 1) & (np.diff(tokens.document) == 0)
    following = np.roll(tokens.token, -1)
    return np.where(follows & mask[following], following, -1).astype(np.int64)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _attribute(start, stop, indices, data, following, direction, W_U, out):  # type: ignore[no-untyped-def]
    """Write activation x (direction of the feature · column of the next token) to ``out``.

    No array of features x vocabulary exists: each dot product takes d_model steps, with fastmath so that they
    vectorise, in float64, so that the order of the sum does not show in the float32 result.
    """
    for p in range(start.size):
        if following[p] < 0:
            continue
        column = W_U[following[p]]
        for e in range(start[p], stop[p]):
            row = direction[indices[e]]
            weight = 0.0
            for d in range(column.size):
                weight += np.float64(row[d]) * np.float64(column[d])
            out[e] = np.float32(data[e] * weight)
