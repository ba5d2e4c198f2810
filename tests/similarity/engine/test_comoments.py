"""Sides must pair up; co-moments equal dense products whatever the path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from planted import dense, text, write_store

from universality.errors import UniversalityError
from universality.similarity.engine import comoments
from universality.similarity.engine.comoments import CoMoments
from universality.similarity.engine.side_moments import measure_side
from universality.similarity.engine.store_rows import StoreRows

SEEN = text(3)


@given(
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 1000),
    in_memory=st.booleans(),
    dense_share=st.sampled_from([-1.0, 2.0]),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_paths_equal_dense_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, density: float, seed: int, in_memory: bool, dense_share: float
) -> None:
    monkeypatch.setattr(comoments, "DENSE_SHARE", dense_share)
    rng = np.random.default_rng(seed)
    shapes = ((SEEN.n_tokens, 7), (SEEN.n_tokens, 5))
    a, b = (
        write_store(tmp_path / name, (rng.random(s) < density) * rng.uniform(0.1, 9, s), SEEN)
        for name, s in zip(("a.h5", "b.h5"), shapes, strict=True)
    )
    rows = np.arange(SEEN.n_tokens)
    co = CoMoments(*(measure_side(StoreRows.open(s, in_memory), rows) for s in (a, b)), 1 << 30)
    assert co.dense == (dense_share < 0)
    x, y = dense(a), dense(b)
    wanted = np.array([6, 0, 3])
    assert_allclose(co.block("covariance", wanted), ((x - x.mean(0)).T @ (y - y.mean(0)) / len(x))[wanted], atol=1e-9)
    fires_x, fires_y = (x > 0).astype(float), (y > 0).astype(float)
    sums = np.stack([x.T @ y, (x * x).T @ fires_y, fires_x.T @ (y * y), fires_x.T @ fires_y], axis=1)
    assert_allclose(co.block("masked", wanted), sums[wanted], rtol=1e-9, atol=1e-9)


def test_sides_of_two_lengths_are_refused(tmp_path: Path) -> None:
    rows = StoreRows.open(write_store(tmp_path / "a.h5", np.ones((SEEN.n_tokens, 2)), SEEN), True)
    with pytest.raises(UniversalityError, match="sides must pair up: 5 positions of one, 4 of the other"):
        CoMoments(measure_side(rows, np.arange(5)), measure_side(rows, np.arange(4)), 1 << 30)


def test_the_transpose_reuses_what_was_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An assignment works from the side with fewer features, and the products take most of its time."""
    rng = np.random.default_rng(0)
    a, b = (
        write_store(tmp_path / name, (rng.random(shape) < 0.2) * rng.uniform(0.1, 9, shape), SEEN)
        for name, shape in (("a.h5", (SEEN.n_tokens, 7)), ("b.h5", (SEEN.n_tokens, 5)))
    )
    rows = np.arange(SEEN.n_tokens)
    co = CoMoments(*(measure_side(StoreRows.open(s, True), rows) for s in (a, b)), 1 << 30)
    block = co.block("covariance", np.arange(7))
    anew = co.without_blocks().transposed().block("covariance", np.arange(5))
    monkeypatch.setattr(CoMoments, "sums", None)  # a call fails
    turned = co.transposed()
    assert np.array_equal(turned.block("covariance", np.arange(5)), block.T)
    assert_allclose(block.T, anew, rtol=1e-12, atol=1e-12)
    with pytest.raises(TypeError):
        turned.block("masked", np.arange(5))
