"""A norm is measured by what it does, whatever its weight is called."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from universality.errors import ModelError
from universality.models.norms import measure_norm, no_norm

D = 40


def drawn(n: int) -> Tensor:
    return 0.5 + 0.3 * torch.randn(D, generator=torch.Generator().manual_seed(n))


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def layer_norm(bias: bool = True) -> nn.LayerNorm:
    norm = nn.LayerNorm(D, bias=bias)
    with torch.no_grad():
        norm.weight.copy_(drawn(1))
        if bias:
            norm.bias.copy_(drawn(2))
    return norm


W, B = drawn(1), drawn(2)
KINDS = {
    "LayerNorm": (layer_norm(), W, B, True),
    "without a bias": (layer_norm(bias=False), W, 0 * B, True),
    "RMSNorm": (lambda x: rms(x) * W, W, 0 * B, False),
    "RMSNorm by 1 + w": (lambda x: rms(x) * (1 + W), 1 + W, 0 * B, False),
    "LayerNorm by 1 + w": (lambda x: rms(x - x.mean(-1, keepdim=True)) * (1 + W) + B, 1 + W, B, True),
    "without weights": (nn.LayerNorm(D, elementwise_affine=False), torch.ones(D), 0 * B, True),
    "by the length": (lambda x: x / x.norm(dim=-1, keepdim=True) * W, W / D**0.5, 0 * B, False),
    "no norm": (nn.Identity(), torch.ones(D), 0 * B, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_gain_bias_and_centring_are_found(kind: str) -> None:
    norm, gain, bias, centred = KINDS[kind]
    found = measure_norm(norm, D, name=kind, weights=[B, W])
    assert_allclose(found.gain, gain, rtol=1e-5, atol=1e-6)
    assert_allclose(found.bias, bias, atol=1e-5)
    assert found.centred == centred
    if kind != "by the length":  # a number that the file holds is taken to the last bit
        assert_array_equal(found.gain, gain)
    other = measure_norm(norm, D, name=kind, weights=[B])
    assert_allclose(other.gain, gain, rtol=1e-5, atol=1e-6)


def test_a_norm_is_applied_as_its_linear_part() -> None:
    norm = measure_norm(layer_norm(), D, name="norm")
    x, step = torch.randn(1, D) * 3 + 1, torch.randn(5, D)
    scale = x.var(correction=0).sqrt()
    jacobian = torch.autograd.functional.jacobian(layer_norm(), x)[0, :, 0]
    centred = (x - x.mean()) / scale
    frozen = jacobian + torch.from_numpy(norm.gain)[:, None] * centred[0][:, None] * centred / scale / D
    assert_allclose(norm.apply(step.numpy()) / scale.item(), (step @ frozen.T).numpy(), atol=1e-4)
    assert_array_equal(no_norm(D).apply(step.numpy()), step.numpy())


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        (torch.tanh, r"ln_final: expected a LayerNorm or an RMSNorm, .* found a relative residual of 0\.\d"),
        (lambda x: rms(x) * (W + 0.01 * x.mean(-1, keepdim=True)), "found a relative residual"),
        (lambda x: rms(x)[..., torch.randperm(D)], "found a relative residual"),
        (nn.Linear(D + 1, D), "ln_final: the norm cannot be measured: "),
        (lambda x: rms(x) * torch.nan, "found a relative residual of nan"),
    ],
)
def test_what_is_no_norm_is_refused(norm, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        measure_norm(norm, D, name="ln_final")


def test_half_precision_is_measured_within_its_rounding() -> None:
    norm = layer_norm().to(torch.bfloat16)
    found = measure_norm(norm, D, name="norm", weights=list(norm.parameters()), dtype=torch.bfloat16)
    assert_allclose(found.gain, W, rtol=0.05, atol=0.02)
    assert found.centred


def test_gains_are_finite_where_a_weight_is_zero() -> None:
    assert np.abs(measure_norm(lambda x: rms(x) * 0, D, name="norm").gain).max() < 1e-6
