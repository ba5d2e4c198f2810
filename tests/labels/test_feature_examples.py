"""Examples of features: the numbers of the study, the halves, and what each group holds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tests.labels.planted import DEAD, ONLY_CHOOSE, ONLY_REPORT, RARE, planted_store
from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.features.examples import NO_TOKEN
from universality.labels.feature_examples import (
    INTERVAL,
    OTHER,
    RANDOM,
    TOP,
    Excerpts,
    FeatureExamples,
    check_halves,
    find_examples,
    quantised,
)
from universality.labels.label_settings import LabelSettings

N_TOKENS, BLOCK = 60_000, 50


def spread_store(path: Path, repeat: int = N_TOKENS) -> FeatureStore:
    """Features that fire on 4%, 30% and 100% of the tokens, with activations of all sizes; text of few types.

    The text repeats after ``repeat`` tokens.
    """
    rng = np.random.default_rng(0)
    place = np.arange(N_TOKENS) % repeat
    values = np.zeros((N_TOKENS, 3), np.float32)
    for j, share in enumerate((0.04, 0.3, 1.0)):
        fires = rng.random(repeat) < share
        values[:, j] = (fires * rng.uniform(0.001, 1, repeat))[place]
    token = rng.integers(0, 60, repeat)[place]
    row = np.arange(N_TOKENS)
    return FeatureStore.from_csr(
        sparse.csr_matrix(values), path, token, special_tokens=(), document=row // 500, position=row % BLOCK
    )


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    with spread_store(tmp_path_factory.mktemp("spread") / "a.h5") as store:
        yield store


@pytest.fixture(scope="module")
def found(spread: FeatureStore) -> list[FeatureExamples]:
    return list(find_examples(spread))


def numbers(excerpts: Excerpts) -> list[int]:
    return np.bincount(excerpts.group, minlength=4).tolist()


def halves(one: FeatureExamples) -> tuple[tuple[Excerpts, str], tuple[Excerpts, str]]:
    return (one.explain, "choose"), (one.score, "report")


def test_the_numbers_are_those_of_the_study(found: list[FeatureExamples]) -> None:
    sparse_feature = found[0]
    assert numbers(sparse_feature.explain) == [10, 24, 5, 10]
    assert numbers(sparse_feature.score) == [6, 24, 10, 20]


def test_each_half_has_its_documents(spread: FeatureStore, found: list[FeatureExamples]) -> None:
    split = np.asarray(spread.documents.split)
    for one in found:
        for excerpts, half in halves(one):
            assert (split[excerpts.document] == half).all()
            assert excerpts.document.tolist() == spread.tokens.document[excerpts.row].tolist()
        assert not np.isin(one.explain.document, one.score.document).any()


def test_excerpts_show_the_store(spread: FeatureStore, found: list[FeatureExamples]) -> None:
    dense, token, block = spread.csr().toarray(), spread.tokens.token, spread.tokens.block
    for one in found:
        for excerpts, _ in halves(one):
            for row, tokens, activations in zip(excerpts.row, excerpts.token, excerpts.activation, strict=True):
                for place, offset in enumerate(range(-6, 3)):
                    there = row + offset
                    if 0 <= there < N_TOKENS and block[there] == block[row]:
                        assert tokens[place] == token[there]
                        assert activations[place] == dense[there, one.feature]
                    else:
                        assert tokens[place] == NO_TOKEN
                        assert np.isnan(activations[place])


def test_no_two_excerpts_overlap_or_are_equal(found: list[FeatureExamples]) -> None:
    for one in found:
        for excerpts, _ in halves(one):
            assert np.diff(np.sort(excerpts.row)).min() >= 9
            assert len({tokens.tobytes() for tokens in excerpts.token}) == len(excerpts)


def test_repeated_text_is_shown_once(tmp_path: Path) -> None:
    with spread_store(tmp_path / "a.h5", repeat=1000) as store:
        one = next(find_examples(store, [0]))
        for excerpts, _ in halves(one):
            assert len({tokens.tobytes() for tokens in excerpts.token}) == len(excerpts)
        assert len(one.explain) < 49  # control: a thousand tokens do not hold enough different firings


def test_top_examples_are_the_strongest_peaks(spread: FeatureStore, found: list[FeatureExamples]) -> None:
    rows, values = spread.feature(0)
    inside = np.asarray(spread.documents.split)[spread.tokens.document[rows]] == "choose"
    peaks = found[0].explain.activation[found[0].explain.group == TOP, 6]
    assert np.all(np.diff(peaks) <= 0)
    strongest = np.sort(values[inside])[::-1]
    assert peaks[0] == strongest[0] == np.float32(found[0].maximum)
    assert peaks[-1] >= strongest[20]  # a few of the strongest overlap with stronger ones


def test_two_examples_of_each_interval(found: list[FeatureExamples]) -> None:
    for excerpts, _ in halves(found[0]):
        chosen = excerpts.group == INTERVAL
        peak = excerpts.activation[chosen, 6]
        assert np.array_equal(peak, np.nanmax(excerpts.activation[chosen], axis=1))
        strongest = np.nanmax(excerpts.activation)
        assert np.bincount(np.ceil(peak / strongest * 13).astype(int), minlength=14).tolist() == [0, *[2] * 12, 0]


def test_other_contexts_hold_a_top_token_and_no_firing(found: list[FeatureExamples]) -> None:
    for excerpts, _ in halves(found[0]):
        other = excerpts.group == OTHER
        assert np.isin(excerpts.token[other, 6], found[0].top_tokens).all()
        assert not excerpts.active[other].any()
    assert numbers(found[2].score)[OTHER] == 0  # the third feature is never silent


def test_random_examples_are_random(found: list[FeatureExamples]) -> None:
    active = np.concatenate([one.score.active[one.score.group == RANDOM] for one in found[:2]])
    assert active.any()
    assert not active.all()


def test_expected_activations_are_the_mean_of_each_type(spread: FeatureStore, found: list[FeatureExamples]) -> None:
    dense, token = spread.csr().toarray(), spread.tokens.token
    explains = np.asarray(spread.documents.split)[spread.tokens.document] == "choose"
    for one in found:
        for shown, expected in zip(one.score.token[:5].ravel(), one.expected[:5].ravel(), strict=True):
            if shown == NO_TOKEN:
                assert np.isnan(expected)
            else:
                assert expected == pytest.approx(dense[explains & (token == shown), one.feature].mean(), rel=1e-5)


def test_a_features_examples_do_not_depend_on_the_others(spread: FeatureStore, found: list[FeatureExamples]) -> None:
    alone = next(find_examples(spread, [1]))
    assert np.array_equal(alone.explain.row, found[1].explain.row)
    assert np.array_equal(alone.score.row, found[1].score.row)
    other_seed = next(find_examples(spread, [1], LabelSettings(seed=1)))
    assert not np.array_equal(other_seed.score.row, found[1].score.row)


def test_rare_and_silent_features(store: FeatureStore) -> None:
    by_feature = {one.feature: one for one in find_examples(store)}
    assert len(by_feature[DEAD].explain) == len(by_feature[DEAD].score) == 0
    assert len(by_feature[ONLY_REPORT].explain) == 0
    assert len(by_feature[ONLY_REPORT].score) > 0
    assert len(by_feature[ONLY_CHOOSE].score) == 0
    rare = by_feature[RARE]
    assert numbers(rare.explain)[TOP] == 2
    assert numbers(rare.score)[TOP] == 2
    assert numbers(rare.explain)[INTERVAL] == 0
    assert rare.explain.rows()["top"] == tuple(rare.explain.row[:2].tolist())


def test_activations_in_nine_levels() -> None:
    values = np.array([np.nan, -1, 0, 1e-9, 1, 1.0001, 8.9, 9, 20], np.float32)
    assert quantised(values, 9.0).tolist() == [0, 0, 0, 1, 1, 2, 9, 9, 9]
    assert quantised(values, 0.0).tolist() == [0] * 9


def test_a_store_needs_both_halves(tmp_path: Path) -> None:
    with (
        planted_store(tmp_path / "a.h5", split=lambda i: "choose") as store,
        pytest.raises(MismatchError, match="expected documents of the split 'report', found none"),
    ):
        next(find_examples(store))


def test_features_must_exist(store: FeatureStore) -> None:
    with pytest.raises(UniversalityError, match="features from 0 to 13 exist, found 3 to 99"):
        next(find_examples(store, [3, 99]))
    with pytest.raises(UniversalityError, match="expected indices of features"):
        next(find_examples(store, []))


def test_no_document_explains_one_store_and_scores_the_other(tmp_path: Path, store: FeatureStore) -> None:
    check_halves(store, store)
    other = planted_store(tmp_path / "a.h5", split=lambda i: "report" if i == 7 else "choose" if i % 2 else "train")
    with other:
        check_halves(other, store)
        with pytest.raises(MismatchError, match="1 documents, 'document 7' among them, would explain"):
            check_halves(store, other)
