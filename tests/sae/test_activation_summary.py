"""Scale and centre of activations before training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close

from universality.errors import ModelError
from universality.sae import summarise
from universality.sae.activation_summary import FEW, OUTLYING, geometric_median


def test_geometric_median_minimises_the_sum_of_distances() -> None:
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).double() ** 3
    found = geometric_median(rows, tolerance=1e-10, max_iterations=2000).numpy()
    start = rows.numpy().mean(axis=0)
    exact = minimize(lambda p: np.linalg.norm(rows.numpy() - p, axis=1).sum(), start, tol=1e-12).x
    np.testing.assert_allclose(found, exact, atol=1e-4)
    assert np.linalg.norm(start - exact) > 0.01, "the mean would have passed"


def test_geometric_median_ignores_a_far_minority() -> None:
    rows = torch.cat([torch.zeros(70, 2), torch.tensor([[1e6, -1e6]]).expand(30, 2)])
    assert_close(geometric_median(rows, max_iterations=1000), torch.zeros(2), atol=1.0, rtol=0)


def test_geometric_median_that_meets_a_row_stays_finite() -> None:
    rows = torch.tensor([[-1.0, 0], [0, 0], [1, 0]])
    assert_close(geometric_median(rows), torch.zeros(2), atol=1e-4, rtol=0)


def test_scale_makes_the_mean_squared_norm_d_in() -> None:
    sample = 7 * torch.randn(500, 20, generator=torch.Generator().manual_seed(0)) + 3
    scaled = sample * summarise(sample).scale
    assert float(scaled.square().sum(dim=1).mean()) == pytest.approx(20, rel=1e-5)


def test_a_large_sample_is_thinned_evenly() -> None:
    sample = torch.linspace(1, 3, 40_000)[:, None].expand(-1, 4).clone()
    assert_close(summarise(sample).centre, torch.full((4,), 2.0), atol=0.01, rtol=0)


def test_bad_samples_are_refused() -> None:
    good = torch.randn(10, 4)
    with pytest.raises(ModelError, match=r"expected a sample of activations .* found shape \(4,\)"):
        summarise(good[0])
    with pytest.raises(ModelError, match=r"found shape \(1, 4\)"):
        summarise(good[:1])
    with pytest.raises(ModelError, match="all 10 rows of the sample of activations are the same"):
        summarise(torch.ones(10, 4))
    with pytest.raises(ModelError, match="all 10 rows of the sample of activations are the same"):
        summarise(3 + 1e-6 * good)
    with pytest.raises(ModelError, match=r"mean squared norm of the sample .* beyond what float32 can square"):
        summarise(1e30 * good)
    bad = good.clone()
    bad[6, 2] = torch.nan
    with pytest.raises(ModelError, match="holds NaN or infinity, first at row 6, column 2"):
        summarise(bad)


def test_what_is_outlying_in_many_tokens_is_no_exception() -> None:
    """A tenth of the tokens holds nearly all of the variance: it is what there is to learn."""
    x = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    x[::10] *= 100
    summary = summarise(x)
    assert summary.outlying_share > FEW
    assert summary.outlying_variance > 0.99
    assert not summary.dominant
    assert float((x * summary.scale).square().sum(dim=1).mean()) == pytest.approx(16, rel=1e-4)
    assert OUTLYING == 10
