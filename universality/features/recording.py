"""Recording: what is computed of each batch of token blocks is written to feature stores, several in one pass."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError
from universality.features.storage.header import MANTISSA
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary
from universality.features.storage.writer import FeatureWriter
from universality.features.token_pooling import Pool, pool_rows
from universality.models.unembedding import Unembedding
from universality.progress import progress

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Recorded(Generic[Batch]):
    """Contents of one store.

    Parameters
    ----------
    n_features
        Columns.
    provenance
        Record of what the values are computed from.
    values
        Function from what is read of a batch of blocks to its rows, CSR [n_tokens, n_features].
    dictionary
        Makes the weights of the features, once all rows are written.
    unembedding
        Unembedding of the model, written if the dictionary has residual directions.
    """

    n_features: int
    provenance: Mapping[str, Any]
    values: Callable[[Batch], csr_matrix]
    dictionary: Callable[[], Dictionary | None] = lambda: None
    unembedding: Unembedding | None = None


@dataclass(frozen=True)
class Tokens:
    """Rows of stores.

    Parameters
    ----------
    blocks
        The model's tokens.
    common
        The same blocks in segments, where rows are these; see `universality.features.collection.collect`.
    pool
        How the values of a segment's tokens are pooled.

    Raises
    ------
    MismatchError
        If the blocks were not cut with those segments.
    """

    blocks: TokenBlocks
    common: TokenBlocks | None = None
    pool: Pool = "max"

    def __post_init__(self) -> None:
        if self.common is not None and (self.blocks.segment is None or len(self.blocks) != len(self.common)):
            raise MismatchError("common: expected the blocks of segments that these blocks of tokens were cut with")

    @property
    def rows(self) -> TokenBlocks:
        """Blocks whose text tokens are the rows."""
        return self.blocks if self.common is None else self.common

    def take(self, blocks: NDArray[np.int64]) -> "Tokens":
        """Return the rows of some blocks."""
        return Tokens(self.blocks.take(blocks), None if self.common is None else self.common.take(blocks), self.pool)

    def pooled(self, values: csr_matrix) -> csr_matrix:
        """Pool the values of tokens to those of rows."""
        return values if self.common is None else pool_rows(values, _first_tokens(self.blocks), self.pool)

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of the tokens."""
        hashes = {"tokenizer_hash": self.blocks.tokenizer_hash, "blocks_hash": self.blocks.hash}
        segments = {} if self.common is None else {"segments": {"pool": self.pool, **hashes}}
        return {"tokenizer_hash": self.rows.tokenizer_hash, "blocks_hash": self.rows.hash, **segments}


def record(
    stores: Mapping[str | Path, Recorded[Batch]],
    read: Callable[[TokenBlocks, slice], Batch],
    tokens: Tokens,
    *,
    name: str,
    overwrite: bool = False,
    resume: bool = False,
    mantissa_bits: int = MANTISSA,
    batch_blocks: int = 64,
    part: range | None = None,
) -> None:
    """Write stores in one pass over the tokens.

    Parameters
    ----------
    stores
        Path → contents.
    read
        Reads one batch of blocks, which has these rows, once for all stores.
    tokens
        The rows; BOS and padding are left out.
    name
        Name of the model, for the progress bar.
    overwrite, resume, mantissa_bits
        As `FeatureWriter` takes them.
    batch_blocks
        Number of blocks in a batch.
    part
        Range of blocks to record; all by default.

    Raises
    ------
    MismatchError, FileExistsError
        As `FeatureWriter` does.
    """
    with ExitStack() as stack:
        writers = {
            path: stack.enter_context(
                FeatureStore.create(
                    path,
                    contents.n_features,
                    provenance=contents.provenance,
                    documents=tokens.blocks.documents,
                    overwrite=overwrite,
                    resume=resume,
                    mantissa_bits=mantissa_bits,
                )
            )
            for path, contents in stores.items()
        }
        if part is not None:
            tokens = tokens.take(np.arange(part.start, part.stop))
        _fill([(writers[path], contents) for path, contents in stores.items()], read, tokens, name, batch_blocks)
        for path, contents in stores.items():
            dictionary = contents.dictionary()
            without = dictionary is None or dictionary.residual is None
            writers[path].finish(dictionary, None if without else contents.unembedding).close()


def _fill(
    writers: Sequence[tuple[FeatureWriter, Recorded[Batch]]],
    read: Callable[[TokenBlocks, slice], Batch],
    tokens: Tokens,
    name: str,
    batch_blocks: int,
) -> None:
    """Append the rows that the writers lack, in the batches of a run that was never stopped.

    Batches begin at multiples of ``batch_blocks`` whatever was committed, since float32 results of models and encoders
    may depend on the shape of their input: a resumed store has the same contents to the byte.
    """
    kinds = np.array(tokens.blocks.documents.kind)
    ends = np.cumsum(tokens.rows.length - 1)
    block = int(np.searchsorted(ends, min((w.n_tokens for w, _ in writers), default=0), side="right"))
    block -= block % batch_blocks
    n_done = int(ends[block - 1]) if block else 0
    bar = progress(total=tokens.rows.n_tokens, initial=n_done, desc=f"collect {name}", unit="token", unit_scale=True)
    with bar:
        for start in range(block, len(ends), batch_blocks):
            here = tokens.take(np.arange(start, min(start + batch_blocks, len(ends))))
            n = here.rows.n_tokens
            batch = read(here.blocks, slice(n_done, n_done + n))
            for writer, contents in writers:
                new = slice(min(n, writer.n_tokens - n_done), n)  # earlier rows are committed already
                if new.start < n:
                    _append(writer, here.pooled(contents.values(batch))[new], here.rows, new, kinds)
            n_done += n
            bar.update(n)


def _append(writer: FeatureWriter, values: csr_matrix, rows: TokenBlocks, new: slice, kinds: NDArray[np.str_]) -> None:
    """Append the rows ``new`` of these blocks."""
    block, position = (place[new] for place in np.nonzero(rows.valid))
    writer.append(
        values,
        token=rows.tokens[block, position],
        document=rows.document[block],
        position=position,
        kind=kinds[rows.document[block]],
    )


def _first_tokens(blocks: TokenBlocks) -> NDArray[np.int64]:
    """The first token of each segment, among the tokens of text of these blocks."""
    assert blocks.segment is not None
    block, position = np.nonzero(blocks.valid)
    segment = blocks.segment[block, position]
    new = np.ones(len(segment), bool)
    new[1:] = (np.diff(block) != 0) | (np.diff(segment) != 0)
    return np.flatnonzero(new)
