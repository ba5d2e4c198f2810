"""Answers of any object that claims to be a language model, checked as they come.

Models may be written by users, and servers need not keep to the limit that a prompt sets. So what a model yields is
checked, and a text far beyond its limit is cut before anything reads or keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from universality.errors import ModelError
from universality.labels.chat import Answer, ChatModel, Prompt, is_whole

_CHARACTERS = 16
"""Characters that a token may have: tokens of English have 4 to 5 on average, the longest ordinary words about 16."""
_ALWAYS_KEPT = 4_000
"""Characters that are kept whatever the limit."""


def check_model(model: Any) -> None:
    """Refuse an object that lacks what a model must offer.

    Raises
    ------
    ModelError
        If it is no `universality.labels.ChatModel`; the message names the attribute.

    Examples
    --------
    >>> try:
    ...     check_model("gpt")
    ... except ModelError as error:
    ...     print(str(error).partition(";")[0])
    'gpt' is no model: expected name, a string, found none
    """
    wrong = next(_faults(model), None)
    if wrong:
        shown = repr(model)
        raise ModelError(
            f"{shown if len(shown) <= 80 else type(model).__name__} is no model: {wrong}; a model has a name, "
            "settings, a context and a method ask, as universality.labels.ChatModel says"
        )


def _faults(model: Any) -> Iterator[str]:
    missing = object()
    kinds: dict[str, tuple[str, Any]] = {
        "name": ("a string", str),
        "settings": ("a mapping", Mapping),
        "context": ("a number or None", int | None),
    }
    for attribute, (expected, kind) in kinds.items():
        value = getattr(model, attribute, missing)
        if not isinstance(value, kind):
            found = "none" if value is missing else type(value).__name__
            yield f"expected {attribute}, {expected}, found {found}"
    if not callable(getattr(model, "ask", None)):
        yield "expected a method ask, found none"


def checked_answers(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
    """Ask a model, check what it yields, and cut texts far longer than their prompts allow.

    At least 4,000 characters are kept, and 16 for each of the prompt's ``max_tokens``. The outcome of a longer text
    that was ``"answered"`` becomes ``"cut off"``.

    Parameters
    ----------
    model
        The model.
    prompts
        Conversations to continue, drawn when the model draws them.

    Yields
    ------
    index, answer
        As the model yields them.

    Raises
    ------
    ModelError
        If the object is no model, yields something else than a place and an `Answer`, or the place of a prompt that it
        did not draw or has answered.

    Examples
    --------
    >>> from universality.labels import Message
    >>> class Endless:
    ...     name, settings, context = "endless", {}, None
    ...     def ask(self, prompts):
    ...         yield from ((place, Answer("yes " * 10**6)) for place, _ in enumerate(prompts))
    >>> ((place, answer),) = checked_answers(Endless(), [Prompt((Message("user", "Well?"),), max_tokens=50)])
    >>> len(answer.text), answer.outcome
    (4000, 'cut off')
    """
    check_model(model)
    limits: dict[int, int] = {}  # place of a prompt without an answer → most tokens of the answer

    def drawn() -> Iterator[Prompt]:
        for place, prompt in enumerate(prompts):
            limits[place] = prompt.max_tokens
            yield prompt

    for yielded in model.ask(drawn()):
        place, answer = _pair(model, yielded)
        if place not in limits:
            raise ModelError(
                f"{model.name}: an answer to prompt {place}, which was not asked or has its answer already"
            )
        yield place, _cut(answer, limits.pop(place))


def _pair(model: ChatModel, yielded: Any) -> tuple[int, Answer]:
    if not isinstance(yielded, tuple) or len(yielded) != 2:
        raise ModelError(
            f"{model.name}: ask must yield pairs of a prompt's place and its Answer, found {_described(yielded)}"
        )
    place, answer = yielded
    if not isinstance(place, int):
        raise ModelError(f"{model.name}: ask must yield the place of a prompt, a whole number, found {place!r:.80}")
    if not isinstance(answer, Answer) or not is_whole(answer):
        raise ModelError(
            f"{model.name}: ask must yield an Answer to prompt {place}, with text and outcome, found "
            f"{_described(answer)}; Answer(text) wraps a text"
        )
    return place, answer


def _described(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.80}"


def _cut(answer: Answer, max_tokens: int) -> Answer:
    most = max(_ALWAYS_KEPT, _CHARACTERS * max_tokens)
    if len(answer.text) <= most:
        return answer
    cut = replace(answer, text=answer.text[:most])
    if answer.outcome != "answered":
        return cut
    problem = f"{len(answer.text):,} characters, of which {most:,} were kept: {max_tokens:,} tokens were allowed"
    return replace(cut, outcome="cut off", problem=problem)
