"""Explained variance of the median token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from outlying_tokens import train, with_outliers

from universality.sae import SAE, Quality
from universality.sae.activation_summary import geometric_median
from universality.statistics.sae_acceptance import faults

if TYPE_CHECKING:
    from tests.sae.conftest import Superposition


def test_the_typical_figure_cannot_be_bought() -> None:
    """An SAE that knows the outlying direction alone explains nearly all of the variance, and nothing of a token."""
    x = with_outliers(torch.randn(3000, 24, generator=torch.Generator().manual_seed(0)), 300)
    row = torch.nn.functional.one_hot(torch.tensor([5]), 24).float()
    sae = SAE(row.T, torch.tensor([-100.0]), row, 100 * row[0] * 0, "relu")
    quality = Quality(sae)
    for part in x.split(700):
        quality.update(part)
    report = quality.compute()
    typical = report.as_dict()["typical_explained_variance"]
    assert report.explained_variance > 0.98
    assert typical == pytest.approx(0, abs=0.01)
    assert report.as_dict()["outlying_tokens"]["share"] == pytest.approx(12 / 3000)
    assert report.as_dict()["outlying_tokens"]["variance"] > 0.99
    (found,) = faults(
        width=64, explained_variance=report.explained_variance, l0=1.0, dead_share=0, loss_recovered=1,
        typical_explained_variance=typical,
    )  # fmt: skip
    assert found.measure == "typical_explained_variance"
    assert " of the median token: a few tokens of large norm decide the former" in found.text


def test_typical_is_the_median_over_tokens_for_any_batches(small_toy: Superposition) -> None:
    sae, _ = train(small_toy.activations, steps=20)
    x = small_toy.activations[:6000]
    found = []
    for size in (6000, 900):
        quality = Quality(sae)
        for part in x.split(size):
            rows = part.clone()
            quality.update(rows)
            rows.zero_()  # the caller may use its memory again
        found.append(quality.compute().typical.explained_variance)
    errors = (sae.reconstruct(x) - x).double().square().sum(dim=1)
    expected = (1 - errors / (x - geometric_median(x[:4096])).double().square().sum(dim=1)).numpy()
    assert found == pytest.approx([np.median(expected)] * 2, abs=0.002)
