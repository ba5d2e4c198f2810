import numpy as np
import pytest

from universality.statistics.co_firing_effects import CoFiring, pearson
from universality.statistics.slope_permutation import MIN_UNITS, _movable, slope_test

ONE_KIND = np.zeros(100, np.int64)


def pair(rng: np.random.Generator, n_units: int, n: int, shared: float, of_unit: float = 0.7) -> CoFiring:
    """Two features with shared strengths and norms; slopes of a unit resemble each other and are shared partly."""
    size = rng.lognormal(0, 0.7, n_units)
    unit = np.sort(rng.choice(n_units, n, p=size / size.sum()))
    strength = rng.gamma(2, 0.5, n)
    norm = np.exp(rng.normal(size=n) + 0.5 * rng.normal(size=n_units)[unit])

    def slopes() -> np.ndarray:
        return of_unit * rng.normal(size=n_units)[unit] + rng.normal(size=n)

    a = slopes()
    b = shared * a + np.sqrt(1 - shared**2) * slopes()
    f_a, f_b = (strength * np.exp(0.2 * rng.normal(size=n)) for _ in range(2))
    u_a, u_b = f_a * (a - 0.5), f_b * (b - 0.5)
    return CoFiring(unit, f_a, f_b, u_a * norm, u_b * norm, u_a, u_b)


def naive_p(pair: CoFiring, rng: np.random.Generator, draws: int = 99) -> float:
    """Single effects permuted over all tokens, whatever their document, strength and norm."""
    reached = sum(pearson(rng.permutation(pair.effect_a), pair.effect_b) >= pair.r for _ in range(draws))
    return (1 + reached) / (1 + draws)


@pytest.mark.parametrize("n_units", [8, 30])
def test_independent_slopes_pass_as_often_as_they_may_and_a_naive_permutation_passes_far_too_many(n_units: int) -> None:
    rng = np.random.default_rng(n_units)
    pairs = [pair(rng, n_units, 200, shared=0.0) for _ in range(300)]
    tests = [slope_test(one, ONE_KIND, 199, (0, k, 0)) for k, one in enumerate(pairs)]
    p, opposite = (np.array([getattr(test, name) for test in tests]) for name in ("p", "p_opposite"))
    known = ~np.isnan(p)
    assert known.mean() > 0.9
    # 5% of 300 have a standard error of 1.3%
    assert (p[known] <= 0.05).mean() <= 0.09
    assert (opposite[known] <= 0.05).mean() <= 0.09
    # the control that must fail
    assert np.mean([naive_p(one, rng) <= 0.05 for one in pairs[:100]]) > 0.3


def test_shared_slopes_are_found_and_opposite_ones_are_found_as_such() -> None:
    rng = np.random.default_rng(1)
    same = [slope_test(pair(rng, 30, 300, 0.6), ONE_KIND, 199, (0, k, 0)) for k in range(20)]
    other = [slope_test(pair(rng, 30, 300, -0.6), ONE_KIND, 199, (0, k, 0)) for k in range(20)]
    assert np.mean([test.p <= 0.05 for test in same]) > 0.9
    assert np.mean([test.p_opposite <= 0.05 for test in other]) > 0.9
    assert min(test.p for test in other) > 0.5
    assert min(test.p for test in same) == 1 / 200


def test_p_is_bounded_by_the_number_of_units_however_many_tokens_they_hold() -> None:
    """All sums of six units have one sign by chance in 1 of 64 cases."""
    rng = np.random.default_rng(2)
    tests = [slope_test(pair(rng, 6, 2_000, 0.95), ONE_KIND, 999, (0, k, 0)) for k in range(30)]
    p = np.array([test.p for test in tests if not test.reason])
    assert p.size > 15
    assert p.min() > 0.006


def test_the_null_keeps_the_r_that_equal_strengths_give() -> None:
    rng = np.random.default_rng(3)
    n = 20_000
    strength = rng.gamma(2, 0.5, n)
    u_a, u_b = (strength * (rng.normal(size=n) - 2) for _ in range(2))
    unit = np.sort(rng.integers(50, size=n))
    test = slope_test(CoFiring(unit, strength, strength, u_a, u_b, u_a, u_b), ONE_KIND, 99, (0, 0, 0))
    r = pearson(u_a, u_b)
    assert r > 0.3
    assert abs(test.null_r - r) < 0.03
    assert 0.01 < test.p < 0.99


def test_the_result_depends_on_the_seed_and_on_nothing_else() -> None:
    one = pair(np.random.default_rng(4), 20, 200, 0.1)
    assert slope_test(one, ONE_KIND, 99, (0, 1, 2)) == slope_test(one, ONE_KIND, 99, (0, 1, 2))
    p = {slope_test(one, ONE_KIND, 99, (seed, 1, 2)).p for seed in range(6)}
    assert len(p) > 1


def test_too_few_units_or_one_that_holds_most_give_no_p() -> None:
    rng = np.random.default_rng(5)
    few = slope_test(pair(rng, MIN_UNITS - 1, 200, 0.9), ONE_KIND, 99, (0, 0, 0))
    assert np.isnan([few.p, few.p_opposite]).all()
    assert "too few documents" in few.reason
    one = pair(rng, 30, 200, 0.9)
    most = one._replace(segment=np.where(np.arange(200) < 150, 0, one.segment + 1))
    assert np.isnan(slope_test(most, ONE_KIND, 99, (0, 0, 0)).p)
    # the same units in kinds of their own cannot be exchanged either
    assert np.isnan(slope_test(one, np.arange(100), 99, (0, 0, 0)).p)
    assert "no permutations" in slope_test(one, ONE_KIND, 0, (0, 0, 0)).reason


def test_kinds_in_which_one_unit_holds_more_than_half_stay_in_place() -> None:
    starts = np.array([0, 5, 10, 15, 18])
    assert _movable(starts, np.array([0, 3]), 40).tolist() == [True, True, True, False, False]


def test_slopes_that_never_vary_agree_no_more_than_by_chance() -> None:
    n, unit = 200, np.repeat(np.arange(20), 10)
    strength = np.random.default_rng(6).gamma(2, 0.5, n)
    test = slope_test(
        CoFiring(unit, strength, strength, strength, strength, strength, strength), ONE_KIND, 99, (0, 0, 0)
    )
    assert test.p == test.p_opposite == 1
