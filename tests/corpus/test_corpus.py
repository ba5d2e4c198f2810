"""From text or token arrays to blocks with splits; what is left out is counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.corpus import build_corpus, build_from_arrays
from universality.errors import CorpusError, UniversalityError


def test_arrays_that_come_tokenised(tmp_path: Path) -> None:
    rows = np.array([[0, 5, 6, 7], [0, 8, 9, 5]], np.uint16)
    np.save(tmp_path / "t.npy", rows)
    blocks = build_from_arrays(tmp_path / "t.npy", d_vocab=10, bos_id=0, n_ctx=4, held_out=0).blocks
    assert_array_equal(blocks.tokens, rows)
    one = build_from_arrays(rows, d_vocab=10, bos_id=0, n_ctx=4, held_out=0, max_documents=1).blocks
    assert_array_equal(one.tokens, rows[:1])
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


EOS, PAD = 1, 2


TEXT = np.arange(40 * 8).reshape(40, 8) % 90 + 10


@pytest.mark.parametrize(
    ("tokens", "options", "n_tokens", "left_out"),
    [
        (np.insert(np.insert(TEXT, 4, 0, 1), 0, 0, 1), {}, 320, 40),  # packed: BOS at the start and within
        (np.insert(TEXT, 4, EOS, 1), {"special_ids": [EOS]}, 320, 40),
        (np.where(np.arange(8) < 3, TEXT, 0), {}, 120, 200),  # padded on the right with BOS
        (np.where(np.arange(8) < 5, 0, TEXT), {}, 120, 160),  # and on the left, one of five opens
        (np.where(np.arange(8) < 5, PAD, TEXT), {"special_ids": [PAD]}, 120, 200),
        (np.where(np.arange(8) < 3, TEXT, -100), {"special_ids": [-100]}, 120, 200),
        (np.insert(TEXT, 8, EOS, 1).ravel(), {"document_separator": EOS}, 320, 0),
        (np.insert(np.insert(TEXT, 8, EOS, 1), 0, 0, 1).ravel(), {"document_separator": EOS}, 320, 0),
        (np.insert(np.insert(TEXT, 8, EOS, 1), 4, 0, 1).ravel(), {"document_separator": EOS}, 320, 40),
        (np.insert(TEXT, 8, 70_000, 1).ravel(), {"document_separator": 70_000}, 320, 0),  # beyond the vocabulary
    ],
)
def test_special_tokens_of_arrays_are_left_out_and_counted(
    tokens: np.ndarray, options: dict[str, Any], n_tokens: int, left_out: int
) -> None:
    corpus = build_from_arrays(tokens, d_vocab=100, bos_id=0, n_ctx=9, held_out=0.4, **options)
    blocks = corpus.blocks
    assert blocks.n_tokens == n_tokens
    assert len(blocks.documents) == 40
    assert (blocks.tokens[blocks.valid] >= 10).all()
    assert corpus.special_left_out == left_out


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        (TEXT, {"document_separator": EOS}, r"one stream \[n\] with document_separator, found rows \(40, 8\).*reshape"),
        (TEXT.ravel(), {"document_separator": EOS}, "document_separator 1 is nowhere in the stream of 320 tokens"),
        (TEXT, {"bos_id": 500}, r"bos_id: expected an id in \[0, 100\), the vocabulary, found 500"),
        (np.where(TEXT > 50, -100, TEXT), {}, "another tokenizer's, or some are padding .*special_ids would leave out"),
        (np.zeros((4, 8), int), {}, "every document is empty, or of special tokens alone"),
    ],
)
def test_arrays_that_would_count_something_else_as_text_are_refused(
    tokens: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UniversalityError, match=message):
        build_from_arrays(tokens, **{"d_vocab": 100, "bos_id": 0, **options})


def test_what_looks_like_padding_is_said(caplog: pytest.LogCaptureFixture) -> None:
    padded = np.where(np.arange(8) < 3, TEXT, PAD)
    corpus = build_from_arrays(padded, d_vocab=100, bos_id=0, n_ctx=9, held_out=0.4)
    assert corpus.notes == tuple(caplog.messages)
    assert "40 of 40 documents begin or end with 4 or more tokens of id 2: if that is padding" in corpus.notes[0]
    assert build_from_arrays(TEXT, d_vocab=100, bos_id=0, n_ctx=9, held_out=0.4).notes == ()


def test_special_tokens_written_out_in_text_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "packed.jsonl"
    texts = [f"<|bos|>a story about stones {i}.<|bos|>Another of rivers." for i in range(30)]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    corpus = build_corpus(path, n_ctx=32, held_out=0.4)
    blocks = corpus.blocks
    assert not (blocks.tokens[blocks.valid] == corpus.tokenizer.bos_id).any()
    assert corpus.special_left_out == 30
    assert len(blocks) == 60
    assert corpus.tokenizer.decode(blocks.tokens[1, 1 : blocks.length[1]]) == "Another of rivers."


def test_the_same_text_in_two_splits_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": "the very same"}) for _ in range(20)))
    corpus = build_corpus(path, n_ctx=8, held_out=0.4)
    held_out = [split for split in corpus.blocks.documents.split if split != "train"]
    assert corpus.repeated == len(held_out) == 8
    path.write_text("\n".join(json.dumps({"text": f"number {i}"}) for i in range(20)))
    assert build_corpus(path, n_ctx=8, held_out=0.4).repeated == 0
    rows = np.tile(TEXT[:10], (2, 1))
    assert 0 < build_from_arrays(rows, d_vocab=100, bos_id=0, n_ctx=9, held_out=0.4).repeated <= 8


def test_starter_corpus_splits_as_designed() -> None:
    blocks = build_corpus().blocks
    sizes = {split: blocks.select(split).n_tokens for split in ("train", "choose", "report")}
    assert sum(sizes.values()) == blocks.n_tokens > 6_000_000
    # Shipped models were trained on these bytes.
    assert blocks.hash == "9edefac5ee687a895d277915b0c2aa044201870e57be35b8a83cf59fc2a85e5d"
    assert sizes["choose"] > 500_000
    assert sizes["report"] > 500_000
    assert {"base64", "dna"} <= set(blocks.flagged_kinds)
    assert not {"english", "python", "hebrew", "arabic-script"} & set(blocks.flagged_kinds)
