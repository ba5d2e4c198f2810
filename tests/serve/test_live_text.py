"""New text is read as the run reads its own: a block of the corpus gives the features that the run stored for it."""

import numpy as np
import pytest

from universality.errors import UniversalityError
from universality.serve.live_run import LiveComparison
from universality.serve.live_text import MOST_CHARACTERS, MOST_TOKENS, read_text


def stored_document(live: LiveComparison) -> tuple[str, slice]:
    """Text and rows of a held-out document whose tokens are those that its text gives again."""
    tokens, tokenizer = live.sides[0].described.store.tokens, live.run.results.tokenizer("A")
    assert tokenizer is not None
    for document in np.unique(tokens.document):
        rows = np.flatnonzero(tokens.document == document)
        text = tokenizer.decode(tokens.token[rows].tolist())
        if 70 < len(rows) < 400 and tokenizer.encode([text])[0] == tokens.token[rows].tolist():
            return text, slice(rows[0], rows[-1] + 1)
    raise AssertionError("no document of the run is short enough")


def test_a_document_of_the_corpus_has_its_stored_features(live: LiveComparison) -> None:
    text, rows = stored_document(live)
    read = read_text(live, text)
    assert "".join(read.strings).encode("utf-8", "surrogateescape").decode() == text
    for side, found in zip(live.sides, read.features, strict=True):
        stored = side.described.store.rows(rows)
        assert found.shape == stored.shape
        assert np.allclose(found.toarray(), stored.toarray(), rtol=2e-3, atol=2e-3)
    block = live.sides[0].described.store.tokens.block[rows]
    assert read.begins == np.flatnonzero(np.diff(block, prepend=-1)).tolist()
    assert len(read.begins) > 1
    other = read_text(live, text[::-1])
    assert other.features[0].shape != read.features[0].shape or (other.features[0] != read.features[0]).nnz


def test_a_long_text_is_cut_and_a_longer_one_refused(live: LiveComparison) -> None:
    read = read_text(live, "a " * (MOST_CHARACTERS // 2))
    assert MOST_TOKENS <= len(read.strings) < MOST_TOKENS + 64
    assert read.n_left_out > 0
    assert read.features[1].shape[0] == len(read.strings)
    with pytest.raises(UniversalityError, match=r"text: expected at most 8,000 characters, found 8,001"):
        read_text(live, "a" * (MOST_CHARACTERS + 1))


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "שלום עולם", "\u202eabc", "<script>alert(1)</script>", "\U0001f600\u200d", "\n"]
)
def test_odd_text_is_read(live: LiveComparison, text: str) -> None:
    read = read_text(live, text)
    assert "".join(read.strings).encode("utf-8", "surrogateescape").decode() == text


def test_what_is_no_text_is_refused(live: LiveComparison) -> None:
    with pytest.raises(UniversalityError, match="expected at least one character"):
        read_text(live, "")
    with pytest.raises(UniversalityError, match="character 2 is half of a surrogate pair"):
        read_text(live, "a\ud800")
    with pytest.raises(UniversalityError, match="no tokens to cut into blocks"):
        read_text(live, "<|bos|>")


def test_special_tokens_begin_a_new_context(live: LiveComparison) -> None:
    assert read_text(live, "cat<|bos|>dog").begins == [0, len(read_text(live, "cat").strings)]
