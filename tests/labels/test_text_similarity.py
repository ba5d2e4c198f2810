"""Cosines of TF-IDF vectors equal their definition."""

import math
from collections import Counter

import numpy as np
import pytest

from universality.labels.text_similarity import word_cosines, words

TEXTS = ["text in Hebrew script", "base64 strings, strings of letters", 'the word "the"', "", "DNA: letters A C G T"]


def slow(query: str, text: str) -> float:
    n = len(TEXTS)
    df = Counter(word for one in TEXTS for word in set(words(one)))

    def vector(one: str) -> dict[str, float]:
        counts = Counter(words(one))
        return {w: (1 + math.log(c)) * (1 + math.log((1 + n) / (1 + df[w]))) for w, c in counts.items()}

    a, b = vector(query), vector(text)
    norm = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return sum(a[w] * b[w] for w in a.keys() & b.keys()) / norm if norm else 0.0


def test_cosines_equal_their_definition() -> None:
    queries = ["Hebrew letters", "strings", "unheard-of things", ""]
    expected = [[slow(query, text) for text in TEXTS] for query in queries]
    assert np.stack(list(word_cosines(queries, TEXTS))) == pytest.approx(np.asarray(expected))


def test_rare_words_count_more() -> None:
    cosines = next(word_cosines(["word purring"], ["word one", "word two", "word purring"]))
    assert np.argmax(cosines) == 2
    assert cosines[0] < 0.5 * cosines[2]


def test_scripts_and_numbers_are_words() -> None:
    assert words("מלך and café 42") == ["מלך", "café", "42"]
