"""Every token type is shown as the text that it stands for, whatever the vocabulary writes."""

import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as HFTokenizer

from universality.corpus import Tokenizer, train_bpe

TEXTS = ["the cat sat on the mat " * 20, "שלום עולם " * 20, "def f(x):\n\treturn x\n" * 20]


def test_token_strings_show_partial_characters_as_bytes() -> None:
    tokenizer = train_bpe(TEXTS, 300)
    strings = tokenizer.token_strings
    assert len(strings) == tokenizer.d_vocab
    assert strings[tokenizer.bos_id] == "<|bos|>"
    assert "\udcd7" in strings  # half of a Hebrew letter
    assert "the" in strings or " the" in strings


def sentencepiece() -> Tokenizer:
    words = ["▁the", "▁café", "é", "ć", "▁", "a", "<0x", "Ġ"]
    vocabulary = {"<unk>": 0, "<s>": 1} | {f"<0x{b:02X}>": 2 + b for b in range(256)}
    vocabulary |= {word: len(vocabulary) + i for i, word in enumerate(words)}
    backend = HFTokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(parts)
    backend.add_special_tokens(["<unk>", "<s>"])
    return Tokenizer(backend, 1)


def wordpiece(decoder: bool) -> Tokenizer:
    words = ["[UNK]", "[CLS]", "a", "the", "##é", "##ing", "über"]
    backend = HFTokenizer(models.WordPiece(vocab={word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece() if decoder else None
    backend.add_special_tokens(["[UNK]", "[CLS]"])
    return Tokenizer(backend, 1)


def unigram() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("▁ab", -1.0), ("ć", -1.0), ("b", -1.0), ("▁", -2.0)]
    backend = HFTokenizer(models.Unigram(pieces, 0, False))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    backend.add_special_tokens([AddedToken("<s>", special=True)])
    return Tokenizer(backend, 1)


@pytest.mark.parametrize(
    ("tokenizer", "texts"),
    [
        (
            sentencepiece(),
            {"▁the": " the", "▁café": " café", "é": "é", "ć": "ć", "▁": " ", "<0x0A>": "\n", "<0xE2>": "\udce2"}
            | {"<s>": "<s>", "<0x": "<0x", "Ġ": "Ġ"},
        ),
        (wordpiece(True), {"the": " the", "##é": "é", "##ing": "ing", "über": " über", "[CLS]": "[CLS]"}),
        (wordpiece(False), {"the": " the", "##é": "é", "##ing": "ing", "über": " über"}),
        (unigram(), {"▁ab": " ab", "ć": "ć", "b": "b", "▁": " ", "<s>": "<s>"}),
    ],
    ids=["sentencepiece", "wordpiece", "wordpiece without a decoder", "unigram"],
)
def test_tokens_are_shown_as_the_text_that_they_stand_for(tokenizer: Tokenizer, texts: dict[str, str]) -> None:
    found = {name: tokenizer.token_texts[tokenizer.backend.token_to_id(name)] for name in texts}
    assert found == texts
    assert all(tokenizer.token_strings[tokenizer.backend.token_to_id(name)] == name for name in texts)


def test_the_letters_of_a_byte_level_vocabulary_are_bytes() -> None:
    """The same letter is a byte here and a letter elsewhere; words that were added are letters in both."""
    tokenizer = train_bpe(TEXTS, 300)
    assert tokenizer.token_texts == tokenizer.token_strings
    assert tokenizer.token_strings[tokenizer.backend.token_to_id("é")] == "\udce9"
    tokenizer.backend.add_tokens(["éé"])
    added = Tokenizer(tokenizer.backend, 0)
    assert added.token_strings[added.backend.token_to_id("éé")] == "éé"


def test_which_tokens_stand_for_no_text() -> None:
    byte_level = train_bpe(TEXTS, 300)
    byte_level.backend.add_special_tokens(["<|pad|>"])
    byte_level.backend.add_tokens(["word"])
    assert Tokenizer(byte_level.backend, 0).special_ids == (0, byte_level.backend.token_to_id("<|pad|>"))
    assert wordpiece(True).special_ids == (1,)  # [UNK] stands for text that the vocabulary lacks
    assert sentencepiece().special_ids == (0, 1)  # here no text is unknown
    assert unigram().special_ids == (1,)
