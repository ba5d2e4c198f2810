"""When a feature fires, is what its explanation says there?

A score of prediction says whether the feature can be told from the explanation. Specificity asks the reverse on the
corpus: of the tokens on which the feature fires, weakly or strongly, how many have what the explanation describes?
Excerpts are shown with the firing token marked, among others in which the marked token does not fire, whose rate of
"yes" is that of false alarms. The same excerpts are judged by another feature's explanation, as a floor.

Features fire weakly far more often than strongly, and weak firings are often of something else. So there are two
shares:

- *over the range*: each interval of activation counts alike. It says whether the explanation holds at every strength;
  Bricken et al. 2023, *Towards Monosemanticity*, weight by activation for the same reason.
- *over firings*: each firing counts alike, so weak ones dominate. It is the share of the corpus's firings.

Intervals are Wilson's for weighted shares, with the design effect of works (`universality.labels.accuracy`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from universality.arrays import FloatArray
from universality.errors import UniversalityError
from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.labels.answer_text import read_verdicts
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.excerpt_text import TokenText
from universality.labels.judging_excerpts import marked_token_prompt
from universality.labels.keyed_answers import Ask, ask_model, keyed_answers
from universality.labels.label_file import Labels
from universality.labels.label_settings import LabelSettings
from universality.labels.label_specificity import FIRING_COLUMNS, VERDICT_COLUMNS, LabelSpecificity
from universality.labels.labelling import EQUAL_DENSITY, RANDOM_EXPLANATION
from universality.labels.predictions import what_became
from universality.labels.sampled_firings import SampledFirings, SpecificitySettings, sample_firings
from universality.labels.scoring import EXPLANATION
from universality.labels.token_counts import TokenCount, count_tokens
from universality.labels.transfer import check_labels

_SAMPLED = 20  # features from whose prompts the number of tokens is estimated


def measure_specificity(
    store: FeatureStore,
    labels: Labels,
    decode: Decode,
    *,
    scorer: ChatModel,
    features: Iterable[int] | None = None,
    settings: SpecificitySettings | None = None,
    ask: Ask = ask_model,
    confirm: Callable[[TokenCount], bool] | None = None,
) -> LabelSpecificity:
    """Judge explanations on tokens where their features fire, and where they do not.

    Parameters
    ----------
    store
        The open store whose features are labelled.
    labels
        Their labels.
    decode
        Function from token ids to one string each.
    scorer
        Model that judges.
    features
        Indices; all that have an explanation by default.
    settings
        Samples. The tokens around each, the examples in a prompt and the level are those of ``labels``.
    ask
        Function of a model and prompts that yields each prompt's place and its answer.
    confirm
        Function that is given an estimate of all prompts before any is asked; false ends the call.

    Returns
    -------
    LabelSpecificity

    Raises
    ------
    MismatchError
        If the labels are of another store.
    UniversalityError
        If a feature has no explanation, or ``confirm`` declines.
    """
    planned = plan_specificity(store, labels, decode, scorer=scorer, features=features, settings=settings, ask=ask)
    if confirm is not None and not confirm(planned.expected):
        raise UniversalityError(f"{store.path}: explanations were not judged, as you decided; nothing was asked")
    return planned.measure()


def plan_specificity(
    store: FeatureStore,
    labels: Labels,
    decode: Decode,
    *,
    scorer: ChatModel,
    features: Iterable[int] | None = None,
    settings: SpecificitySettings | None = None,
    ask: Ask = ask_model,
) -> PlannedSpecificity:
    """Check the inputs of `measure_specificity` and estimate its cost; nothing is asked.

    Parameters, errors and their meaning are those of `measure_specificity`.
    """
    settings, shown = settings or SpecificitySettings(), LabelSettings(**labels.header["settings"])
    check_labels(labels, store, None, "labels")
    explained = {feature for feature, one in labels.labels.items() if one.explanation}
    wanted = explained if features is None else set(features)
    if not wanted or wanted - explained:
        raise UniversalityError(
            f"{store.path}: expected features with an explanation, of which there are {len(explained)}, found "
            f"{sorted(wanted - explained)[:5] or 'none'}"
        )
    judge = _Judge(labels, TokenText(decode), settings, shown, scorer, ask)
    return PlannedSpecificity(judge, store, frozenset(wanted), judge.expected(store, sorted(wanted)))


@dataclass(frozen=True, eq=False)
class PlannedSpecificity:
    """Features whose explanations `measure_specificity` judges, and the cost of asking about them.

    Attributes
    ----------
    store
        Store of the features.
    features
        Indices.
    expected
        Estimate of all prompts.
    """

    _judge: _Judge
    store: FeatureStore
    features: frozenset[int]
    expected: TokenCount

    def measure(self) -> LabelSpecificity:
        """Ask about all features; see `measure_specificity`."""
        judge = self._judge
        verdicts: list[tuple[Any, ...]] = []
        firings: list[tuple[int, int, int]] = []
        samples = sample_firings(self.store, self.features, judge.settings, judge.shown)
        for opened in judge.judged(samples, self.expected.prompts):
            verdicts += opened.rows()
            firings += [(opened.sample.feature, k, n) for k, n in enumerate(opened.sample.firings.tolist(), 1)]
        provenance = {
            "store": judge.labels.header["store"],
            "explainer": judge.labels.header["explainer"],
            "scorer": {"name": judge.scorer.name, "settings": dict(judge.scorer.settings)},
            "answers": dict(judge.became),
        }
        return LabelSpecificity(
            pd.DataFrame(sorted(verdicts), columns=list(VERDICT_COLUMNS)),
            pd.DataFrame(sorted(firings), columns=list(FIRING_COLUMNS)),
            judge.settings.as_dict() | {"level": judge.shown.level},
            provenance,
        )


FLOOR = "other explanation"
"""Name of the judgement by another feature's explanation."""


@dataclass
class _Open:
    """A feature whose tokens are judged: verdicts [n_sampled] by whose explanation is asked, and prompts to come."""

    sample: SampledFirings
    verdicts: dict[str, FloatArray]
    waiting: int = 0

    def rows(self) -> Iterator[tuple[Any, ...]]:
        one = self.sample
        sampled = (one.row.tolist(), one.interval.tolist(), one.activation.tolist(), one.work.tolist())
        for by, verdicts in self.verdicts.items():
            for row, interval, activation, work, yes in zip(*sampled, verdicts.tolist(), strict=True):
                yield one.feature, by, row, interval, activation, work, yes


@dataclass
class _Judge:
    """Inputs that all features share."""

    labels: Labels
    text: TokenText
    settings: SpecificitySettings
    shown: LabelSettings
    scorer: ChatModel
    ask: Ask
    became: Counter[str] = field(default_factory=Counter)

    def judged(self, samples: Iterable[SampledFirings], expected: int) -> Iterator[_Open]:
        """Yield features when their last answer is there; those that are silent in the half have no verdicts."""
        silent: list[_Open] = []
        prompts = self._prompts(samples, silent)
        for (opened, by, items), answer in keyed_answers(self.ask, self.scorer, prompts, expected):
            self._enter(opened, by, items, answer)
            if not opened.waiting:
                yield opened
        yield from silent

    def expected(self, store: FeatureStore, features: list[int]) -> TokenCount:
        """Estimate the tokens of all prompts, from those of some features."""
        chosen = np.random.default_rng(0).permutation(features)[:_SAMPLED].tolist()
        samples = sample_firings(store, chosen, self.settings, self.shown)
        return count_tokens([prompt for _, prompt in self._prompts(samples, [])], len(features) / len(chosen))

    def _prompts(
        self, samples: Iterable[SampledFirings], silent: list[_Open]
    ) -> Iterator[tuple[tuple[_Open, str, list[int]], Prompt]]:
        for sample in samples:
            n, explanations = len(sample.row), self._explanations(sample.feature)
            opened = _Open(sample, {by: np.full(n, np.nan) for by in explanations})
            order = np.random.default_rng([self.shown.seed, sample.feature, 11]).permutation(n)
            batches = np.array_split(order, -(-n // self.shown.examples_a_prompt)) if n else []
            opened.waiting = len(batches) * len(explanations)
            if not batches:
                silent.append(opened)
            for by, explanation in explanations.items():
                for batch in batches:
                    lines = [self._line(sample, i) for i in batch.tolist()]
                    yield (opened, by, batch.tolist()), marked_token_prompt(explanation, lines)

    def _explanations(self, feature: int) -> dict[str, str]:
        label = self.labels.labels[feature]
        found = {EXPLANATION: label.explanation}
        floors = (label.floors_from.get(name) for name in (EQUAL_DENSITY, RANDOM_EXPLANATION))
        other = next((self.labels.labels.get(index) for index in floors if index is not None), None)
        if self.settings.floor and other is not None and other.explanation:
            found[FLOOR] = other.explanation
        return found

    def _line(self, sample: SampledFirings, i: int) -> str:
        marks = np.zeros(sample.token.shape[1], bool)
        marks[self.shown.before] = True
        return self.text.marked(sample.token[i], marks)

    def _enter(self, opened: _Open, by: str, items: list[int], answer: Answer) -> None:
        usable = answer.text if answer.outcome in ("answered", "cut off") else ""
        verdicts = read_verdicts(usable, len(items))
        opened.verdicts[by][items] = verdicts
        opened.waiting -= 1
        self.became[what_became(answer, int((~np.isnan(verdicts)).sum()))] += 1
