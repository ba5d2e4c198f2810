"""Scale, centre and first weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close

from universality.errors import ModelError
from universality.sae.activation_summary import geometric_median, summarise
from universality.sae.training.initialisation import initial_weights


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


def test_initial_weights_follow_the_seed() -> None:
    summary = summarise(torch.randn(100, 16, generator=torch.Generator().manual_seed(0)) + 2)
    first, again, other = (initial_weights(64, summary, seed) for seed in (0, 0, 1))
    assert_close(first.W_dec, again.W_dec, rtol=0, atol=0)
    assert not torch.equal(first.W_dec, other.W_dec)
    assert_close(first.W_dec.norm(dim=1), torch.ones(64))
    assert_close(first.W_enc, first.W_dec, rtol=0, atol=0)
    assert first.W_enc.data_ptr() != first.W_dec.data_ptr()
    assert_close(first.b_dec, summary.centre * summary.scale)
    assert not first.b_enc.any()


def test_the_first_reconstruction_is_as_large_as_its_input() -> None:
    x = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
    for d_sae, threshold, expected in ((8, 0.0, 0.25), (32, 0.0, 1), (4096, 0.0, 1), (64, 1.0, 1), (4096, 1.0, 1)):
        weights = initial_weights(d_sae, summarise(x), 0, threshold or None, match_size=True)
        pre = x @ weights.W_enc.T
        found = torch.where(pre > threshold, pre, 0) @ weights.W_dec
        assert float((found * x).sum() / x.square().sum()) == pytest.approx(expected, rel=0.25)
        assert (weights.log_threshold is None) == (threshold == 0)
    assert float((x @ initial_weights(4096, summarise(x), 0).W_enc.T).relu().sum()) > 100 * float(x.norm(dim=1).sum())


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


def test_dictionaries_of_two_widths_start_apart() -> None:
    """A shared start would carry feature i of one width to feature i of the next: persistence that is none."""
    summary = summarise(torch.randn(100, 64, generator=torch.Generator().manual_seed(0)))
    small, large = (initial_weights(width, summary, seed=0).W_dec for width in (128, 256))
    assert (small @ large.T).max() < 0.8
    assert (small @ initial_weights(128, summary, seed=0).W_dec.T).diagonal().min() > 0.999
