"""Entries of three kinds of vocabularies are named by the text that they stand for."""

import numpy as np
import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as HFTokenizer

from universality.corpus import DocumentTable, Tokenizer, cut_blocks, train_bpe
from universality.errors import FormatError, MismatchError
from universality.models.vocabulary import Vocabulary

TEXTS = ["the cat sat on the mat, é ü the Cat"] * 9


def sentencepiece() -> Tokenizer:
    """Pieces with ▁ and bytes as <0x..>, as in Llama and Gemma; an unused id between them."""
    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "▁", "c", "A", "a", "t"]
    vocab = {piece: i for i, piece in enumerate(pieces)} | {"▁c": len(pieces) + 1}
    backend = HFTokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("<unk>", special=True)])
    return Tokenizer(backend, bos_id=1)


def wordpiece() -> Tokenizer:
    vocab = {piece: i for i, piece in enumerate(["[UNK]", "[CLS]", "the", "c", "##at", "a"])}
    backend = HFTokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(["[CLS]"])
    return Tokenizer(backend, bos_id=1)


def of(tokenizer: Tokenizer, d_vocab: int) -> Vocabulary:
    table = DocumentTable(("d",), ("prose",), ("g",), ("train",))
    n_types = {"bos_id": tokenizer.bos_id, "d_vocab": tokenizer.d_vocab}
    blocks = cut_blocks(tokenizer.encode(TEXTS[:1]), table, n_ctx=64, **n_types)
    return Vocabulary.of(tokenizer, blocks, d_vocab)


def test_one_text_has_one_name_in_every_kind_of_vocabulary() -> None:
    bpe = train_bpe(TEXTS, 300)
    byte_level, pieces, words = of(bpe, bpe.d_vocab), of(sentencepiece(), 270), of(wordpiece(), 6)
    assert {b" the"} <= byte_level.entries.keys() & pieces.entries.keys() & words.entries.keys()
    assert {b"at"} <= byte_level.entries.keys() & words.entries.keys()
    assert b" Cat" in byte_level.entries  # case is kept
    assert b" Cat" not in words.entries
    assert pieces.entries[b" the"] == 258
    assert {bytes([byte]) for byte in range(256)} <= pieces.entries.keys() & byte_level.entries.keys()


def test_special_unknown_unused_and_padding_entries_have_no_text() -> None:
    pieces = of(sentencepiece(), 270)
    assert [pieces.texts[i] for i in (0, 1, 264, 266, 269)] == [b""] * 5
    assert pieces.texts[265] == b" c"
    assert of(wordpiece(), 6).texts[:2] == (b"", b"")
    assert b"" not in pieces.entries


def test_counts_are_those_of_the_text_and_the_most_frequent_entry_has_the_name() -> None:
    tokenizer = train_bpe(TEXTS, 300)
    counted = of(tokenizer, tokenizer.d_vocab + 5)
    assert len(counted) == tokenizer.d_vocab + 5
    ids = tokenizer.encode(TEXTS[:1])[0]
    assert counted.count.tolist() == np.bincount(ids, minlength=len(counted)).tolist()
    assert Vocabulary((b"A", b"A", b"A"), np.array([1, 5, 5])).entries == {b"A": 1}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"vocabulary: 2 texts need as many counts, found \[3\]"):
        Vocabulary((b"a", b"b"), np.ones(3))
    with pytest.raises(FormatError, match="counts must not be negative, found -1"):
        Vocabulary((b"a",), np.array([-1]))
