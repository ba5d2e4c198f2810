from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from universality.corpus import DocumentTable, TokenBlocks, cut_blocks
from universality.errors import CorpusError, FormatError, MismatchError


def table(n: int, split: str = "train") -> DocumentTable:
    names = tuple(str(i) for i in range(n))
    return DocumentTable(id=names, kind=("text",) * n, group=names, split=(split,) * n)


@given(st.lists(st.lists(st.integers(1, 99), max_size=40), min_size=1, max_size=8).filter(any), st.integers(2, 12))
def test_blocks_hold_every_token_once_in_order_and_never_two_documents(documents: list[list[int]], n_ctx: int) -> None:
    blocks = cut_blocks(documents, table(len(documents)), n_ctx=n_ctx, bos_id=0, d_vocab=100)
    assert_array_equal(blocks.tokens[:, 0], 0)
    assert ((blocks.length >= 2) & (blocks.length <= n_ctx)).all()
    for index, ids in enumerate(documents):
        mine = blocks.take(np.flatnonzero(blocks.document == index))
        assert_array_equal(mine.tokens[mine.valid], ids)
        assert (mine.length[:-1] == n_ctx).all()
    assert blocks.n_tokens == sum(map(len, documents)) == blocks.valid.sum()
    assert (blocks.tokens[~blocks.valid] == 0).all()


def test_blocks_are_shown_by_their_sizes() -> None:
    blocks = cut_blocks([[1, 2, 3], [4]], table(2), n_ctx=3, bos_id=0, d_vocab=9)
    assert repr(blocks) == "TokenBlocks(n_blocks=3, n_ctx=3, n_tokens=4, n_documents=2, d_vocab=9)"
    assert "n_documents=1" in repr(blocks.take(np.array([2])))


def test_bad_blocks_are_refused() -> None:
    with pytest.raises(CorpusError, match="n_ctx: expected at least 2"):
        cut_blocks([[1]], table(1), n_ctx=1, bos_id=0, d_vocab=2)
    with pytest.raises(CorpusError, match="every document is empty"):
        cut_blocks([[]], table(1), n_ctx=4, bos_id=0, d_vocab=2)
    with pytest.raises(MismatchError, match=r"token ids must lie in \[0, 2\), found 1 … 5"):
        cut_blocks([[1, 5]], table(1), n_ctx=4, bos_id=0, d_vocab=2)
    with pytest.raises(MismatchError, match="expected tokens for 2 documents, found 1"):
        cut_blocks([[1]], table(2), n_ctx=4, bos_id=0, d_vocab=2)


def test_hash_covers_tokens_and_labels_and_survives_the_file(tmp_path: Path) -> None:
    blocks = cut_blocks([[1, 2, 3], [4]], table(2), n_ctx=3, bos_id=0, d_vocab=9, tokenizer_hash="t")
    blocks.save(tmp_path / "b.npz")
    assert TokenBlocks.load(tmp_path / "b.npz").hash == blocks.hash
    relabelled = replace(blocks, documents=table(2, "report"))
    retokenised = replace(blocks, tokens=blocks.tokens + 1)
    assert len({blocks.hash, relabelled.hash, retokenised.hash}) == 3
    assert len(relabelled.select("report")) == len(blocks)
    assert len(blocks.select("report")) == 0


def test_torn_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    cut_blocks([[1, 2, 3]], table(1), n_ctx=3, bos_id=0, d_vocab=9).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="not a file of token blocks, or truncated or corrupt"):
        TokenBlocks.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(FormatError, match="not a file of token blocks"):
        TokenBlocks.load(path)
    np.savez(path, header=np.frombuffer(b"{}", np.uint8), tokens=[0], length=[0], document=[0])
    with pytest.raises(FormatError, match="expected universality-blocks version 1, found None"):
        TokenBlocks.load(path)


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=30), min_size=1, max_size=6).filter(
        lambda documents: any(set(ids) - {0, 8, 9} for ids in documents)
    ),
    st.integers(2, 9),
)
def test_no_special_token_stands_in_a_block_and_the_text_behind_one_begins_another(
    documents: list[list[int]], n_ctx: int
) -> None:
    blocks = cut_blocks(documents, table(len(documents)), n_ctx=n_ctx, bos_id=0, d_vocab=10, special_ids=(8, 9))
    assert not np.isin(blocks.tokens[blocks.valid], (0, 8, 9)).any()
    for index, ids in enumerate(documents):
        mine = blocks.take(np.flatnonzero(blocks.document == index))
        assert_array_equal(mine.tokens[mine.valid], [i for i in ids if i not in (0, 8, 9)])
        text = "".join("|" if i in (0, 8, 9) else str(i) for i in ids)
        pieces = ["".join(map(str, row[1:n])) for row, n in zip(mine.tokens, mine.length, strict=True)]
        step = n_ctx - 1
        runs = [run for run in text.split("|") if run]
        assert pieces == [run[i : i + step] for run in runs for i in range(0, len(run), step)]
