"""Maps recover planted relations on tokens that they were not fitted on, and nothing else."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.errors import MismatchError, UniversalityError
from universality.statistics import fit_map
from universality.statistics.activation_maps import MapKind, explained_variance

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2000, 10)) * np.linspace(1, 3, 10) + 4
ROTATION = np.linalg.qr(RNG.standard_normal((10, 10)))[0]
ROTATED = 2 * X @ ROTATION - 1
SHEARED = X @ RNG.standard_normal((10, 12)) + 3
FITTED, HELD_OUT = slice(1000), slice(1000, None)


def held_out(y: np.ndarray, kind: MapKind, pairing: slice = FITTED) -> float:
    return fit_map(X[FITTED], y[FITTED][pairing], kind).explained_variance(X[HELD_OUT], y[HELD_OUT])


def test_a_planted_rotation_with_scale_and_shift_is_recovered() -> None:
    found = fit_map(X[FITTED], ROTATED[FITTED], "orthogonal")
    assert_allclose(found.to_y, 2 * ROTATION, atol=1e-8)
    assert_allclose(found.forward(X[HELD_OUT]), ROTATED[HELD_OUT], atol=1e-8)
    assert_allclose(found.backward(found.forward(X[HELD_OUT])), X[HELD_OUT], atol=1e-8)
    assert found.n_tokens == 1000
    assert held_out(ROTATED, "identity") < 0


def test_a_planted_affine_map_is_recovered_and_an_orthogonal_one_is_not_enough() -> None:
    assert held_out(SHEARED, "affine") == pytest.approx(1)
    assert held_out(SHEARED, "orthogonal") < 0.9
    found = fit_map(X[FITTED], SHEARED[FITTED], "affine")
    assert_allclose(found.backward(SHEARED[HELD_OUT]), X[HELD_OUT], atol=1e-6)  # of rank 10 in 12 dimensions


@pytest.mark.parametrize(("kind", "most"), [("orthogonal", 0.0), ("affine", 0.02)])
def test_maps_of_tokens_paired_with_others_explain_nothing(kind: MapKind, most: float) -> None:
    """The control: the same tokens in another order, though the map fits those that it saw a little."""
    assert held_out(ROTATED, kind, slice(None, None, -1)) < most
    few = slice(14)
    flattered = fit_map(X[few], ROTATED[few][::-1], "affine").explained_variance(X[few], ROTATED[few][::-1])
    assert flattered > 0.5  # why a map is scored on other tokens


def test_an_affine_map_equals_least_squares() -> None:
    noisy = SHEARED + RNG.standard_normal(SHEARED.shape)
    design = np.column_stack([X, np.ones(len(X))])
    expected = design @ np.linalg.lstsq(design, noisy, rcond=None)[0]
    assert_allclose(fit_map(X, noisy, "affine").forward(X), expected, atol=1e-8)


def test_the_scale_keeps_the_spread_where_the_spaces_agree_little() -> None:
    other = RNG.standard_normal(X.shape)
    mapped = fit_map(X, other, "orthogonal").forward(X)
    assert np.var(mapped, axis=0).sum() == pytest.approx(np.var(other, axis=0).sum())
    assert_allclose(mapped.mean(axis=0), other.mean(axis=0), atol=1e-10)


def test_the_mean_explains_nothing() -> None:
    assert explained_variance(X, np.broadcast_to(X.mean(axis=0), X.shape)) == pytest.approx(0)
    assert explained_variance(X, X) == 1


def test_what_cannot_be_mapped_is_refused() -> None:
    with pytest.raises(UniversalityError, match="unknown kind of map 'linear'; choose one of identity, orthogonal"):
        fit_map(X, X, "linear")  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match=r"of the same tokens, found shapes \(2000, 10\) and \(5, 10\)"):
        fit_map(X, X[:5])
    with pytest.raises(MismatchError, match="activations 10 and 12 wide have no identity"):
        fit_map(X, SHEARED, "identity")
    with pytest.raises(UniversalityError, match=r"between 10 and 12 dimensions needs more tokens .*, found 12"):
        fit_map(X[:12], SHEARED[:12], "affine")
    with pytest.raises(UniversalityError, match="not finite, or do not vary"):
        fit_map(X, 0 * X)
    with pytest.raises(UniversalityError, match="not finite, or do not vary"):
        fit_map(X, X * np.nan)
