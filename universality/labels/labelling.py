"""Explaining features with a language model, and scoring the explanations.

All features are explained first, since the floors of a feature are explanations of others. Then each explanation is
scored on text that it was not made from, beside its floors and baselines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.labels.answer_text import read_verdicts
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.excerpt_text import TokenText, quoted
from universality.labels.explaining import explanation_outcome, explanation_prompt, read_explanation
from universality.labels.feature_examples import FeatureExamples, find_examples
from universality.labels.keyed_answers import Ask, ask_model, keyed_answers
from universality.labels.label_file import FeatureLabel, Labels, LabelWriter
from universality.labels.label_settings import LabelSettings
from universality.labels.logit_side import (
    LOGIT_TOKENS,
    LogitTokens,
    find_logit_tokens,
    logit_explanation_prompt,
    logit_score,
    logit_scoring_prompt,
    logit_text,
)
from universality.labels.predictions import ScoringPrompt, read_predictions, scoring_prompts, what_became
from universality.labels.scoring import EXPLANATION, Score, score
from universality.labels.token_counts import check_contexts

RANDOM_EXPLANATION, EQUAL_DENSITY, TOP_TOKENS = "random explanation", "equal density", "top tokens"
"""Further predictors: another feature's explanation, drawn at random or of the nearest density, and a list of the
feature's top tokens."""
MOST_DENSITY_RATIO = 2.0
"""Features of equal density have firing shares that differ by at most this factor."""
_CHECKED = 50  # features whose prompts are compared with the model's context before any is asked


@dataclass
class _Feature:
    """State of a feature while it is labelled."""

    examples: FeatureExamples
    logit: LogitTokens | None = None
    explanation: str = ""
    outcome: str = "silent"
    problem: str = ""
    logit_explanation: str = ""
    floors: dict[str, _Feature] = field(default_factory=dict)

    @property
    def index(self) -> int:
        return self.examples.feature


def label(
    store: FeatureStore,
    decode: Decode,
    features: Iterable[int] | None = None,
    *,
    explainer: ChatModel,
    scorer: ChatModel | None = None,
    settings: LabelSettings | None = None,
    path: str | Path | None = None,
    ask: Ask = ask_model,
) -> Labels:
    """Explain features and score the explanations.

    Parameters
    ----------
    store
        An open store with both evaluation halves: one explains, the other scores.
    decode
        Function from token ids to one string each, such as ``lambda ids: [tokenizer.token_texts[i] for i in ids]``.
    features
        Indices; all by default. Floors are explanations of other features among them.
    explainer
        Model that writes explanations.
    scorer
        Model that predicts activations from explanations; the explainer by default.
    settings
        Examples, scores and floors.
    path
        File to which finished features are appended (`LabelWriter`). Features that it holds are not labelled again.
    ask
        Function of a model and prompts that yields each prompt's place and its answer, in any order; the model's own
        ``ask`` by default. One with a cache asks nothing twice.

    Returns
    -------
    Labels
        One label a feature, in the order of their indices.

    Raises
    ------
    UniversalityError
        If a feature does not exist, or a model's context is too short for the prompts.
    MismatchError
        If the store lacks a half, or the file holds labels made from something else.
    """
    settings, scorer = settings or LabelSettings(), scorer or explainer
    text = TokenText(decode)
    known = {one.feature: _Feature(one) for one in find_examples(store, features, settings)}
    for tokens in find_logit_tokens(store, np.fromiter(known, np.int64), settings):
        known[tokens.feature].logit = tokens
    job = _Job(settings, text, logit_text(store, decode), explainer, scorer, ask)
    check_contexts([one.examples for one in known.values()][:_CHECKED], text, settings, explainer, scorer)
    header = label_header(store, list(known), settings, explainer, scorer)
    writer = None if path is None else LabelWriter(path, header)
    done = {} if writer is None else dict(writer.earlier)
    job.explain(known, done)
    _choose_floors(list(known.values()), settings)
    for finished in job.score(one for index, one in known.items() if index not in done):
        done[finished.feature] = finished
        if writer is not None:
            writer.append(finished)
    return Labels(header, {index: done[index] for index in known})


def label_header(
    store: FeatureStore, features: list[int], settings: LabelSettings, explainer: ChatModel, scorer: ChatModel
) -> dict[str, Any]:
    """Return what labels are made from, as `Labels.header` holds it; ``features`` rise."""
    provenance = store.provenance
    return {
        "store": store.content_hash(),
        "tokens": store.tokens_hash,
        "model": provenance.get("model"),
        "sae": provenance.get("sae"),
        "site": provenance.get("site"),
        "features": features,
        "settings": settings.as_dict(),
        "explainer": {"name": explainer.name, "settings": dict(explainer.settings)},
        "scorer": {"name": scorer.name, "settings": dict(scorer.settings)},
    }


def _choose_floors(features: list[_Feature], settings: LabelSettings) -> None:
    """Give each explained feature two others, whose explanations are its floors."""
    explained = [one for one in features if one.explanation]
    if not settings.floors or len(explained) < 2:
        return
    density = np.log([one.examples.density for one in explained])
    _, code = np.unique([one.explanation for one in explained], return_inverse=True)
    for k, one in enumerate(explained):
        differs = code != code[k]
        if not differs.any():
            continue
        rng = np.random.default_rng([settings.seed, one.index, 6])
        one.floors[RANDOM_EXPLANATION] = explained[int(rng.choice(np.flatnonzero(differs)))]
        distance = np.where(differs, np.abs(density - density[k]), np.inf)
        if distance.min() <= np.log(MOST_DENSITY_RATIO):
            one.floors[EQUAL_DENSITY] = explained[int(np.argmin(distance))]


@dataclass
class _Open:
    """A feature whose prompts are asked: prompts and answers by predictor and place, in the order of places."""

    of: _Feature
    prompts: dict[str, list[ScoringPrompt]]
    logit_prompts: dict[str, Prompt]
    answers: dict[tuple[str, int], Answer] = field(default_factory=dict)

    def keyed(self) -> Iterator[tuple[tuple[str, int], Prompt]]:
        """Every prompt with its key; the place of a prompt about logits is -1."""
        for by, prompts in self.prompts.items():
            yield from (((by, place), asked.prompt) for place, asked in enumerate(prompts))
        yield from (((by, -1), prompt) for by, prompt in self.logit_prompts.items())


@dataclass(frozen=True)
class _Job:
    """The models, and what all prompts share."""

    settings: LabelSettings
    text: TokenText
    logit_text: TokenText | None
    explainer: ChatModel
    scorer: ChatModel
    ask: Ask

    def explain(self, known: Mapping[int, _Feature], done: Mapping[int, FeatureLabel]) -> None:
        """Fill in the explanations of all features, those of finished ones from their labels."""
        for index, earlier in done.items():
            one = known[index]
            one.explanation, one.outcome, one.problem = earlier.explanation, earlier.outcome, earlier.problem
            one.logit_explanation = earlier.logit_explanation
        asked = self._explanation_prompts(one for index, one in known.items() if index not in done)
        for (one, from_logits), answer in keyed_answers(self.ask, self.explainer, asked):
            explanation = read_explanation(answer)
            if from_logits:
                one.logit_explanation = explanation
            else:
                one.explanation, one.outcome = explanation, explanation_outcome(answer)
                one.problem = answer.problem

    def _explanation_prompts(self, features: Iterable[_Feature]) -> Iterator[tuple[tuple[_Feature, bool], Prompt]]:
        for one in features:
            if len(one.examples.explain):
                yield (one, False), explanation_prompt(one.examples, self.text, self.settings)
                if one.logit is not None and self.logit_text is not None:
                    yield (one, True), logit_explanation_prompt(one.logit, self.logit_text, self.settings)

    def score(self, features: Iterable[_Feature]) -> Iterator[FeatureLabel]:
        """Score the features' explanations; yield each feature's label when its last answer is there."""
        unasked: deque[_Open] = deque()

        def prompts() -> Iterator[tuple[tuple[_Open, tuple[str, int]], Prompt]]:
            for one in features:
                opened = self._open(one)
                keyed = list(opened.keyed())
                if not keyed:
                    unasked.append(opened)
                yield from (((opened, key), prompt) for key, prompt in keyed)

        for (opened, key), answer in keyed_answers(self.ask, self.scorer, prompts()):
            opened.answers[key] = answer
            if len(opened.answers) == sum(1 for _ in opened.keyed()):
                yield self._label(opened)
            while unasked:
                yield self._label(unasked.popleft())
        while unasked:
            yield self._label(unasked.popleft())

    def _open(self, one: _Feature) -> _Open:
        text, logit = self.logit_text, one.logit
        prompts = {
            by: scoring_prompts(one.examples, explanation, self.text, self.settings)
            for by, explanation in self._predictors(one).items()
        }
        if text is None or logit is None or not one.logit_explanation:
            return _Open(one, prompts, {})
        explanations = {EXPLANATION: one.logit_explanation}
        explanations |= {by: other.logit_explanation for by, other in one.floors.items() if other.logit_explanation}
        return _Open(one, prompts, {by: logit_scoring_prompt(x, logit, text) for by, x in explanations.items()})

    def _predictors(self, one: _Feature) -> dict[str, str]:
        """Explanations to score on a feature, by what they are."""
        if not one.explanation:
            return {}
        found = {EXPLANATION: one.explanation} | {by: other.explanation for by, other in one.floors.items()}
        if self.settings.floors:
            found[TOP_TOKENS] = "the tokens " + quoted(self.text.strings(one.examples.top_tokens))
        return found

    def _label(self, opened: _Open) -> FeatureLabel:
        one = opened.of
        predictions = {}
        for by, prompts in opened.prompts.items():
            given = [opened.answers[by, place] for place in range(len(prompts))]
            predictions[by] = read_predictions(one.examples, prompts, given, self.settings)
        became = {by: dict(predicted.answers) for by, predicted in predictions.items()}
        scores = list(score(one.examples, predictions, self.settings))
        for by in opened.logit_prompts:
            found, outcome = self._logit_score(opened, by)
            scores.append(found)
            became[f"{by}, {LOGIT_TOKENS}"] = {outcome: 1}
        return FeatureLabel(
            feature=one.index,
            explanation=one.explanation,
            outcome=one.outcome,
            problem=one.problem,
            density=one.examples.density,
            maximum=one.examples.maximum,
            top_tokens=tuple(self.text.strings(one.examples.top_tokens)),
            scores=tuple(scores),
            answers=became,
            floors_from={by: other.index for by, other in one.floors.items()},
            explain_rows=one.examples.explain.rows(),
            score_rows=one.examples.score.rows(),
            logit_explanation=one.logit_explanation,
        )

    def _logit_score(self, opened: _Open, by: str) -> tuple[Score, str]:
        """Score of one explanation from logits, and what became of the answer."""
        logit, answer = opened.of.logit, opened.answers[by, -1]
        assert logit is not None
        usable = answer.text if answer.outcome in ("answered", "cut off") else ""
        verdicts = read_verdicts(usable, len(logit.scored))
        outcome = what_became(answer, int((~np.isnan(verdicts)).sum()))
        return logit_score(logit, by, verdicts, self.settings), outcome
