"""Questions to a language model through a cache of answers, with a cost estimate before and progress meanwhile."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from universality.errors import ModelError
from universality.labels.answer_cache import AnswerCache, prompt_key
from universality.labels.chat import Answer, ChatModel, Outcome, Prompt, TokenPrices
from universality.labels.checked_answers import check_model, checked_answers
from universality.labels.excerpt_text import prompt_tokens
from universality.progress import progress

STOP_AFTER = 20
"""Failures in a row after which nothing more is asked."""


@dataclass
class Tally:
    """Counts of answers, and of the tokens that were paid for.

    Attributes
    ----------
    outcomes
        Outcome → number of answers, cached ones included.
    cached
        Answers that cost nothing: those found in the cache, and those to a prompt that equals another of the same call.
    prompt_tokens, answer_tokens
        Tokens read and written for the other answers.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add(Answer("Days", prompt_tokens=1200, answer_tokens=3))
    >>> tally.add(Answer("", "refused", 900, 8), cached=True)
    >>> print(tally)
    2 answers (1 repeated or from the cache), 1 refused; 1,200 tokens read, 3 written
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    cached: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0

    @property
    def total(self) -> int:
        """Number of answers, failures included."""
        return self.outcomes.total()

    def add(self, answer: Answer, cached: bool = False) -> None:
        """Count an answer."""
        self.outcomes[answer.outcome] += 1
        self.cached += cached
        if not cached:
            self.prompt_tokens += answer.prompt_tokens
            self.answer_tokens += answer.answer_tokens

    def cost(self, prices: TokenPrices) -> float:
        """Return the price of the tokens that were paid for."""
        return prices.cost(self.prompt_tokens, self.answer_tokens)

    def __str__(self) -> str:
        parts = [f"{self.total:,} answers ({self.cached:,} repeated or from the cache)"]
        parts += [f"{self.outcomes[name]:,} {name}" for name in ("refused", "cut off", "failed") if self.outcomes[name]]
        return f"{', '.join(parts)}; {self.prompt_tokens:,} tokens read, {self.answer_tokens:,} written"


@dataclass(frozen=True)
class Estimate:
    """Cost of asking, before anything is asked.

    Attributes
    ----------
    requests
        Prompts that the cache has no answer to; equal ones count once.
    cached
        Prompts that it has an answer to.
    prompt_tokens
        Tokens to read. Counted without the model's own tokenizer, it was within a third of the counts of SmolLM2's and
        Gemma 3's tokenizers on English, Python and lists of tokens; on other scripts it was up to three times off.
    answer_tokens
        Most tokens that may be written, as the prompts allow; answers are usually shorter.
    prices
        Prices of the model, if known.
    """

    requests: int
    cached: int
    prompt_tokens: int
    answer_tokens: int
    prices: TokenPrices | None = None

    @property
    def cost(self) -> float | None:
        """Largest price of all requests, in the currency of ``prices``; None without prices."""
        return self.prices.cost(self.prompt_tokens, self.answer_tokens) if self.prices else None

    def __str__(self) -> str:
        money = f", at most about {_money(self.cost, self.prices)}" if self.prices and self.cost is not None else ""
        return (
            f"{self.requests:,} requests ({self.cached:,} more are in the cache): about {self.prompt_tokens:,} tokens "
            f"to read, at most {self.answer_tokens:,} to write{money}"
        )


def _money(amount: float, prices: TokenPrices) -> str:
    return f"{amount:,.2f} {prices.currency}" if amount >= 0.1 or not amount else f"{amount:.2g} {prices.currency}"


def read_tokens(prompt: Prompt) -> int:
    """Estimate the tokens of a prompt without the model's own tokenizer."""
    return prompt_tokens(prompt) - prompt.max_tokens


def estimate(
    model: ChatModel,
    prompts: Iterable[Prompt],
    cache: AnswerCache | None = None,
    *,
    prices: TokenPrices | None = None,
    tokens: Callable[[Prompt], int] = read_tokens,
) -> Estimate:
    """Estimate the cost of prompts; nothing is asked.

    Parameters
    ----------
    model
        The model; its name and settings decide which answers of the cache apply.
    prompts
        Walked through once.
    cache
        Answers that cost nothing any more.
    prices
        Prices of the model.
    tokens
        Counts the tokens of a prompt, as a model's own tokenizer does.
    """
    asked: set[str] = set()
    cached = prompt_tokens = answer_tokens = 0
    for prompt in prompts:
        key = prompt_key(model, prompt)
        if cache is not None and key in cache:
            cached += 1
        elif key not in asked:
            asked.add(key)
            prompt_tokens += tokens(prompt)
            answer_tokens += prompt.max_tokens
    return Estimate(len(asked), cached, prompt_tokens, answer_tokens, prices)


def ask(
    model: ChatModel,
    prompts: Iterable[Prompt],
    cache: AnswerCache | None = None,
    *,
    total: int | None = None,
    prices: TokenPrices | None = None,
    tally: Tally | None = None,
    description: str = "ask",
    silent: bool = False,
    stop_after: int = STOP_AFTER,
) -> Iterator[tuple[int, Answer]]:
    """Answer prompts from a cache, and by a model where the cache has no answer.

    Equal prompts are asked once, unless there is no cache and the first is answered already. An answer is in the cache
    before it is yielded; failures are not cached, so that the next call asks again.

    Parameters
    ----------
    model
        Answers the prompts.
    prompts
        Drawn when needed, so that a generator need not hold all of them in memory.
    cache
        Answers of earlier calls; None keeps none.
    total
        Number of prompts, for the progress bar; by default their length, if they have one.
    prices
        Prices of the model, for the progress bar.
    tally
        Counts are added to it.
    description
        Name of the task in the progress bar.
    silent
        Show no progress.
    stop_after
        Number of failures in a row after which nothing more is asked.

    Yields
    ------
    index, answer
        Place of the prompt in ``prompts`` and its answer, in the order of completion.

    Raises
    ------
    ModelError
        After too many failures in a row, with the last one's reason; if ``model`` is no model or yields something else
        than each prompt's place and answer; also as ``model.ask`` raises it.

    Examples
    --------
    >>> from universality.labels import Message
    >>> class Echo:
    ...     name, settings, context = "echo", {}, None
    ...     def ask(self, prompts):
    ...         for index, prompt in enumerate(prompts):
    ...             yield index, Answer(prompt.messages[-1].content.upper())
    >>> prompts = [Prompt((Message("user", word),), max_tokens=5) for word in ("one", "two", "one")]
    >>> {index: answer.text for index, answer in ask(Echo(), prompts, silent=True)}
    {0: 'ONE', 1: 'TWO', 2: 'ONE'}
    """
    check_model(model)
    if total is None and isinstance(prompts, Sized):
        total = len(prompts)
    tally = Tally() if tally is None else tally
    with progress(total=total, desc=description, silent=silent, unit="answers") as bar:
        report = _Report(bar, tally, prices)
        in_a_row = 0
        for index, answer, cached in _Questions(model, prompts, cache).answers():
            tally.add(answer, cached)
            report.update(cached)
            yield index, answer
            if not cached:
                in_a_row = in_a_row + 1 if answer.outcome == "failed" else 0
            if in_a_row >= stop_after:
                raise ModelError(
                    f"{model.name}: the last {in_a_row} prompts all failed, so nothing more is asked; the last reason: "
                    f"{answer.problem}. The answers so far are kept: run the same command again to go on from there"
                )


class _Report:
    """The progress bar: tokens and money beside it, and no time left from answers that were in the cache."""

    def __init__(self, bar: Any, tally: Tally, prices: TokenPrices | None) -> None:
        self._bar, self._tally, self._prices = bar, tally, prices

    def update(self, cached: bool) -> None:
        if self._bar.disable:  # such a bar has no numbers
            return
        tokens = self._tally.prompt_tokens + self._tally.answer_tokens
        money = f", {_money(self._tally.cost(self._prices), self._prices)}" if self._prices else ""
        failed = f", {self._tally.outcomes['failed']:,} failed" if self._tally.outcomes["failed"] else ""
        self._bar.set_postfix_str(f"{tokens:,} tokens{money}{failed}", refresh=False)
        if cached:  # counts as done before the beginning, also for the moving average of tqdm
            self._bar.n += 1
            self._bar.initial += 1
            self._bar.last_print_n += 1
        else:
            self._bar.update()


class _Questions:
    """The prompts of one call: which are answered, which are under way, and which wait for an equal one.

    Parameters
    ----------
    model, prompts, cache
        As for `ask`.
    """

    def __init__(self, model: ChatModel, prompts: Iterable[Prompt], cache: AnswerCache | None) -> None:
        self._model, self._prompts, self._cache = model, enumerate(prompts), cache
        self._cached: deque[tuple[int, str]] = deque()  # place and key of prompts that the cache answers
        self._numbers = count()
        self._under_way: dict[int, str] = {}  # number of a request → key
        self._places: dict[str, list[int]] = {}  # key → places of a prompt that is under way

    def answers(self) -> Iterator[tuple[int, Answer, bool]]:
        """Yield index, answer, and whether the answer cost nothing."""
        drawn = self._draw()
        for prompt in drawn:
            yield from self._from_cache()
            if prompt is not None:  # the model is not even looked for if the cache answers everything
                yield from self._from_model(chain([prompt], (later for later in drawn if later is not None)))
        yield from self._from_cache()

    def _draw(self) -> Iterator[Prompt | None]:
        """Yield the next prompt if the model must answer it; None if the cache or a request under way does."""
        for index, prompt in self._prompts:
            key = prompt_key(self._model, prompt)
            if key in self._places:
                self._places[key].append(index)
                yield None
            elif self._cache is not None and key in self._cache:
                self._cached.append((index, key))
                yield None
            else:
                self._under_way[next(self._numbers)] = key
                self._places[key] = [index]
                yield prompt

    def _from_model(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer, bool]]:
        for number, answer in checked_answers(self._model, prompts):
            key = self._under_way.pop(number)
            if self._cache is not None and answer.outcome != "failed":
                self._cache.add(key, answer)
            for place, index in enumerate(self._places.pop(key)):
                yield index, answer, place > 0
            yield from self._from_cache()

    def _from_cache(self) -> Iterator[tuple[int, Answer, bool]]:
        while self._cached and self._cache is not None:
            index, key = self._cached.popleft()
            answer = self._cache.get(key)
            assert answer is not None
            yield index, answer, True
