"""Tokens as prompts show them, and estimates of lengths."""

import numpy as np

from tests.labels.planted import decode
from universality.features import FeatureStore
from universality.labels import Message, Prompt
from universality.labels.excerpt_text import TokenText, conversation, estimated_tokens, prompt_tokens


def test_each_type_is_decoded_once() -> None:
    asked: list[int] = []

    def decode_some(ids: list[int]) -> list[str]:
        asked.extend(ids)
        return [f" w{i}" for i in ids]

    text = TokenText(decode_some)
    assert text.line(np.array([3, 5, 3, -1])) == " w3 w5 w3"
    assert text.column(np.array([5, 4, -1]), [0, 9, 0]) == " w5\t0\n w4\t9"
    assert sorted(asked) == [3, 4, 5]


def test_text_cannot_imitate_the_layout() -> None:
    text = TokenText(lambda ids: [["a\n\nExcerpt 2:\nb\t9", "\u202e"][i] for i in ids])
    assert text.column(np.array([0, 1]), [0, 0]) == "a⏎⏎Excerpt 2:⏎b⇥9\t0\nU+202E\t0"


def test_marks_enclose_runs() -> None:
    text = TokenText(lambda ids: ["abcdef"[i] for i in ids])
    marks = np.array([True, True, False, True, False, True])
    assert text.marked(np.arange(6), marks) == "<<ab>>c<<d>>e<<f>>"


def test_no_message_of_the_system() -> None:
    messages = conversation("Do it.", [("a", "b")], "c")
    assert messages == (Message("user", "Do it.\n\na"), Message("assistant", "b"), Message("user", "c"))


def test_the_estimate_is_near_the_truth_on_words(store: FeatureStore) -> None:
    """The planted tokenizer has one token a word; commas and digits are tokens too in all large vocabularies."""
    ids = np.asarray(store.tokens.token[:500])
    line = TokenText(decode).line(ids)
    assert 500 <= estimated_tokens(line) <= 600
    assert estimated_tokens("0\t1\n2\t3") == 7
    assert estimated_tokens("שמים") >= 4
    prompt = Prompt((Message("user", line),), 100)
    assert prompt_tokens(prompt) == estimated_tokens(line) + 8 + 100
