"""Token types that two models share, in classes of script and frequency: what a null may exchange.

Logit weights depend on how frequent a token type is, whatever the feature: models learn rare types' columns of W_U less
well, and features raise or lower frequent types together. They depend on the script too: any two features that write
Hebrew agree on Hebrew types. So the halves of the vocabulary are drawn, and nulls exchange types, among types of one
script and of nearly equal frequency.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.corpus.script_class import script_class
from universality.errors import MismatchError, UniversalityError
from universality.models.vocabulary import Vocabulary
from universality.similarity.measures.joint_vocabulary import JointVocabulary

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.models.unembedding import Unembedding

LEAST_TYPES = 32
"""Smallest number of shared types. Each half then has 16, over which unrelated r deviates by 0.26; nulls are
as wide, and intervals can still resample 4 groups."""
PER_CLASS = 16
"""Types of a class within which a null exchanges them. What the types of a class have in common is kept: of unrelated
weights a sixteenth of the variance."""
MAX_RATIO = 2.0
"""Frequency of a class's first type over that of its last, in classes of more than two. In classes of 16 whatever their
frequency, it varies by a factor of 30 within the first one, and P(p <= 0.05) was 0.11 where features share nothing but
frequency; it is 0.06 with narrower ones."""
MIN_OF_SCRIPT = 2 * PER_CLASS
"""Types of a script with classes of its own; rarer scripts form one class of scripts together."""
N_GROUPS = 64
"""Groups of types that are resampled for intervals; each is a sample of all scripts and frequencies."""


@dataclass(frozen=True, eq=False)
class TokenTypes:
    """Script and frequency of the token types that two models share.

    Parameters
    ----------
    script
        int64 [n], code of each type's script; all 0 where the text is not known.
    frequency
        float64 [n], sum over the models of log(1 + occurrences).
    note
        Where these come from, in words.
    """

    script: IntArray
    frequency: FloatArray
    note: str

    @classmethod
    def of(
        cls,
        stores: tuple[FeatureStore, FeatureStore],
        unembeddings: tuple[Unembedding, Unembedding],
        joint: JointVocabulary,
        vocabulary: Vocabulary | None = None,
    ) -> TokenTypes:
        """Look up the types of a joint vocabulary.

        Parameters
        ----------
        vocabulary
            Text and occurrences of the types of two models with one tokenizer, in place of what the unembeddings hold.

        Raises
        ------
        UniversalityError
            When there are too few types, or the text in which to count them is not at hand.
        MismatchError
            When ``vocabulary`` is of another tokenizer, or a store's tokens are.
        """
        if len(joint) < LEAST_TYPES:
            raise UniversalityError(
                f"{stores[0].path} and {stores[1].path}: {len(joint)} token types count in both models; halves of the "
                f"vocabulary need at least {LEAST_TYPES}"
            )
        known = _vocabularies(unembeddings, joint, vocabulary)
        entries = joint.entries_a, joint.entries_b
        frequency, counted = np.zeros(len(joint)), []
        for store, unembedding, own, of_side in zip(stores, unembeddings, known, entries, strict=True):
            count = _tokens_of(store, unembedding) if own is None else own.count
            frequency += np.log1p(count[of_side])
            counted.append("the stores' own tokens" if own is None else "the vocabulary's counts")
        named = next(((own, of_side) for own, of_side in zip(known, entries, strict=True) if own is not None), None)
        script = np.zeros(len(joint), np.int64) if named is None else _scripts(named[0], named[1])
        what = "frequency only, as their text is not known" if named is None else "script and frequency"
        note = f"{len(joint):,} token types in classes of {what}; frequency from {' and '.join(dict.fromkeys(counted))}"
        return cls(script, frequency, note)

    def halves(self, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Draw two halves: of every two neighbours in frequency, one at random belongs to each."""
        order, place = self._ordered(np.arange(self.script.size), rng)
        first = rng.integers(2, size=self.script.size)[place // 2 + _first_of_run(place)] == place % 2
        return np.sort(order[first]), np.sort(order[~first])

    def classes(self, types: IntArray, rng: np.random.Generator) -> IntArray:
        """Divide some types [n] into classes of one script and nearly equal frequency, 2 to ``PER_CLASS`` + 1 each."""
        order, place = self._ordered(types, rng)
        frequency = self.frequency[types][order]
        starts = np.flatnonzero(place == 0)
        runs = zip(starts, [*starts[1:], types.size], strict=True)
        bounds = np.concatenate([low + _cut(frequency[low:high]) for low, high in runs])
        code = np.empty(types.size, np.int64)
        code[order] = np.searchsorted(bounds, np.arange(types.size), side="right") - 1
        return code

    def groups(self, types: IntArray, rng: np.random.Generator) -> IntArray:
        """Divide some types [n] into groups to resample, each with one type of every frequency."""
        n_groups = min(N_GROUPS, types.size // 4)
        order, _ = self._ordered(types, rng)
        code = np.empty(types.size, np.int64)
        for low in range(0, types.size, n_groups):
            part = order[low : low + n_groups]
            code[part] = rng.permutation(n_groups)[: part.size]
        return code

    def _ordered(self, types: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Order some types by script and falling frequency, ties at random; and count each within its script."""
        order = np.lexsort((rng.random(types.size), -self.frequency[types], self.script[types]))
        starts = np.flatnonzero(np.diff(self.script[types][order], prepend=-1))
        place = np.arange(types.size) - np.repeat(starts, np.diff(starts, append=types.size))
        return order, place


def exchanged(code: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw a permutation [n] that gives every element another one of its class, if the class has two.

    The elements of a class form one random cycle: a fixed point would keep what the null must remove.

    Examples
    --------
    >>> exchanged(np.array([0, 1, 0, 1, 2]), np.random.default_rng(0)).tolist()
    [2, 3, 0, 1, 4]
    """
    order = np.lexsort((rng.random(code.size), code))
    ends = np.flatnonzero(np.diff(code[order], append=code.max() + 1))
    following = np.roll(order, -1)
    following[ends] = order[np.concatenate([[0], ends[:-1] + 1])]
    partner = np.empty(code.size, np.int64)
    partner[order] = following
    return partner


def _cut(frequency: FloatArray) -> IntArray:
    """Return the first place of each class in a run of falling frequencies, the sums of two logarithms."""
    width, starts = 2 * np.log(MAX_RATIO), [0]
    for place in range(2, frequency.size - 1):  # the last class has two types as well
        first = starts[-1]
        if place - first >= PER_CLASS or (place - first >= 2 and frequency[first] - frequency[place] > width):
            starts.append(place)
    return np.array(starts, np.int64)


def _first_of_run(place: IntArray) -> IntArray:
    """Position at which the run of each element starts."""
    return np.arange(place.size) - place


def _vocabularies(
    unembeddings: tuple[Unembedding, Unembedding], joint: JointVocabulary, given: Vocabulary | None
) -> tuple[Vocabulary | None, Vocabulary | None]:
    if given is None:
        return unembeddings[0].vocabulary, unembeddings[1].vocabulary
    sizes = {unembedding.d_vocab for unembedding in unembeddings}
    if joint.strings is not None or sizes != {len(given)}:
        raise MismatchError(
            f"vocabulary: expected the entries of the one tokenizer of both models, {' and '.join(map(str, sizes))}; "
            f"found {len(given)}{', and models with different tokenizers' if joint.strings is not None else ''}"
        )
    return given, given


def _tokens_of(store: FeatureStore, unembedding: Unembedding) -> IntArray:
    """Count the token types of a store's rows: int64 [d_vocab]."""
    if "segments" in store.provenance:
        raise UniversalityError(
            f"{store.path}: its rows are segments, not tokens, and its unembedding holds no vocabulary, so how "
            "frequent each token type is cannot be known: collect it again, or give "
            "vocabulary=Vocabulary.of(tokenizer, blocks, d_vocab)"
        )
    count = np.bincount(store.tokens.token, minlength=unembedding.d_vocab)
    if count.size > unembedding.d_vocab:
        raise MismatchError(
            f"{store.path}: token {count.size - 1}, but its unembedding has a vocabulary of {unembedding.d_vocab}; "
            "it is of another model"
        )
    return count


def _scripts(vocabulary: Vocabulary, entries: IntArray) -> IntArray:
    """Code the scripts of some entries; scripts of few entries share a code."""
    names = [script_class(vocabulary.texts[entry]) for entry in entries]
    size = Counter(names)
    other = sum(n for n in size.values() if n < MIN_OF_SCRIPT)
    if 0 < other < MIN_OF_SCRIPT:  # too few even together: they join the most frequent script
        largest = size.most_common(1)[0][0]
        names = [largest if size[name] < MIN_OF_SCRIPT else name for name in names]
    names = ["other" if size[name] < MIN_OF_SCRIPT else name for name in names]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
