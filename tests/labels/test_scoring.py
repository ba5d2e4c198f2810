"""Scores against slow references, and what missing or empty predictions give."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.labels.planted import ONLY_CHOOSE, ONLY_REPORT, decode
from universality.errors import MismatchError
from universality.features import FeatureStore
from universality.labels import Answer
from universality.labels.excerpt_text import TokenText
from universality.labels.feature_examples import RANDOM, TOP, FeatureExamples, find_examples
from universality.labels.label_settings import LabelSettings
from universality.labels.predictions import Predictions, read_predictions, scoring_prompts
from universality.labels.scoring import SIMULATIONS, Score, correlations, score

SETTINGS = LabelSettings()


@pytest.fixture(scope="module")
def one(store: FeatureStore) -> FeatureExamples:
    return next(find_examples(store, [9]))


def predictions(one: FeatureExamples, simulation: np.ndarray) -> Mapping[str, Predictions]:
    blank = np.full(len(one.score), np.nan)
    return {"explanation": Predictions(simulation, blank, np.full(int(one.score.active.sum()), np.nan))}


def by_name(scores: tuple[Score, ...]) -> dict[tuple[str, str], Score]:
    return {(one.name, one.by): one for one in scores}


def slow_correlation(one: FeatureExamples, predicted: np.ndarray, groups: set[int]) -> float:
    pairs = [
        (predicted[i, k], one.score.activation[i, k])
        for i in range(len(one.score))
        for k in range(9)
        if one.score.group[i] in groups and one.score.token[i, k] >= 0 and not np.isnan(predicted[i, k])
    ]
    x, y = np.array(pairs, np.float64).T
    return float(np.corrcoef(x, y)[0, 1])


def test_correlations_are_those_of_a_slow_reference(store: FeatureStore) -> None:
    one = next(find_examples(store, [8]))
    rng = np.random.default_rng(0)
    predicted = np.round(np.nan_to_num(one.score.activation) * 0.5 + rng.integers(0, 5, one.score.token.shape))
    predicted[rng.random(predicted.shape) < 0.2] = np.nan
    scores = by_name(score(one, predictions(one, predicted), SETTINGS))
    for name, groups in zip(SIMULATIONS, ({0, 1, 2, 3}, {TOP, RANDOM}, {RANDOM}), strict=True):
        found = scores[name, "explanation"]
        assert found.value == pytest.approx(slow_correlation(one, predicted, groups), abs=1e-12)
        assert found.low < found.value < found.high
    table = scores["simulation", "token table"]
    assert table.value == pytest.approx(slow_correlation(one, one.expected, {0, 1, 2, 3}), abs=1e-12)
    exists = int(one.score.exists.sum())
    assert scores["simulation", "explanation"].n + scores["simulation", "explanation"].missing == exists


def test_the_truth_scores_one_and_shuffled_nothing(one: FeatureExamples) -> None:
    scores = by_name(score(one, predictions(one, np.nan_to_num(one.score.activation).astype(float)), SETTINGS))
    assert scores["simulation", "explanation"].value == pytest.approx(1)
    shuffled = scores["simulation", "shuffled"]
    assert abs(shuffled.value) < 0.05
    assert -0.3 < shuffled.low < 0 < shuffled.high < 0.4


def test_a_simulation_without_variance_scores_zero(one: FeatureExamples) -> None:
    for constant in (0.0, 7.0, 0.1):
        scores = by_name(score(one, predictions(one, np.full(one.score.token.shape, constant)), SETTINGS))
        found = scores["simulation", "explanation"]
        assert found.value == 0
        assert scores["simulation", "shuffled"].value == pytest.approx(0, abs=1e-12)


def test_silent_text_has_no_correlation(one: FeatureExamples) -> None:
    silent = ~one.score.active
    r, low, high, n = correlations(one.score, [(np.nan_to_num(one.expected), silent)], SETTINGS)
    assert np.isnan([r[0], low[0], high[0]]).all()
    assert n[0] == one.score.exists[silent].sum()


def test_few_predictions_are_no_score(one: FeatureExamples) -> None:
    predicted = np.full(one.score.token.shape, np.nan)
    predicted[: len(one.score) // 3] = np.nan_to_num(one.score.activation[: len(one.score) // 3])
    for share, known in ((0.5, False), (0.2, True)):
        scores = by_name(score(one, predictions(one, predicted), replace(SETTINGS, min_answered=share)))
        assert np.isnan(scores["simulation", "explanation"].value) != known
        assert scores["simulation", "explanation"].missing > one.score.exists.sum() / 2
    assert np.isnan(scores["detection", "explanation"].value)  # none was predicted


def test_the_tokens_alone_detect_a_word(store: FeatureStore) -> None:
    word = next(find_examples(store, [0]))
    scores = by_name(score(word, {}, SETTINGS))
    assert scores["detection", "token table"].value == 1
    assert scores["fuzzing", "token table"].value == 1
    assert scores["simulation", "token table"].value > 0.8


def test_the_table_comes_from_the_half_that_explains(store: FeatureStore) -> None:
    """A feature that is silent there has an empty table, which predicts nothing in the other half."""
    scores = by_name(score(next(find_examples(store, [ONLY_REPORT])), {}, SETTINGS))
    assert scores["simulation", "token table"].value == 0


def test_no_scores_for_a_feature_that_is_silent_in_the_half_that_reports(store: FeatureStore) -> None:
    only = next(find_examples(store, [ONLY_CHOOSE]))
    assert score(only, {}, SETTINGS) == ()
    assert scoring_prompts(only, "anything", TokenText(decode), SETTINGS) == []


def test_answers_by_what_became_of_them(one: FeatureExamples) -> None:
    settings = replace(SETTINGS, scores=("detection",), examples_a_prompt=10)
    prompts = scoring_prompts(one, "anything", TokenText(decode), settings)
    assert len(prompts) == 6
    texts = ["1: yes", "who knows", "I'm sorry, I can't."]
    answers = [*map(Answer, texts), Answer("1: no", "cut off"), Answer("1: no", "failed"), Answer("", "refused")]
    read = read_predictions(one, prompts, answers, settings)
    assert read.answers == {"answered": 1, "malformed": 1, "refused": 2, "cut off": 1, "failed": 1}
    assert read.detection[prompts[0].items[0]] == 1
    assert read.detection[prompts[3].items[0]] == 0
    assert (~np.isnan(read.detection)).sum() == 2  # the failed answer is not read
    with pytest.raises(MismatchError, match="expected an answer to each of 6 prompts, found 5"):
        read_predictions(one, prompts, answers[:5], settings)


def test_predictions_go_to_their_excerpts(one: FeatureExamples) -> None:
    """Each answer repeats its own tokens with the level 3; the prompts' order of excerpts is undone."""
    settings = replace(SETTINGS, scores=("simulation",))
    prompts = scoring_prompts(one, "anything", TokenText(decode), settings)
    answers = [Answer(asked.prompt.messages[-1].content.replace("?", str(k))) for k, asked in enumerate(prompts)]
    read = read_predictions(one, prompts, answers, settings)
    for k, asked in enumerate(prompts):
        assert (read.simulation[list(asked.items)][one.score.exists[list(asked.items)]] == k).all()
    assert np.array_equal(~np.isnan(read.simulation), one.score.exists)
