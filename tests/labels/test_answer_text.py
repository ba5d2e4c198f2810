"""Verdicts and refusals in the answers of careless models."""

import numpy as np
import pytest

from universality.labels.answer_text import declines, read_verdicts

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("1: yes\n2: no\n3: yes", [1, 0, 1]),
        ("```\n1: Yes\n2: No\n3: YES\n```", [1, 0, 1]),
        ("Excerpt 1: 1\nExcerpt 2: 0\nExcerpt 3: 1", [1, 0, 1]),
        ("1. yes, since it says so\n2) no\n(3) - true", [1, 0, 1]),
        ("1: **yes**\n3: no", [1, NAN, 0]),
        ("Here are my answers. 1: yes, 2: no, 3: no", [1, 0, 0]),
        ('{"1": 1, "2": 0, "3": 0}', [1, 0, 0]),
        ("[1, 0, 1]", [1, 0, 1]),
        ("The answer is [yes, no, no].", [1, 0, 0]),
        ("yes\nno\nno", [1, 0, 0]),
        ("[1, 0]", [NAN, NAN, NAN]),  # which one is missing?
        ("yes\nno", [NAN, NAN, NAN]),
        ("1: yes\n1: no\n2: no", [NAN, 0, NAN]),
        ("1: perhaps\n2: 5\n3: nobody", [NAN, NAN, NAN]),
        ("4: yes\n0: yes", [NAN, NAN, NAN]),
        ("", [NAN, NAN, NAN]),
    ],
)
def test_verdicts(text: str, verdicts: list[float]) -> None:
    np.testing.assert_array_equal(read_verdicts(text, 3), verdicts)


@pytest.mark.parametrize("text", ["I'm sorry", "I’m unable to say", "Sorry, no.", "I cannot help", "As an AI, I"])
def test_refusals(text: str) -> None:
    assert declines(text)


@pytest.mark.parametrize("text", ["1: yes", "apologies such as sorry", "I as a pronoun", "impossible things"])
def test_no_refusals(text: str) -> None:
    assert not declines(text)
