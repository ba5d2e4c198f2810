"""Fixed-length token blocks, which every model of a study reads.

A block is BOS, then up to ``n_ctx - 1`` tokens of *one* document, then padding. No position therefore sees another
document, and a null distribution can re-pair two full blocks position by position. BOS and padding are for the models
alone: they enter no SAE batch, no moment and no correlation.

A special token inside a document (BOS, end of text, padding, or one written out in the text) ends the block. It is
dropped, and the text after it begins a new block with its own BOS.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.corpus.documents import DocumentTable
from universality.errors import CorpusError, FormatError, MismatchError, UniversalityError
from universality.files import as_path, replacing
from universality.obstacles import naming_obstacles

_FORMAT = "universality-blocks"
_VERSION = 1


@dataclass(frozen=True)
class TokenBlocks:
    """Blocks of tokens and the documents that they were cut from.

    Attributes
    ----------
    tokens : int32 [n_blocks, n_ctx]
        Token ids; column 0 is BOS, padding repeats the BOS id.
    length : int32 [n_blocks]
        Columns in use, BOS included; 2 ≤ length ≤ n_ctx.
    document : int32 [n_blocks]
        Index into ``documents``.
    documents : DocumentTable
        Id, kind, group and split of each document.
    d_vocab : int
        Size of the vocabulary.
    tokenizer_hash : str
        Hash of the tokenizer that produced the ids ("" for arrays that were tokenised elsewhere).
    flagged_kinds : tuple of str
        Kinds with too few groups, whose passages were assigned to splits one by one.
    index : int64 [n_blocks], optional
        Positions of these blocks in the corpus that they were selected from, which a cache of activations needs; None
        for the whole corpus.
    segment : int32 [n_blocks, n_ctx], optional
        For models with different tokenizers (`universality.corpus.common_text`): the column, in the blocks of
        segments, to which each token belongs; 0 for BOS and padding.
    """

    tokens: NDArray[np.int32]
    length: NDArray[np.int32]
    document: NDArray[np.int32]
    documents: DocumentTable
    d_vocab: int
    tokenizer_hash: str
    flagged_kinds: tuple[str, ...] = ()
    index: NDArray[np.int64] | None = None
    segment: NDArray[np.int32] | None = None

    def __repr__(self) -> str:
        return (
            f"TokenBlocks(n_blocks={len(self)}, n_ctx={self.n_ctx}, n_tokens={self.n_tokens}, "
            f"n_documents={np.unique(self.document).size}, d_vocab={self.d_vocab})"
        )

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_ctx(self) -> int:
        """Number of columns of a block."""
        return int(self.tokens.shape[1])

    @property
    def n_tokens(self) -> int:
        """Number of text tokens, without BOS and padding."""
        return int(self.length.sum()) - len(self)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Mask of text tokens (neither BOS nor padding), bool [n_blocks, n_ctx]."""
        column = np.arange(self.n_ctx)
        return (column > 0) & (column < self.length[:, None])

    @cached_property
    def hash(self) -> str:
        """Return the sha256 of ids, lengths, documents with labels and splits, and the tokenizer's hash."""
        digest = hashlib.sha256()
        for array in (self.tokens, self.length, self.document):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(self._header().encode())
        return digest.hexdigest()

    def select(self, *splits: str) -> "TokenBlocks":
        """Return the blocks whose documents are in these splits; the document table stays whole, so indices agree."""
        wanted = np.isin(np.array(self.documents.split), splits)
        return self.take(np.flatnonzero(wanted[self.document]))

    def take(self, blocks: NDArray[np.int64]) -> "TokenBlocks":
        """Return the given blocks in the given order."""
        return replace(
            self,
            tokens=self.tokens[blocks],
            length=self.length[blocks],
            document=self.document[blocks],
            index=np.asarray(blocks) if self.index is None else self.index[blocks],
            segment=None if self.segment is None else self.segment[blocks],
        )

    def save(self, path: str | Path) -> None:
        """Write one ``.npz`` file (no pickle) atomically."""
        segment: dict[str, Any] = {} if self.segment is None else {"segment": self.segment}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                header=np.frombuffer(self._header().encode(), np.uint8),
                tokens=self.tokens,
                length=self.length,
                document=self.document,
                **segment,
            )

    @classmethod
    def load(cls, path: str | Path) -> "TokenBlocks":
        """Read a file that `save` wrote.

        Raises
        ------
        FormatError
            If the file is of another format, truncated, corrupt or inconsistent.
        """
        try:
            with naming_obstacles(path), as_path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes().decode())
                tokens, length, document = file["tokens"], file["length"], file["document"]
                segment = file.get("segment")
        except UniversalityError:
            raise
        except Exception as error:  # zipfile, numpy and json each raise their own
            raise FormatError(f"{path}: not a file of token blocks, or truncated or corrupt: {error}") from None
        if header.get("format") != _FORMAT or header.get("version") != _VERSION:
            raise FormatError(
                f"{path}: expected {_FORMAT} version {_VERSION}, found {header.get('format')!r} "
                f"version {header.get('version')!r}"
            )
        table = DocumentTable(**{name: tuple(header["documents"][name]) for name in ("id", "kind", "group", "split")})
        return cls(
            tokens,
            length,
            document,
            table,
            header["d_vocab"],
            header["tokenizer_hash"],
            tuple(header["flagged_kinds"]),
            segment=segment,
        )

    def _header(self) -> str:
        table = self.documents
        return json.dumps(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "d_vocab": self.d_vocab,
                "tokenizer_hash": self.tokenizer_hash,
                "flagged_kinds": self.flagged_kinds,
                "documents": {"id": table.id, "kind": table.kind, "group": table.group, "split": table.split},
            },
            sort_keys=True,
        )


def cut_blocks(
    token_ids: Sequence[Sequence[int] | NDArray[np.integer]],
    documents: DocumentTable,
    *,
    n_ctx: int,
    bos_id: int,
    d_vocab: int,
    tokenizer_hash: str = "",
    flagged_kinds: tuple[str, ...] = (),
    special_ids: Iterable[int] = (),
) -> TokenBlocks:
    """Cut each document's tokens into blocks of one BOS and up to ``n_ctx - 1`` text tokens.

    Parameters
    ----------
    token_ids
        One sequence of ids per document.
    documents
        One row per document.
    n_ctx
        Number of columns of a block, BOS included.
    bos_id, d_vocab, tokenizer_hash
        BOS id, vocabulary size and hash of the tokenizer; the hash is "" for ids that were tokenised elsewhere.
    flagged_kinds
        See `TokenBlocks`.
    special_ids
        Ids besides BOS that stand for no text. No block holds one; the text after one begins a new block.

    Raises
    ------
    CorpusError
        If ``n_ctx`` leaves no room for text, or nothing is left to cut.
    MismatchError
        If an id is outside ``[0, d_vocab)``, or the table has a different number of documents.

    Examples
    --------
    >>> documents = DocumentTable(id=("a",), kind=("text",), group=("a",), split=("train",))
    >>> blocks = cut_blocks([[5, 6, 7, 8]], documents, n_ctx=4, bos_id=0, d_vocab=10)
    >>> blocks.tokens.tolist(), blocks.length.tolist()
    ([[0, 5, 6, 7], [0, 8, 0, 0]], [4, 2])
    """
    if n_ctx < 2:
        raise CorpusError(f"n_ctx: expected at least 2 (BOS and a token), found {n_ctx}")
    if len(token_ids) != len(documents.id):
        raise MismatchError(f"expected tokens for {len(documents.id)} documents, found {len(token_ids)}")
    if not 0 <= bos_id < d_vocab:
        raise MismatchError(f"bos_id: expected an id in [0, {d_vocab}), the vocabulary, found {bos_id}")
    stream, sizes, piece_of = _pieces(token_ids, {bos_id, *special_ids})
    if not len(stream):
        raise CorpusError("no tokens to cut into blocks: every document is empty, or of special tokens alone")
    if stream.min() < 0 or stream.max() >= d_vocab:
        raise MismatchError(
            f"token ids must lie in [0, {d_vocab}), found {stream.min()} … {stream.max()}: the tokens are another "
            "tokenizer's, or some are padding (-100 often is), which special_ids would leave out"
        )
    step = n_ctx - 1
    n_blocks = -(-sizes // step)
    # One row per block: the piece that it is cut from, and its rank among the blocks of that piece.
    piece = np.repeat(np.arange(len(sizes)), n_blocks)
    rank = np.arange(n_blocks.sum()) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)
    used = np.minimum(sizes[piece] - rank * step, step)
    document = piece_of[piece]
    tokens = np.full((len(document), n_ctx), bos_id, np.int32)
    # Boolean assignment fills row by row, and the stream lists pieces in the same order.
    tokens[:, 1:][np.arange(step) < used[:, None]] = stream
    return TokenBlocks(
        tokens,
        (used + 1).astype(np.int32),
        document.astype(np.int32),
        documents,
        d_vocab,
        tokenizer_hash,
        flagged_kinds,
    )


def _pieces(
    token_ids: Sequence[Sequence[int] | NDArray[np.integer]], special: set[int]
) -> tuple[NDArray[np.signedinteger], NDArray[np.int64], NDArray[np.int64]]:
    """Return the concatenated text tokens, and length and document of each run between special tokens."""
    sizes = np.array([len(ids) for ids in token_ids], np.int64)
    dtype: type[np.signedinteger] = np.int64
    if all(isinstance(ids, np.ndarray) and ids.dtype == np.int32 for ids in token_ids):
        dtype = np.int32  # as tokenizers here give them: half the memory of a long text
    stream = np.concatenate([np.zeros(0, dtype), *(np.asarray(ids, dtype) for ids in token_ids if len(ids))])
    left_out = np.flatnonzero(np.isin(stream, sorted(special)))
    ends = np.cumsum(sizes)
    # A run starts where a document starts and after every special token.
    starts = np.unique(np.concatenate([ends - sizes, left_out + 1]))
    starts = starts[starts < len(stream)]
    document = np.searchsorted(ends, starts, side="right")
    stops = np.append(left_out, len(stream))[np.searchsorted(left_out, starts)]
    lengths = np.minimum(stops, ends[document]) - starts  # 0 where one special token follows another
    text = np.delete(stream, left_out) if len(left_out) else stream
    return text, lengths[lengths > 0], document[lengths > 0]
