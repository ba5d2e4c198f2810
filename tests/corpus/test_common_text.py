"""Segments are what a slow search over characters finds, and blocks show every model the same text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tokenizers import Tokenizer as HFTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from universality.corpus import TokenBlocks, build_common, common_blocks, load_tokenizer, train_bpe
from universality.corpus.common_text import boundaries
from universality.corpus.documents import DocumentTable
from universality.corpus.passages import read_passages
from universality.corpus.tokenizer import Tokenizer
from universality.errors import CorpusError

LEARNT_FROM = [passage.text for passage in read_passages("starter")[:2000:40]]
TEXTS = LEARNT_FROM[::2]


def unigram() -> Tokenizer:
    """Of another family: pieces of characters, a mark for spaces, spaces folded and text normalised."""
    backend = HFTokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(LEARNT_FROM[::2], trainer)
    return Tokenizer(backend, 0)


def trimming(tokenizer: Tokenizer) -> Tokenizer:
    """As GPT-2's: offsets that leave spaces out, and a token before the text."""
    backend = HFTokenizer.from_str(tokenizer.backend.to_str())
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return Tokenizer(backend, tokenizer.bos_id)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    small = train_bpe(LEARNT_FROM[1::2], 400)
    return {"A": load_tokenizer("starter"), "B": trimming(small), "C": unigram()}


def table(texts: Sequence[str]) -> DocumentTable:
    names = tuple(map(str, range(len(texts))))
    return DocumentTable(names, ("text",) * len(texts), names, ("train",) * len(texts))


def slow_boundaries(tokenizer: Tokenizer, text: str) -> set[int]:
    """Every place, asked of every token."""
    (found,) = tokenizer.encode_with_spans([text])
    inside = range(1, len(text))
    ends = set(found.end.tolist())
    spans = list(zip(found.start.tolist(), found.end.tolist(), strict=True))
    return {0, len(text)} | {p for p in inside if p in ends and not any(a < p < b for a, b in spans)}


def spans_of(blocks: TokenBlocks, own: TokenBlocks, tokenizer: Tokenizer) -> list[list[str]]:
    """The text of each segment, put together from a model's tokens."""
    rows = []
    for row in range(len(blocks)):
        columns = own.segment[row]
        ids = own.tokens[row]
        rows.append([tokenizer.decode(ids[columns == c].tolist()) for c in range(1, blocks.length[row])])
    return rows


def test_boundaries_are_those_that_no_token_reaches_across(tokenizers: dict[str, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        for text in [
            *(text[:300] for text in TEXTS[::4]),
            "a",
            "naïve 日本語 🙂🙂 שלום",
            "  two  spaces ",
            "x\n\n y.\n",
        ]:
            (found,) = tokenizer.encode_with_spans([text])
            inner = set(boundaries(found, len(text)).tolist())
            assert inner <= slow_boundaries(tokenizer, text) | {len(text)}
            if not (found.start[1:] > np.maximum.accumulate(found.end)[:-1]).any():  # no characters dropped
                assert inner == slow_boundaries(tokenizer, text)


def test_a_character_of_several_tokens_is_not_cut() -> None:
    """Byte-level tokens of one emoji stand for it together, whatever the other tokenizer does."""
    bytes_alone = train_bpe(["ab"], 257)
    other = train_bpe(["🙂x🙂y" * 50], 262)
    text = "a🙂🙂b"
    (found,) = bytes_alone.encode_with_spans([text])
    assert len(found.ids) == 10
    assert boundaries(found, len(text)).tolist() == [0, 1, 2, 3, 4]
    common = common_blocks([text], table([text]), {"A": bytes_alone, "B": other}, n_ctx=16)
    assert_array_equal(common.own["A"].segment[0, :11], [0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4])
    assert [common.strings[i] for i in common.blocks.tokens[0, 1:5]] == ["a", "🙂", "🙂", "b"]


def test_a_planted_text_has_the_shortest_common_stretches() -> None:
    """ab|c|def against a|bc|def: the first three letters are one segment, since b is joined to either side."""

    def words(*pieces: str) -> Tokenizer:
        backend = HFTokenizer(models.Unigram([("<s>", 0.0), *((piece, -1.0) for piece in pieces)], 0, False))
        return Tokenizer(backend, 0)

    common = common_blocks(
        ["abcdef"], table(["abcdef"]), {"A": words("ab", "c", "def"), "B": words("a", "bc", "def")}, n_ctx=8
    )
    assert [common.strings[i] for i in common.blocks.tokens[0, 1:3]] == ["abc", "def"]
    assert common.blocks.length.tolist() == [3]
    assert_array_equal(common.own["A"].segment[0, :5], [0, 1, 1, 2, 0])
    assert_array_equal(common.own["B"].tokens[0, 1:4], [1, 2, 3])


def test_every_model_reads_the_text_of_the_segments(tokenizers: dict[str, Tokenizer]) -> None:
    lossless = {name: tokenizers[name] for name in "AB"}
    common = common_blocks(TEXTS, table(TEXTS), lossless, n_ctx=32)
    expected = [
        [common.strings[i] for i in row[1:n]] for row, n in zip(common.blocks.tokens, common.blocks.length, strict=True)
    ]
    for name, own in common.own.items():
        assert spans_of(common.blocks, own, lossless[name]) == expected
        assert own.tokenizer_hash == lossless[name].hash
        assert (own.length <= 32).all()
        assert_array_equal(own.document, common.blocks.document)
        assert own.tokens[own.valid].max() < own.d_vocab
    read = {}
    for document, row in zip(common.blocks.document.tolist(), expected, strict=True):
        read[document] = read.get(document, "") + "".join(row)
    kept = sum(len(text) for text in read.values())
    assert all(read[i] == TEXTS[i] for i in read) or common.left_out
    assert kept > 0.99 * sum(map(len, TEXTS))
    ascii_only = [text for text in TEXTS if text.isascii()]  # no character of several tokens
    control = common_blocks(ascii_only, table(ascii_only), {"A": tokenizers["A"], "B": tokenizers["A"]}, n_ctx=32)
    assert control.blocks.n_tokens == control.own["A"].n_tokens  # where all agree, a segment is a token
    assert common.blocks.n_tokens < min(own.n_tokens for own in common.own.values())


def test_a_tokenizer_that_normalises_and_drops_is_read_too(tokenizers: dict[str, Tokenizer]) -> None:
    common = common_blocks(TEXTS, table(TEXTS), tokenizers, n_ctx=48)
    for own in common.own.values():
        for row in range(len(own)):
            inside = own.segment[row, 1 : own.length[row]]
            assert_array_equal(np.unique(inside), np.arange(1, common.blocks.length[row]))
            assert (np.diff(inside) >= 0).all()
            assert not own.segment[row, own.length[row] :].any()


def gemma_like() -> Tokenizer:
    """As Gemma's: a mark replaces spaces, no split into words, and bytes for characters that it does not have."""
    vocabulary = ["<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdeht", "he", "▁t", "▁the"]
    merges = [("h", "e"), ("▁", "t"), ("▁t", "he")]
    ids = {token: i for i, token in enumerate(vocabulary)}
    backend = HFTokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return Tokenizer(backend, 0)


def test_characters_in_bytes_stay_whole_beside_a_byte_level_tokenizer() -> None:
    text = "the 𞤀𞤣 bed\n\n\tאת the ▁ cab"
    pair = {"A": load_tokenizer("starter"), "B": gemma_like()}
    made = common_blocks([text], table([text]), pair, n_ctx=64)
    assert "".join(made.strings[i] for i in made.blocks.tokens[made.blocks.valid]) == text
    for name, own in made.own.items():
        spans = spans_of(made.blocks, own, pair[name])
        expected = [made.strings[i].replace("▁", " ") if name == "B" else made.strings[i] for i in
                    made.blocks.tokens[made.blocks.valid]]  # fmt: skip
        assert [span for block in spans for span in block] == expected
    assert "𞤣" in made.strings  # four bytes of either tokenizer, and one segment


def test_most_blocks_are_of_one_length_so_that_nulls_can_re_pair_them(tokenizers: dict[str, Tokenizer]) -> None:
    texts = [text * 20 for text in TEXTS[:5]]
    common = common_blocks(texts, table(texts), {name: tokenizers[name] for name in "AB"}, n_ctx=64)
    full = common.blocks.length == common.blocks.length.max()
    assert full.mean() > 0.7


def test_blocks_keep_their_segments_on_the_disk(tokenizers: dict[str, Tokenizer], tmp_path: Path) -> None:
    own = common_blocks(TEXTS, table(TEXTS), tokenizers, n_ctx=32).own["B"].take(np.arange(3))
    own.save(tmp_path / "own.npz")
    again = TokenBlocks.load(tmp_path / "own.npz")
    assert_array_equal(again.segment, own.segment)
    assert again.hash == own.hash


def test_a_segment_longer_than_a_block_is_left_out_and_counted() -> None:
    a, b = train_bpe(["ab"], 257), train_bpe(["x" * 400] * 50, 280)
    text = "ab " + "x" * 40 + " ab"
    common = common_blocks([text], table([text]), {"A": a, "B": b}, n_ctx=12)
    assert common.left_out
    shown = "".join(common.strings[i] for row in common.blocks.tokens for i in row)
    assert len(shown) < len(text)
    with pytest.raises(CorpusError, match=r"no stretch of text between boundaries .* at most 1 tokens"):
        common_blocks(["🙂"], table(["🙂"]), {"A": a, "B": b}, n_ctx=2)
    with pytest.raises(CorpusError, match="n_ctx: expected at least 2"):
        common_blocks([text], table([text]), {"A": a, "B": b}, n_ctx=1)


def test_no_model_reads_a_special_token_that_is_written_out(tokenizers: dict[str, Tokenizer]) -> None:
    """``<s>`` is special for one model and four letters for the others; ``<|bos|>`` the other way round."""
    texts = ["one<|bos|>two two<s> three", "<|bos|><|bos|>four"]
    common = common_blocks(texts, table(texts), tokenizers, n_ctx=32)
    assert common.special_left_out == 4
    assert common.left_out == 0
    shown = ["".join(common.strings[i] for i in row[1:n]) for row, n in zip(*_rows(common.blocks), strict=True)]
    assert shown == ["one", "two two", " three", "four"]
    for name, own in common.own.items():
        assert not np.isin(own.tokens[own.valid], tokenizers[name].special_ids).any()
        assert_array_equal(own.document, [0, 0, 0, 1])


def _rows(blocks: TokenBlocks) -> tuple[list[list[int]], list[int]]:
    return blocks.tokens.tolist(), blocks.length.tolist()


def test_one_tokenizer_for_all_is_refused(tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(CorpusError, match=r"A, B have one tokenizer: name it as corpus\.tokenizer"):
        build_common("starter", {"A": tokenizers["A"], "B": tokenizers["A"]}, max_documents=4)
    common = build_common("starter", {name: tokenizers[name] for name in "AB"}, max_documents=40, held_out=0.4)
    assert set(common.blocks.documents.split) == {"train", "choose", "report"}
