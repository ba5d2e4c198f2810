"""Simulated activations in the answers of careless models: a missing prediction is missing, never 0."""

import numpy as np
import pytest

from universality.labels.simulating import read_simulation, simulation_prompt

NAN = float("nan")
EXCERPTS = [[" the", " cat", " the", "⏎"], [" a", "   ", " dog"]]
WHOLE = "Excerpt 1:\n the\t0\n cat\t9\n the\t1\n⏎\t0\n\nExcerpt 2:\n a\t2\n   \t3\n dog\t4"


def read(text: str) -> list[float]:
    return np.concatenate(read_simulation(text, EXCERPTS)).tolist()


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (WHOLE, [0, 9, 1, 0, 2, 3, 4]),
        (f"Sure, here it is:\n```\n{WHOLE}\n```\nI hope this helps", [0, 9, 1, 0, 2, 3, 4]),
        (WHOLE.replace("Excerpt 1:\n", "").replace("Excerpt 2:\n", ""), [0, 9, 1, 0, 2, 3, 4]),
        (WHOLE.replace("Excerpt 1:", "**Excerpt 1**").replace("Excerpt 2:", "## Example 2"), [0, 9, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9\n", ""), [0, NAN, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\t10"), [0, NAN, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\t?"), [0, NAN, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\t-3"), [0, NAN, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\t4.5"), [0, NAN, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\t4.0"), [0, 4, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", "cat: 4"), [0, 4, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\\t4"), [0, 4, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", "cat | 4"), [0, 4, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", "cat 4"), [0, 4, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " lion\t9"), [0, NAN, 1, 0, 2, 3, 4]),
        (WHOLE.replace(" cat\t9", " cat\t9\nwhich is an animal"), [0, 9, 1, 0, 2, 3, 4]),
        (WHOLE.partition("\n\n")[0], [0, 9, 1, 0, NAN, NAN, NAN]),
        ("Excerpt 7:\n the\t5", [NAN] * 7),
        ("", [NAN] * 7),
        ("0 9 1 0 2 3 4", [NAN] * 7),  # which token is meant?
    ],
)
def test_reading(text: str, levels: list[float]) -> None:
    np.testing.assert_array_equal(read(text), levels)


def test_the_prompt_shows_explanation_and_tokens_but_no_activation() -> None:
    prompt = simulation_prompt("animals", EXCERPTS)
    question = prompt.messages[-1].content
    assert question.startswith("The feature responds to: animals\n\nExcerpt 1:\n the\t?\n cat\t?\n")
    assert np.isnan(read(question)).all()
    assert read(question.replace("?", "7")) == [7] * 7  # an answer that follows the format is read whole


def test_the_demonstrations_are_answers_that_can_be_read() -> None:
    _, first, _, second, _ = simulation_prompt("animals", EXCERPTS).messages
    for answer in (first.content, second.content):
        columns = [part.split("\n")[1:] for part in answer.split("\n\n")]
        strings = [[line.rpartition("\t")[0] for line in column] for column in columns]
        shown = [[float(line.rpartition("\t")[2]) for line in column] for column in columns]
        assert [one.tolist() for one in read_simulation(answer, strings)] == shown
