"""The best of several scores against the best of as many: how often chance counts as a finding."""

import numpy as np

from universality.arrays import FloatArray
from universality.labels.best_of_several import own_p, pooled_best_p
from universality.statistics.pooled_p import corrected

N, R, K = 20, 20, 5


def scores(rng: np.random.Generator, unequal: bool) -> FloatArray:
    """Scores [N, R + 1, K] without any finding; concepts may differ in mean and spread, and some features are alike."""
    mean = rng.normal(0.5, 0.08 if unequal else 0, (N, 1, 1))
    spread = 0.05 * np.exp(rng.normal(0, 0.5 if unequal else 0, (N, 1, 1)))
    values = mean + spread * rng.normal(size=(N, R + 1, K))
    return np.round(values * 60) / 60


def rates(unequal: bool, best_of: int) -> tuple[float, float]:
    """Share of p <= 0.05, and share of worlds with a finding, where the null takes the best of ``best_of``."""
    rng = np.random.default_rng(3)
    small, findings = [], []
    for _ in range(150):
        values = scores(rng, unequal)
        observed, null = values[:, 0].max(axis=1), values[:, 1:, :best_of].max(axis=2)
        p = pooled_best_p(observed, null)
        q, _ = corrected(p, 0, 0.05)
        small.append(np.mean(p <= 0.05))
        findings.append(np.any((q <= 0.05) & (own_p(observed, null) <= 0.05)))
    return float(np.mean(small)), float(np.mean(findings))


def test_chance_is_a_finding_as_rarely_as_the_level_says() -> None:
    for unequal in (False, True):
        small, findings = rates(unequal, best_of=K)
        assert 0.03 < small < 0.07
        assert findings < 0.1  # 0.05 and three standard errors of 150 worlds


def test_the_best_of_several_against_single_scores_is_no_null() -> None:
    """The control: what the comparison would find if the null did not choose the best."""
    small, findings = rates(unequal=False, best_of=1)
    assert small > 0.15
    assert findings > 0.15


def test_unknown_scores() -> None:
    null = np.full((3, 20), 0.5)
    null[1, 2:] = np.nan
    null[2, :10] = np.nan
    observed = np.array([np.nan, 0.9, 0.9])
    p = pooled_best_p(observed, null)
    assert np.isnan(p[0])
    assert np.isnan(p[1])  # two null scores have no spread
    assert p[2] == 1 / 31
    assert np.isnan(own_p(observed, null)[0])
    assert own_p(observed, null)[1:].tolist() == [1 / 3, 1 / 11]
    assert np.isnan(pooled_best_p(np.array([0.9]), np.full((1, 3), np.nan))).all()


def test_a_constant_null_gives_no_finding_by_rounding() -> None:
    assert pooled_best_p(np.array([0.1 + 0.2]), np.full((1, 20), 0.3)).tolist() == [1.0]
