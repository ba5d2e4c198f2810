"""Shared directions are told from chance, frequency, scripts, and a vocabulary that two models embed alike.

Worlds are linear: feature i of a model writes the logit weights D_i U over its vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.matching import match
from universality.models.unembedding import Unembedding
from universality.models.vocabulary import Vocabulary
from universality.similarity import Similarity
from universality.statistics import Calibration, calibrate
from universality.statistics.evaluated_vocabulary import EvaluatedVocabulary
from universality.statistics.token_types import TokenTypes, exchanged

SEEN = text(8)
D, N, TYPES = 24, 96, 1600
SHARED = 48
WORDS = np.array([b"w%d" % k for k in range(TYPES)])
ZIPF = (50_000 / np.arange(1, TYPES + 1)).astype(np.int64)


def store(
    path: Path,
    directions: Array,
    W_U: Array,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
    **changes: Any,
) -> FeatureStore:
    rng = np.random.default_rng(seed)
    n = len(directions)
    x = rng.random((SEEN.n_tokens, n)) * (rng.random((SEEN.n_tokens, n)) < np.linspace(0.1, 0.6, n))
    unembedding = Unembedding(W_U, np.ones(len(W_U)), np.ones(W_U.shape[1], bool), False, vocabulary)
    given = {"dictionary": Dictionary(directions, residual=directions), "unembedding": unembedding} | changes
    return write_store(path, x, SEEN, **given)


def named(texts: Array = WORDS, count: Array = ZIPF) -> Vocabulary:
    return Vocabulary(tuple(bytes(text) for text in texts), count)


def world(folder: Path, seed: int, shared: int, alike: bool = True) -> tuple[FeatureStore, FeatureStore]:
    """Two models; the first ``shared`` features are one set, ``alike`` vocabularies are one up to a rotation."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    W_U = rng.standard_normal((D, TYPES)) * np.geomspace(1, 0.1, D)[:, None]
    of_b = basis.T @ W_U if alike else rng.standard_normal((D, TYPES))
    a, b = rng.standard_normal((2, N, D))
    b[:shared] = a[:shared] + 0.1 * rng.standard_normal((shared, D))
    return (
        store(folder / f"a{seed}.h5", a, W_U, named(), seed),
        store(folder / f"b{seed}.h5", b @ basis, of_b, named(), seed + 1),
    )


def passed(calibration: Calibration, null: str, level: float = 0.05) -> Array:
    chance = calibration.under(null)  # type: ignore[arg-type]
    assert chance is not None
    return chance.q <= level


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    return world(tmp_path_factory.mktemp("pair"), 0, SHARED)


@pytest.fixture(scope="module")
def found(pair: tuple[FeatureStore, FeatureStore]) -> Calibration:
    return calibrate(*pair, measure="logit", replicates=10)


def test_planted_pairs_are_recovered_and_beat_both_nulls(found: Calibration) -> None:
    frame = found.to_frame()
    true = (frame["row"] == frame["col"]) & (frame["row"] < SHARED)
    assert true.sum() == SHARED
    for null in ("vocabulary", "directions"):
        assert passed(found, null)[true].all()
    assert (frame.loc[true, "held_out"] > 0.9).all()
    # the others share no direction, and yet a vocabulary: only the second null knows
    assert passed(found, "vocabulary")[~true].mean() > 0.9
    assert passed(found, "directions")[~true].mean() <= 0.1
    assert (frame["ci_low"] < frame["held_out"]).all()
    assert (frame["held_out"] < frame["ci_high"]).all()
    assert list(found.summary().nulls) == ["vocabulary", "directions"]
    assert found.summary().measure == "logit"
    assert found.notes == (
        "1,600 token types in classes of script and frequency; frequency from the vocabulary's counts",
    )
    assert (frame["note"] == "").all()


@pytest.mark.parametrize("alike", [False, True])
def test_independent_directions_pass_no_more_often_than_allowed(tmp_path: Path, alike: bool) -> None:
    """With unrelated vocabularies no null is beaten; with one vocabulary the null that exchanges its types is."""
    results = [calibrate(*world(tmp_path, 10 * s, 0, alike), measure="logit", bootstrap=0, seed=s) for s in range(4)]
    directions, vocabulary = (
        np.concatenate([passed(result, null) for result in results]) for null in ("directions", "vocabulary")
    )
    assert directions.mean() <= 0.05
    p = np.concatenate([result.under("directions").p for result in results])  # type: ignore[union-attr]
    assert (p <= 0.05).mean() <= 0.09
    if alike:
        assert vocabulary.mean() > 0.9
    else:
        assert vocabulary.mean() <= 0.05
        assert (np.concatenate([result.p for result in results]) <= 0.05).mean() <= 0.09


def structured(folder: Path, seed: int, effect: Array, vocabulary: Vocabulary) -> tuple[FeatureStore, FeatureStore]:
    """Unrelated models, all of whose features raise the types by ``effect`` [n_types], each as much as it likes."""
    rng = np.random.default_rng(seed)
    sides = []
    for name in "ab":
        W_U = rng.standard_normal((D, TYPES))
        W_U[0] = effect
        directions = rng.standard_normal((N, D))
        directions[:, 0] = rng.uniform(2, 10, N)
        sides.append(store(folder / f"{name}{seed}.h5", directions, W_U, vocabulary, seed))
    return sides[0], sides[1]


@pytest.mark.parametrize("what", ["frequency", "script"])
def test_frequency_or_script_alone_does_not_pass(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    hebrew = rng.random(TYPES) < 0.3
    texts = np.array([("ש" if is_hebrew else "w").encode() + b"%d" % k for k, is_hebrew in enumerate(hebrew)])
    order = rng.permutation(TYPES)
    effect = np.log(ZIPF[order]) if what == "frequency" else 1.5 * hebrew
    vocabulary = named(texts, ZIPF[order])
    pairs = [structured(tmp_path, seed, effect, vocabulary) for seed in range(3)]
    settings: dict[str, Any] = {"measure": "logit", "null": "vocabulary", "bootstrap": 0}
    results = [calibrate(*pair, **settings) for pair in pairs]
    assert np.median([result.summary().held_out_median for result in results]) > 0.3
    assert np.concatenate([passed(result, "vocabulary") for result in results]).mean() <= 0.05
    # a control that must fail: one class for all types
    monkeypatch.setattr(TokenTypes, "classes", lambda self, types, rng: np.zeros(types.size, np.int64))
    fooled = [calibrate(*pair, **settings) for pair in pairs]
    assert np.concatenate([passed(result, "vocabulary") for result in fooled]).mean() > 0.9


def weights(store: FeatureStore, types: Array) -> Array:
    """The definition: an array of features x vocabulary, centred over some types."""
    unembedding, dictionary = store.unembedding(), store.dictionary
    assert unembedding is not None
    assert dictionary is not None
    assert dictionary.residual is not None
    v = dictionary.residual.astype(np.float64) @ unembedding.W_U[:, types].astype(np.float64)
    return v - v.mean(axis=1, keepdims=True)


def r_of(x: Array, y: Array) -> Array:
    return np.corrcoef(x, y)[: len(x), len(x) :]


def test_every_number_equals_the_slow_computation(pair: tuple[FeatureStore, FeatureStore], found: Calibration) -> None:
    a, b = pair
    evaluation = EvaluatedVocabulary.of(a, b, seed=0)
    choose, report = evaluation.chosen_types, evaluation.reported_types
    assert_array_equal(np.sort(np.concatenate([choose, report])), np.arange(TYPES))
    frame = found.to_frame()
    i, j = frame["row"].to_numpy(), frame["col"].to_numpy()
    in_choose = r_of(weights(a, choose), weights(b, choose))
    in_report = r_of(weights(a, report), weights(b, report))
    assert_allclose(frame["score"], in_choose[i, j], atol=1e-9)
    assert_allclose(frame["observed"], in_choose[i, j], atol=1e-9)
    assert_allclose(frame["held_out"], in_report[i, j], atol=1e-9)
    assert_array_equal(match(Similarity.from_dense(in_choose)).cols, found.match.cols)
    assert_allclose(Similarity.logit(a, b, types=report).dense(), in_report, atol=1e-9)
    assert_array_equal(frame["count_a"], a.moments().count[i])

    code = evaluation.types.classes(choose, np.random.default_rng((0, 1)))
    order = exchanged(code, np.random.default_rng((0, 3, 7)))
    again = match(Similarity.from_dense(r_of(weights(a, choose), weights(b, choose)[:, order])))
    assert_allclose(found.null_scores[7], again.scores, atol=1e-9)


def test_sums_by_group_and_class_statistics_equal_the_slow_computation(pair: tuple[FeatureStore, FeatureStore]) -> None:
    a, b = pair
    evaluation = EvaluatedVocabulary.of(a, b, seed=0)
    report, choose = evaluation.reported_types, evaluation.chosen_types
    i, j = np.arange(10), np.arange(10)[::-1]
    group = evaluation.types.groups(report, np.random.default_rng((0, 2)))
    moments = evaluation.moments(i, j)
    drawn = np.random.default_rng(0).multinomial(64, np.full(64, 1 / 64))
    x, y = weights(a, report)[i], weights(b, report)[j]
    resample = np.repeat(np.arange(report.size), drawn[group])
    assert_allclose(moments.pearson(), np.diag(r_of(x, y)), atol=1e-9)
    assert_allclose(moments.pearson(drawn[None])[0], np.diag(r_of(x[:, resample], y[:, resample])), atol=1e-9)

    code = evaluation.types.classes(choose, np.random.default_rng(0))
    for side, name in ((a, "a"), (b, "b")):
        v = weights(side, choose)
        means = np.stack([v[:, code == c].mean(axis=1) for c in range(code.max() + 1)], axis=1)
        between = (means**2 * np.bincount(code)).sum(axis=1) / (v**2).sum(axis=1)
        assert_allclose(evaluation.chosen_weights.share_between(name, code), between, atol=1e-9)  # type: ignore[arg-type]
    square = r_of(weights(a, choose), weights(b, choose)) ** 2
    assert_allclose(evaluation.chosen_weights.expected_square("a"), square.mean(axis=1), atol=1e-9)
    assert_allclose(evaluation.chosen_weights.expected_square("b"), square.mean(axis=0), atol=1e-9)


def test_intervals_cover_the_r_of_an_endless_vocabulary(tmp_path: Path) -> None:
    """Columns of W_U are draws of one distribution, under which r of two directions is known."""
    covered, scale = [], np.geomspace(1, 0.1, D)
    for seed in range(0, 60, 10):
        a, b = world(tmp_path, seed, SHARED)
        basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0]
        assert a.dictionary is not None
        assert b.dictionary is not None
        assert a.dictionary.residual is not None
        assert b.dictionary.residual is not None
        result = calibrate(a, b, measure="logit", replicates=0, seed=seed)
        x = a.dictionary.residual[result.match.rows].astype(np.float64) * scale
        y = (b.dictionary.residual[result.match.cols].astype(np.float64) @ basis.T) * scale
        true = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        covered.append((result.ci_low <= true) & (true <= result.ci_high))
        low, high = result.median_ci
        assert low <= np.median(true) <= high
    assert 0.9 < np.mean(covered) < 0.98


def test_random_directions_have_the_mean_and_covariance_of_the_dictionary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    W_U = rng.standard_normal((4, 400))
    directions = rng.standard_normal((4000, 4)) * [4, 2, 1, 1] + [3, 0, 0, 0]
    directions[7] = 0
    a = store(tmp_path / "a.h5", directions, W_U)
    weights = EvaluatedVocabulary.of(a, a, 0).chosen_weights
    unit, dead = weights.b.standardised(weights.grams.bb)
    drawn = weights.b.redrawn(weights.grams.bb, rng)
    assert_array_equal(np.flatnonzero(dead), [7])
    assert_array_equal(drawn.directions[7], 0)
    scale = np.abs(unit).max()
    assert_allclose(drawn.directions[~dead].mean(axis=0), unit[~dead].mean(axis=0), atol=0.03 * scale)
    assert_allclose(np.cov(drawn.directions[~dead].T), np.cov(unit[~dead].T), atol=0.05 * scale**2)
    assert np.abs(r_of(drawn.directions[:50].T, unit[:50].T)).max() < 0.5  # a control: no feature is kept
    again = weights.redrawn("b", np.random.default_rng(3)).redrawn("a", np.random.default_rng(3))
    assert_array_equal(again.source().dead_rows, dead)
    assert_array_equal(again.source().dead_cols, dead)


def test_models_with_other_tokenizers_are_compared_over_shared_strings(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    W_U, directions = rng.standard_normal((D, TYPES)), rng.standard_normal((N, D))
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    order = rng.permutation(TYPES)[:1200]  # B holds 1,200 of A's strings, and 100 of its own
    texts = np.concatenate([WORDS[order], [b"own%d" % k for k in range(100)]])
    of_b = np.hstack([basis.T @ W_U[:, order], rng.standard_normal((D, 100))])
    count = np.concatenate([ZIPF[order], np.ones(100, int)])
    a = store(tmp_path / "a.h5", directions, W_U, named(), provenance={"tokenizer_hash": "one"})
    shuffled = rng.permutation(N)
    b = store(
        tmp_path / "b.h5", (directions @ basis)[shuffled], of_b, named(texts, count),
        provenance={"tokenizer_hash": "two"},
    )  # fmt: skip
    result = calibrate(a, b, measure="logit", bootstrap=20)
    assert_array_equal(shuffled[result.match.cols], result.match.rows)
    assert passed(result, "vocabulary").all()
    assert passed(result, "directions").all()
    assert result.notes[0].startswith("1,200 token types in classes of script and frequency")
    assert repr(EvaluatedVocabulary.of(a, b, 0).choose) == "Similarity(logit, 96 x 96, over 600 shared token strings)"


def test_the_smaller_side_carries_the_null_and_the_other_is_redrawn(
    pair: tuple[FeatureStore, FeatureStore], tmp_path: Path
) -> None:
    a, b = pair
    u, dictionary = b.unembedding(), b.dictionary
    assert u is not None
    assert dictionary is not None
    assert dictionary.residual is not None
    small = store(tmp_path / "s.h5", dictionary.residual[: SHARED - 8], u.W_U, named())
    wide, turned = (calibrate(*sides, measure="logit", bootstrap=0) for sides in ((a, small), (small, a)))
    assert (wide.anchor, turned.anchor) == ("cols", "rows")
    for result in (wide, turned):
        assert result.null_scores.shape == (5, SHARED - 8)
        assert passed(result, "vocabulary").all()
        assert passed(result, "directions").mean() > 0.9


def test_ceilings_files_and_seeds(pair: tuple[FeatureStore, FeatureStore], found: Calibration, tmp_path: Path) -> None:
    a, b = pair
    frame = found.with_ceilings(calibrate(a, a, measure="logit", replicates=0, bootstrap=0), None).to_frame()
    assert_allclose(frame["ceiling_a"], 1)
    assert frame["ceiling_b"].isna().all()
    loaded = Calibration.load(found.save(tmp_path / "c.npz"))
    assert loaded.summary() == found.summary()
    assert loaded.under("directions") is not None
    one, two, other = (calibrate(a, b, measure="logit", replicates=1, bootstrap=20, seed=s) for s in (3, 3, 4))
    for name in ("held_out", "null_scores", "ci_low"):
        assert_array_equal(getattr(one, name), getattr(two, name))
        assert (getattr(one, name) != getattr(other, name)).any()


def test_without_text_frequency_is_counted_in_the_store_and_a_vocabulary_can_be_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = store(tmp_path / "a.h5", rng.standard_normal((N, D)), rng.standard_normal((D, TYPES)))
    result = calibrate(a, a, measure="logit", replicates=1, bootstrap=0)
    assert result.notes == (
        "1,600 token types in classes of frequency only, as their text is not known; "
        "frequency from the stores' own tokens",
    )
    given = calibrate(a, a, measure="logit", replicates=1, bootstrap=0, vocabulary=named())
    assert "classes of script and frequency" in given.notes[0]
    with pytest.raises(MismatchError, match=r"vocabulary: expected the entries of the one tokenizer .* 1600; found 7"):
        calibrate(a, a, measure="logit", vocabulary=named(WORDS[:7], ZIPF[:7]))


def test_rare_features_have_no_p_and_a_reason(pair: tuple[FeatureStore, FeatureStore]) -> None:
    a, b = pair
    limit = int(np.sort(a.moments().count)[3])
    result = calibrate(a, b, measure="logit", replicates=2, bootstrap=0, min_firings=limit)
    frame = result.to_frame()
    rare = (frame["count_a"] < limit) | (frame["count_b"] < limit)
    assert_array_equal(frame["p"].isna(), rare)
    assert rare.any()
    assert frame["held_out"].notna().all()
    pairs = f"{rare.sum()} pair{'s' if rare.sum() > 1 else ''}"
    expected = f"{pairs} with a feature that fires fewer than {limit} times on the tokens of its store: no p-value"
    assert result.notes[1:] == (expected,)  # once, though both nulls lack it
    assert set(frame.loc[rare, "note"].str.split(";").str[0]) == {
        f"fires fewer than {limit} times on the tokens of its store: no p-value"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null": "global"}, "nulls of logit weights must be vocabulary or directions, each once, found global"),
        ({"null": ()}, "each once, found none"),
        ({"null": ("directions", "directions")}, "each once, found directions, directions"),
        ({"block_length": 4}, "block_length is of nulls that re-pair text"),
        ({"replicates": -1}, "replicates must be at least 0, found -1"),
        ({"measure": "activation", "vocabulary": named()}, "vocabulary is for logit weights, and activation compares"),
        ({"measure": "activation", "null": "directions"}, "nulls must be global or kind, found 'directions'"),
    ],
)
def test_wrong_calls_are_refused(
    pair: tuple[FeatureStore, FeatureStore], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UniversalityError, match=message):
        calibrate(*pair, **{"measure": "logit"} | options)


def test_vocabularies_that_cannot_be_divided_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((N, D))
    small = store(tmp_path / "a.h5", directions, rng.standard_normal((D, 31)))
    least = store(tmp_path / "e.h5", directions, rng.standard_normal((D, 32)))
    result = calibrate(least, least, measure="logit", replicates=1, vocabulary=named(WORDS[:32], ZIPF[:32]))
    assert "the reporting half holds 4 groups of token types: intervals are rough below 8" in result.notes
    assert np.isfinite(result.p).all()
    with pytest.raises(UniversalityError, match=r"31 token types count in both models; .* need at least 32"):
        calibrate(small, small, measure="logit")
    segments = store(tmp_path / "b.h5", directions, rng.standard_normal((D, TYPES)), provenance={"segments": {}})
    with pytest.raises(UniversalityError, match=r"b\.h5: its rows are segments, .* give\s+vocabulary=Vocabulary\.of"):
        calibrate(segments, segments, measure="logit")
    narrow = store(tmp_path / "c.h5", directions, rng.standard_normal((D, TYPES)))
    unembedding = narrow.unembedding()
    assert unembedding is not None
    seen = replace(SEEN, position=SEEN.position + TYPES)
    x = np.ones((SEEN.n_tokens, N))
    foreign = write_store(tmp_path / "d.h5", x, seen, {}, narrow.dictionary, unembedding)
    with pytest.raises(MismatchError, match=r"d\.h5: token 16\d\d, but its unembedding has a vocabulary of 1600"):
        calibrate(foreign, foreign, measure="logit")
