"""Data exchanged with a language model that explains features: prompts, answers and what a model must offer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

Role = Literal["system", "user", "assistant"]
Outcome = Literal["answered", "refused", "cut off", "failed"]


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Parameters
    ----------
    role
        Author of the message.
    content
        Text of the message.
    """

    role: Role
    content: str


@dataclass(frozen=True)
class Prompt:
    """A conversation that the model continues by one message.

    Parameters
    ----------
    messages
        The conversation so far; the last message is the user's.
    max_tokens
        Most tokens that the answer may have.

    Examples
    --------
    >>> Prompt((Message("user", "What do these words have in common?"),), max_tokens=50).messages[0].role
    'user'
    """

    messages: tuple[Message, ...]
    max_tokens: int


@dataclass(frozen=True)
class Answer:
    """A model's reply to one prompt.

    Parameters
    ----------
    text
        Text of the reply; empty if there is none.
    outcome
        ``"answered"``; ``"refused"`` if the model or its filter declined; ``"cut off"`` if the reply reached
        ``max_tokens``; ``"failed"`` if no reply came.
    prompt_tokens, answer_tokens
        Tokens read and written, as counted by the model; 0 if it does not say.
    problem
        Reason for any outcome but ``"answered"``.
    """

    text: str
    outcome: Outcome = "answered"
    prompt_tokens: int = 0
    answer_tokens: int = 0
    problem: str = ""


def is_whole(answer: Answer) -> bool:
    """Return whether every field of an answer has its type; those of a file or a user's model may have others.

    >>> is_whole(Answer("Days")), is_whole(Answer(3))
    (True, False)
    """
    texts, counts = (answer.text, answer.problem), (answer.prompt_tokens, answer.answer_tokens)
    return (
        answer.outcome in get_args(Outcome)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(count, int) for count in counts)
    )


@dataclass(frozen=True)
class TokenPrices:
    """Prices of a model, per million tokens.

    Parameters
    ----------
    prompt, answer
        Price of a million tokens read, and of a million written.
    currency
        Name of the currency.

    Examples
    --------
    >>> TokenPrices(prompt=0.5, answer=2.0).cost(prompt_tokens=2_000_000, answer_tokens=100_000)
    1.2
    """

    prompt: float
    answer: float
    currency: str = "USD"

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Price of some tokens, in the currency."""
        return (self.prompt * prompt_tokens + self.answer * answer_tokens) / 1_000_000


class ChatModel(Protocol):
    """A language model that answers prompts, in whatever way it is reached.

    Attributes
    ----------
    name
        Name of the model, as its server or folder gives it.
    settings
        Everything else that decides an answer (temperature, seed, …). Part of the key under which answers are cached;
        it holds no secrets.
    context
        Most tokens of prompt and answer together; None if unknown.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def context(self) -> int | None: ...

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        """Answer prompts.

        Prompts are drawn lazily, so that an endless stream needs bounded memory.

        Parameters
        ----------
        prompts
            Conversations to continue.

        Yields
        ------
        index, answer
            Place of the prompt in ``prompts`` and its answer, in the order of completion. A prompt that fails yields an
            answer of outcome ``"failed"`` and never raises.
        """
        ...
