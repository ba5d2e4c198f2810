"""A model of as many tokens as the corpus's tokenizer makes, but others, is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from universality.corpus import build_from_arrays, train_bpe
from universality.errors import CorpusError, MismatchError
from universality.models.vocabulary_check import check_special, check_vocabulary

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


def test_token_ids_that_the_models_tokenizer_calls_special_are_refused(tmp_path: Path) -> None:
    tokenizer = train_bpe(ENGLISH, 262)
    tokenizer.backend.add_special_tokens(["</s>"])
    rows = np.full((10, 8), 70)
    rows[:, 5] = tokenizer.backend.token_to_id("</s>")
    corpora = {
        name: build_from_arrays(rows, d_vocab=263, bos_id=0, n_ctx=9, special_ids=special).blocks
        for name, special in (("counted", []), ("named", [262]))
    }
    check_special("A", tmp_path, corpora["counted"])  # no tokenizer.json: not known
    tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    check_special("A", tmp_path, corpora["named"])
    message = r"model 'A': .* stand for no text: 262 \(</s>\) 10 times; name them in corpus\.special_ids"
    with pytest.raises(MismatchError, match=message):
        check_special("A", tmp_path, corpora["counted"])
