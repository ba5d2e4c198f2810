"""Drawing dead features anew."""

from __future__ import annotations

import numpy as np
import torch
from torch.testing import assert_close

from universality.sae.compute.weights import Weights
from universality.sae.training.adam import Adam
from universality.sae.training.resampling import ENCODER_SHARE, Reservoir, resample

CPU = torch.device("cpu")


def test_a_reservoir_draws_in_proportion_to_weight_whatever_the_batches() -> None:
    weights = torch.tensor([0.0, 1, 2, 3, 4])
    inputs = torch.eye(5)
    drawn = np.zeros(5)
    for seed in range(4000):
        rng, reservoir = np.random.default_rng(seed), Reservoir(5, 1, CPU)
        for part in (slice(0, 2), slice(2, 3), slice(3, 5)):
            reservoir.add(inputs[part], weights[part], rng)
        drawn += reservoir.inputs[0].numpy()
    assert drawn[0] == 0
    np.testing.assert_allclose(drawn[1:] / 4000, [0.1, 0.2, 0.3, 0.4], atol=0.03)


def test_a_reservoir_is_without_replacement_and_bounded() -> None:
    reservoir = Reservoir(3, 4, CPU)
    for step in range(5):
        reservoir.add(
            torch.full((3, 3), float(step)) + torch.arange(3)[:, None] / 10, torch.ones(3), np.random.default_rng(step)
        )
    assert reservoir.inputs.shape == (4, 3)
    assert len(reservoir.inputs.unique(dim=0)) == 4
    assert (reservoir.keys.diff() <= 0).all()
    reservoir.clear()
    assert reservoir.inputs.shape == (0, 3)


def random_weights(seed: int = 0) -> tuple[Weights, Adam]:
    generator = torch.Generator().manual_seed(seed)
    weights = Weights(*(torch.randn(*shape, generator=generator) for shape in ((6, 4), (6,), (6, 4), (4,), (6,))))
    adam = Adam(weights.tensors(), 0.9, 0.99, 1e-8)
    for name, tensor in weights.tensors().items():
        adam.update(name, torch.ones_like(tensor), 0.01, 0)
    return weights, adam


def test_dead_features_get_directions_and_a_fresh_optimizer() -> None:
    weights, adam = random_weights()
    before, _ = random_weights()
    dead, inputs = torch.tensor([1, 4]), torch.randn(3, 4, generator=torch.Generator().manual_seed(7))
    changed = resample(weights, adam, dead, inputs, log_threshold=-2.0)
    assert changed.tolist() == [1, 4]
    direction = (inputs[:2] - weights.b_dec) / (inputs[:2] - weights.b_dec).norm(dim=1, keepdim=True)
    living = [0, 2, 3, 5]
    assert_close(weights.W_dec[dead], direction)
    assert_close(weights.W_enc[dead], direction * ENCODER_SHARE * before.W_enc[living].norm(dim=1).mean())
    assert weights.b_enc[dead].tolist() == [0, 0]
    assert weights.log_threshold is not None
    assert weights.log_threshold[dead].tolist() == [-2, -2]
    for moments in (adam.first, adam.second):
        for name, moment in moments.items():
            if name == "b_dec":
                assert moment.all()
            else:
                assert not moment[dead].any()
                assert moment[living].all()
    for name, tensor in before.tensors().items():
        rows = slice(None) if name == "b_dec" else living
        assert_close(weights.tensors()[name][rows], tensor[rows], rtol=0, atol=0)


def test_no_more_features_than_inputs_are_drawn() -> None:
    weights, adam = random_weights()
    before = weights.W_dec.clone()
    assert resample(weights, adam, torch.arange(6), torch.ones(2, 4)).tolist() == [0, 1]
    assert_close(weights.W_dec[2:], before[2:], rtol=0, atol=0)
    assert resample(weights, adam, torch.arange(6), torch.ones(0, 4)).tolist() == []
