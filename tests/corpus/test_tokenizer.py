import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
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


def renamed(tokenizer: Tokenizer, bos: str) -> HFTokenizer:
    """The same tokenizer, whose BOS has another name."""
    return HFTokenizer.from_str(tokenizer.backend.to_str().replace("<|bos|>", bos))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tokenizer_config.json", {"bos_token": "<｜begin▁of▁sentence｜>"}),
        ("tokenizer_config.json", {"bos_token": {"content": "<｜begin▁of▁sentence｜>", "__type": "AddedToken"}}),
        ("special_tokens_map.json", {"bos_token": {"content": "<｜begin▁of▁sentence｜>"}}),
        ("config.json", {"bos_token_id": 0}),
        ("generation_config.json", {"bos_token_id": 0}),
        ("tokenizer_config.json", {"bos_token": None, "eos_token": "<｜begin▁of▁sentence｜>"}),
    ],
)
def test_a_bos_that_only_a_file_beside_it_names_survives_being_saved(
    tmp_path: Path, file: str, said: dict[str, object]
) -> None:
    backend = renamed(train_bpe(TEXTS, 300), "<｜begin▁of▁sentence｜>")
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CorpusError, match=r"names no token that opens a document; expected bos_token in tokenizer_con"):
        load_tokenizer(tmp_path)
    (tmp_path / file).write_text(json.dumps(said), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.bos_id == 0
    for name in ("tokenizer.json", "tokenizer.B.json"):
        (tmp_path / "run").mkdir(exist_ok=True)
        written = tokenizer.save(tmp_path / "run" / name)
        assert [path.name for path in written] == [name, name.replace(".json", "_config.json")]
        assert load_tokenizer(tmp_path / "run" / name).bos_id == 0


def test_a_number_in_a_configuration_is_believed_of_a_special_token_only(tmp_path: Path) -> None:
    renamed(train_bpe(TEXTS, 300), "<|x|>").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"bos_token_id": 70}), encoding="utf-8")
    with pytest.raises(CorpusError, match="names no token that opens a document"):
        load_tokenizer(tmp_path)


def test_a_bos_that_the_tokenizer_itself_puts_first(tmp_path: Path) -> None:
    backend = renamed(train_bpe(TEXTS, 300), "<|startoftext|>")
    backend.add_special_tokens(["<|endoftext|>"])
    backend.post_processor = processors.TemplateProcessing(
        "<|startoftext|> $A", special_tokens=[("<|startoftext|>", 0)]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.bos_id == 0  # and not <|endoftext|>, a usual name
    assert tokenizer.save(tmp_path / "tokenizer.json") == [tmp_path / "tokenizer.json"]


def test_saving_keeps_what_else_a_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 7}', encoding="utf-8")
    tokenizer = Tokenizer(renamed(train_bpe(TEXTS, 300), "<|x|>"), 0)
    tokenizer.save(tmp_path / "tokenizer.json")
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {"model_max_length": 7, "bos_token": "<|x|>"}
    (tmp_path / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CorpusError, match="not a JSON object: found list"):
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
