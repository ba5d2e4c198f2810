r"""Similarity of short texts by their words: cosines of TF-IDF vectors.

A text's vector has an entry (1 + log tf) · (1 + log((1 + n) / (1 + df))) for each of its words, of which tf are in the
text and which df of the n searched texts hold (Salton & Buckley 1988, *Information Processing & Management* 24; the
smoothing is scikit-learn's). scikit-learn is no dependency of this package, and this is all that would be used of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse

from universality.arrays import FloatArray

_WORD = re.compile(r"\w+")
_STOP = frozenset(
    _WORD.findall(
        "a an the and or of to in on at by for from with as is are be was were that this these those it its which when "
        "where such any some other often e g i"
    )
)
"""Words of explanations that say nothing about a concept."""


def words(text: str) -> list[str]:
    """Words of a text in lower case, without stop words; plural and singular forms count as one.

    Examples
    --------
    >>> words("the words in Hebrew, e.g. DNA sequences")
    ['word', 'hebrew', 'dna', 'sequence']
    """
    return [_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP]


def word_cosines(queries: Sequence[str], texts: Sequence[str]) -> Iterator[FloatArray]:
    """Compute the cosines of TF-IDF vectors, one query after another.

    Parameters
    ----------
    queries, texts
        Texts; document frequencies are those of ``texts``.

    Yields
    ------
    float64 [n_texts]
        Cosines of one query; 0 where no word is shared.

    Examples
    --------
    >>> next(word_cosines(["Hebrew letters"], ["text in Hebrew", "the letter k", "dogs"])).round(2)
    array([0.5, 0.5, 0. ])
    """
    counts = [Counter(words(text)) for text in (*texts, *queries)]
    column = {word: i for i, word in enumerate(dict.fromkeys(word for count in counts for word in count))}
    row = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
    col = [column[word] for count in counts for word in count]
    tf = np.asarray([n for count in counts for n in count.values()], np.float64)
    matrix = sparse.csr_matrix((1 + np.log(tf), (row, col)), shape=(len(counts), len(column)))
    df = np.bincount(matrix[: len(texts)].indices, minlength=len(column))
    matrix = matrix.multiply(1 + np.log((1 + len(texts)) / (1 + df))).tocsr()
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    unit = sparse.diags(1 / np.where(norm > 0, norm, 1)) @ matrix
    of_texts, of_queries = unit[: len(texts)], unit[len(texts) :]
    return (np.asarray((of_texts @ query.T).toarray(), np.float64).ravel() for query in of_queries)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
