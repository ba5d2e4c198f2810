"""Answers of a model by the key of their prompts, through any function that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from universality.errors import UniversalityError
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.checked_answers import checked_answers

Ask: TypeAlias = Callable[[ChatModel, Iterable[Prompt]], Iterable[tuple[int, Answer]]]
"""Function that has a model answer prompts: yields each prompt's place and its answer, in any order."""
_Key = TypeVar("_Key")


def ask_model(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
    """Ask a model directly, without a cache; see `universality.labels.checked_answers.checked_answers`."""
    return checked_answers(model, prompts)


@dataclass(frozen=True)
class _Expected:
    """Prompts that are drawn when needed, and their estimated number, which a progress bar takes for its total."""

    prompts: Iterable[Prompt]
    n: int

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __len__(self) -> int:
        return self.n


def keyed_answers(
    ask: Ask, model: ChatModel, keyed: Iterable[tuple[_Key, Prompt]], expected: int | None = None
) -> Iterator[tuple[_Key, Answer]]:
    """Have a model answer prompts; give each answer with its prompt's key.

    Parameters
    ----------
    ask
        Function that has the model answer.
    model
        The model.
    keyed
        Prompts with their keys, drawn when needed.
    expected
        Estimated number of prompts: what ``ask`` sees as their length.

    Yields
    ------
    key, answer
        In the order of completion.

    Raises
    ------
    UniversalityError
        If ``ask`` answers a prompt twice or leaves one without an answer.
    """
    waiting: dict[int, _Key] = {}

    def prompts() -> Iterator[Prompt]:
        for place, (key, prompt) in enumerate(keyed):
            waiting[place] = key
            yield prompt

    asked = prompts() if expected is None else _Expected(prompts(), expected)
    for place, answer in ask(model, asked):
        if place not in waiting:
            raise UniversalityError(f"{model.name}: an answer to prompt {place}, which was not asked or was answered")
        yield waiting.pop(place), answer
    if waiting:
        raise UniversalityError(f"{model.name}: {len(waiting)} prompts were left without an answer")
