"""The prompt that asks for an explanation, and the explanation in an answer."""

import numpy as np
import pytest

from tests.labels.planted import DEAD, NAMES, RULES, decode, levels, recognised
from universality.features import FeatureStore
from universality.labels import Answer
from universality.labels.excerpt_text import TokenText
from universality.labels.explaining import explanation_outcome, explanation_prompts, read_explanation
from universality.labels.feature_examples import find_examples
from universality.labels.label_settings import LabelSettings


def test_the_prompt_shows_the_levels_of_the_feature(store: FeatureStore) -> None:
    settings = LabelSettings()
    found = find_examples(store, range(DEAD + 1), settings)
    prompts = dict(explanation_prompts(found, TokenText(decode), settings))
    assert list(prompts) == list(range(DEAD))  # nothing is asked of a dead feature
    for feature, name in enumerate(NAMES):
        text = prompts[feature].messages[-1].content
        assert recognised(text) == name
        for part in text.split("\n\n"):
            if "\t" in part:
                lines = [line.rsplit("\t", 1) for line in part.split("\n")]
                expected = levels(RULES[name], [token for token, _ in lines])
                assert [int(level) for _, level in lines][1:] == expected[1:]


def test_groups_have_headings(store: FeatureStore) -> None:
    settings = LabelSettings()
    (_, prompt), *_ = explanation_prompts(find_examples(store, [9]), TokenText(decode), settings)
    text = prompt.messages[-1].content
    for heading, n in (("most strongly", 10), ("Random", 5), ("same tokens in which it is silent", 10)):
        section = next(part for part in text.split(":\n\n") if part)
        assert heading in text
        section = text.split(heading)[1].split(":\n\n")[1]
        columns = [part for part in section.split("\n\n") if "\t" in part]
        assert len(columns) == n
    assert [message.role for message in prompt.messages] == ["user", "assistant"] * 3 + ["user"]


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("the word cat", "the word cat"),
        ("```\nthe word cat\n```", "the word cat"),
        ("\n\n- the word cat.\n- other things", "the word cat"),
        ("**Explanation:** the word cat", "the word cat"),
        ("This feature responds to: the word cat", "the word cat"),
        ("The neuron mainly fires on the word cat", "the word cat"),
        ('"the word cat"', "the word cat"),
        ('"a" and "b"', '"a" and "b"'),
        ("The C language", "The C language"),
        ("", ""),
        ("...", ""),
        ("I'm sorry, I cannot tell.", ""),
        ("As an AI language model, I have no access.", ""),
    ],
)
def test_reading_explanations(text: str, explanation: str) -> None:
    assert read_explanation(Answer(text)) == explanation


def test_what_became_of_answers() -> None:
    outcomes = [
        explanation_outcome(answer)
        for answer in (
            Answer("the word cat"),
            Answer("the word cat and the wo", "cut off"),
            Answer("---"),
            Answer("Sorry, I can't."),
            Answer("", "refused"),
            Answer("the word", "failed", problem="HTTP 500"),
        )
    ]
    assert outcomes == ["answered", "cut off", "malformed", "refused", "refused", "failed"]
    assert read_explanation(Answer("the word", "failed")) == ""


def test_the_control_that_must_fail() -> None:
    """A text in which one level is wrong is recognised as no rule."""
    column = "\n".join(["a\t0", " not\t0", " b\t0"])
    assert recognised(column) != NAMES[0]
    assert np.unique(levels(RULES[NAMES[0]], ["a", " not", " b"])).size == 2
