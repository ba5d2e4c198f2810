"""Baselines by counting: unigram and Witten–Bell bigram models of the training tokens.

A language model whose held-out loss is not well below that of the bigram model has learnt little that features could
represent.

References
----------
Witten and Bell (1991), The zero-frequency problem; Chen and Goodman (1999), interpolated form.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from universality.corpus.blocks import TokenBlocks


@dataclass(frozen=True)
class Baselines:
    """Held-out losses in nats per token."""

    unigram: float
    """Loss of token frequencies in the training text."""
    bigram: float
    """Loss of frequencies of adjacent pairs, interpolated with token frequencies."""


def baselines(train: TokenBlocks, held_out: TokenBlocks) -> Baselines:
    """Compute the mean held-out loss of unigram and bigram models with Witten–Bell smoothing.

    P(w) = (c(w) + T/V) / (N + T) and P(w | v) = (c(v, w) + T(v) P(w)) / (c(v) + T(v)), where T counts the
    distinct types seen (after v). The first token of a block is predicted from BOS, as the transformer does.
    """
    d_vocab = train.d_vocab
    before, after = _pairs(train)
    counts = csr_matrix((np.ones(len(before)), (before, after)), shape=(d_vocab, d_vocab))
    counts.sum_duplicates()
    unigram_counts = np.bincount(after, minlength=d_vocab)
    n_types = np.count_nonzero(unigram_counts)
    unigram = (unigram_counts + n_types / d_vocab) / (unigram_counts.sum() + n_types)

    before, after = _pairs(held_out)
    total = np.asarray(counts.sum(1)).ravel()[before]
    followers = np.diff(counts.indptr)[before]
    seen = np.asarray(counts[before, after]).ravel()
    # With no training count of the context, the formula is 0 / 0: fall back to the unigram model.
    numerator = np.where(total > 0, seen + followers * unigram[after], unigram[after])
    bigram = numerator / np.where(total > 0, total + followers, 1)
    return Baselines(unigram=float(-np.log(unigram[after]).mean()), bigram=float(-np.log(bigram).mean()))


def _pairs(blocks: TokenBlocks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    follows = blocks.valid[:, 1:]
    return blocks.tokens[:, :-1][follows].astype(np.int64), blocks.tokens[:, 1:][follows].astype(np.int64)
