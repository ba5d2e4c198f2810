"""Text of the entries of a vocabulary, by which models with different tokenizers share some of them.

Tokenizers write one text in different ways: a space before a word is ``Ġ`` in byte-level BPE and ``▁`` in
SentencePiece, and a byte is ``<0xE4>`` in the latter. An entry is therefore kept as the bytes of the text that it
stands for: ``Ġthe`` and ``▁the`` are both ``b" the"``. Case and Unicode forms are kept. The module needs NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from universality.arrays import IntArray
from universality.errors import FormatError, MismatchError

if TYPE_CHECKING:
    from universality.corpus.blocks import TokenBlocks
    from universality.corpus.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Text of each vocabulary entry, and the number of times that it occurs in a study's text.

    Parameters
    ----------
    texts
        [d_vocab] bytes of the text (UTF-8, or part of a character); empty for special tokens and unused ids.
    count
        int64 [d_vocab], occurrences in the text that decides which entries count.

    Raises
    ------
    MismatchError
        If the two differ in length.
    FormatError
        If a count is negative.

    Examples
    --------
    >>> Vocabulary((b"", b" the", b"a"), [0, 5, 2]).entries
    {b' the': 1, b'a': 2}
    """

    texts: tuple[bytes, ...]
    count: IntArray

    def __post_init__(self) -> None:
        count = np.ascontiguousarray(self.count, dtype=np.int64)
        if count.shape != (len(self.texts),):
            raise MismatchError(f"vocabulary: {len(self.texts)} texts need as many counts, found {list(count.shape)}")
        if (count < 0).any():
            raise FormatError(f"vocabulary: counts must not be negative, found {count.min()}")
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "count", count)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def entries(self) -> dict[bytes, int]:
        """Entry of each text; of several entries with one text the most frequent, then the first.

        SentencePiece has such entries: the byte ``<0x41>`` beside the piece ``A``, which text uses.
        """
        order = np.lexsort((np.arange(len(self)), -self.count))
        chosen: dict[bytes, int] = {}
        for entry in order.tolist():
            if self.texts[entry]:
                chosen.setdefault(self.texts[entry], entry)
        return chosen

    def strings(self, entries: Sequence[int]) -> list[str]:
        """Return the text of some entries; bytes that are no whole character become lone surrogates (PEP 383)."""
        return [self.texts[entry].decode("utf-8", errors="surrogateescape") for entry in entries]

    @classmethod
    def of(cls, tokenizer: Tokenizer, train: TokenBlocks, d_vocab: int) -> Vocabulary:
        """Read the texts from a tokenizer and count its tokens in blocks of text.

        Parameters
        ----------
        train
            Blocks in the tokens of this tokenizer.
        d_vocab
            Number of entries; those beyond the tokenizer's, which pad many models, have no text.
        """
        known = tokenizer.token_texts[:d_vocab]
        texts = [text.encode("utf-8", errors="surrogateescape") for text in known] + [b""] * (d_vocab - len(known))
        for i in tokenizer.ids_without_text:
            if i < d_vocab:
                texts[i] = b""
        count = np.bincount(train.tokens[train.valid], minlength=d_vocab)[:d_vocab]
        return cls(tuple(texts), count)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays of a file: ``text`` uint8, all texts joined; ``text_end`` and ``count`` int64 [d_vocab]."""
        joined = np.frombuffer(b"".join(self.texts), np.uint8)
        end = np.cumsum([len(text) for text in self.texts], dtype=np.int64)
        return {"text": joined, "text_end": end, "count": self.count}

    @classmethod
    def from_arrays(cls, text: ArrayLike, text_end: ArrayLike, count: ArrayLike) -> Vocabulary:
        """Rebuild a vocabulary from the arrays of a file.

        Raises
        ------
        FormatError
            If the ends do not rise from 0 to the length of the text.
        """
        joined, end = np.asarray(text), np.asarray(text_end)
        if joined.dtype != np.uint8 or joined.ndim != 1 or end.dtype != np.int64 or end.ndim != 1:
            raise FormatError(
                f"vocabulary: expected text uint8 and text_end int64 with one axis, found {joined.dtype} "
                f"{list(joined.shape)} and {end.dtype} {list(end.shape)}"
            )
        start = np.concatenate([[0], end])
        if (np.diff(start) < 0).any() or start[-1] != joined.size:
            raise FormatError(f"vocabulary: text_end must rise to the {joined.size} bytes of text")
        content = joined.tobytes()
        return cls(tuple(content[low:high] for low, high in pairwise(start.tolist())), np.asarray(count))
