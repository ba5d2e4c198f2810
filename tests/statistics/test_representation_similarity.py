import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from universality.errors import MismatchError, UniversalityError
from universality.statistics import against_shuffles, cka, rsa, svcca

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
TURN = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
OTHER = RNG.normal(size=(60, 5))


@pytest.mark.parametrize("measure", [svcca, cka, rsa])
def test_a_rotation_changes_nothing_and_shuffled_pairs_fall_behind(measure) -> None:
    shift = 0.0 if measure is rsa else 3.0  # cosine distances see the origin
    found = against_shuffles(measure, X, 2 * X @ TURN + shift, n=19)
    assert_allclose(found.score, 1, atol=1e-6)
    assert found.null.max() < 0.7
    assert_allclose(found.p, 1 / 20)
    # the control: pairs that have nothing to do with each other are among the shuffles
    assert against_shuffles(measure, X, OTHER, n=19).p > 0.05


def test_svcca_is_the_mean_canonical_correlation() -> None:
    y = np.column_stack([X[:, :2] @ RNG.normal(size=(2, 2)), RNG.normal(size=(60, 1))])
    x, z = X - X.mean(axis=0), y - y.mean(axis=0)

    def inverse_root(c: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(c)
        return vectors / np.sqrt(values) @ vectors.T

    canonical = np.linalg.svd(inverse_root(x.T @ x) @ x.T @ z @ inverse_root(z.T @ z))[1]
    assert_allclose(svcca(X, y, variance=1), canonical.mean(), atol=1e-9)
    assert_allclose(canonical[:2], 1, atol=1e-9)


def test_svcca_drops_directions_of_little_variance() -> None:
    common = RNG.normal(size=(60, 1))
    x = np.hstack([common, 1e-3 * RNG.normal(size=(60, 3))])
    y = np.hstack([common, 1e-3 * RNG.normal(size=(60, 3))])
    assert_allclose(svcca(x, y), 1, atol=1e-9)
    assert svcca(x, y, variance=1) < 0.9


def test_cka_is_the_alignment_of_centred_kernels() -> None:
    centre = np.eye(60) - 1 / 60
    k, m = centre @ X @ X.T @ centre, centre @ OTHER @ OTHER.T @ centre
    assert_allclose(cka(X, OTHER), (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()), rtol=1e-9)


def test_rsa_is_the_rank_correlation_of_distances() -> None:
    pairs = [(i, j) for i in range(60) for j in range(i)]
    far = [[cosine(side[i], side[j]) for i, j in pairs] for side in (X, OTHER)]
    assert_allclose(rsa(X, OTHER), spearmanr(*far).statistic, atol=1e-9)


@pytest.mark.parametrize("measure", [svcca, cka, rsa])
def test_rows_that_do_not_pair_or_say_nothing_are_refused(measure) -> None:
    with pytest.raises(MismatchError, match=r"expected paired rows .* found shapes \(60, 8\) and \(59, 5\)"):
        measure(X, OTHER[:-1])
    with pytest.raises(UniversalityError, match="at least 3 of them, found 2"):
        measure(X[:2], OTHER[:2])
    for bad in (np.ones((60, 5)), np.full((60, 5), np.nan)):
        with pytest.raises(UniversalityError, match="finite rows that differ from each other"):
            measure(X, bad)
