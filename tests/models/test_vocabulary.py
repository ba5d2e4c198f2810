"""A model of as many tokens as the corpus's tokenizer makes, but others, is refused."""

import re
from pathlib import Path

import pytest

from universality.corpus import train_bpe
from universality.errors import CorpusError, MismatchError
from universality.models.vocabulary import check_vocabulary

ENGLISH, HEBREW = ["the cat sat on the mat " * 20], ["שלום עולם ומלואו " * 20]


def test_the_same_tokens_pass_and_others_of_the_same_number_do_not(tmp_path: Path) -> None:
    ours, theirs = train_bpe(ENGLISH, 262), train_bpe(HEBREW, 262)
    assert ours.d_vocab == theirs.d_vocab == 262
    check_vocabulary("A", tmp_path, ours)  # no tokenizer.json: not known
    ours.save(tmp_path / "tokenizer.json")
    check_vocabulary("A", tmp_path, ours)
    theirs.save(tmp_path / "tokenizer.json")
    first = next(i for i in range(262) if ours.backend.id_to_token(i) != theirs.backend.id_to_token(i))
    assert first == 257  # <|bos|> and the bytes agree
    message = (
        f"model 'A' reads other tokens than corpus.tokenizer makes: 5 of 262 ids differ; 257 is "
        f"{theirs.backend.id_to_token(257)!r} in {tmp_path / 'tokenizer.json'} and {ours.backend.id_to_token(257)!r} in"
    )
    with pytest.raises(MismatchError, match=re.escape(message)):
        check_vocabulary("A", tmp_path, ours)


def test_a_model_may_know_more_tokens(tmp_path: Path) -> None:
    train_bpe(ENGLISH, 262).save(tmp_path / "tokenizer.json")
    check_vocabulary("A", tmp_path, train_bpe(ENGLISH, 260))
    train_bpe(ENGLISH, 260).save(tmp_path / "tokenizer.json")
    with pytest.raises(
        MismatchError, match=r"2 of 262 ids differ; 260 is None in .*; or set models\.tokenizers to own"
    ):
        check_vocabulary("A", tmp_path, train_bpe(ENGLISH, 262))


def test_a_torn_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CorpusError, match=r"tokenizer\.json: not a tokenizer\.json that the tokenizers library reads"):
        check_vocabulary("A", tmp_path, train_bpe(ENGLISH, 260))
