"""Neither null finds anything where nothing is shared, within kinds too; p and q are of the reported pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import BLOCK, Array, Planted, Text, dense, pearson, planted, text, write_store
from scipy.stats import false_discovery_control, kstest

from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import NullDistribution, calibrate, plan_repairing
from universality.statistics.held_out import evaluation_halves, optimism
from universality.statistics.null_distribution import FeatureClasses
from universality.statistics.synthetic import World, plant

SEEN = text(80)


def with_short_blocks(share: float, kinds: tuple[str, ...] = ("prose", "code"), blocks: int = 4) -> Text:
    """80 documents of full blocks; in this share of the documents each is cut in two, which no null re-pairs."""
    table = text(80, kinds=kinds).documents
    cut = np.arange(80) // 4 % 4 < 4 * share  # as many of either kind and half
    halves = [np.arange(1, BLOCK + 1), np.tile(np.arange(1, BLOCK // 2 + 1), 2)]
    position = np.concatenate([np.tile(halves[int(short)], blocks) for short in cut])
    return Text(table, np.repeat(np.arange(80), blocks * BLOCK), position)


def test_p_q_tau_and_detectable_follow_from_the_null_scores() -> None:
    """Two classes of two features; the last feature has no partner and enters the correction with p = 1."""
    classes = FeatureClasses(np.array([10.0, np.inf]), np.array([0, 0, 1, 1]), *np.full((2, 3), 50), np.zeros(3, int))
    scores = np.array([[0.1, 0.2, 0.5, -np.inf], [0.3, 0.4, 0.6, 0.7]])
    nothing = np.zeros(0)
    null = NullDistribution(
        "global", np.array([0.9, 0.25, 0.65]), scores, np.arange(3), classes, 1, 0.25, nothing, nothing
    )
    assert_allclose(null.p, [1 / 5, 3 / 5, 2 / 5])
    assert_allclose(null.q, false_discovery_control([1 / 5, 3 / 5, 2 / 5, 1])[:3])
    assert_allclose(null.tau, [0.4, 0.4, 0.7])
    assert_allclose(null.calibrated, [(0.9 - 0.4) / 0.6, 0, 0])
    assert_array_equal(null.detectable, [np.inf] * 3)  # no p of 1/5 gives q <= 0.25 among four
    result = null.result()
    assert_array_equal(result.p, null.p)
    assert_array_equal(result.stratum, [0, 0, 0])
    unknown = NullDistribution("kind", np.full(3, np.nan), scores[:0], np.arange(3), classes, 0, 0.25, nothing, nothing)
    for numbers in (unknown.p, unknown.q, unknown.tau, unknown.calibrated, unknown.detectable):
        assert_array_equal(numbers, np.nan)


@pytest.fixture(scope="module")
def unrelated(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("unrelated"), SEEN, n_shared=0, n_alone=120, seed=5)


@pytest.mark.parametrize("null", ["global", "kind"])
def test_the_p_of_a_pair_is_of_that_pair(unrelated: Planted, null: str) -> None:
    c = calibrate(unrelated.a, unrelated.b, null=null, replicates=5, bootstrap=0, n_strata=1)  # type: ignore[arg-type]
    rows = plan_repairing(unrelated.a, null, evaluation_halves(unrelated.a).choose).draw(0)[0]  # type: ignore[arg-type]
    x, y = dense(unrelated.a)[rows], dense(unrelated.b)[rows]
    observed = pearson(x, y)[c.match.rows, c.match.cols]
    first, frame = c.chances[0], c.to_frame()
    assert_allclose(first.observed, observed, atol=1e-9)
    assert_allclose(frame["observed"], observed, atol=1e-9)
    assert_array_equal(first.count_a, (x > 0).sum(axis=0)[c.match.rows])
    assert_array_equal(first.count_b, (y > 0).sum(axis=0)[c.match.cols])
    if null == "global":  # one class
        pool = first.scores.ravel()
        assert_allclose(c.p, [(1 + (pool >= r).sum()) / (1 + pool.size) for r in observed])
    assert_allclose(c.q, false_discovery_control(c.p))
    assert_allclose(c.calibrated, np.maximum(0, (observed - first.tau) / (1 - first.tau)), atol=1e-9)
    beyond = observed > first.detectable
    assert_array_equal(beyond, c.q <= 0.05)
    # the control: matched anew on those blocks many features have another partner, whose p was given before
    again = match(Similarity.activation(unrelated.a, unrelated.b, rows=(rows, rows)))
    assert (again.cols != c.match.cols).mean() > 0.1


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["all blocks", "half of the blocks"])
def nothing_shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    seen = with_short_blocks(request.param)
    return planted(tmp_path_factory.mktemp("nothing"), seen, n_shared=0, n_alone=200, seed=5)


def at_most(p: Array, alpha: float) -> bool:
    """Whether P(p <= alpha) is at most alpha, but for three standard errors."""
    return bool((p <= alpha).mean() <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / p.size))


@pytest.mark.parametrize("method", ["hungarian", "mutual", "nearest"])
@pytest.mark.parametrize("null", ["global", "kind"])
def test_p_is_valid_where_nothing_is_shared(nothing_shared: Planted, method: str, null: str) -> None:
    """The control: hardly anything may pass; uniform only where all blocks take part."""
    c = calibrate(nothing_shared.a, nothing_shared.b, method=method, null=null, replicates=8, bootstrap=0)  # type: ignore[arg-type]
    p = np.concatenate([c.p, np.ones(200 - c.p.size)])  # a feature without partner counts with p = 1
    for alpha in (0.01, 0.05, 0.2):
        assert at_most(p, alpha)
    assert (c.q <= 0.05).sum() <= 2
    assert abs(optimism(c.match.scores, c.held_out) - c.match.scores.mean()) < 0.03  # all of the score was luck
    if plan_repairing(nothing_shared.a).share == 1 and method != "mutual":
        assert kstest(c.p, "uniform").pvalue > 0.001
    elif method != "mutual":
        assert kstest(c.p, "uniform", alternative="greater").pvalue > 0.01  # never too small ...
        assert kstest(c.p, "uniform").pvalue < 0.01  # ... and not uniform


def test_scores_of_fixed_pairs_on_other_text_would_be_no_null(nothing_shared: Planted) -> None:
    """What a null without the choice of the best would call significant: most of what chance paired."""
    c = calibrate(nothing_shared.a, nothing_shared.b, null="global", replicates=1, bootstrap=0)
    plan = plan_repairing(nothing_shared.a, "global", evaluation_halves(nothing_shared.a).choose)
    fixed = np.concatenate(
        [
            Similarity.activation(nothing_shared.a, nothing_shared.b, rows=plan.draw(0, k)).pairs(
                c.match.rows, c.match.cols
            )
            for k in range(4)
        ]
    )
    p = np.array([(1 + (fixed >= r).sum()) / (1 + fixed.size) for r in c.chances[0].observed])
    assert not at_most(p, 0.05)
    assert (p <= 0.05).mean() > 0.3


def test_features_without_a_partner_count_in_the_correction(nothing_shared: Planted) -> None:
    c = calibrate(nothing_shared.a, nothing_shared.b, method="mutual", null="global", replicates=5, bootstrap=0)
    assert 0 < c.p.size < 200
    with_all = np.concatenate([c.p, np.ones(c.match.unmatched_rows.size)])
    assert_allclose(c.q, false_discovery_control(with_all)[: c.p.size])
    assert (c.q > false_discovery_control(c.p) - 1e-12).all()


def bursty(seen: Text, n: int, rng: np.random.Generator) -> Array:
    """Features of topics: whole documents have them or not, independently for every feature."""
    topic = rng.random((len(seen.documents.id), n)) < 0.3
    rate = np.where(topic, 0.4, 0.01)[seen.document]
    return (rng.random(rate.shape) < rate).astype(float)


def halves_of(seen: Text, split: str) -> Array:
    return np.asarray(seen.documents.split)[seen.document] == split


def test_blocks_hold_where_single_tokens_would_see_findings_everywhere(tmp_path: Path) -> None:
    seen = text(60, blocks=1)
    rng = np.random.default_rng(8)
    a, b = (write_store(tmp_path / f"{n}.h5", bursty(seen, 60, rng), seen) for n in "ab")
    c = calibrate(a, b, method="nearest", replicates=10, bootstrap=0)
    assert (c.q <= 0.05).mean() < 0.1
    choose = np.flatnonzero(halves_of(seen, "choose"))
    shuffled = Similarity.activation(a, b, rows=(choose, rng.permutation(choose)))
    token_null = match(shuffled, "nearest").scores
    assert (c.match.scores > token_null.max()).mean() > 0.5  # what permuting tokens would have called significant


def test_features_of_a_kind_beat_the_global_null_but_not_the_one_within_kinds(tmp_path: Path) -> None:
    seen = text(80, blocks=1, kinds=("en", "he"))
    rng = np.random.default_rng(9)
    hebrew = np.asarray(seen.documents.kind)[seen.document] == "he"
    sides = []
    for _ in range(2):
        rate = np.where(hebrew[:, None], np.linspace(0.2, 0.6, 40), 0.01)
        sides.append((rng.random(rate.shape) < rate).astype(float))
    a, b = (write_store(tmp_path / f"{n}.h5", x, seen) for n, x in zip("ab", sides, strict=True))
    shares = [(calibrate(a, b, null=null, replicates=10, bootstrap=0).q <= 0.05).mean() for null in ("global", "kind")]
    assert shares[0] > 0.9
    assert shares[1] < 0.1


def test_within_kinds_features_are_compared_with_those_that_are_as_much_a_matter_of_kind(tmp_path: Path) -> None:
    """Few features of one kind among many of none: pooled by firing count alone they would all pass."""
    seen = with_short_blocks(0, kinds=("en", "he"), blocks=1)
    rng = np.random.default_rng(9)
    hebrew = np.asarray(seen.documents.kind)[seen.document] == "he"
    sides = []
    for _ in range(2):
        rate = np.hstack([np.where(hebrew[:, None], np.full(40, 0.4), 0.0), np.full((hebrew.size, 280), 0.2)])
        sides.append((rng.random(rate.shape) < rate).astype(float))
    a, b = (write_store(tmp_path / f"{n}.h5", x, seen) for n, x in zip("ab", sides, strict=True))
    c = calibrate(a, b, method="nearest", null="kind", replicates=8, bootstrap=0, n_strata=1)
    assert (c.p[:40] <= 0.125).mean() < 0.4
    assert kstest(c.p, "uniform").pvalue > 0.001
    # the control: without that distinction the pool is too easy for them
    pool = np.sort(c.null_scores.ravel())
    easy = 1 - np.searchsorted(pool, c.match.scores[:40]) / pool.size
    assert (easy <= 0.125).mean() > 0.9


def test_features_of_few_documents_do_not_beat_chance_by_their_topics(tmp_path: Path) -> None:
    """Blocks scattered over documents gave twice as many small p-values as there should be."""
    world = World(n_documents=200, n_shared=0, n_alone=120, density=(3e-3, 5e-2), topic_share=0.05)
    p = []
    for seed in range(3):
        alone = plant(world, tmp_path / str(seed), seed)
        found = calibrate(alone.a, alone.b, replicates=8, bootstrap=0, seed=seed)
        p.append(np.stack([chance.p for chance in found.chances]))
    for null in np.hstack(p):
        assert (null <= 0.1).mean() < 0.14
        assert (null <= 0.01).mean() < 0.025


@pytest.mark.parametrize(
    "change",
    [
        {"kind_bound": 1.0, "topic_share": 1.0, "density": (3e-2, 1e-1)},
        {"kinds": 20, "kind_bound": 0.5},
        {"kinds": 20, "topic_share": 0.15},
        {"kinds": 10, "works": 2, "kind_bound": 0.5},
        {"kind_bound": 0.5, "short_blocks": 0.5},
    ],
    ids=["kind alone", "20 kinds", "20 kinds, few topics", "two works a kind", "half of the blocks"],
)
def test_p_within_kinds_is_valid_where_only_kinds_are_shared(tmp_path: Path, change: dict) -> None:
    """Documents of few-work kinds were taken apart, which made twice as many small p-values as there should be."""
    world = World(**{"n_documents": 240, "blocks": 2, "n_shared": 0, "n_alone": 160, "density": (8e-3, 3e-2)} | change)
    alone = plant(world, tmp_path)
    found = calibrate(alone.a, alone.b, replicates=6, bootstrap=0)
    frame = found.to_frame()
    p = frame["p_kind"].dropna()
    assert len(p) > 100
    for alpha in (0.01, 0.05, 0.2):
        assert (p <= alpha).mean() <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / len(p))
    assert (frame["q_kind"] <= 0.05).sum() <= 2
    assert any("few groups" in note for note in found.notes) == ("works" in change)
    if world.topic_share == 1:  # the control: kind alone beats the null over the corpus
        assert (frame["p"] <= 0.05).mean() > 0.3
