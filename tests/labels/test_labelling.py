"""The whole way on planted features: oracles by the truth, at random, and right about half of the features."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.labels.planted import DEAD, MARKED, NAMES, ONLY_CHOOSE, ONLY_REPORT, RARE, Oracle, decode, question
from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.labels import Answer, ChatModel, Labels, LabelSettings, Prompt, label, read_labels, summarise
from universality.labels.token_counts import expected_tokens

PLANTED = range(len(NAMES))


def means(labels: Labels) -> dict[tuple[str, str], float]:
    table = summarise(labels)
    return {(row.name, row.by): row.mean for row in table.itertuples(index=False)}


@pytest.fixture(scope="module")
def by_truth(store: FeatureStore) -> Labels:
    return label(store, decode, explainer=Oracle())


def test_the_truth_scores_near_one(by_truth: Labels) -> None:
    for feature in PLANTED:
        found = by_truth.labels[feature]
        assert found.explanation == NAMES[feature]
        for name, least in (("simulation", 0.93), ("detection", 0.9), ("fuzzing", 0.9)):
            score = found.score(name)
            assert score is not None
            if name == "fuzzing" and NAMES[feature] == "Hebrew script":
                assert np.isnan(score.value)  # every token is Hebrew, so none can be marked wrongly
                continue
            assert score.value > least
            assert score.missing == 0
            # the works cannot tell an interval where a single one of them has the only errors
            assert np.isnan(score.low) or score.low <= score.value <= score.high


def test_floors_are_near_chance(by_truth: Labels) -> None:
    found = means(Labels(by_truth.header, {i: by_truth.labels[i] for i in PLANTED}))
    for floor in ("random explanation", "equal density"):
        assert -0.1 < found["simulation", floor] < 0.1
        assert 0.4 < found["detection", floor] < 0.6
        assert 0.4 < found["fuzzing", floor] < 0.6
    assert abs(found["simulation", "shuffled"]) < 0.02
    table = summarise(Labels(by_truth.header, {i: by_truth.labels[i] for i in PLANTED}))
    against = table[(table["name"] == "simulation") & (table["by"] == "equal density")].iloc[0]
    assert against.advantage_low > 0.8


def test_floors_come_from_other_explanations_of_equal_density(by_truth: Labels) -> None:
    for feature in PLANTED:
        one = by_truth.labels[feature]
        for origin in one.floors_from.values():
            assert by_truth.labels[origin].explanation != one.explanation
        if "equal density" in one.floors_from:
            other = by_truth.labels[one.floors_from["equal density"]]
            assert 0.5 <= other.density / one.density <= 2
    hebrew = by_truth.labels[NAMES.index("Hebrew script")]
    assert "equal density" not in hebrew.floors_from  # a quarter of all tokens, which no other feature comes near


def test_tokens_alone_do_as_well_as_the_truth_on_words_only(by_truth: Labels) -> None:
    """A feature of context is the control: its top tokens say little about where it fires."""
    for by in ("top tokens", "token table"):
        for feature in range(len(MARKED)):
            score = by_truth.labels[feature].score("detection", by)
            assert score is not None
            assert score.value > 0.9
        context = by_truth.labels[NAMES.index("the word after the article")]
        detected, own = context.score("detection", by), context.score("detection")
        assert detected is not None
        assert own is not None
        assert detected.value < own.value - 0.2


def test_chance_scores_nothing(store: FeatureStore) -> None:
    found = means(label(store, decode, PLANTED, explainer=Oracle(), scorer=Oracle(chance=lambda text: True)))
    assert abs(found["simulation", "explanation"]) < 0.1
    assert abs(found["detection", "explanation"] - 0.5) < 0.1
    assert abs(found["fuzzing", "explanation"] - 0.5) < 0.15
    assert found["simulation", "token table"] > 0.5  # no model takes part in it


def test_half_of_the_truth_shows_exactly_that_half(store: FeatureStore) -> None:
    known = {f'the word "{word}"' for word in MARKED[::2]}
    scorer = Oracle(chance=lambda text: text not in known)
    found = label(store, decode, range(len(MARKED)), explainer=Oracle(), scorer=scorer)
    for feature in range(len(MARKED)):
        simulation, detection = (found.labels[feature].score(name) for name in ("simulation", "detection"))
        assert simulation is not None
        assert detection is not None
        assert (simulation.value > 0.9) == (detection.low > 0.6) == (feature % 2 == 0)
        assert (simulation.low < 0 < simulation.high) == (detection.low < 0.5 < detection.high) == (feature % 2 == 1)


def test_silent_and_rare_features(by_truth: Labels) -> None:
    for feature in (DEAD, ONLY_REPORT):
        one = by_truth.labels[feature]
        assert one.outcome == "silent"
        assert one.explanation == ""
        assert {score.by for score in one.scores} <= {"token table"}
    assert by_truth.labels[ONLY_CHOOSE].explanation == NAMES[1]
    assert by_truth.labels[ONLY_CHOOSE].scores == ()
    assert by_truth.labels[RARE].explain_rows["top"].__len__() == 2
    assert by_truth.missing == ()


def test_refused_and_malformed_answers_are_counted_apart(store: FeatureStore) -> None:
    def careless(kind: str, text: str) -> Answer | str:
        if kind == "explain":
            return "I'm sorry, but I can't." if NAMES[0] in text else text
        if kind == "simulate":
            return "No idea." if NAMES[1] in text else text.replace("Excerpt 1:", "Excerpt one:")
        return Answer("", "refused", problem="filtered") if kind == "detect" else "perhaps"

    found = label(store, decode, [0, 1, 2], explainer=Oracle(edit=careless))
    assert (found.labels[0].outcome, found.labels[0].explanation) == ("refused", "")
    assert {score.by for score in found.labels[0].scores} == {"token table"}
    counts = found.labels[2].answers["explanation"]
    assert set(counts) == {"answered", "refused", "malformed"}
    detection, fuzzing = found.labels[2].score("detection"), found.labels[2].score("fuzzing")
    assert detection is not None
    assert fuzzing is not None
    assert np.isnan([detection.value, fuzzing.value]).all()
    assert detection.missing > 0
    simulation = found.labels[2].score("simulation")
    assert simulation is not None
    assert 0 < simulation.missing < simulation.n  # the excerpts without a heading are missing, the others are scored


def test_any_order_of_answers(store: FeatureStore, by_truth: Labels) -> None:
    def shuffled(model: ChatModel, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        answers = list(model.ask(prompts))
        return (answers[i] for i in np.random.default_rng(0).permutation(len(answers)))

    found = label(store, decode, explainer=Oracle(), ask=shuffled)
    assert repr(found.labels) == repr(by_truth.labels)


def test_lost_answers_are_an_error(store: FeatureStore) -> None:
    def losing(model: ChatModel, prompts: Iterable[Prompt]) -> list[tuple[int, Answer]]:
        return list(model.ask(prompts))[:-1]

    with pytest.raises(UniversalityError, match="1 prompts were left without an answer"):
        label(store, decode, [0], explainer=Oracle(), ask=losing)

    def twice(model: ChatModel, prompts: Iterable[Prompt]) -> list[tuple[int, Answer]]:
        return list(model.ask(prompts)) * 2

    with pytest.raises(UniversalityError, match="an answer to prompt 0, which was not asked or was answered"):
        label(store, decode, [0], explainer=Oracle(), ask=twice)


def test_a_short_context_is_refused_before_anything_is_asked(store: FeatureStore) -> None:
    short = Oracle(name="small", context=1000)
    with pytest.raises(UniversalityError, match=r"small: explaining .* 49 examples .* about [\d,]+ tokens .* 1,000;"):
        label(store, decode, [0], explainer=short)
    assert short.asked == []
    with pytest.raises(UniversalityError, match="small: scoring up to 10 examples of 9 tokens in a prompt needs"):
        label(store, decode, [0], explainer=Oracle(), scorer=short)
    few = LabelSettings(explain_top=3, per_interval=0, explain_other=0, explain_random=1, examples_a_prompt=1)
    assert label(store, decode, [0], explainer=Oracle(context=1500), settings=few).labels[0].explanation == NAMES[0]


def test_a_run_resumes_without_asking_again(store: FeatureStore, by_truth: Labels, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    whole = label(store, decode, explainer=Oracle(), path=path)
    assert repr(read_labels(path)) == repr(Labels(read_labels(path).header, whole.labels))
    assert repr(whole.labels) == repr(by_truth.labels)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:8]) + lines[8][:50])  # the header, seven features, and a part of the eighth
    again = Oracle()
    resumed = label(store, decode, explainer=again, path=path)
    assert repr(resumed.labels) == repr(by_truth.labels)
    done = {json.loads(line)["feature"] for line in lines[1:8]}
    explained = [prompt for prompt in again.asked if "Find what the tokens" in prompt.messages[0].content]
    firing = len(NAMES) + 2  # and ONLY_CHOOSE and RARE
    assert len(explained) == firing - len(done - {DEAD, ONLY_REPORT})
    assert sorted(path.read_bytes().splitlines()) == sorted(b"".join(lines).splitlines())
    with pytest.raises(MismatchError, match="made from something else: settings"):
        label(store, decode, explainer=Oracle(), path=path, settings=LabelSettings(seed=1))
    with pytest.raises(MismatchError, match="made from something else: explainer"):
        label(store, decode, explainer=Oracle(name="another"), path=path)


def test_failed_features_are_asked_again(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"

    class Flaky(Oracle):
        def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
            for place, answer in super().ask(prompts):
                kind, text = question(self.asked[-1])
                failed = kind == "fuzz" and text.startswith(f"The feature responds to: {NAMES[1]}")
                yield place, Answer("", "failed", problem="HTTP 503") if failed else answer

    first = label(store, decode, [0, 1, 9], explainer=Flaky(), path=path)
    failed = {feature for feature, one in first.labels.items() if one.failed}
    assert 1 in failed
    again = Oracle()
    second = label(store, decode, [0, 1, 9], explainer=again, path=path)
    assert not any(one.failed for one in second.labels.values())
    assert sorted(read_labels(path).labels) == [0, 1, 9]
    scored = [prompt for prompt in again.asked if "Find what the tokens" not in prompt.messages[0].content]
    whole = label(store, decode, [0, 1, 9], explainer=Oracle())
    assert repr(second.labels) == repr(whole.labels)
    of_failed = [sum(counts.values()) for feature in failed for counts in whole.labels[feature].answers.values()]
    assert len(scored) == sum(of_failed)


def test_tokens_are_counted_before_they_are_paid(store: FeatureStore) -> None:
    oracle: Any = Oracle()
    label(store, decode, PLANTED, explainer=oracle)
    explaining, scoring = expected_tokens(store, decode, PLANTED, n_sampled=len(NAMES))
    asked = [p for p in oracle.asked if "Find what the tokens" in p.messages[0].content]
    assert explaining.prompts == len(asked) == len(NAMES)
    assert scoring.prompts == pytest.approx(len(oracle.asked) - len(asked), rel=0.05)  # one floor less for one feature
    assert explaining.answer_tokens == len(NAMES) * 120
    half, _ = expected_tokens(store, decode, PLANTED, n_sampled=len(NAMES) // 2)
    assert half.prompts == len(NAMES)
    assert half.prompt_tokens == pytest.approx(explaining.prompt_tokens, rel=0.15)
