"""Scale, centre and first weights."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from universality.sae.activation_summary import summarise
from universality.sae.training.initialisation import initial_weights


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


def test_dictionaries_of_two_widths_start_apart() -> None:
    """A shared start would carry feature i of one width to feature i of the next: persistence that is none."""
    summary = summarise(torch.randn(100, 64, generator=torch.Generator().manual_seed(0)))
    small, large = (initial_weights(width, summary, seed=0).W_dec for width in (128, 256))
    assert (small @ large.T).max() < 0.8
    assert (small @ initial_weights(128, summary, seed=0).W_dec.T).diagonal().min() > 0.999
