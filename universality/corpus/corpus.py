"""Building a corpus: from text or token arrays to token blocks with splits."""

import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.corpus.blocks import TokenBlocks, cut_blocks
from universality.corpus.common_text import CommonText, common_blocks
from universality.corpus.documents import DocumentTable
from universality.corpus.layout import DEFAULT_LAYOUT, TextLayout
from universality.corpus.passage import Passage
from universality.corpus.passages import read_source
from universality.corpus.splits import TRAIN, split_documents
from universality.corpus.tokenizer import Tokenizer, load_tokenizer, train_bpe
from universality.errors import CorpusError
from universality.files import as_path

_log = logging.getLogger(__name__)
_SAMPLED = 1000  # documents that are searched for padding
_RUN = 4  # equal ids at an end of a document that count as probable padding


@dataclass(frozen=True)
class Corpus:
    """Token blocks and the tokenizer that produced them (None for arrays that were tokenised elsewhere).

    Attributes
    ----------
    special_left_out
        Number of special tokens inside documents, which no block holds; a BOS that opens a document is not counted.
    repeated
        Number of held-out documents whose exact text is also in another split.
    notes
        One sentence for each part of the source that was left out; notes made while reading are also logged.
    """

    blocks: TokenBlocks
    tokenizer: Tokenizer | None
    special_left_out: int = 0
    repeated: int = 0
    notes: tuple[str, ...] = ()


def build_corpus(
    source: str | Path | Sequence[str | Path] = "starter",
    *,
    tokenizer: str | Path | Tokenizer = "starter",
    d_vocab: int = 4096,
    n_ctx: int = 128,
    held_out: float = 0.2,
    split_seed: int = 0,
    max_documents: int | None = None,
    max_tokens: int | None = None,
    layout: TextLayout = DEFAULT_LAYOUT,
) -> Corpus:
    """Read text, split its documents, tokenise it and cut it into blocks.

    Parameters
    ----------
    source
        See `universality.corpus.passages.read_passages`.
    tokenizer
        ``"train"`` to train a byte-level BPE of ``d_vocab`` types on the training documents; ``"starter"`` for
        the shipped tokenizer; a path to a ``tokenizer.json`` or its folder; or a tokenizer.
    n_ctx
        Number of columns of a block, BOS included.
    held_out, split_seed
        See `universality.corpus.splits.split_documents`.
    max_documents
        Read only the first ``max_documents`` documents, a fair sample if the corpus is shuffled.
    max_tokens
        Stop when the documents hold this many tokens; the last one is kept whole. A tokenizer that is yet to be trained
        counts four UTF-8 bytes as one token.
    layout
        Names of columns, and where a text file is cut.

    Examples
    --------
    >>> corpus = build_corpus(max_documents=20, n_ctx=64)
    >>> corpus.blocks.n_ctx, corpus.tokenizer.d_vocab
    (64, 4096)
    >>> sorted(set(corpus.blocks.documents.split))
    ['choose', 'report', 'train']
    """
    given = None if str(tokenizer) == "train" else tokenizer
    if isinstance(given, str | Path):
        given = load_tokenizer(given)
    counting = [given] if given else []
    reading = read_source(source, max_documents, layout, max_tokens=max_tokens, tokenizers=counting)
    passages = reading.passages
    documents, flagged = _table(passages, held_out, split_seed)
    # A vocabulary is trained on training documents alone, so that held-out text does not shape it.
    training = (p.text for p, split in zip(passages, documents.split, strict=True) if split == TRAIN)
    reader = given or train_bpe(training, d_vocab)
    token_ids = reader.encode_arrays([passage.text for passage in passages])
    blocks = cut_blocks(
        token_ids,
        documents,
        n_ctx=n_ctx,
        bos_id=reader.bos_id,
        d_vocab=reader.d_vocab,
        tokenizer_hash=reader.hash,
        flagged_kinds=flagged,
        special_ids=reader.special_ids,
    )
    special = sum(map(len, token_ids)) - blocks.n_tokens - _opened(token_ids, reader.bos_id)
    repeated = repeated_documents([passage.text for passage in passages], documents.split)
    return Corpus(blocks, reader, special, repeated, reading.notes)


def build_common(
    source: str | Path | Sequence[str | Path],
    tokenizers: Mapping[str, Tokenizer],
    *,
    n_ctx: int = 128,
    held_out: float = 0.2,
    split_seed: int = 0,
    max_documents: int | None = None,
    max_tokens: int | None = None,
    layout: TextLayout = DEFAULT_LAYOUT,
) -> CommonText:
    """Read and split text for models with different tokenizers; see `universality.corpus.common_text`.

    Parameters
    ----------
    tokenizers
        Model → its tokenizer.
    max_tokens
        Stop when one model reads this many tokens; the last document is kept whole. For the other parameters see
        `build_corpus`.

    Raises
    ------
    CorpusError
        If all models share one tokenizer, or no text fits in a block.
    """
    if len({tokenizer.hash for tokenizer in tokenizers.values()}) < 2:
        raise CorpusError(
            f"{', '.join(tokenizers)} have one tokenizer: name it as corpus.tokenizer and leave models.tokenizers out, "
            "so that they are compared token by token"
        )
    counting = list(tokenizers.values())
    reading = read_source(source, max_documents, layout, max_tokens=max_tokens, tokenizers=counting)
    documents, flagged = _table(reading.passages, held_out, split_seed)
    texts = [passage.text for passage in reading.passages]
    common = common_blocks(texts, documents, tokenizers, n_ctx=n_ctx, flagged_kinds=flagged)
    return replace(common, repeated=repeated_documents(texts, documents.split), notes=reading.notes)


def build_from_arrays(
    tokens: NDArray[np.integer] | str | Path,
    *,
    d_vocab: int,
    bos_id: int,
    n_ctx: int = 128,
    document_separator: int | None = None,
    special_ids: Iterable[int] = (),
    held_out: float = 0.2,
    split_seed: int = 0,
    max_documents: int | None = None,
) -> Corpus:
    """Build blocks from an array of token ids.

    Parameters
    ----------
    tokens : int [n_documents, n], or int [n] with ``document_separator``, or the path of such a ``.npy``
        One row per document; or one stream in which the separator ends each document.
    d_vocab
        Size of the vocabulary; every id is below it.
    bos_id
        Id that opens a block. It is dropped from documents, since every block has its own.
    n_ctx, held_out, split_seed, max_documents
        See `build_corpus`.
    document_separator
        Id that ends each document of a stream.
    special_ids
        Other ids that stand for no text, such as end of text and padding. They are dropped wherever they occur, and the
        tokens after them begin a new block.

    Raises
    ------
    CorpusError
        If the array is not of integers, a stream has no separator, or rows have one.
    MismatchError
        If an id, or ``bos_id``, is outside the vocabulary.

    Examples
    --------
    >>> stream = np.array([5, 6, 1, 7, 1])
    >>> corpus = build_from_arrays(stream, d_vocab=10, bos_id=0, n_ctx=4, document_separator=1, held_out=0)
    >>> corpus.blocks.tokens.tolist()
    [[0, 5, 6, 0], [0, 7, 0, 0]]
    """
    name = str(tokens) if isinstance(tokens, str | Path) else "array"
    rows = _rows(name, _integers(name, tokens), document_separator)
    special = {bos_id, *special_ids}
    rows = [row for row in rows if not np.isin(row, list(special)).all()][:max_documents]
    passages = [Passage(id=str(i), kind="tokens", group=str(i), text="") for i in range(len(rows))]
    documents, flagged = _table(passages, held_out, split_seed)
    blocks = cut_blocks(
        rows, documents, n_ctx=n_ctx, bos_id=bos_id, d_vocab=d_vocab, flagged_kinds=flagged, special_ids=special
    )
    left_out = sum(map(len, rows)) - blocks.n_tokens - _opened(rows, bos_id)
    repeated = repeated_documents([np.asarray(row).tobytes() for row in rows], documents.split)
    return Corpus(blocks, None, left_out, repeated, _padding_noted(name, rows, special))


def repeated_documents(contents: Sequence[Hashable], split: Sequence[str]) -> int:
    """Count the held-out documents whose exact contents also occur in another split."""
    splits: dict[Hashable, set[str]] = {}
    for content, part in zip(contents, split, strict=True):
        splits.setdefault(content, set()).add(part)
    return sum(part != TRAIN and len(splits[content]) > 1 for content, part in zip(contents, split, strict=True))


def _opened(token_ids: Sequence[Any], bos_id: int) -> int:
    """Count the documents that begin with a BOS."""
    return sum(bool(len(ids)) and int(ids[0]) == bos_id for ids in token_ids)


def _integers(name: str, tokens: NDArray[np.integer] | str | Path) -> NDArray[np.integer]:
    """Return the array, read from its file if necessary; raise CorpusError unless it holds token ids."""
    try:
        array = (
            np.load(as_path(tokens), allow_pickle=False, mmap_mode="r") if isinstance(tokens, str | Path) else tokens
        )
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(f"{name}: not a .npy array of token ids: {error}") from None
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.integer) or array.ndim not in (1, 2):
        given = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise CorpusError(f"{name}: expected integers of shape [n_documents, n] or [n], found {given}")
    return array


def _rows(name: str, array: NDArray[np.integer], separator: int | None) -> list[NDArray[np.integer]]:
    """Split into one array per document."""
    if array.ndim == 2 and separator is not None:
        raise CorpusError(
            f"{name}: expected one stream [n] with document_separator, found rows {array.shape}. If every row is a "
            "document, leave document_separator out and name that id in special_ids; if documents run on from row to "
            "row, save the array as one stream: tokens.reshape(-1)"
        )
    if array.ndim == 2:
        return list(array)
    if separator is None:
        raise CorpusError(f"{name}: one stream of tokens; give document_separator, the id that ends a document")
    ends = np.flatnonzero(array == separator)
    if not len(ends):
        raise CorpusError(
            f"{name}: document_separator {separator} is nowhere in the stream of {len(array):,} tokens; give the id "
            "that ends each document"
        )
    return [row[row != separator] for row in np.split(np.asarray(array), ends + 1)]


def _padding_noted(name: str, rows: Sequence[NDArray[np.integer]], special: set[int]) -> tuple[str, ...]:
    """Return a note if many documents begin or end with a run of one id, as padded ones do."""
    sampled = [np.asarray(row[~np.isin(row, list(special))]) for row in rows[:: max(1, len(rows) // _SAMPLED)]]
    ends = [ids[part] for ids in sampled if len(ids) > _RUN for part in (slice(-_RUN, None), slice(_RUN))]
    runs = Counter(int(end[0]) for end in ends if (end == end[0]).all())
    if not runs or runs.most_common(1)[0][1] < max(2, len(sampled) // 10):
        return ()
    ((token, times),) = runs.most_common(1)
    note = (
        f"{name}: {times} of {len(sampled)} documents begin or end with {_RUN} or more tokens of id {token}: if "
        "that is padding, name it in special_ids (corpus.special_ids), for now it counts as text"
    )
    _log.warning(note)
    return (note,)


def _table(passages: list[Passage], held_out: float, seed: int) -> tuple[DocumentTable, tuple[str, ...]]:
    ids = tuple(passage.id for passage in passages)
    kinds = tuple(passage.kind for passage in passages)
    groups = tuple(passage.group for passage in passages)
    splits = split_documents(kinds, groups, ids, held_out, seed)
    return DocumentTable(id=ids, kind=kinds, group=groups, split=splits.split), splits.flagged_kinds
