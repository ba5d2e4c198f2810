"""A scorer that is asked through a run's cache of answers, after a plan with its cost was agreed to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from universality.labels.answer_cache import AnswerCache
from universality.labels.asking import Tally, ask
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.endpoint import Endpoint
from universality.labels.keyed_answers import Ask
from universality.labels.token_counts import TokenCount
from universality.pipeline.label_run import PricedModel
from universality.visible_tokens import visible


@dataclass(frozen=True)
class ScoringPlan:
    """Plan of measurements: prompts, model and cost; printing it shows the estimate.

    Attributes
    ----------
    parts
        Estimate of the prompts of each measurement, by its name.
    scorer
        The model.
    sends
        Whether text leaves this machine otherwise, such as to a server of embeddings.
    """

    parts: Mapping[str, TokenCount]
    scorer: PricedModel
    sends: bool = False

    @property
    def tokens(self) -> TokenCount:
        """Estimate of all prompts."""
        return sum(self.parts.values(), TokenCount(0, 0, 0))

    @property
    def unfinished(self) -> tuple[int]:
        """Number of prompts, of which the cache may have answers."""
        return (self.tokens.prompts,)

    @property
    def needs_consent(self) -> bool:
        """True where text leaves this machine, or money may be spent."""
        return self.sends or (bool(self.tokens.prompts) and (self.scorer.leaves_this_machine or self.scorer.costs))

    def __str__(self) -> str:
        model = self.scorer.model
        where = f"; {model.destination}" if isinstance(model, Endpoint) else ", in this process"
        many = len(self.parts) > 1
        names = [f"{what}: {self._estimate(tokens)}" if many else what for what, tokens in self.parts.items()]
        lines = (
            *names,
            f"scorer: {visible(model.name)}{where}",
            f"{'in all ' if many else ''}{self._estimate(self.tokens)}; answers in the cache are not asked again",
        )
        return "\n".join(lines)

    def _estimate(self, tokens: TokenCount) -> str:
        prices, money = self.scorer.prices, "price not given"
        if prices is not None:
            cost = prices.cost(tokens.prompt_tokens, tokens.answer_tokens)
            money = f"at most about {cost:,.2f} {prices.currency}"
        return (
            f"about {tokens.prompts:,} requests, {tokens.prompt_tokens:,} tokens to read, at most "
            f"{tokens.answer_tokens:,} to write; {money}"
        )


@dataclass(frozen=True, eq=False)
class PlannedScorer:
    """A scorer, the cache through which it is asked, and the function that agrees to a plan.

    Parameters
    ----------
    scorer
        The model.
    cache
        Answers that are not asked again.
    confirm
        Function that is given a plan before anything is asked; false ends the measurement. None agrees to everything.
    """

    scorer: PricedModel
    cache: AnswerCache
    confirm: Callable[[ScoringPlan], bool] | None

    def agrees(self, what: str, sends: bool = False) -> Callable[[TokenCount], bool]:
        """Return a function that puts the estimate of one measurement, ``what``, before ``confirm``."""
        return lambda tokens: self.agrees_to({what: tokens}, sends)

    def agrees_to(self, parts: Mapping[str, TokenCount], sends: bool = False) -> bool:
        """Put the estimates of measurements before ``confirm``; see `ScoringPlan` for the parameters."""
        return self.confirm is None or self.confirm(ScoringPlan(parts, self.scorer, sends))

    def asking(self, description: str) -> Ask:
        """Return a function that asks through the cache; ``description`` names the task in the progress bar."""
        tally = Tally()

        def ask_through_cache(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
            prices = self.scorer.prices
            return ask(model, prompts, self.cache, prices=prices, tally=tally, description=description)

        return ask_through_cache
