from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from universality.corpus import DocumentTable, TokenBlocks, build_corpus, build_from_arrays, cut_blocks
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
    with pytest.raises(FormatError, match="not a file of token blocks, or a torn one"):
        TokenBlocks.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(FormatError, match="not a file of token blocks"):
        TokenBlocks.load(path)
    np.savez(path, header=np.frombuffer(b"{}", np.uint8), tokens=[0], length=[0], document=[0])
    with pytest.raises(FormatError, match="expected universality-blocks version 1, found None"):
        TokenBlocks.load(path)


def test_arrays_that_come_tokenised(tmp_path: Path) -> None:
    rows = np.array([[0, 5, 6, 7], [0, 8, 9, 5]], np.uint16)
    np.save(tmp_path / "t.npy", rows)
    blocks = build_from_arrays(tmp_path / "t.npy", d_vocab=10, bos_id=0, n_ctx=4, held_out=0).blocks
    assert_array_equal(blocks.tokens, rows)
    stream = np.array([5, 6, 1, 7, 1])
    blocks = build_from_arrays(stream, d_vocab=10, bos_id=0, n_ctx=4, document_separator=1, held_out=0).blocks
    assert_array_equal(blocks.tokens, [[0, 5, 6, 0], [0, 7, 0, 0]])
    with pytest.raises(CorpusError, match="give document_separator"):
        build_from_arrays(stream, d_vocab=10, bos_id=0)
    with pytest.raises(CorpusError, match="expected integers of shape"):
        build_from_arrays(np.zeros(3), d_vocab=10, bos_id=0)
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(CorpusError, match=r"not a \.npy array"):
        build_from_arrays(tmp_path / "bad.npy", d_vocab=10, bos_id=0)


def test_starter_corpus_splits_as_designed() -> None:
    blocks = build_corpus().blocks
    sizes = {split: blocks.select(split).n_tokens for split in ("train", "choose", "report")}
    assert sum(sizes.values()) == blocks.n_tokens > 6_000_000
    assert sizes["choose"] > 500_000
    assert sizes["report"] > 500_000
    assert {"base64", "dna"} <= set(blocks.flagged_kinds)
    assert not {"english", "python", "hebrew", "arabic-script"} & set(blocks.flagged_kinds)
