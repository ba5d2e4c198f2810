"""From a source of text or tokens to token blocks with splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from universality.corpus.blocks import TokenBlocks, cut_blocks
from universality.corpus.common import CommonText, common_blocks
from universality.corpus.documents import DocumentTable
from universality.corpus.read import Passage, read_passages
from universality.corpus.splits import TRAIN, split_documents
from universality.corpus.tokenizer import Tokenizer, load_tokenizer, train_bpe
from universality.errors import CorpusError
from universality.files import as_path


@dataclass(frozen=True)
class Corpus:
    """Token blocks and the tokenizer that made them (None for arrays that came tokenised)."""

    blocks: TokenBlocks
    tokenizer: Tokenizer | None


def build_corpus(
    source: str | Path | Sequence[str | Path] = "starter",
    *,
    tokenizer: str | Path | Tokenizer = "starter",
    d_vocab: int = 4096,
    n_ctx: int = 128,
    held_out: float = 0.2,
    split_seed: int = 0,
    max_documents: int | None = None,
) -> Corpus:
    """Read text, split its documents, tokenize, and cut blocks.

    Parameters
    ----------
    source
        What `universality.corpus.read.read_passages` reads.
    tokenizer
        ``"train"`` to train a byte-level BPE of ``d_vocab`` types on the training documents; ``"starter"`` for
        the shipped one; a path to a ``tokenizer.json`` or a folder with one; or a tokenizer.
    n_ctx
        Columns of a block, BOS included.
    held_out, split_seed
        As for `universality.corpus.splits.split_documents`.
    max_documents
        Keep only the first so many documents (of a shuffled corpus a fair sample).
    """
    passages = read_passages(source)[:max_documents]
    documents, flagged = _table(passages, held_out, split_seed)
    if isinstance(tokenizer, Tokenizer):
        made = tokenizer
    elif str(tokenizer) == "train":
        made = train_bpe((p.text for p, s in zip(passages, documents.split, strict=True) if s == TRAIN), d_vocab)
    else:
        made = load_tokenizer(tokenizer)
    blocks = cut_blocks(
        made.encode([passage.text for passage in passages]),
        documents,
        n_ctx=n_ctx,
        bos_id=made.bos_id,
        d_vocab=made.d_vocab,
        tokenizer_hash=made.hash,
        flagged_kinds=flagged,
    )
    return Corpus(blocks, made)


def build_common(
    source: str | Path | Sequence[str | Path],
    tokenizers: Mapping[str, Tokenizer],
    *,
    n_ctx: int = 128,
    held_out: float = 0.2,
    split_seed: int = 0,
    max_documents: int | None = None,
) -> CommonText:
    """Read text for models of different tokenizers, and split its documents: see `universality.corpus.common`.

    Parameters
    ----------
    tokenizers
        Model → its tokenizer. Other parameters as for `build_corpus`.

    Raises
    ------
    CorpusError
        If all models have one tokenizer, or no text fits a block.
    """
    if len({tokenizer.hash for tokenizer in tokenizers.values()}) < 2:
        raise CorpusError(
            f"{', '.join(tokenizers)} have one tokenizer: name it as corpus.tokenizer and leave models.tokenizers out, "
            "so that they are compared token by token"
        )
    passages = read_passages(source)[:max_documents]
    documents, flagged = _table(passages, held_out, split_seed)
    texts = [passage.text for passage in passages]
    return common_blocks(texts, documents, tokenizers, n_ctx=n_ctx, flagged_kinds=flagged)


def build_from_arrays(
    tokens: NDArray[np.integer] | str | Path,
    *,
    d_vocab: int,
    bos_id: int,
    n_ctx: int = 128,
    document_separator: int | None = None,
    held_out: float = 0.2,
    split_seed: int = 0,
) -> Corpus:
    """Blocks from tokens that someone else made.

    Parameters
    ----------
    tokens : int [n_documents, n], or int [n] with ``document_separator``, or the path of such a ``.npy``
        A row a document; or one stream in which the separator's id ends each document. A BOS at the start of
        a document is dropped: the block brings its own.
    d_vocab
        Token types; every id is below it.
    bos_id
        The id that opens a block.
    n_ctx, held_out, split_seed
        As for `build_corpus`.
    document_separator
        The id that ends each document of a stream.

    Raises
    ------
    CorpusError
        If the array is not of integers, or a stream has no separator.
    """
    name = str(tokens) if isinstance(tokens, str | Path) else "array"
    try:
        array = (
            np.load(as_path(tokens), allow_pickle=False, mmap_mode="r") if isinstance(tokens, str | Path) else tokens
        )
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(f"{name}: not a .npy array of token ids: {error}") from None
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.integer) or array.ndim not in (1, 2):
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise CorpusError(f"{name}: expected integers of shape [n_documents, n] or [n], found {found}")
    if array.ndim == 2:
        rows = list(array)
    elif document_separator is None:
        raise CorpusError(f"{name}: one stream of tokens; give document_separator, the id that ends a document")
    else:
        rows = np.split(np.asarray(array), np.flatnonzero(array == document_separator) + 1)
        rows = [row[row != document_separator] for row in rows]
    rows = [row[1:] if len(row) and row[0] == bos_id else row for row in rows]
    rows = [row for row in rows if len(row)]
    passages = [Passage(id=str(i), kind="tokens", group=str(i), text="") for i in range(len(rows))]
    documents, flagged = _table(passages, held_out, split_seed)
    blocks = cut_blocks(rows, documents, n_ctx=n_ctx, bos_id=bos_id, d_vocab=d_vocab, flagged_kinds=flagged)
    return Corpus(blocks, None)


def _table(passages: list[Passage], held_out: float, seed: int) -> tuple[DocumentTable, tuple[str, ...]]:
    ids = tuple(passage.id for passage in passages)
    kinds = tuple(passage.kind for passage in passages)
    groups = tuple(passage.group for passage in passages)
    splits = split_documents(kinds, groups, ids, held_out, seed)
    return DocumentTable(id=ids, kind=kinds, group=groups, split=splits.split), splits.flagged_kinds
