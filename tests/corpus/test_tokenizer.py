import json
from pathlib import Path

import pytest
from tokenizers import models

from universality.corpus import build_corpus, load_tokenizer, train_bpe
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
    from tokenizers import Tokenizer

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
