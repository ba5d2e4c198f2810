"""Labels of a finished run: which features are explained, what it costs, and what the scores are worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from universality.errors import MismatchError, ModelError, UniversalityError
from universality.labels.answer_cache import AnswerCache
from universality.labels.asking import Tally, ask
from universality.labels.chat import Answer, ChatModel, Prompt, TokenPrices
from universality.labels.checked_answers import check_model
from universality.labels.endpoint import Endpoint
from universality.labels.keyed_answers import Ask
from universality.labels.label_file import Labels, earlier_labels, read_labels
from universality.labels.label_settings import LabelSettings
from universality.labels.labelling import label, label_header
from universality.labels.summary import describe_scores
from universality.labels.token_counts import TokenCount, expected_tokens
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.runner import alone_in
from universality.visible_tokens import visible

_BEST = re.compile(r"(best|random) +([1-9][0-9]*)")
_FEW = 20
"""Features of a side below which the floors are named as weak: they are explanations of the others."""
_REASONS = 3
"""Reasons of failures that are printed, the commonest ones."""
_SHOWN = 100  # characters of a value in a message
_ANSWER_BYTES, _TOKEN_BYTES, _LABEL_BYTES = 220, 4, 6_000
"""Bytes of an answer's line beside its text, of a token of the text, and of a label with its rows and scores."""


@dataclass(frozen=True)
class PricedModel:
    """A model that explains or scores, and its prices if they are known."""

    model: ChatModel
    prices: TokenPrices | None = None

    def __post_init__(self) -> None:
        check_model(self.model)

    @property
    def leaves_this_machine(self) -> bool:
        """Whether prompts, which hold passages of the text, are sent to another machine."""
        return isinstance(self.model, Endpoint) and not self.model.on_this_machine

    @property
    def costs(self) -> bool:
        """Whether its answers have a price."""
        return self.prices is not None and self.prices.prompt + self.prices.answer > 0


@dataclass(frozen=True)
class LabelSide:
    """Features of one SAE that are to be labelled.

    Attributes
    ----------
    name
        Name of the side of the comparison, such as the model's.
    store
        Path of the SAE's feature store.
    file
        File of its labels.
    features
        Indices, rising.
    """

    name: str
    store: Path
    file: Path
    features: tuple[int, ...]


def choose_sides(
    results: RunResults, features: str | Iterable[str], width: int | None, seed: int
) -> tuple[LabelSide, ...]:
    """Choose the features of both sides of a comparison.

    Parameters
    ----------
    results
        Results of the run.
    features
        ``"matched"``: all matched pairs; ``"best 200"``: those with the highest held-out r; ``"random 200"``: pairs
        drawn at random; ``"A:1380,B:7"`` or a list of such names: these features and their partners.
    width
        Width of the first side's SAE; the headline's by default.
    seed
        Seed of the random pairs.

    Raises
    ------
    UniversalityError
        If the text is none of these, or names a feature, a width or more pairs than the run has.
    """
    features = _as_text(features)
    compared = comparison_at(results, width)
    c, match = compared.comparison, compared.calibration.match
    features = features.strip()
    if features == "matched":
        rows, cols = match.rows.tolist(), match.cols.tolist()
    elif found := _BEST.fullmatch(features):
        places = _places(compared, found[1], int(found[2]), seed)
        rows, cols = match.rows[places].tolist(), match.cols[places].tolist()
    else:
        rows, cols = _named(results, compared, features)
    chosen = zip(c.sides, (c.a, c.b), (rows, cols), strict=True)
    return tuple(
        LabelSide(name, store, results.folder.labels(store), tuple(sorted(set(of_side))))
        for name, store, of_side in chosen
        if of_side
    )


def comparison_at(results: RunResults, width: int | None = None) -> ComparisonResult:
    """Return the headline, or the comparison like it at another width of its first side.

    Raises
    ------
    UniversalityError
        If there is none.
    """
    head = results.headline
    if head is None:
        raise UniversalityError(f"{results.folder.root}: this run has no matching yet; finish it before labelling")
    if width is None:
        return head
    alike = {c.comparison.width: c for c in results.compared if c.comparison.like(head.comparison)}
    if width not in alike:
        raise UniversalityError(
            f"{results.folder.root}: {' and '.join(head.comparison.sides)} were not matched at width {width}; expected "
            f"one of {', '.join(str(known) for known in sorted(w or 0 for w in alike))}"
        )
    return alike[width]


def _as_text(features: object) -> str:
    """Join a list of names; refuse what is neither text nor a list of texts."""
    if isinstance(features, str):
        return features
    names = list(features) if isinstance(features, Iterable) and not isinstance(features, bytes | Mapping) else None
    if names is None or not all(isinstance(name, str) for name in names):
        shown = repr(features)
        raise UniversalityError(
            "features: expected 'matched', 'best 200', 'random 200', or names of features such as 'A:1380,B:7' or "
            f"['A:1380', 'B:7'], found {shown if len(shown) <= _SHOWN else type(features).__name__}"
        )
    return ",".join(names)


def _places(compared: ComparisonResult, which: str, n: int, seed: int) -> Any:
    """Places of the pairs with the highest held-out r, or of random ones."""
    held_out = compared.calibration.held_out
    scored = np.flatnonzero(~np.isnan(held_out))
    there, of = (len(held_out), "matched pairs") if which == "random" else (len(scored), "pairs with a held-out r")
    if n > there:
        raise UniversalityError(f"features '{which} {n}': the run has {there:,} {of}; ask for at most as many")
    if which == "random":
        return np.random.default_rng(seed).permutation(len(held_out))[:n]
    return scored[np.argsort(-held_out[scored], kind="stable")][:n]


def _named(results: RunResults, compared: ComparisonResult, features: str) -> tuple[list[int], list[int]]:
    """Features that a text such as ``A:1380,B:7`` names, and their partners."""
    c, match = compared.comparison, compared.calibration.match
    chosen: tuple[list[int], list[int]] = ([], [])
    names_given = [part.strip() for part in features.split(",")]
    if any(names_given) and not all(names_given):
        raise UniversalityError(
            f"features {visible(features)!r}: expected a name between commas, such as {c.sides[0]}:1380, found nothing"
        )
    for name in filter(None, names_given):
        side_name, _, index = name.rpartition(":")
        names = [*c.sides, *c.models]  # of two SAEs of one model, the model's name means the first
        if side_name not in names or not (index.isascii() and index.isdecimal()):
            raise UniversalityError(
                f"features {visible(name)!r}: expected 'matched', 'best 200', 'random 200', or features of "
                f"{' and '.join(c.sides)} such as {c.sides[0]}:1380"
            )
        side, feature = names.index(side_name) % 2, int(index)
        if feature >= match.shape[side]:
            raise UniversalityError(
                f"features {name}: {side_name} has features 0 to {match.shape[side] - 1} at width {c.widths[side]}"
            )
        own, other = (match.rows, match.cols)[side], (match.cols, match.rows)[side]
        chosen[side].append(feature)
        chosen[1 - side].extend(other[own == feature].tolist())
    if not (chosen[0] or chosen[1]):
        raise UniversalityError("features: expected at least one, found none; name some, such as 'best 200'")
    return chosen


@dataclass(frozen=True)
class LabelPlan:
    """Plan of a labelling: features, models and cost; printing it shows the estimate.

    Attributes
    ----------
    sides
        Features of each SAE.
    unfinished
        Number of features of each side that have no label yet.
    tokens
        Estimate of (explaining, scoring) of each side, of unfinished features.
    explainer, scorer
        The models.
    settings
        Examples, scores and floors.
    """

    sides: tuple[LabelSide, ...]
    unfinished: tuple[int, ...]
    tokens: tuple[tuple[TokenCount, TokenCount], ...]
    explainer: PricedModel
    scorer: PricedModel
    settings: LabelSettings

    @property
    def total(self) -> TokenCount:
        """Prompts and tokens of everything."""
        return sum((part for side in self.tokens for part in side), TokenCount(0, 0, 0))

    @property
    def cost(self) -> float | None:
        """Largest price; None where a price is not known."""
        costs = [
            None if priced.prices is None else priced.prices.cost(part.prompt_tokens, part.answer_tokens)
            for side in self.tokens
            for priced, part in zip((self.explainer, self.scorer), side, strict=True)
            if part.prompts
        ]
        return None if None in costs else sum(filter(None, costs))

    @property
    def disk(self) -> int:
        """Bytes of labels and answers, if every answer is as long as it may be."""
        total = self.total
        answers = total.prompts * _ANSWER_BYTES + total.answer_tokens * _TOKEN_BYTES
        return answers + sum(self.unfinished) * _LABEL_BYTES

    @property
    def needs_consent(self) -> bool:
        """True where text leaves this machine, or money may be spent."""
        models = (self.explainer, self.scorer)
        return bool(sum(self.unfinished)) and any(one.leaves_this_machine or one.costs for one in models)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for side, unfinished in zip(self.sides, self.unfinished, strict=True):
            done = len(side.features) - unfinished
            have = f", {done:,} of them have a label" if done else ""
            yield f"{visible(side.name)}: {len(side.features):,} features{have} → {side.file}"
        if not sum(self.unfinished):
            return
        models = {"explainer": self.explainer, "scorer": self.scorer}
        for role, priced in models.items():
            where = f"; {priced.model.destination}" if isinstance(priced.model, Endpoint) else ", in this process"
            yield f"{role}: {visible(priced.model.name)}{where}"
        total, cost = self.total, self.cost
        currency = next((one.prices.currency for one in models.values() if one.prices), "")
        money = "price not given" if cost is None else f"at most about {cost:,.2f} {currency}"
        yield (
            f"about {total.prompts:,} requests, {total.prompt_tokens:,} tokens to read, at most "
            f"{total.answer_tokens:,} to write; {money}; about {self.disk / 1e6:,.1f} MB of disk"
        )
        yield "answers that an earlier run left in the cache are not asked again"
        few = [side.name for side in self.sides if len(side.features) < _FEW]
        if few and self.settings.floors:
            yield (
                f"few features of {' and '.join(map(visible, few))}: floors are explanations of the other ones, and "
                f"with fewer than {_FEW} they may be missing or say little"
            )


def plan_labels(
    results: RunResults,
    sides: Iterable[LabelSide],
    explainer: PricedModel,
    scorer: PricedModel,
    settings: LabelSettings,
    replace: bool = False,
) -> LabelPlan:
    """Find what has no label yet, and estimate what labels cost; nothing is asked or written.

    Parameters
    ----------
    results
        Results of the run.
    sides
        Features to be labelled.
    explainer, scorer
        The models.
    settings
        Examples, scores and floors.
    replace
        Disregard labels that were made from something else.

    Raises
    ------
    MismatchError
        If a file holds labels that were made from something else, unless ``replace``.
    """
    sides = tuple(sides)
    unfinished = [_unfinished(results, side, explainer, scorer, settings, replace) for side in sides]
    tokens = tuple(
        expected_tokens(results.store(side.store), results.decode, missing, settings)
        for side, missing in zip(sides, unfinished, strict=True)
    )
    return LabelPlan(sides, tuple(map(len, unfinished)), tokens, explainer, scorer, settings)


def _unfinished(
    results: RunResults,
    side: LabelSide,
    explainer: PricedModel,
    scorer: PricedModel,
    settings: LabelSettings,
    replace: bool,
) -> list[int]:
    header = label_header(results.store(side.store), list(side.features), settings, explainer.model, scorer.model)
    try:
        earlier = earlier_labels(side.file, header)
    except MismatchError as error:
        if not replace:
            raise MismatchError(
                f"{error}. --replace (in Python replace=True) begins again; equal prompts are not asked again"
            ) from None
        earlier = {}
    return [feature for feature in side.features if feature not in earlier]


@dataclass(frozen=True)
class RunLabels:
    """Labels of both sides of a run; printing them shows their scores beside floors and baselines.

    Attributes
    ----------
    labels
        Labels by name of the side.
    tallies
        Answers and tokens of this call, for ``explain`` and ``score``.
    failures
        Number of failed answers of this call by their reason.
    """

    labels: Mapping[str, Labels]
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)

    def __getitem__(self, side: str) -> Labels:
        return self.labels[side]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for name, labels in self.labels.items():
            yield from describe_scores(labels, visible(name))
        for step, tally in self.tallies.items():
            if tally.total:
                yield f"{step}: {tally}"
        yield from _reasons(self.failures)


def _reasons(failures: Counter[str]) -> Iterator[str]:
    """Describe the commonest reasons of failures, such as ``12 failed: status 400: temperature is not supported``."""
    for reason, n in failures.most_common(_REASONS):
        yield f"{n:,} failed: {visible(reason)}"
    if len(failures) > _REASONS:
        rest = failures.total() - sum(n for _, n in failures.most_common(_REASONS))
        yield f"{rest:,} failed for other reasons, which the labels hold"


def label_run(
    results: RunResults,
    features: str | Iterable[str],
    explainer: PricedModel,
    scorer: PricedModel,
    settings: LabelSettings,
    *,
    width: int | None = None,
    replace: bool = False,
    confirm: Callable[[LabelPlan], bool] | None = None,
) -> RunLabels:
    """Label features of both sides of a run; see `universality.Study.label`."""
    sides = choose_sides(results, features, width, settings.seed)
    plan = plan_labels(results, sides, explainer, scorer, settings, replace)
    if sum(plan.unfinished):
        for one in (explainer,) if scorer is explainer else (explainer, scorer):
            if isinstance(one.model, Endpoint):
                one.model.check()
    if confirm is not None and not confirm(plan):
        raise UniversalityError(f"{results.folder.root}: not labelled, as you decided; nothing was asked")
    with alone_in(results.folder.root):
        return make_labels(results, plan, replace)


def make_labels(results: RunResults, plan: LabelPlan, replace: bool = False) -> RunLabels:
    """Explain and score the features of a plan; finished features are in their files at once.

    Parameters
    ----------
    results
        Results of the run.
    plan
        The features and the models.
    replace
        Delete labels that were made from something else.

    Raises
    ------
    UniversalityError
        As `universality.labels.label` and the models raise it; an interrupted call resumes. Also if every answer
        failed.
    """
    failures: Counter[str] = Counter()
    tallies = {"explain": Tally(), "score": Tally()}
    made: dict[str, Labels] = {}
    to_do = sum(plan.unfinished)
    with AnswerCache(results.folder.label_answers) if to_do else nullcontext() as cache:
        for place, side in enumerate(plan.sides):
            if not plan.unfinished[place]:
                made[side.name] = read_labels(side.file)
                continue
            if replace and plan.unfinished[place] == len(side.features):
                side.file.unlink(missing_ok=True)
            made[side.name] = label(
                results.store(side.store),
                results.decode,
                side.features,
                explainer=plan.explainer.model,
                scorer=plan.scorer.model,
                settings=plan.settings,
                path=side.file,
                ask=_asking(plan, place, cache, tallies, failures),
            )
    if failures and failures.total() == sum(tally.total for tally in tallies.values()):
        raise ModelError(
            f"{results.folder.root}: nothing was answered, so nothing is labelled: {'; '.join(_reasons(failures))}"
        )
    return RunLabels(made, tallies, failures)


def _asking(
    plan: LabelPlan, place: int, cache: AnswerCache | None, tallies: Mapping[str, Tally], failures: Counter[str]
) -> Ask:
    """Return a function that asks through the cache: first what explains the features of a side, then what scores."""
    name, of_side = visible(plan.sides[place].name), plan.tokens[place]
    steps = iter(zip(tallies.items(), (plan.explainer, plan.scorer), of_side, strict=True))

    def ask_step(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        (step, tally), priced, expected = next(steps)
        answers = ask(
            model,
            prompts,
            cache,
            total=expected.prompts,
            prices=priced.prices,
            tally=tally,
            description=f"{step} {name}",
        )
        for index, answer in answers:
            if answer.outcome == "failed":
                failures[answer.problem] += 1
            yield index, answer

    return ask_step
