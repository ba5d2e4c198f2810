"""Text read by models with different tokenizers, cut into segments on which the models are compared.

A *boundary* of a tokenisation is a position between two characters that no token spans (the start and the end of the
text included). A *segment* is the shortest stretch of characters that begins and ends at a boundary of every
tokenisation: one token where all models agree, otherwise a few tokens of each. Every token belongs to one segment, and
every segment holds at least one token of each model. Segments play the role that tokens play for models with one
tokenizer:

- characters that a tokenizer drops (such as a trimmed space) belong to the next token; at the end, to the last one;
- the tokens of a multi-byte character stay together, because none of them ends before the character does.

Blocks are cut between segments, at the same characters for all models: a BOS, then up to n_ctx − 1 tokens. Null
distributions re-pair blocks with equal numbers of segments. A block therefore also ends after the number of segments
that nine of ten full blocks reach.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from universality.arrays import IntArray
from universality.corpus.blocks import TokenBlocks
from universality.corpus.documents import DocumentTable
from universality.corpus.tokenizer import Tokenized, Tokenizer
from universality.errors import CorpusError

_BATCH = 1000  # documents tokenised at a time: their offsets take about 100 bytes per token
_REACHED = 0.1  # quantile of segments in a full block: nine of ten get one length, which nulls can re-pair


@dataclass(frozen=True)
class CommonText:
    """A text in segments, and in each model's tokens.

    Attributes
    ----------
    blocks
        Blocks of segment ids (indices into ``strings``; 0 opens a block). Feature stores have one row per segment.
    own
        Model → the same blocks in its own tokens; ``segment`` gives the column of ``blocks`` to which a token belongs.
    strings
        Text of each segment id; "" for 0.
    left_out
        Number of segments with more tokens than fit in a block; no model reads them.
    special_left_out
        Number of segments that hold a special token of any tokenizer; no model reads them, and the text after one
        begins a new block.
    repeated, notes
        See `universality.corpus.Corpus`.
    """

    blocks: TokenBlocks
    own: Mapping[str, TokenBlocks]
    strings: tuple[str, ...]
    left_out: int
    special_left_out: int = 0
    repeated: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Document:
    """Segments of a document: character bounds, and per model the first token of each segment (and the token count).

    ``special`` marks segments that hold a special token of any model.
    """

    text: str
    bounds: IntArray
    tokens: Sequence[NDArray[np.int32]]
    first: Sequence[IntArray]
    special: NDArray[np.bool_]


def common_blocks(
    texts: Sequence[str],
    documents: DocumentTable,
    tokenizers: Mapping[str, Tokenizer],
    *,
    n_ctx: int = 128,
    flagged_kinds: tuple[str, ...] = (),
) -> CommonText:
    """Cut documents into blocks that models with different tokenizers read side by side.

    Parameters
    ----------
    texts
        One text per document.
    tokenizers
        Model → its tokenizer.
    n_ctx
        Number of columns of a block, BOS included, for every model.

    Raises
    ------
    CorpusError
        If ``n_ctx`` leaves no room for text, or no document has a segment that fits in a block.
    """
    if n_ctx < 2:
        raise CorpusError(f"n_ctx: expected at least 2 (BOS and a token), found {n_ctx}")
    read = list(_read(texts, list(tokenizers.values())))
    # Segments in blocks that are full; a document's last block is short for want of text and does not count.
    full = [
        stop - start for _, document in read for start, stop in _cut(document, n_ctx - 1) if _continues(document, stop)
    ]
    most = max(1, int(np.quantile(full, _REACHED))) if full else n_ctx - 1
    pieces = [(i, document, *piece) for i, document in read for piece in _cut(document, n_ctx - 1, most)]
    if not pieces:
        raise CorpusError(
            f"no stretch of text between boundaries that all tokenizers share has at most {n_ctx - 1} tokens in each: "
            "raise corpus.n_ctx, or compare models whose tokenizers divide this text"
        )
    common, strings = _segments(pieces, n_ctx, documents, tokenizers, flagged_kinds)
    own = {name: _own(pieces, k, tokenizer, common) for k, (name, tokenizer) in enumerate(tokenizers.items())}
    special = sum(int(document.special.sum()) for _, document in read)
    n_segments = sum(_n(document) for _, document in read)
    return CommonText(common, own, strings, n_segments - common.n_tokens - special, special)


def count_segments(texts: Sequence[str], tokenizers: Mapping[str, Tokenizer]) -> tuple[int, dict[str, int]]:
    """Count the segments of texts, and the tokens of each model in them.

    Examples
    --------
    >>> from universality.corpus import load_tokenizer
    >>> starter = load_tokenizer("starter")
    >>> count_segments(["the cat"], {"A": starter, "B": starter})
    (3, {'A': 3, 'B': 3})
    """
    segments, tokens = 0, dict.fromkeys(tokenizers, 0)
    for _, document in _read(texts, list(tokenizers.values())):
        segments += _n(document)
        for name, ids in zip(tokenizers, document.tokens, strict=True):
            tokens[name] += len(ids)
    return segments, tokens


def boundaries(tokenized: Tokenized, n_characters: int) -> IntArray:
    """Return the positions between characters that no token spans, in increasing order.

    Examples
    --------
    >>> ids = np.zeros(3, np.int32)
    >>> boundaries(Tokenized(ids, start=np.array([0, 2, 3]), end=np.array([2, 4, 5])), 5).tolist()
    [0, 2, 5]
    """
    # Spans may overlap or go backwards (tokens of one character, normalisers), so both sides take running extremes:
    # a boundary follows token i if every later token starts at or after the end of all tokens up to i.
    start, end = tokenized.start, np.maximum.accumulate(tokenized.end)
    later = np.minimum.accumulate(start[::-1])[::-1]
    cut = end[:-1][later[1:] >= end[:-1]]
    return np.unique(np.concatenate([[0], cut, [n_characters]])).astype(np.int64)


def _read(texts: Sequence[str], tokenizers: Sequence[Tokenizer]) -> Iterator[tuple[int, _Document]]:
    """Yield number and segments of every document that has a token in each tokenisation."""
    for low in range(0, len(texts), _BATCH):
        part = texts[low : low + _BATCH]
        every = zip(*(tokenizer.encode_with_spans(part) for tokenizer in tokenizers), strict=True)
        for i, (text, tokenisations) in enumerate(zip(part, every, strict=True)):
            if not all(len(tokenized.ids) for tokenized in tokenisations):
                continue
            bounds = boundaries(tokenisations[0], len(text))
            for tokenized in tokenisations[1:]:
                bounds = np.intersect1d(bounds, boundaries(tokenized, len(text)), assume_unique=True)
            first = [_first_tokens(tokenized, bounds) for tokenized in tokenisations]
            ids = [tokenized.ids for tokenized in tokenisations]
            yield low + i, _Document(text, bounds, ids, first, _special(ids, first, tokenizers))


def _first_tokens(tokenized: Tokenized, bounds: IntArray) -> IntArray:
    """Return the first token of each segment and the number of tokens, [n_segments + 1]."""
    before = np.concatenate([[0], np.maximum.accumulate(tokenized.end)[:-1]])
    start = np.maximum.accumulate(np.minimum(tokenized.start, before))  # dropped characters belong to the next token
    first: IntArray = np.searchsorted(start, bounds[:-1], side="left").astype(np.int64)
    first = np.append(first, len(start))
    assert (np.diff(first) > 0).all(), "a segment without a token"
    return first


def _special(
    ids: Sequence[NDArray[np.int32]], first: Sequence[IntArray], tokenizers: Sequence[Tokenizer]
) -> NDArray[np.bool_]:
    """Mark the segments that hold a special token of any model, [n_segments]."""
    special = np.zeros(len(first[0]) - 1, bool)
    for tokens, starts, tokenizer in zip(ids, first, tokenizers, strict=True):
        special |= np.logical_or.reduceat(np.isin(tokens, tokenizer.special_ids), starts[:-1])
    return special


def _continues(document: _Document, stop: int) -> bool:
    """Return whether text follows a run immediately."""
    return stop < _n(document) and not document.special[stop]


def _n(document: _Document) -> int:
    return len(document.bounds) - 1


def _cut(document: _Document, room: int, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield runs of segments with at most ``room`` tokens of every model and at most ``most`` segments.

    A segment with more than ``room`` tokens is skipped, and so are special tokens.
    """
    at, n = 0, _n(document)
    special = np.append(np.flatnonzero(document.special), n)
    while at < n:
        stop = min(int(np.searchsorted(first, first[at] + room, side="right")) - 1 for first in document.first)
        stop = min(stop, int(special[np.searchsorted(special, at)]), n if most is None else at + most)
        if stop > at:
            yield at, stop
        at = max(stop, at + 1)  # an empty run: the segment at ``at`` is special or too long, and is skipped


Piece = tuple[int, _Document, int, int]


def _segments(
    pieces: Sequence[Piece],
    n_ctx: int,
    documents: DocumentTable,
    tokenizers: Mapping[str, Tokenizer],
    flagged_kinds: tuple[str, ...],
) -> tuple[TokenBlocks, tuple[str, ...]]:
    """Build the blocks of segment ids, numbered in order of first appearance."""
    number: dict[str, int] = {"": 0}
    tokens = np.zeros((len(pieces), n_ctx), np.int32)
    for row, (_, document, start, stop) in enumerate(pieces):
        bounds = document.bounds[start : stop + 1].tolist()
        strings = (document.text[a:b] for a, b in pairwise(bounds))
        tokens[row, 1 : stop - start + 1] = [number.setdefault(string, len(number)) for string in strings]
    hashes = " ".join(sorted({tokenizer.hash for tokenizer in tokenizers.values()}))
    blocks = TokenBlocks(
        tokens,
        np.array([stop - start + 1 for *_, start, stop in pieces], np.int32),
        np.array([i for i, *_ in pieces], np.int32),
        documents,
        len(number),
        hashlib.sha256(f"segments of {hashes}".encode()).hexdigest(),
        flagged_kinds,
    )
    return blocks, tuple(number)


def _own(pieces: Sequence[Piece], k: int, tokenizer: Tokenizer, common: TokenBlocks) -> TokenBlocks:
    """Build the blocks in the tokens of model number ``k``."""
    tokens = np.full(common.tokens.shape, tokenizer.bos_id, np.int32)
    segment, length = np.zeros_like(tokens), np.zeros_like(common.length)
    for row, (_, document, start, stop) in enumerate(pieces):
        first = document.first[k][start : stop + 1]
        used = slice(1, int(first[-1] - first[0]) + 1)
        tokens[row, used] = document.tokens[k][first[0] : first[-1]]
        segment[row, used] = np.repeat(np.arange(1, stop - start + 1), np.diff(first))
        length[row] = used.stop
    return replace(
        common,
        tokens=tokens,
        length=length,
        d_vocab=tokenizer.d_vocab,
        tokenizer_hash=tokenizer.hash,
        segment=segment,
    )
