"""Activation similarity against two-pass float64 NumPy, on sparse, dense and badly scaled features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Planted, Text, concepts, dense, pearson, planted, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.similarity import Similarity

SEEN = text(24)
TINY = 7000  # bytes: nothing fits, so stores are streamed and blocks computed on demand


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=24, n_alone=13)


@pytest.fixture(scope="module")
def neurons(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """39 % active, as a trained MLP's neurons are."""
    rng = np.random.default_rng(5)
    x = concepts(SEEN.n_tokens, np.full(30, 0.39), rng)
    return write_store(tmp_path_factory.mktemp("neurons") / "n.h5", x, SEEN)


def check(a: FeatureStore, b: FeatureStore, atol: float = 1e-9, **options: object) -> None:
    assert_allclose(Similarity.activation(a, b, **options).dense(1 << 30), pearson(dense(a), dense(b)), atol=atol)  # type: ignore[arg-type]


@pytest.mark.parametrize("memory_budget", [1 << 30, TINY])
def test_equals_numpy_for_sparse_features(plant: Planted, memory_budget: int) -> None:
    check(plant.a, plant.b, memory_budget=memory_budget)


@pytest.mark.parametrize("memory_budget", [1 << 30, TINY])
def test_equals_numpy_for_neurons_and_for_features_against_neurons(
    plant: Planted, neurons: FeatureStore, memory_budget: int
) -> None:
    for a, b in ((neurons, neurons), (plant.a, neurons), (neurons, plant.b)):
        check(a, b, memory_budget=memory_budget)


def test_density_chooses_the_path(plant: Planted, neurons: FeatureStore) -> None:
    assert Similarity.activation(neurons, neurons)._source.moments.dense  # type: ignore[attr-defined]
    assert not Similarity.activation(plant.a, plant.b)._source.moments.dense  # type: ignore[attr-defined]


def test_a_store_against_itself_has_ones_on_the_diagonal(plant: Planted) -> None:
    sim = Similarity.activation(plant.a, plant.a)
    assert_allclose(np.diag(sim.dense()), 1, atol=1e-12)
    assert_allclose(sim.dense(), sim.dense().T, atol=1e-12)


@pytest.mark.parametrize("density", [0.05, 0.6])
def test_a_mean_far_above_the_spread_keeps_its_digits(tmp_path: Path, density: float) -> None:
    """The sparse and the dense path; the naive formula, as a control, loses everything."""
    rng = np.random.default_rng(0)
    sides = []
    common = rng.standard_normal((SEEN.n_tokens, 3))
    for name in "ab":
        x = concepts(SEEN.n_tokens, np.full(40, density), rng)
        x[:, :3] = 1e5 + common + 0.5 * rng.standard_normal(common.shape)  # always on: float32 keeps steps of 0.008
        x[:, 3] = 1e4 * (np.arange(SEEN.n_tokens) != 7)  # on but for one token
        sides.append(write_store(tmp_path / f"{name}.h5", x, SEEN))
    a, b = sides
    check(a, b, atol=1e-6)
    r = Similarity.activation(a, b).dense()
    assert r[0, 0] > 0.7
    i = np.repeat(np.arange(5), 5)
    j = np.tile(np.arange(5), 5)
    assert_allclose(Similarity.activation(a, b).pairs(i, j), r[i, j], atol=1e-9)
    x, y = (dense(s)[:, 0].astype(np.float32) for s in (a, b))
    naive = (np.float32(x @ y) / len(x) - x.mean() * y.mean()) / (x.std() * y.std())
    assert abs(naive - r[0, 0]) > 1e-3


def test_constant_and_silent_features_are_dead_and_score_0(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = concepts(SEEN.n_tokens, np.full(6, 0.1), rng)
    x[:, 1] = 0
    x[:, 4] = 0.3  # constant: its mean in float64 is not its value in float32
    a = write_store(tmp_path / "a.h5", x, SEEN)
    sim = Similarity.activation(a, a)
    assert_array_equal(np.flatnonzero(sim.dead_rows), [1, 4])
    assert_array_equal(np.flatnonzero(sim.dead_cols), [1, 4])
    check(a, a)
    assert_array_equal(sim.pairs([1, 4, 0], [0, 0, 4]), 0)


def test_equal_for_any_cut_into_blocks(plant: Planted) -> None:
    whole = Similarity.activation(plant.a, plant.b).dense()
    for budget in (1 << 30, TINY):
        sim = Similarity.activation(plant.a, plant.b, memory_budget=budget)
        parts = np.vstack([block for _, block in sim.blocks(5)])
        assert_allclose(parts, whole, atol=1e-12)
        assert_allclose(sim.block([3, 30, 3]), whole[[3, 30, 3]], atol=1e-12)
        assert_allclose(sim.block(slice(2, 9, 3)), whole[2:9:3], atol=1e-12)
        assert sim.block([]).shape == (0, 37)


def test_documents_restrict_the_tokens_and_all_moments(plant: Planted, neurons: FeatureStore) -> None:
    documents = np.array([1, 4, 5, 17])
    rows = np.isin(SEEN.document, documents)
    for a, b in ((plant.a, plant.b), (neurons, neurons)):
        expected = pearson(dense(a)[rows], dense(b)[rows])
        for budget in (1 << 30, TINY):
            early = Similarity.activation(a, b, memory_budget=budget, documents=documents)
            late = Similarity.activation(a, b, memory_budget=budget).restrict(documents)
            for sim in (early, late):
                assert_allclose(sim.dense(1 << 30), expected, atol=1e-9)
                assert_array_equal(sim.counts[0], (dense(a)[rows] != 0).sum(axis=0))  # type: ignore[index]


def test_restricting_twice_intersects(plant: Planted) -> None:
    sim = Similarity.activation(plant.a, plant.b, documents=[1, 2, 3])
    assert_allclose(sim.restrict([3, 4]).dense(), Similarity.activation(plant.a, plant.b, documents=[3]).dense())
    with pytest.raises(UniversalityError, match="none of the documents given is among those already"):
        sim.restrict([9])


@pytest.mark.parametrize("memory_budget", [1 << 30, TINY])
def test_rows_pair_other_tokens(plant: Planted, memory_budget: int) -> None:
    rng = np.random.default_rng(1)
    rows_a, rows_b = rng.integers(0, SEEN.n_tokens, (2, 500))
    expected = pearson(dense(plant.a)[rows_a], dense(plant.b)[rows_b])
    direct = Similarity.activation(plant.a, plant.b, memory_budget=memory_budget, rows=(rows_a, rows_b))
    base = Similarity.activation(plant.a, plant.b, memory_budget=memory_budget)
    base.dense(1 << 30)
    for sim in (direct, base.repaired(rows_a, rows_b)):
        assert_allclose(sim.dense(1 << 30), expected, atol=1e-9)
        assert_allclose(sim.pairs([3, 0], [5, 1]), expected[[3, 0], [5, 1]], atol=1e-9)


def test_repairing_again_reuses_what_stays_and_recomputes_what_changes(plant: Planted) -> None:
    rng = np.random.default_rng(2)
    base = Similarity.activation(plant.a, plant.b)
    kept = np.arange(0, 1000)
    for rows_a, rows_b in (
        (kept, rng.permutation(1000)),
        (kept, rng.permutation(1000)),
        (kept, 200 + rng.permutation(1000)),
        (rng.permutation(1000), kept),
    ):
        found = base.repaired(rows_a, rows_b).dense()
        assert_allclose(found, pearson(dense(plant.a)[rows_a], dense(plant.b)[rows_b]), atol=1e-9)
    assert_allclose(base.dense(), pearson(dense(plant.a), dense(plant.b)), atol=1e-9)


@pytest.mark.parametrize("memory_budget", [1 << 30, 60_000])
def test_pairs_by_group_give_r_of_any_mixture_of_groups(plant: Planted, memory_budget: int) -> None:
    i, j = np.array([0, 5, 5, 36]), np.array([3, 3, 8, 0])
    sim = Similarity.activation(plant.a, plant.b, memory_budget=memory_budget)
    moments = sim.pairs(i, j, by="group")
    assert moments.groups == tuple(sorted(SEEN.documents.group))
    assert_allclose(moments.pearson(), sim.pairs(i, j), atol=1e-12)
    weights = np.random.default_rng(0).integers(0, 3, (4, len(moments.groups)))
    code = {name: k for k, name in enumerate(moments.groups)}
    group = np.array([code[SEEN.documents.group[d]] for d in SEEN.document])
    for w, r in zip(weights, moments.pearson(weights), strict=True):
        rows = np.repeat(np.arange(SEEN.n_tokens), w[group])
        assert_allclose(r, pearson(dense(plant.a)[rows], dense(plant.b)[rows])[i, j], atol=1e-9)
    assert_allclose(moments.without_each(), moments.pearson(1 - np.eye(len(moments.groups))), atol=1e-9)


def test_group_sums_are_the_sums(plant: Planted) -> None:
    moments = Similarity.activation(plant.a, plant.b, documents=[2, 7]).pairs([4], [6], by="group")
    assert moments.groups == ("g2", "g7")
    for k, d in enumerate((2, 7)):
        x, y = (dense(s)[SEEN.document == d, f] for s, f in ((plant.a, 4), (plant.b, 6)))
        sums = [len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
        found = [moments.n[k], *(getattr(moments, f"sum_{s}")[k, 0] for s in ("a", "b", "aa", "bb", "ab"))]
        assert_allclose(found, sums, rtol=1e-12)


def test_a_feature_that_does_not_vary_in_a_mixture_has_no_r(plant: Planted) -> None:
    moments = Similarity.activation(plant.a, plant.b).pairs([0], [0], by="group")
    silent = np.zeros((1, len(moments.groups)))
    silent[0, np.flatnonzero(moments.sum_a[:, 0] == 0)[0]] = 1
    assert_array_equal(moments.pearson(silent), [[np.nan]])


def test_without_its_only_group_a_feature_has_no_r(tmp_path: Path) -> None:
    """Taken off the total, the group's sums leave rounding behind, which is no variance."""
    x = np.random.default_rng(0).gamma(4, 0.25, (SEEN.n_tokens, 1)) * (SEEN.document == 3)[:, None]
    store = write_store(tmp_path / "a.h5", x, SEEN)
    moments = Similarity.activation(store, store).pairs([0], [0], by="group")
    own = np.asarray(moments.groups) == SEEN.documents.group[3]
    assert_array_equal(np.isnan(moments.without_each()[:, 0]), own)


def test_group_sums_of_an_always_on_feature_are_shifted_and_say_so(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((SEEN.n_tokens, 2)) + 1e6
    a = write_store(tmp_path / "a.h5", x, SEEN)
    moments = Similarity.activation(a, a).pairs([0], [1], by="group")
    assert_allclose(moments.shift_a[0], 1e6, rtol=1e-3)
    assert_allclose(moments.sum_a.sum() + SEEN.n_tokens * moments.shift_a[0], dense(a)[:, 0].sum(), rtol=1e-12)
    assert_allclose(moments.pearson(), pearson(dense(a), dense(a))[0, 1], atol=1e-9)


def test_too_many_groups_for_the_budget_are_refused(plant: Planted) -> None:
    sim = Similarity.activation(plant.a, plant.b, memory_budget=2000)
    with pytest.raises(UniversalityError, match=r"24 groups x 9 pairs take 8,640 bytes.* at most 2 pairs at a time"):
        sim.pairs(np.arange(9), np.arange(9), by="group")


def test_other_tokens_are_refused_naming_both_files(plant: Planted, tmp_path: Path) -> None:
    other = text(25)
    b = write_store(tmp_path / "b.h5", np.ones((other.n_tokens, 2)), other)
    message = rf"b\.h5: written from tokens {b.tokens_hash[:12]}…, but .*a\.h5 from {plant.a.tokens_hash[:12]}…; both"
    with pytest.raises(MismatchError, match=message):
        Similarity.activation(plant.a, b)


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    nothing = Text(SEEN.documents, SEEN.document[:0], SEEN.position[:0])
    a = write_store(tmp_path / "a.h5", np.zeros((0, 3)), nothing)
    with pytest.raises(UniversalityError, match="holds no tokens"):
        Similarity.activation(a, a)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"documents": [0], "rows": ([0], [0])}, "give documents or rows, not both"),
        ({"documents": [99]}, "documents: expected indices from 0 to 23 .*, found 99 to 99"),
        ({"documents": []}, "documents: expected a non-empty array of integers"),
        ({"documents": [0.5]}, r"found float64 of shape \(1,\)"),
        ({"rows": ([0, 1], [0])}, "rows must pair up: 2 rows of one store, 1 of the other"),
        ({"rows": ([-1], [0])}, "rows: expected indices from 0 to"),
    ],
)
def test_wrong_choices_of_tokens_are_refused(plant: Planted, options: dict, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        Similarity.activation(plant.a, plant.b, **options)


def test_documents_without_tokens_are_refused(tmp_path: Path) -> None:
    some = SEEN.document < 20
    a = write_store(
        tmp_path / "a.h5", np.ones((some.sum(), 2)), Text(SEEN.documents, SEEN.document[some], SEEN.position[some])
    )
    with pytest.raises(UniversalityError, match="none of the 1 documents asked for has a token"):
        Similarity.activation(a, a, documents=[22])


def test_repaired_rows_have_no_documents_and_no_groups(plant: Planted) -> None:
    sim = Similarity.activation(plant.a, plant.b).repaired([0, 1], [1, 0])
    with pytest.raises(UniversalityError, match="belong to two documents each; restrict first"):
        sim.restrict([0])
    with pytest.raises(UniversalityError, match="belong to two groups each"):
        sim.pairs([0], [0], by="group")


def test_provenance_names_stores_and_tokens(plant: Planted) -> None:
    found = Similarity.activation(plant.a, plant.b, documents=[1, 2]).provenance
    assert found["measure"] == "activation"
    assert found["a"]["path"] == "a.h5"
    assert found["b"]["content_hash"] == plant.b.content_hash()
    assert found["tokens"]["n_documents"] == 2
    assert not found["tokens"]["repaired"]
