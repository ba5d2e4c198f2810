"""Models whose features are planted on the same text: each fires on a word, on part of its occurrences or on others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import sparse

from tests.labels.planted import COMMON, HEBREW, MARKED, N_CTX, N_DOCUMENTS, Oracle, decode, document, tokenizer
from universality.corpus.documents import DocumentTable
from universality.features import FeatureStore

WORDS = COMMON[:40] + MARKED + HEBREW
"""Words of the concepts; features of English come first, those of Hebrew last."""
OTHERS = COMMON[48:]


@dataclass(frozen=True)
class Blur:
    """How a feature differs from its concept.

    ``jitter``: spread of the logarithm of its strength, which lowers r and moves no firing. ``elsewhere``: firings on
    random tokens, as a share of those on the word, which lower r and are not what the explanation says.
    """

    jitter: float = 0.0
    elsewhere: float = 0.0


@cache
def _documents() -> list[list[int]]:
    return [list(tokenizer().encode_with_spans([document(i)])[0].ids) for i in range(N_DOCUMENTS)]


def write_model(path: Path, words: Sequence[str], blurs: Sequence[Blur], seed: int = 0) -> FeatureStore:
    """Write a store whose feature j fires on ``words[j]``, with strengths from 1 to 9 that all models share.

    ``"red|sea"`` fires on both words.
    """
    names = tuple(f"document {i}" for i in range(N_DOCUMENTS))
    kinds = tuple("hebrew" if i % 8 >= 6 else "english" for i in range(N_DOCUMENTS))
    splits = tuple("choose" if i % 2 else "report" for i in range(N_DOCUMENTS))
    provenance = {"model": {"name": path.stem, "hash": path.stem}, "site": "blocks.0.hook_resid_post"}
    rng = np.random.default_rng([3, seed])
    with FeatureStore.create(path, len(words), provenance, DocumentTable(names, kinds, names, splits)) as writer:
        for i, ids in enumerate(_documents()):
            for first in range(0, len(ids), N_CTX - 1):
                part = np.asarray(ids[first : first + N_CTX - 1])
                strength = np.random.default_rng([5, i, first]).uniform(1, 9, len(part))
                tokens = np.array([text.strip() for text in decode(part.tolist())])
                values = np.zeros((len(part), len(words)), np.float32)
                for j, (word, blur) in enumerate(zip(words, blurs, strict=True)):
                    fires = np.isin(tokens, word.split("|"))
                    share = 0.012 * blur.elsewhere
                    strange = rng.random(len(part)) < share if kinds[i] == "english" or word in HEBREW else False
                    scale = np.exp(rng.normal(0, blur.jitter, len(part)))
                    values[:, j] = np.where(fires | strange, strength * scale, 0)
                writer.append(
                    sparse.csr_matrix(values),
                    token=part,
                    document=[i] * len(part),
                    position=np.arange(1, len(part) + 1),
                    kind=[kinds[i]] * len(part),
                )
    return FeatureStore.open(path)


def explanation(word: str) -> str:
    return f'the token " {word}"'


class Reader(Oracle):
    """Explains a feature by the word that most of its firings are on; otherwise the oracle."""

    def _answer(self, kind: str, text: str) -> str:
        if kind != "explain":
            return super()._answer(kind, text)
        fired = Counter(token for token, level in _lines(text) if level > 0)
        return explanation(fired.most_common(1)[0][0].strip())


def _lines(text: str) -> Iterator[tuple[str, int]]:
    for line in text.split("\n"):
        if "\t" in line:
            token, level = line.rsplit("\t", 1)
            yield token, int(level)
