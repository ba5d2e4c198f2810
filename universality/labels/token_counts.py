"""Lengths of prompts: what labelling costs, and whether a model's context can hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from universality.arrays import IntArray
from universality.errors import UniversalityError
from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.labels.chat import ChatModel, Prompt
from universality.labels.excerpt_text import TokenText, prompt_tokens
from universality.labels.explaining import explanation_prompt
from universality.labels.feature_examples import FeatureExamples, find_examples
from universality.labels.label_settings import LabelSettings
from universality.labels.logit_side import (
    find_logit_tokens,
    logit_explanation_prompt,
    logit_scoring_prompt,
    logit_text,
)
from universality.labels.predictions import scoring_prompts

_PLACEHOLDER = "a word that follows another word of the same kind in the same sentence of a text"


@dataclass(frozen=True)
class TokenCount:
    """Estimate of what labelling costs.

    Parameters
    ----------
    prompts
        Number of prompts.
    prompt_tokens
        Tokens of all prompts, estimated.
    answer_tokens
        Tokens of all answers, if every answer is as long as it may be.
    """

    prompts: int
    prompt_tokens: int
    answer_tokens: int

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(
            self.prompts + other.prompts,
            self.prompt_tokens + other.prompt_tokens,
            self.answer_tokens + other.answer_tokens,
        )


def expected_tokens(
    store: FeatureStore,
    decode: Decode,
    features: Iterable[int] | None = None,
    settings: LabelSettings | None = None,
    n_sampled: int = 20,
) -> tuple[TokenCount, TokenCount]:
    """Estimate the tokens that explaining and scoring take, from the prompts of some features.

    Parameters
    ----------
    store, decode, features, settings
        As for `label`.
    n_sampled
        Features whose prompts are built.

    Returns
    -------
    explaining, scoring : TokenCount
    """
    settings, text = settings or LabelSettings(), TokenText(decode)
    wanted = np.arange(store.n_features) if features is None else np.unique(np.fromiter(features, np.int64))
    alive = wanted[store.moments().count[wanted] > 0]
    sampled = np.sort(np.random.default_rng(settings.seed).permutation(alive)[:n_sampled])
    explaining: list[Prompt] = []
    scoring: list[Prompt] = []
    for one in find_examples(store, sampled.tolist(), settings) if sampled.size else ():
        if len(one.explain):
            explaining.append(explanation_prompt(one, text, settings))
            scoring += [asked.prompt for asked in scoring_prompts(one, _PLACEHOLDER, text, settings)]
    share, (n_predictors, n_of_logits) = alive.size / max(1, sampled.size), (4, 3) if settings.floors else (1, 1)
    about_logits = _logit_prompts(store, decode, sampled, settings)
    explaining += [explain for explain, _ in about_logits]
    scored = count_tokens(scoring, share * n_predictors)
    return count_tokens(explaining, share), scored + count_tokens(
        [asked for _, asked in about_logits], share * n_of_logits
    )


def _logit_prompts(
    store: FeatureStore, decode: Decode, features: IntArray, settings: LabelSettings
) -> list[tuple[Prompt, Prompt]]:
    """List the prompts that explain and score features by their output; none without weights to the logits."""
    text = logit_text(store, decode)
    if text is None:
        return []
    return [
        (logit_explanation_prompt(one, text, settings), logit_scoring_prompt(_PLACEHOLDER, one, text))
        for one in find_logit_tokens(store, features, settings)
    ]


def count_tokens(prompts: list[Prompt], times: float = 1.0) -> TokenCount:
    """Estimate the tokens of some prompts and of the longest answers to them, multiplied by ``times``."""
    answers = sum(prompt.max_tokens for prompt in prompts)
    read = sum(map(prompt_tokens, prompts)) - answers
    return TokenCount(round(len(prompts) * times), round(read * times), round(answers * times))


def check_contexts(
    examples: Iterable[FeatureExamples],
    text: TokenText,
    settings: LabelSettings,
    explainer: ChatModel | None,
    scorer: ChatModel | None,
) -> None:
    """Refuse models that cannot hold the prompts of some features.

    Parameters
    ----------
    examples
        Examples of the features.
    text
        Strings of the tokens.
    settings
        Settings with which the examples were found.
    explainer, scorer
        Models; None leaves out their prompts. A model whose context is unknown is not checked.

    Raises
    ------
    UniversalityError
        If a prompt with its longest answer is longer than the context.
    """
    s, firing = settings, [one for one in examples if len(one.explain)]
    if explainer is not None and explainer.context is not None:
        _check_context(
            explainer,
            [explanation_prompt(one, text, s) for one in firing],
            f"explaining a feature by up to {s.n_explaining} examples of {s.width} tokens",
            "explain_top, explain_random, explain_other, per_interval, before or after",
        )
    if scorer is not None and scorer.context is not None:
        _check_context(
            scorer,
            [asked.prompt for one in firing for asked in scoring_prompts(one, _PLACEHOLDER, text, s)],
            f"scoring up to {s.examples_a_prompt} examples of {s.width} tokens in a prompt",
            "examples_a_prompt, before or after",
        )


def _check_context(model: ChatModel, prompts: list[Prompt], doing: str, lower: str) -> None:
    needed = max(map(prompt_tokens, prompts), default=0)
    if model.context is not None and needed > model.context:
        raise UniversalityError(
            f"{model.name}: {doing} needs a context of about {needed:,} tokens with the answer, and the model has "
            f"{model.context:,}; take a model with a longer context, or lower {lower}"
        )
