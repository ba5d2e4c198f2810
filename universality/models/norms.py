"""What a norm does, measured: vectors go through it, and each of its outputs is regressed on what it normalised.

Families store a norm's gain as w or as 1 + w, centre or do not, and name it in many ways. What it does to 96 vectors
leaves no doubt:

    y = gain · (x [− mean x]) / scale(x) + bias        or, where nothing is divided by a scale,  y = gain · x + bias
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.errors import ModelError

N_VECTORS = 96
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_TOLERANCE_HALF = 3e-2  # bfloat16 has 8 bits
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Norm:
    """A norm with its scale held fixed is this linear map, up to that scale.

    Attributes
    ----------
    gain, bias
        float32 [d].
    centred
        Whether the mean over the dimensions is taken off first (LayerNorm does, RMSNorm does not).
    """

    gain: NDArray[np.float32]
    bias: NDArray[np.float32]
    centred: bool

    def apply(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """What becomes of directions [n, d]; the scale, which differs from token to token, and the bias left out."""
        centred = directions - directions.mean(axis=1, keepdims=True) if self.centred else directions
        return (centred * self.gain).astype(np.float32)


def no_norm(d_model: int) -> Norm:
    """What stands where a model has no norm."""
    return Norm(np.ones(d_model, np.float32), np.zeros(d_model, np.float32), False)


def measure_norm(
    norm: Callable[[Tensor], Tensor],
    d_model: int,
    *,
    name: str,
    weights: Iterable[Tensor] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Norm:
    """Find a norm's gain, bias and centring from what it makes of ``N_VECTORS`` vectors.

    Parameters
    ----------
    norm
        From [1, n, d_model] to the same shape.
    d_model
        Dimensions.
    name
        Of the norm, for errors.
    weights
        Its parameters. A measured gain that is w, 1 + w or 1 to rounding is taken to be exactly that.
    device, dtype
        Of the vectors.

    Raises
    ------
    ModelError
        If what comes out is no such function of what goes in.
    """
    x = _vectors(d_model)
    try:
        with torch.no_grad():
            y = norm(x.to(device, dtype)[None])[0].double().cpu()
    except Exception as error:
        raise ModelError(f"{name}: the norm cannot be measured: {error}") from error
    fits = {kind: _regress(normalised, y) for kind, normalised in _normalised(x.double()).items()}
    kind, (gain, bias, residual) = min(fits.items(), key=lambda fit: fit[1][2])
    tolerance = _TOLERANCE.get(dtype, _TOLERANCE_HALF)
    if not residual <= tolerance:
        raise ModelError(
            f"{name}: expected a LayerNorm or an RMSNorm, a gain times the normalised input plus a bias; found a "
            f"relative residual of {residual:.1g} (at most {tolerance:g}), so the model's logit weights are unknown"
        )
    return Norm(_exact(gain.float(), weights).numpy(), bias.float().numpy(), kind == "centred")


def _vectors(d_model: int) -> Tensor:
    """Vectors of various lengths whose means are not 0, so that centring shows."""
    made = torch.Generator().manual_seed(0)
    length = torch.logspace(0, 1.5, N_VECTORS)[torch.randperm(N_VECTORS, generator=made)][:, None]
    shift = torch.randn(N_VECTORS, 1, generator=made)
    return length * (torch.randn(N_VECTORS, d_model, generator=made) + shift)


def _normalised(x: Tensor) -> dict[str, Tensor]:
    centred = x - x.mean(1, keepdim=True)
    return {
        "centred": centred / centred.square().mean(1, keepdim=True).sqrt(),
        "not centred": x / x.square().mean(1, keepdim=True).sqrt(),
        "no norm": x,
    }


def _regress(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
    """Slope and intercept of every column of y on that of x, and the largest residual relative to all of y."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    deviation = x - mean_x
    slope = (deviation * (y - mean_y)).sum(0) / deviation.square().sum(0)
    left = y - mean_y - slope * deviation
    size = y.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return slope, mean_y - slope * mean_x, (left.square().mean(0).sqrt().max() / size).item()


def _exact(gain: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """The stored numbers that a measured gain is, to rounding; else as measured."""
    stored = [w.detach().float().cpu() for w in weights if w.shape == gain.shape]
    for candidate in [*stored, *(1 + w for w in stored), torch.ones_like(gain)]:
        if torch.allclose(gain, candidate, rtol=_ROUNDING, atol=_ROUNDING * candidate.abs().max().item()):
            return candidate.contiguous()
    return gain
