"""Quality against the formulas on whole arrays."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from universality.errors import MismatchError, ModelError
from universality.sae import SAE, Quality, loss_recovered

if TYPE_CHECKING:
    from tests.sae.conftest import RandomSAE


def activations() -> torch.Tensor:
    return torch.randn(1000, 24, generator=torch.Generator().manual_seed(3)) + 100


def test_streaming_equals_the_formulas(random_sae: RandomSAE) -> None:
    sae, x = random_sae(), activations()
    quality = Quality(sae)
    quality.update(x[:300])
    quality.update(x[300:], sae.encode(x[300:]))
    report = quality.compute()
    features = sae.encode(x)
    error = sae.decode(features).astype(np.float64) - x.double().numpy()
    variance = ((x.double() - x.double().mean(dim=0)) ** 2).sum()
    assert report.n_tokens == 1000
    assert report.explained_variance == pytest.approx(1 - (error**2).sum() / float(variance), rel=1e-5)
    assert report.mse == pytest.approx((error**2).mean(), rel=1e-6)
    assert report.l0 == features.nnz / 1000
    np.testing.assert_array_equal(report.density, features.getnnz(axis=0) / 1000)
    assert report.alive_share == np.mean(report.density > 0)
    torch.testing.assert_close(quality.mean, x.mean(dim=0))


def test_density_histogram_counts_the_living(random_sae: RandomSAE) -> None:
    sae, x = random_sae(), activations()
    quality = Quality(sae)
    quality.update(x)
    report = quality.compute()
    counts, edges = report.density_histogram()
    assert (edges[0], edges[-1]) == (-3, 0)
    assert counts.sum() == round(report.alive_share * sae.d_sae)
    assert json.loads(json.dumps(report.as_dict()))["log10_density"]["counts"] == counts.tolist()


def test_no_tokens_and_constant_tokens_are_refused(random_sae: RandomSAE) -> None:
    quality = Quality(random_sae())
    with pytest.raises(ModelError, match="found 0 tokens without variance"):
        quality.compute()
    quality.update(torch.ones(5, 24))
    with pytest.raises(ModelError, match="found 5 tokens without variance"):
        quality.compute()


def test_loss_recovered_orders_the_replacements(random_sae: RandomSAE) -> None:
    """A model whose loss is its activations' squared distance from the clean ones, plus 2."""
    sae, x = random_sae(), activations()
    quality = Quality(sae)
    quality.update(x)

    def loss_with(replace):  # type: ignore[no-untyped-def]
        return 2 + float((replace(x) - x).square().mean())

    found = loss_recovered(sae, loss_with, quality.mean)
    report = quality.compute()
    assert found.clean == 2
    assert found.spliced == pytest.approx(2 + report.mse, rel=1e-5)
    assert found.zero == pytest.approx(2 + float(x.square().mean()))
    assert found.over_mean == pytest.approx(report.explained_variance, rel=1e-3)
    assert found.over_zero == pytest.approx(1 - report.mse / float(x.square().mean()), rel=1e-3)
    assert found.as_dict()["recovered_over_zero"] == found.over_zero


def test_an_ablation_that_does_no_harm_recovers_nothing_known(random_sae: RandomSAE) -> None:
    found = loss_recovered(random_sae(), lambda replace: 1.0, torch.zeros(24))
    assert math.isnan(found.over_zero)
    assert found.as_dict()["recovered_over_zero"] is None


def test_a_transcoder_is_measured_against_what_it_writes() -> None:
    weights = (torch.eye(2), torch.zeros(2), torch.tensor([[2.0, 0, 1], [0, 1, 1]]), torch.zeros(3))
    transcoder = SAE(*weights, architecture="relu", apply_b_dec_to_input=False, transcoder=True)
    x = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    y = x @ transcoder.W_dec
    quality, off = Quality(transcoder), Quality(transcoder)
    quality.update(x, target=y)
    off.update(x, target=y + torch.tensor([0, 0, 0.5]))
    assert quality.compute().explained_variance == 1
    torch.testing.assert_close(quality.mean, y.mean(dim=0))
    assert off.compute().mse == pytest.approx(0.25 / 3)
    with pytest.raises(MismatchError, match=r"needs the activations at the hook where it writes, update"):
        quality.update(x)
    with pytest.raises(MismatchError, match=r"expected target \[3, 3\], found shape \[3, 2\]"):
        quality.update(x, target=x)


def test_an_sae_has_no_target_besides_its_input(random_sae: RandomSAE) -> None:
    with pytest.raises(MismatchError, match="reconstructs the activations that it reads: give no target"):
        Quality(random_sae()).update(activations(), target=activations())
    with pytest.raises(MismatchError, match="loss_through is for transcoders; an SAE writes where it reads"):
        loss_recovered(random_sae(), lambda _: 0.0, torch.zeros(24), lambda _: 0.0)
