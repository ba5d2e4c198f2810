"""A classifier of kinds of text by token frequencies: does text that a model wrote look like a kind of the corpus?

Multinomial naive Bayes with equal priors: text with token counts c is given to the kind k that maximises
Σ_v c_v log p_kv, with p_kv = (n_kv + α) / Σ_v (n_kv + α) from the counts n of training text. Manning, Raghavan &
Schütze 2008, *Introduction to Information Retrieval*, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError, UniversalityError


@dataclass(frozen=True)
class KindClassifier:
    """Token frequencies of kinds of text.

    Parameters
    ----------
    kinds
        Names of the kinds.
    log_frequency
        float64 [n_kinds, d_vocab].

    Examples
    --------
    >>> classifier = KindClassifier(("low", "high"), np.log([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]))
    >>> classifier.classify([[0, 0, 1], [2, 1, 2]])
    ['low', 'high']
    """

    kinds: tuple[str, ...]
    log_frequency: FloatArray

    @classmethod
    def fit(cls, blocks: TokenBlocks, smoothing: float = 1.0) -> KindClassifier:
        """Count the tokens of each kind.

        Parameters
        ----------
        blocks
            Training text, without the text that is to be classified.
        smoothing
            α, added to every count.

        Raises
        ------
        UniversalityError
            If smoothing is not above 0, or there is no text.
        """
        if not 0 < smoothing < np.inf:
            raise UniversalityError(f"smoothing: expected a number above 0, found {smoothing}")
        if not len(blocks):
            raise UniversalityError("a classifier of kinds needs text to count, found none")
        names = np.array(blocks.documents.kind)[blocks.document]
        kinds, kind_of_block = np.unique(names, return_inverse=True)
        cell = np.repeat(kind_of_block, blocks.length - 1) * blocks.d_vocab + blocks.tokens[blocks.valid]
        counts = np.bincount(cell, minlength=kinds.size * blocks.d_vocab).reshape(kinds.size, -1) + smoothing
        return cls(tuple(kinds.tolist()), np.log(counts / counts.sum(axis=1, keepdims=True)))

    def classify(self, tokens: npt.ArrayLike) -> list[str]:
        """Return the kind of each text [n_texts, n_tokens].

        Raises
        ------
        MismatchError
            If an id is outside the vocabulary.
        """
        ids: IntArray = np.asarray(tokens, np.int64)
        d_vocab = self.log_frequency.shape[1]
        if ids.ndim != 2 or (ids.size and not 0 <= ids.min() <= ids.max() < d_vocab):
            raise MismatchError(f"expected token ids [n_texts, n_tokens] below {d_vocab}, found shape {ids.shape}")
        scores = np.stack([frequencies[ids].sum(axis=1) for frequencies in self.log_frequency], axis=1)
        return [self.kinds[code] for code in scores.argmax(axis=1)]


def share_of_kind(labels: Sequence[str], kind: str, level: float = 0.95) -> tuple[float, float, float]:
    """Return the share of texts that were given to a kind, with its Wilson interval.

    Examples
    --------
    >>> [round(bound, 3) for bound in share_of_kind(["dna"] * 9 + ["english"], "dna")]
    [0.9, 0.596, 0.982]
    """
    from scipy.stats import binomtest

    if not labels:
        raise UniversalityError("the share of a kind needs labels, found none")
    n_of_kind = sum(label == kind for label in labels)
    bounds = binomtest(n_of_kind, len(labels)).proportion_ci(level, method="wilson")
    return n_of_kind / len(labels), float(bounds.low), float(bounds.high)
