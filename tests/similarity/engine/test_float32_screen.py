"""Partners from float32 products settled in float64 are those of float64, ties and large numbers included."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.similarity import Similarity
from universality.similarity.engine import float32_screen as screen

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("factors", ["random", "duplicates", "rank one", "all equal", "large", "huge"])
def test_screened_equals_float64(factors: str) -> None:
    x, y = RNG.standard_normal((150, 12)), RNG.standard_normal((190, 12))
    if factors == "duplicates":
        x, y = x[RNG.integers(0, 9, 150)], y[RNG.integers(0, 9, 190)]
    if factors == "rank one":
        x, y = x[:, :1], y[:, :1]
    if factors == "all equal":
        x, y = np.ones((150, 1)), np.ones((190, 1))
    scale = {"large": 1e12, "huge": 1e30}.get(factors, 1.0)
    sim = Similarity.from_factors(scale * x, scale * y)
    whole = Similarity.from_dense(sim.dense())
    for found, wanted in zip(sim.topk(5, axis=None), whole.topk(5, axis=None), strict=True):
        assert_allclose(found[1], wanted[1], rtol=1e-12)
        if factors not in ("duplicates",):  # equal up to the order in which a product is summed
            assert_array_equal(found[0], wanted[0])


def test_the_float32_error_bound_holds() -> None:
    """The control: keys in float32 are off, and by less than the bound."""
    x, y = RNG.standard_normal((200, 256)), RNG.standard_normal((300, 256))
    source = Similarity.from_factors(x, y)._source
    error = screen._error(source, np.zeros(300), np.zeros(200))  # type: ignore[arg-type]
    off = np.abs((x.astype(np.float32) @ y.astype(np.float32).T).astype(np.float64) - x @ y.T)
    assert (off > 0).any()
    assert (off <= error[:200, None]).all()
    assert (off <= error[200:]).all()
