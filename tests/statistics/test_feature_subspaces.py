"""Subspaces of features, on planted dictionaries that write into a known one."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles

from universality import FeatureStore
from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary
from universality.statistics import feature_subspaces
from universality.statistics.feature_subspaces import (
    features_of_equal_mass,
    random_subspaces,
    reconstruction_moment,
    share_within,
    subspace_agreement,
    top_subspace,
)

N_TOKENS, D, RANK = 600, 24, 3
COMMON = np.linalg.qr(np.random.default_rng(0).normal(size=(D, RANK)))[0].T
"""Orthonormal basis of the subspace into which features 0 to 9 of every seed write."""


def planted(path: Path, seed: int) -> FeatureStore:
    """Write a dictionary of 20 features: ten random directions in `COMMON`, ten anywhere; and a dead one."""
    rng = np.random.default_rng(seed)
    decoder = np.concatenate([rng.normal(size=(10, RANK)) @ COMMON, rng.normal(size=(11, D))]).astype(np.float32)
    codes = rng.random((N_TOKENS, 21)) * (rng.random((N_TOKENS, 21)) < 0.3)
    codes[:, 20] = 0
    return FeatureStore.from_csr(
        sparse.csr_matrix(codes.astype(np.float32)),
        path,
        token=np.arange(N_TOKENS),
        special_tokens=(),
        document=np.arange(N_TOKENS) // 100,
        dictionary=Dictionary(decoder),
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    folder = tmp_path_factory.mktemp("subspaces")
    return planted(folder / "0.h5", 1), planted(folder / "1.h5", 2)


def dense(store: FeatureStore, features: list[int]) -> np.ndarray:
    return store.csr().toarray().astype(np.float64)[:, features] @ store.decoder_rows()[features].astype(np.float64)


def test_the_moment_is_that_of_what_the_features_write(stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store, features = stores[0], [3, 12, 15]
    monkeypatch.setattr(feature_subspaces, "BATCH", 4096)  # bytes, so that several batches are added
    written = dense(store, features)
    np.testing.assert_allclose(reconstruction_moment(store, features), written.T @ written / N_TOKENS, rtol=1e-10)
    part = written[np.isin(np.arange(N_TOKENS) // 100, [1, 4])]
    moment = reconstruction_moment(store, features, documents=[4, 1])
    np.testing.assert_allclose(moment, part.T @ part / len(part), rtol=1e-10)


def test_features_of_two_seeds_that_write_into_one_subspace_agree_and_others_do_not(stores) -> None:
    inside = [top_subspace(reconstruction_moment(store, range(10)), RANK) for store in stores]
    assert subspace_agreement(*inside) == pytest.approx(1, abs=1e-9)
    assert subspace_agreement(inside[0], COMMON) == pytest.approx(1, abs=1e-9)
    outside = [top_subspace(reconstruction_moment(store, range(10, 20)), RANK) for store in stores]
    assert subspace_agreement(*outside) < 0.5
    control = [subspace_agreement(inside[0], drawn) for drawn in random_subspaces(np.eye(D), RANK, 50)]
    assert np.mean(control) == pytest.approx(RANK / D, abs=0.05)


def test_random_subspaces_follow_the_covariance(stores) -> None:
    covariance = np.diag(np.where(np.arange(D) < RANK, 1.0, 1e-8))
    for drawn in random_subspaces(covariance, RANK, 5, seed=3):
        np.testing.assert_allclose(drawn @ drawn.T, np.eye(RANK), atol=1e-12)
        assert subspace_agreement(drawn, np.eye(D)[:RANK]) == pytest.approx(1, abs=1e-4)


def test_agreement_is_the_mean_squared_cosine_of_the_principal_angles() -> None:
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(8, rank)))[0] for rank in (3, 5))
    expected = np.mean(np.cos(subspace_angles(u, v)) ** 2)
    assert subspace_agreement(u.T, v.T) == pytest.approx(expected, abs=1e-12)


def test_the_first_direction_has_the_largest_moment() -> None:
    rng = np.random.default_rng(2)
    moment = np.cov(rng.normal(size=(50, 6)) * np.arange(1, 7), rowvar=False)
    first, second = top_subspace(moment, 2)
    assert first @ moment @ first > second @ moment @ second
    assert share_within(moment, np.eye(6)) == pytest.approx(1)
    assert share_within(moment, top_subspace(moment, 2)) >= share_within(moment, np.eye(6)[-2:])


def test_replacements_have_about_the_same_mass_and_are_alive(stores) -> None:
    store, given = stores[0], list(range(5))
    draws = features_of_equal_mass(store, given, 20, seed=1)
    assert len({tuple(each) for each in draws}) > 5
    mass = store.moments().sum_sq * (store.decoder_rows().astype(np.float64) ** 2).sum(axis=1)
    for each in draws:
        assert np.unique(each).size == len(given)
        assert store.alive[each].all()
    heavy = np.argsort(-mass)[:3]
    heaviest, lightest = (np.mean([mass[d].sum() for d in features_of_equal_mass(store, which, 20)])
                          for which in (heavy, np.argsort(mass)[1:4]))  # fmt: skip
    assert heaviest > 1.5 * lightest
    everything = np.flatnonzero(store.alive)
    np.testing.assert_array_equal(features_of_equal_mass(store, everything, 1)[0], everything)


def test_what_cannot_be_answered_is_refused(stores, tmp_path: Path) -> None:
    store = stores[0]
    for features, found in (([21], "feature 21"), ([-1], "feature -1"), ([2, 2], "a feature twice"), ([], "none")):
        with pytest.raises(UniversalityError, match=f"features 0 to 20, each once, found {found}"):
            reconstruction_moment(store, features)
    with pytest.raises(UniversalityError, match="none of the given documents has a token"):
        reconstruction_moment(store, [1], documents=[99])
    with pytest.raises(UniversalityError, match="feature 20 never fires"):
        features_of_equal_mass(store, [1, 20], 1)
    with pytest.raises(UniversalityError, match="rank 4 of a matrix that spans 3 directions"):
        top_subspace(reconstruction_moment(store, range(10)), 4)
    with pytest.raises(UniversalityError, match="rank must be 1 to 3, found 0"):
        top_subspace(np.eye(3), 0)
    with pytest.raises(UniversalityError, match="finite square matrix"):
        top_subspace(np.full((2, 2), np.nan), 1)
    with pytest.raises(UniversalityError, match="rank 2 of a matrix that spans 1"):
        random_subspaces(np.diag([1.0, 0.0, 0.0]), 2, 1)
    with pytest.raises(MismatchError, match="one d"):
        subspace_agreement(np.eye(2), np.eye(3))
    bare = FeatureStore.from_csr(store.csr(), tmp_path / "bare.h5", np.arange(N_TOKENS), special_tokens=(),
                                 document=np.arange(N_TOKENS) // 100)  # fmt: skip
    with pytest.raises(UniversalityError, match="no dictionary"):
        reconstruction_moment(bare, [0])
