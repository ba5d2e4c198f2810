"""Explanations from a feature's output: which tokens it raises and lowers, by its direct path to the logits.

Weights are those of `Unembedding.logit_weights`. Of the most raised tokens every second one is shown to the explainer,
and the others score the explanation: told the explanation alone, a scorer says for each of these and of as many random
tokens whether the feature promotes it. The score is a balanced accuracy over tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.labels.accuracy import balanced_accuracy
from universality.labels.chat import Prompt
from universality.labels.excerpt_text import TokenText, conversation, quoted
from universality.labels.label_settings import LabelSettings
from universality.labels.scoring import Score

LOGIT_TOKENS = "logit tokens"
"""Name of the score."""
_AT_ONCE = 256  # features whose weights on the vocabulary are computed together: 50 MB at 50,000 types
_EXPLAIN = """\
You study one feature of a language model by its output. You see the tokens whose probability as the next token the \
feature raises most, and those that it lowers most.

Answer with one short phrase on one line: what the raised tokens have in common. No introduction, no list of tokens."""
_SCORE = """\
You see an explanation of which next tokens a feature of a language model makes more probable, and numbered tokens. \
For each token, say whether it is one that the feature makes more probable.

Answer with one line a token: its number, a colon, and yes or no. Write nothing else."""
_ASK = "The raised tokens have in common:"
_EXPLAIN_TURNS = (
    (
        f'Raised: " Monday", " Friday", " Sunday", " Thurs", "day"\nLowered: " is", "(", " 7"\n\n{_ASK}',
        "days of the week",
    ),
    (
        f'Raised: ")", "):", "))", " )", ");"\nLowered: " the", " who", "\\xD7"\n\n{_ASK}',
        "closing brackets",
    ),
)
_SCORE_TURNS = (
    (
        'The feature makes more probable: days of the week\n\n1: " Saturday"\n2: " never"\n3: "import"\n4: " Tuesday"',
        "1: yes\n2: no\n3: no\n4: yes",
    ),
)


@dataclass(frozen=True, eq=False)
class LogitTokens:
    """Token types that a feature raises and lowers.

    Parameters
    ----------
    feature
        Index in the store.
    raised, lowered
        int64 [n], types shown to the explainer, the most affected first.
    scored
        int64 [2 n], types that score the explanation, in random order.
    is_raised
        bool [2 n], whether the feature is among the most raised.
    """

    feature: int
    raised: IntArray
    lowered: IntArray
    scored: IntArray
    is_raised: BoolArray


def logit_text(store: FeatureStore, decode: Decode) -> TokenText | None:
    """Return the strings of the vocabulary that logits are of; None if the store has no weights to logits.

    Parameters
    ----------
    store
        An open store.
    decode
        Strings of the store's tokens, for an unembedding that holds no strings of its own.
    """
    dictionary, unembedding = store.dictionary, store.unembedding()
    if dictionary is None or dictionary.residual is None or unembedding is None:
        return None
    return TokenText(decode if unembedding.vocabulary is None else unembedding.vocabulary.strings)


def find_logit_tokens(store: FeatureStore, features: IntArray, settings: LabelSettings) -> Iterator[LogitTokens]:
    """Find the tokens that features raise and lower most; nothing where the store has no weights to logits.

    Parameters
    ----------
    store
        An open store.
    features
        [n] indices.
    settings
        Number of tokens, and seed of the random ones.
    """
    dictionary, unembedding = store.dictionary, store.unembedding()
    if dictionary is None or dictionary.residual is None or unembedding is None:
        return
    counted = np.flatnonzero(unembedding.mask).astype(np.int64)
    n = min(settings.logit_tokens, len(counted) // 4)
    for first in range(0, len(features) if n else 0, _AT_ONCE):
        some = features[first : first + _AT_ONCE]
        weights = unembedding.logit_weights(dictionary.residual[some])[:, counted]
        for feature, row in zip(some.tolist(), weights, strict=True):
            if np.ptp(row) > 0:
                yield _chosen(feature, row, counted, n, np.random.default_rng([settings.seed, feature, 5]))


def _chosen(feature: int, weights: FloatArray, counted: IntArray, n: int, rng: np.random.Generator) -> LogitTokens:
    part = np.argpartition(weights, (n, len(weights) - 2 * n))
    top, bottom = part[-2 * n :], part[:n]
    top, bottom = top[np.argsort(-weights[top], kind="stable")], bottom[np.argsort(weights[bottom], kind="stable")]
    others = rng.choice(part[: -2 * n], n, replace=False)
    order = rng.permutation(2 * n)
    scored = np.concatenate([top[1::2], others])[order]
    return LogitTokens(feature, counted[top[::2]], counted[bottom], counted[scored], order < n)


def logit_explanation_prompt(tokens: LogitTokens, text: TokenText, settings: LabelSettings) -> Prompt:
    """Build the prompt that asks what the raised tokens have in common."""
    raised, lowered = quoted(text.strings(tokens.raised)), quoted(text.strings(tokens.lowered))
    question = f"Raised: {raised}\nLowered: {lowered}\n\n{_ASK}"
    return Prompt(conversation(_EXPLAIN, _EXPLAIN_TURNS, question), settings.explanation_tokens)


def logit_scoring_prompt(explanation: str, tokens: LogitTokens, text: TokenText) -> Prompt:
    """Build the prompt that asks which tokens an explanation promotes."""
    numbered = "\n".join(f'{k}: "{string}"' for k, string in enumerate(text.strings(tokens.scored), 1))
    question = f"The feature makes more probable: {explanation}\n\n{numbered}"
    return Prompt(conversation(_SCORE, _SCORE_TURNS, question), 20 + 8 * len(tokens.scored))


def logit_score(tokens: LogitTokens, by: str, verdicts: FloatArray, settings: LabelSettings) -> Score:
    """Score the verdicts [2 n] on the tokens, 1 for yes, 0 for no, NaN where missing."""
    n = int((~np.isnan(verdicts)).sum())
    value, low, high = balanced_accuracy(verdicts, tokens.is_raised, np.arange(len(verdicts)), settings.level)
    if n < settings.min_answered * len(verdicts):
        value = low = high = float("nan")
    return Score(LOGIT_TOKENS, by, value, low, high, n, len(verdicts) - n)
