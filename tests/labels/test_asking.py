"""Every prompt is answered once: by the cache, by an equal prompt under way, or by the model."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.labels.chat_model import prompt
from universality import progress
from universality.errors import ModelError
from universality.labels import Answer, AnswerCache, Prompt, Tally, TokenPrices, ask, estimate
from universality.labels.excerpt_text import prompt_tokens


class Oracle:
    """Answers a prompt by its text in capitals, five at a time and the last first; counts what it was asked."""

    name, context = "oracle", None

    def __init__(self, failing: Iterable[str] = (), refusing: Iterable[str] = (), **settings: Any) -> None:
        self.asked: Counter[str] = Counter()
        self.failing, self.refusing, self.settings, self.calls = set(failing), set(refusing), settings, 0

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        self.calls += 1
        group: list[tuple[int, str]] = []
        for index, asked in enumerate(prompts):
            group.append((index, asked.messages[-1].content))
            if len(group) == 5:
                yield from self.answers(group)
                group = []
        yield from self.answers(group)

    def answers(self, group: list[tuple[int, str]]) -> Iterator[tuple[int, Answer]]:
        for index, text in reversed(group):
            self.asked[text] += 1
            if text in self.failing:
                yield index, Answer("", "failed", problem=f"no {text}")
            elif text in self.refusing:
                yield index, Answer("", "refused", 100, 1, "never")
            else:
                yield index, Answer(text.upper(), "answered", 100, 10)


def prompts(*texts: str) -> list[Prompt]:
    return [prompt(text) for text in texts]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[AnswerCache]:
    with AnswerCache(tmp_path / "answers.jsonl") as opened:
        yield opened


def test_each_prompt_gets_its_answer_whatever_the_order(cache: AnswerCache) -> None:
    texts = [f"w{number}" for number in range(23)]
    got = list(ask(Oracle(), prompts(*texts), cache, silent=True))
    assert [index for index, _ in got] != sorted(index for index, _ in got)  # the order of completion
    assert {index: answer.text for index, answer in got} == {i: text.upper() for i, text in enumerate(texts)}


def test_nothing_is_asked_twice(cache: AnswerCache) -> None:
    model = Oracle()
    texts = ["a", "b", "a", "c", "d", "e", "a", "f", "b"]  # equal ones under way, and after the answer
    tally = Tally()
    first = dict(ask(model, prompts(*texts), cache, tally=tally, silent=True))
    assert [first[index].text for index in range(9)] == [text.upper() for text in texts]
    assert set(model.asked.values()) == {1}
    assert (tally.total, tally.cached, tally.prompt_tokens) == (9, 3, 600)
    again = Oracle()
    assert dict(ask(again, prompts(*texts), cache, silent=True)) == first
    assert again.calls == 0  # a server need not even be there
    list(ask(again, prompts("a", "z", "b"), cache, silent=True))
    assert again.asked == Counter({"z": 1})


def test_other_settings_are_asked_again(cache: AnswerCache) -> None:
    list(ask(Oracle(), prompts("a"), cache, silent=True))
    other = Oracle(seed=1)
    list(ask(other, prompts("a"), cache, silent=True))
    assert other.asked == Counter({"a": 1})


def test_an_answer_is_on_the_disk_before_it_is_yielded(cache: AnswerCache) -> None:
    for number, _ in enumerate(ask(Oracle(), prompts("a", "b", "c"), cache, silent=True), 1):
        assert cache.path.read_text().count('"key"') == number


def test_failures_are_asked_again_and_refusals_are_not(cache: AnswerCache) -> None:
    texts = ("good", "bad", "never")
    tally = Tally()
    list(ask(Oracle(["bad"], ["never"]), prompts(*texts), cache, tally=tally, silent=True))
    assert tally.outcomes == {"answered": 1, "failed": 1, "refused": 1}
    assert str(tally) == "3 answers (0 repeated or from the cache), 1 refused, 1 failed; 200 tokens read, 11 written"
    later = Oracle()
    answers = dict(ask(later, prompts(*texts), cache, silent=True))
    assert later.asked == Counter({"bad": 1})
    assert [answers[index].outcome for index in range(3)] == ["answered", "answered", "refused"]


def test_prompts_are_drawn_lazily_and_cached_ones_are_yielded_as_they_come(cache: AnswerCache) -> None:
    drawn = []

    def source() -> Iterator[Prompt]:
        for number in range(50):
            drawn.append(number)
            yield prompt(f"w{number}")

    for done, _ in enumerate(ask(Oracle(), source(), cache, silent=True)):
        assert len(drawn) - done <= 5
    drawn.clear()
    for done, _ in enumerate(ask(Oracle(), source(), cache, silent=True)):
        assert len(drawn) - done == 1


def test_failures_in_a_row_end_the_questions(cache: AnswerCache) -> None:
    texts = [f"bad{number}" for number in range(40)]
    model = Oracle(texts)
    expected = (
        r"oracle: the last 7 prompts all failed, so nothing more is asked; the last reason: no bad\d+. The answers"
    )
    with pytest.raises(ModelError, match=expected):
        list(ask(model, prompts("good", *texts), cache, silent=True, stop_after=7))
    assert model.asked.total() == 12  # the good one was answered after four
    assert len(cache) == 1
    scattered = [text for pair in zip(texts, (f"w{n}" for n in range(40)), strict=True) for text in pair]
    answers = dict(ask(Oracle(texts), prompts(*scattered), cache, silent=True, stop_after=7))
    assert Counter(answer.outcome for answer in answers.values()) == {"failed": 40, "answered": 40}


def test_cached_answers_between_failures_do_not_hide_a_dead_server(cache: AnswerCache) -> None:
    good = [f"w{number}" for number in range(40)]
    list(ask(Oracle(), prompts(*good), cache, silent=True))
    bad = [f"bad{number}" for number in range(40)]
    mixed = [text for pair in zip(bad, good, strict=True) for text in pair]
    with pytest.raises(ModelError, match="the last 7 prompts all failed"):
        list(ask(Oracle(bad), prompts(*mixed), cache, silent=True, stop_after=7))


def test_without_a_cache_equal_prompts_under_way_are_asked_once() -> None:
    model = Oracle()
    answers = dict(ask(model, prompts("a", "a", "b"), silent=True))
    assert [answers[index].text for index in range(3)] == ["A", "A", "B"]
    assert model.asked == Counter({"a": 1, "b": 1})


def test_the_estimate_counts_what_will_be_asked_and_asks_nothing(cache: AnswerCache) -> None:
    model = Oracle()
    list(ask(Oracle(), prompts("a"), cache, silent=True))
    asked = [prompt(text, 50) for text in ("b", "c", "b")] + prompts("a")
    prices = TokenPrices(prompt=1_000_000, answer=100)
    before = estimate(model, iter(asked), cache, prices=prices, tokens=lambda one: 7)
    assert (before.requests, before.cached, before.prompt_tokens, before.answer_tokens) == (2, 1, 14, 100)
    assert before.cost == pytest.approx(14.01)
    assert str(before) == (
        "2 requests (1 more are in the cache): about 14 tokens to read, at most 100 to write, at most about 14.01 USD"
    )
    assert model.calls == 0
    free = estimate(model, asked)
    assert (free.requests, free.cached, free.cost) == (3, 0, None)
    assert free.prompt_tokens == sum(prompt_tokens(one) - one.max_tokens for one in asked[:2] + asked[3:])
    assert str(free).endswith("to write")


def test_progress_shows_tokens_money_and_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: AnswerCache
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    list(ask(Oracle(), prompts("a", "b"), cache, silent=True))
    texts = prompts("a", "b", "bad", "c", "d")
    list(ask(Oracle(["bad"]), texts, cache, prices=TokenPrices(1000, 10_000, "EUR"), description="explain"))
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"explain: 60% done, \d\d:\d\d left, 110 tokens, 0.20 EUR", lines[0])
    assert re.fullmatch(r"explain: 100% done, 00:00 left, 220 tokens, 0.40 EUR, 1 failed", lines[-1])
    assert len(lines) == 3  # cached answers are done before the beginning


def test_the_tally_gives_the_money() -> None:
    tally = Tally()
    list(ask(Oracle(), prompts("a", "b"), tally=tally, silent=True))
    assert tally.cost(TokenPrices(prompt=2, answer=10)) == pytest.approx((200 * 2 + 20 * 10) / 1e6)
