"""Objects that are no models, answers that are none, and texts far longer than their prompts allow."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.labels.chat_model import prompt
from universality.errors import ModelError
from universality.labels import Answer, AnswerCache, Prompt, ask
from universality.labels.keyed_answers import ask_model, keyed_answers


class Says:
    """Yields what it was made with, whatever is asked."""

    name, settings, context = "odd", {}, None

    def __init__(self, *yielded: Any) -> None:
        self.yielded = yielded

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[Any]:
        list(prompts)
        yield from self.yielded


@pytest.mark.parametrize(
    ("yielded", "said"),
    [
        ([(0, Answer("a")), (0, Answer("b"))], "odd: an answer to prompt 0, which was not asked or has its answer"),
        ([(7, Answer("a"))], "odd: an answer to prompt 7, which was not asked"),
        ([(0, "yes")], "must yield an Answer to prompt 0, .* found str 'yes'; Answer.text. wraps a text"),
        ([(0, Answer(3))], "must yield an Answer to prompt 0"),
        ([(0, Answer("a", "fine"))], "must yield an Answer to prompt 0"),
        (["yes"], "must yield pairs of a prompt's place and its Answer, found str 'yes'"),
        ([("0", Answer("a"))], "must yield the place of a prompt, a whole number, found '0'"),
    ],
)
def test_what_is_no_answer_is_refused_with_and_without_a_cache(tmp_path: Path, yielded: list[Any], said: str) -> None:
    with AnswerCache(tmp_path / "answers.jsonl") as cache:
        with pytest.raises(ModelError, match=said):
            list(ask(Says(*yielded), [prompt("one")], cache, silent=True))
        assert len(cache) == len(yielded) - 1  # the first of two was right
    with pytest.raises(ModelError, match=said):
        list(keyed_answers(ask_model, Says(*yielded), [("key", prompt("one"))]))


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ({"name": 3}, "expected name, a string, found int"),
        ({"settings": None}, "expected settings, a mapping, found NoneType"),
        ({"context": "4k"}, "expected context, a number or None, found str"),
        ({"ask": None}, "expected a method ask"),
    ],
)
def test_what_is_no_model_is_refused(lacks: dict[str, Any], said: str) -> None:
    model = Says()
    for attribute, value in lacks.items():
        setattr(model, attribute, value)
    with pytest.raises(ModelError, match=f"is no model: {said}"):
        list(ask(model, [prompt("one")], silent=True))
    with pytest.raises(ModelError, match="'gpt' is no model: expected name, a string, found none"):
        list(ask("gpt", [], silent=True))  # type: ignore[arg-type]


def test_a_text_far_beyond_its_limit_is_cut_in_the_cache_and_for_the_caller(tmp_path: Path) -> None:
    endless, asked = Answer("yes " * 10**6, "answered", 10, 10**6), [prompt("one", 50), prompt("two", 1000)]
    with AnswerCache(tmp_path / "answers.jsonl") as cache:
        first = dict(ask(Says((0, endless), (1, endless)), asked, cache, silent=True))
        assert dict(ask(Says(), asked, cache, silent=True)) == first
    assert [len(first[place].text) for place in (0, 1)] == [4000, 16_000]
    assert {answer.outcome for answer in first.values()} == {"cut off"}
    assert first[0].problem == "4,000,000 characters, of which 4,000 were kept: 50 tokens were allowed"
    assert first[0].answer_tokens == 10**6  # they were paid for
    assert (tmp_path / "answers.jsonl").stat().st_size < 25_000


def test_a_text_within_its_limit_is_as_it_was() -> None:
    long = Answer("x" * 4000)
    assert dict(ask(Says((0, long)), [prompt("one", 50)], silent=True)) == {0: long}
