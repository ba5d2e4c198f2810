"""Vocabulary entries that two models have in common, over which their logit weights are compared.

Models with one tokenizer have their entries in common by id. Models with different tokenizers have some *strings* in
common: the text that an entry stands for, such as `` the`` with its space (`universality.models.vocabulary`). Entries
count if they are frequent enough in the text of both models.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, IntArray
from universality.errors import FewTokenTypesError, MismatchError, UniversalityError
from universality.models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.unembedding import Unembedding

LEAST_STRINGS = 100
"""Smallest number of shared strings. Over n strings the r of unrelated features has a deviation of 1 / sqrt(n): with
100, the best of 2,000 unrelated partners reaches about 0.35."""


@dataclass(frozen=True)
class SharedStrings:
    """How much of two vocabularies and of the text the shared strings cover."""

    n_in_both: int
    """Strings in both vocabularies."""
    n_counted: int
    """Those of them that are frequent enough in the text of both models: logit weights are compared over these."""
    share_of_a: float
    """Share of A's tokens of the text that are counted strings."""
    share_of_b: float
    """The same of B's tokens."""

    def describe(self) -> dict[str, Any]:
        """Record for provenance, as JSON."""
        return {
            "in_both": self.n_in_both,
            "counted": self.n_counted,
            "share_of_tokens": {"a": self.share_of_a, "b": self.share_of_b},
        }


@dataclass(frozen=True, eq=False)
class JointVocabulary:
    """Entry ``entries_a[k]`` of one vocabulary is entry ``entries_b[k]`` of the other.

    Parameters
    ----------
    entries_a, entries_b
        int64 [n], distinct columns of each W_U; the former rise.
    strings
        How much the shared strings cover; None where the models have one tokenizer and share ids.
    """

    entries_a: IntArray
    entries_b: IntArray
    strings: SharedStrings | None = None

    def __len__(self) -> int:
        return int(self.entries_a.size)

    def only(self, positions: IntArray) -> JointVocabulary:
        """Keep some of the pairs of entries, by position."""
        return replace(self, entries_a=self.entries_a[positions], entries_b=self.entries_b[positions])

    def positions(self, types: npt.ArrayLike) -> IntArray:
        """Return the positions [n] of some of A's token ids.

        Raises
        ------
        UniversalityError
            When one of them does not count in both models or is given twice, or there are fewer than two.

        Examples
        --------
        >>> JointVocabulary(np.array([2, 5, 7]), np.array([0, 9, 4])).positions([7, 2])
        array([2, 0])
        """
        wanted = np.asarray(types)
        if wanted.ndim != 1 or wanted.size < 2 or not np.issubdtype(wanted.dtype, np.integer):
            raise UniversalityError(
                f"types: expected at least 2 token ids [n], found {wanted.dtype} of shape {wanted.shape}"
            )
        if np.unique(wanted).size < wanted.size:
            raise UniversalityError("types: expected each token id once")
        foreign = wanted[~np.isin(wanted, self.entries_a)]
        if foreign.size:
            raise UniversalityError(
                f"types: {foreign.size} of {wanted.size} token ids, such as {foreign[0]}, do not count in both models"
            )
        return np.searchsorted(self.entries_a, wanted).astype(np.int64)

    @property
    def hash(self) -> str:
        """16 hex digits over the pairs of entries."""
        content = b"".join(entries.astype("<i8").tobytes() for entries in (self.entries_a, self.entries_b))
        return hashlib.sha256(content).hexdigest()[:16]


def unembedding_of(store: FeatureStore) -> Unembedding:
    """The store's unembedding; an error where it has none."""
    stored = store.unembedding()
    if stored is None and "segments" in store.provenance:
        raise UniversalityError(
            f"{store.path}: holds no unembedding, which logit weights need. Its site may write to no logits, or it "
            "was written by a version that kept none for models with different tokenizers: collect it again"
        )
    if stored is None:
        raise UniversalityError(
            f"{store.path}: holds no unembedding; logit similarity needs one (finish(unembedding=...))"
        )
    return stored


def joint_vocabulary(a: FeatureStore, b: FeatureStore, u_a: Unembedding, u_b: Unembedding) -> JointVocabulary:
    """Pair the vocabulary entries that count in both models: by id with one tokenizer, by string otherwise.

    Raises
    ------
    MismatchError
        When the vocabularies differ and a store does not hold their strings.
    FewTokenTypesError
        When too few entries count in both.
    """
    if _one_tokenizer(a, b, u_a, u_b):
        entries = np.flatnonzero(u_a.mask & u_b.mask).astype(np.int64)
        if entries.size < 2:
            raise FewTokenTypesError(
                f"{a.path} and {b.path}: {entries.size} vocabulary entries count in both; r needs at least 2"
            )
        return JointVocabulary(entries, entries)
    joint = shared_strings(_vocabulary(a, u_a, b), _vocabulary(b, u_b, a), u_a.mask, u_b.mask)
    if len(joint) < LEAST_STRINGS:
        assert joint.strings is not None
        raise FewTokenTypesError(
            f"{a.path} and {b.path}: their vocabularies share {joint.strings.n_in_both:,} token strings, of which "
            f"{len(joint):,} are frequent enough in both models' text; logit weights need at least {LEAST_STRINGS}. "
            "Lower features.min_token_count, give more text, or compare by activation"
        )
    return joint


def shared_strings(a: Vocabulary, b: Vocabulary, mask_a: BoolArray, mask_b: BoolArray) -> JointVocabulary:
    """Pair the entries with equal text that count in both models.

    Parameters
    ----------
    mask_a, mask_b
        bool [d_vocab], True for entries that count.

    Examples
    --------
    >>> a, b = Vocabulary((b" the", b"x", b"A"), [6, 3, 1]), Vocabulary((b"", b"A", b" the", b"y"), [0, 1, 8, 1])
    >>> joint = shared_strings(a, b, np.ones(3, bool), np.array([True, False, True, True]))
    >>> joint.entries_a.tolist(), joint.entries_b.tolist()
    ([0], [2])
    >>> joint.strings
    SharedStrings(n_in_both=2, n_counted=1, share_of_a=0.6, share_of_b=0.8)
    """
    pairs = np.array([(i, b.entries[text]) for text, i in a.entries.items() if text in b.entries], np.int64)
    pairs = pairs.reshape(-1, 2)
    counted = pairs[mask_a[pairs[:, 0]] & mask_b[pairs[:, 1]]]
    counted = counted[np.argsort(counted[:, 0])]
    shares = (_share(side, counted[:, axis]) for axis, side in enumerate((a, b)))
    return JointVocabulary(counted[:, 0], counted[:, 1], SharedStrings(len(pairs), len(counted), *shares))


def _share(vocabulary: Vocabulary, entries: IntArray) -> float:
    return float(vocabulary.count[entries].sum() / max(1, vocabulary.count.sum()))


def _one_tokenizer(a: FeatureStore, b: FeatureStore, u_a: Unembedding, u_b: Unembedding) -> bool:
    """Whether entries with one id are one entry, as far as is recorded."""
    recorded = [tokenizer_of(store) for store in (a, b)]
    if None not in recorded:
        return recorded[0] == recorded[1] and u_a.mask.size == u_b.mask.size
    return u_a.mask.size == u_b.mask.size


def tokenizer_of(store: FeatureStore) -> str | None:
    """Return the hash of the tokenizer that the store's model reads with; None if it is not recorded."""
    provenance = store.provenance
    segments = provenance.get("segments")  # the store's rows are then segments, which have a hash of their own
    found = segments.get("tokenizer_hash") if isinstance(segments, dict) else provenance.get("tokenizer_hash")
    return None if found is None else str(found)


def _vocabulary(store: FeatureStore, unembedding: Unembedding, other: FeatureStore) -> Vocabulary:
    if unembedding.vocabulary is None:
        raise MismatchError(
            f"{store.path} and {other.path} have different vocabularies, which can be compared by token strings only, "
            f"and the unembedding of {store.path.name} holds none: collect the store again, or give "
            "Unembedding(..., vocabulary=Vocabulary.of(tokenizer, blocks, d_vocab))"
        )
    return unembedding.vocabulary
