import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as HFTokenizer

from universality.corpus import Tokenizer, build_corpus, load_tokenizer, train_bpe
from universality.errors import CorpusError

TEXTS = ["the cat sat on the mat " * 20, "שלום עולם " * 20, "def f(x):\n\treturn x\n" * 20]


def test_trained_tokenizer_is_lossless_and_deterministic(tmp_path: Path) -> None:
    one, two = train_bpe(TEXTS, 300), train_bpe(TEXTS, 300)
    assert one.hash == two.hash
    assert one.bos_id == 0
    assert one.d_vocab <= 300
    text = "the שלום\x00\t🙂 mat"
    assert one.decode(one.encode([text])[0]) == text
    one.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path).hash == load_tokenizer(tmp_path / "tokenizer.json").hash == one.hash


def test_shipped_tokenizer_is_the_one_trained_on_the_training_split() -> None:
    corpus = build_corpus(max_documents=150, tokenizer="train")
    assert corpus.tokenizer.d_vocab == 4096
    shipped = load_tokenizer("starter")
    assert shipped.d_vocab == 4096
    assert shipped.bos_id == 0


def test_bad_tokenizers(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected at least 257"):
        train_bpe(TEXTS, 256)
    with pytest.raises(CorpusError, match="no such file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"not a tokenizer\.json"):
        load_tokenizer(tmp_path)
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CorpusError, match="names no token that opens a document"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_with_holes(tmp_path: Path) -> None:
    settings = json.loads(train_bpe(TEXTS, 290).backend.to_str())
    vocabulary = settings["model"]["vocab"]
    settings["model"]["vocab"] = {token: i if i < 260 else i + 40 for token, i in vocabulary.items()}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    last = max(vocabulary, key=vocabulary.__getitem__)
    assert tokenizer.d_vocab == len(tokenizer.token_strings) == len(vocabulary) + 40
    assert tokenizer.token_strings[270] == "<|270|>"
    assert tokenizer.backend.token_to_id(last) == tokenizer.d_vocab - 1
    (tmp_path / "text.txt").write_text(TEXTS[0] * 3)
    assert build_corpus(tmp_path / "text.txt", tokenizer=tmp_path, n_ctx=16, held_out=0).blocks.tokens.max() >= 300


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


def test_which_tokens_stand_for_no_text() -> None:
    byte_level = train_bpe(TEXTS, 300)
    byte_level.backend.add_special_tokens(["<|pad|>"])
    byte_level.backend.add_tokens(["word"])
    assert Tokenizer(byte_level.backend, 0).special_ids == (0, byte_level.backend.token_to_id("<|pad|>"))
    assert wordpiece(True).special_ids == (1,)  # [UNK] stands for text that the vocabulary lacks
    assert sentencepiece().special_ids == (0, 1)  # here no text is unknown
    assert unigram().special_ids == (1,)
