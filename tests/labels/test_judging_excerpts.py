"""Marked excerpts of fuzzing, and prompts that ask for verdicts."""

import numpy as np

from tests.labels.planted import decode, question
from universality.features import FeatureStore
from universality.labels.answer_text import read_verdicts
from universality.labels.excerpt_text import TokenText
from universality.labels.feature_examples import find_examples
from universality.labels.judging_excerpts import detection_prompt, fuzzing_marks, fuzzing_prompt
from universality.labels.label_settings import LabelSettings
from universality.labels.predictions import scoring_prompts


def test_half_of_the_firing_excerpts_are_marked_wrongly(store: FeatureStore) -> None:
    settings = LabelSettings()
    one = next(find_examples(store, [0], settings))
    excerpt, marks, right = fuzzing_marks(one, settings)
    assert sorted(excerpt.tolist()) == np.flatnonzero(one.score.active).tolist()  # each once
    assert abs(int(right.sum()) - int((~right).sum())) <= 1
    fires = one.score.fires[excerpt]
    assert np.array_equal(marks[right], fires[right])
    assert not (marks & fires)[~right].any()
    assert np.array_equal(marks.sum(axis=1), fires.sum(axis=1))
    assert not (marks & ~one.score.exists[excerpt]).any()


def test_an_excerpt_without_silent_tokens_is_marked_rightly(store: FeatureStore) -> None:
    settings = LabelSettings()
    hebrew = next(find_examples(store, [8], settings))
    excerpt, marks, right = fuzzing_marks(hebrew, settings)
    assert right.all()
    assert np.array_equal(marks, hebrew.score.fires[excerpt])


def test_every_excerpt_is_asked_once_and_none_twice(store: FeatureStore) -> None:
    settings = LabelSettings(examples_a_prompt=7)
    one = next(find_examples(store, [9], settings))
    prompts = scoring_prompts(one, "anything", TokenText(decode), settings)
    for method, n in (("simulation", len(one.score)), ("detection", len(one.score)), ("fuzzing", 16)):
        items = [item for asked in prompts if asked.method == method for item in asked.items]
        n = int(one.score.active.sum()) if method == "fuzzing" else n
        assert sorted(items) == list(range(n))
        assert max(len(asked.items) for asked in prompts if asked.method == method) <= 7
    kinds = {asked.method: question(asked.prompt)[0] for asked in prompts}
    assert kinds == {"simulation": "simulate", "detection": "detect", "fuzzing": "fuzz"}


def test_demonstrations_are_answers_that_can_be_read() -> None:
    for build in (detection_prompt, fuzzing_prompt):
        messages = build("anything", ["a", "b"]).messages
        verdicts = []
        for asked, answered in zip(messages[:-1:2], messages[1::2], strict=False):
            n = answered.content.count("\n") + 1
            assert f"\n{n}: " in asked.content
            assert f"\n{n + 1}: " not in asked.content
            verdicts += read_verdicts(answered.content, n).tolist()
        assert set(verdicts) == {0.0, 1.0}
