"""Prompts that ask a scorer for predictions from an explanation, and the predictions in its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.errors import MismatchError
from universality.features.examples import NO_TOKEN
from universality.labels.answer_text import declines, read_verdicts
from universality.labels.chat import Answer, Prompt
from universality.labels.excerpt_text import TokenText
from universality.labels.feature_examples import FeatureExamples
from universality.labels.judging_excerpts import detection_prompt, fuzzing_marks, fuzzing_prompt
from universality.labels.label_settings import LabelSettings, Method
from universality.labels.simulating import read_simulation, simulation_prompt


@dataclass(frozen=True)
class ScoringPrompt:
    """A prompt that asks a scorer for predictions.

    Parameters
    ----------
    method
        What is asked.
    items
        Indices of the scored excerpts (for fuzzing, of the items of `fuzzing_marks`), in the order in which they are
        shown.
    strings
        Visible tokens of each, for simulation.
    prompt
        The prompt.
    """

    method: Method
    items: tuple[int, ...]
    strings: tuple[tuple[str, ...], ...]
    prompt: Prompt


@dataclass(frozen=True, eq=False)
class Predictions:
    """A scorer's predictions from one explanation.

    Parameters
    ----------
    simulation
        float64 [n_scoring, width], predicted levels; NaN where missing.
    detection
        float64 [n_scoring], 1 for yes, 0 for no, NaN where missing.
    fuzzing
        float64 [n_marked], the same for the items of `fuzzing_marks`.
    answers
        Number of answers by what became of them: ``answered``, ``refused``, ``malformed`` (nothing could be read),
        ``cut off`` or ``failed``.
    """

    simulation: FloatArray
    detection: FloatArray
    fuzzing: FloatArray
    answers: Counter[str] = field(default_factory=Counter)


def scoring_prompts(
    examples: FeatureExamples, explanation: str, text: TokenText, settings: LabelSettings
) -> list[ScoringPrompt]:
    """Build the prompts that score an explanation on a feature's examples.

    The excerpts are in one random order, the same for every explanation of the feature.

    Parameters
    ----------
    examples
        Examples of the feature to be predicted.
    explanation
        Any explanation: the feature's own, or another's.
    text
        Strings of the tokens.
    settings
        Settings with which the examples were found.

    Returns
    -------
    list of ScoringPrompt
        Empty if the feature is silent in the half that reports.
    """
    order = np.random.default_rng([settings.seed, examples.feature, 2]).permutation(len(examples.score))
    token, prompts = examples.score.token, []
    for method in settings.scores if len(order) else ():
        if method == "fuzzing":
            excerpt, marks, _ = fuzzing_marks(examples, settings)
            for items in _batches(np.arange(len(excerpt)), settings.examples_a_prompt):
                lines = [text.marked(token[excerpt[i]], marks[i]) for i in items]
                prompts.append(ScoringPrompt(method, items, (), fuzzing_prompt(explanation, lines)))
            continue
        for items in _batches(order, settings.examples_a_prompt):
            shown = [token[i][token[i] != NO_TOKEN] for i in items]
            if method == "detection":
                prompt = detection_prompt(explanation, [text.line(tokens) for tokens in shown])
                prompts.append(ScoringPrompt(method, items, (), prompt))
            else:
                strings = tuple(tuple(text.strings(tokens)) for tokens in shown)
                prompts.append(ScoringPrompt(method, items, strings, simulation_prompt(explanation, strings)))
    return prompts


def _batches(order: IntArray, size: int) -> Iterator[tuple[int, ...]]:
    """Cut into prompts of nearly equal size, so that none holds a single excerpt beside full ones."""
    n = -(-len(order) // size)
    return (tuple(part.tolist()) for part in np.array_split(order, n) if len(part)) if n else iter(())


def read_predictions(
    examples: FeatureExamples, prompts: Sequence[ScoringPrompt], answers: Sequence[Answer], settings: LabelSettings
) -> Predictions:
    """Read a scorer's answers to the prompts of one explanation.

    Parameters
    ----------
    examples, settings
        Those that made the prompts.
    prompts, answers
        Prompts and the answers to them, in the same order.

    Raises
    ------
    MismatchError
        If there are not as many answers as prompts.
    """
    if len(prompts) != len(answers):
        raise MismatchError(f"expected an answer to each of {len(prompts)} prompts, found {len(answers)}")
    n_marked = len(fuzzing_marks(examples, settings)[0])
    predictions = Predictions(
        np.full(examples.score.token.shape, np.nan), np.full(len(examples.score), np.nan), np.full(n_marked, np.nan)
    )
    for asked, answer in zip(prompts, answers, strict=True):
        n_read = _read(predictions, asked, answer, examples.score.exists)
        predictions.answers[what_became(answer, n_read)] += 1
    return predictions


def what_became(answer: Answer, n_read: int) -> str:
    """Name what became of an answer of which ``n_read`` predictions could be read; see `Predictions.answers`."""
    if answer.outcome == "answered" and not n_read:
        return "refused" if declines(answer.text) else "malformed"
    return answer.outcome


def _read(predictions: Predictions, asked: ScoringPrompt, answer: Answer, exists: BoolArray) -> int:
    """Enter an answer's predictions; return their number."""
    if answer.outcome not in ("answered", "cut off"):
        return 0
    if asked.method == "simulation":
        levels = read_simulation(answer.text, asked.strings)
        for item, predicted in zip(asked.items, levels, strict=True):
            predictions.simulation[item, exists[item]] = predicted
        return int(sum((~np.isnan(predicted)).sum() for predicted in levels))
    verdicts = read_verdicts(answer.text, len(asked.items))
    target = predictions.detection if asked.method == "detection" else predictions.fuzzing
    target[list(asked.items)] = verdicts
    return int((~np.isnan(verdicts)).sum())
