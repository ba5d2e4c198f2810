"""The token that opens a text is found in every place that names it, and survives being saved."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as HFTokenizer
from tokenizers import processors

from universality.corpus import Tokenizer, load_tokenizer, train_bpe
from universality.errors import CorpusError

TEXTS = ["the cat sat on the mat " * 20, "שלום עולם " * 20, "def f(x):\n\treturn x\n" * 20]


def test_declared_bos_of_a_hugging_face_folder_wins(tmp_path: Path) -> None:
    tokenizer = train_bpe(TEXTS, 300)
    tokenizer.save(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "!"}}), encoding="utf-8")
    assert load_tokenizer(tmp_path).bos_id == tokenizer.backend.token_to_id("!")
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorpusError, match="not a JSON object"):
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
