import json
from pathlib import Path

import pytest

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


def test_token_strings_show_partial_characters_as_bytes() -> None:
    tokenizer = train_bpe(TEXTS, 300)
    strings = tokenizer.token_strings
    assert len(strings) == tokenizer.d_vocab
    assert strings[tokenizer.bos_id] == "<|bos|>"
    assert "\udcd7" in strings  # half of a Hebrew letter
    assert "the" in strings or " the" in strings


def test_shipped_tokenizer_is_the_one_trained_on_the_training_split() -> None:
    corpus = build_corpus(max_documents=400, tokenizer="train")
    assert corpus.tokenizer.d_vocab == 4096
    shipped = load_tokenizer("starter")
    assert shipped.d_vocab == 4096
    assert shipped.bos_id == 0


def test_declared_bos_of_a_hugging_face_folder_wins(tmp_path: Path) -> None:
    tokenizer = train_bpe(TEXTS, 300)
    tokenizer.save(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "!"}}), encoding="utf-8")
    assert load_tokenizer(tmp_path).bos_id == tokenizer.backend.token_to_id("!")
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorpusError, match="not a JSON object"):
        load_tokenizer(tmp_path)


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
