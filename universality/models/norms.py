"""Measurement of norms: random vectors pass through a norm, and its outputs are regressed on normalised inputs.

Model families store a norm's gain as w or as 1 + w, centre or do not, and use many names. The outputs for 96 vectors
decide which of these forms holds, without a look at names:

    y = gain · (x [− mean x]) / scale(x) + bias        or, without division by a scale,        y = gain · x + bias

The scale differs from token to token. Logit weights and residual directions hold it fixed, as the norm then is a linear
map whose shape does not depend on the token: centring, gain, and one unknown positive factor per token.
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
"""Vectors per regression: two unknowns per dimension, so 96 equations each also expose a nonlinear function."""
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_TOLERANCE_HALF = 3e-2  # bfloat16 has 8 significant bits: a relative rounding of 4e-3 at each step of the norm
_ROUNDING = 1e-4  # relative difference up to which a measured gain is taken for the stored one


@dataclass(frozen=True)
class Norm:
    """Linear part of a norm: its map with the scale held fixed, up to that scale.

    Attributes
    ----------
    gain, bias
        float32 [d].
    centred
        Whether the mean over dimensions is subtracted first (LayerNorm does, RMSNorm does not).
    """

    gain: NDArray[np.float32]
    bias: NDArray[np.float32]
    centred: bool

    def apply(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map directions [n, d] through centring and gain, without the token's scale and the bias."""
        centred = directions - directions.mean(axis=1, keepdims=True) if self.centred else directions
        return (centred * self.gain).astype(np.float32)


def no_norm(d_model: int) -> Norm:
    """Return the identity, for models without a norm."""
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
    """Determine gain, bias and centring of a norm from its outputs for ``N_VECTORS`` vectors.

    Parameters
    ----------
    norm
        Function from [1, n, d_model] to the same shape.
    d_model
        Number of dimensions.
    name
        Name of the norm in error messages.
    weights
        Parameters of the norm. A measured gain that equals w, 1 + w or 1 up to rounding is replaced by that value.
    device, dtype
        Device and number format of the vectors.

    Raises
    ------
    ModelError
        If the outputs fit none of the forms.

    Examples
    --------
    >>> norm = torch.nn.LayerNorm(8)
    >>> measured = measure_norm(norm, 8, name="ln", weights=list(norm.parameters()))
    >>> measured.centred, measured.gain.tolist()
    (True, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    x = _vectors(d_model)
    try:
        with torch.no_grad():
            y = norm(x.to(device, dtype)[None])[0].double().cpu()
    except Exception as error:
        raise ModelError(f"{name}: the norm cannot be measured: {error}") from error
    fits = {form: _regress(normalised, y) for form, normalised in _normalised(x.double()).items()}
    form, (gain, bias, residual) = min(fits.items(), key=lambda fit: fit[1][2])
    tolerance = _TOLERANCE.get(dtype, _TOLERANCE_HALF)
    if not residual <= tolerance:  # also true for NaN
        raise ModelError(
            f"{name}: expected a LayerNorm or an RMSNorm, a gain times the normalised input plus a bias; found a "
            f"relative residual of {residual:.1g} (at most {tolerance:g}), so the model's logit weights are unknown"
        )
    return Norm(_exact(gain.float(), weights).numpy(), bias.float().numpy(), form == "centred")


def _vectors(d_model: int) -> Tensor:
    """Draw vectors of different lengths and means, so that scale and centring both show."""
    generator = torch.Generator().manual_seed(0)
    length = torch.logspace(0, 1.5, N_VECTORS)[torch.randperm(N_VECTORS, generator=generator)][:, None]
    shift = torch.randn(N_VECTORS, 1, generator=generator)
    return length * (torch.randn(N_VECTORS, d_model, generator=generator) + shift)


def _normalised(x: Tensor) -> dict[str, Tensor]:
    centred = x - x.mean(1, keepdim=True)
    return {
        "centred": centred / centred.square().mean(1, keepdim=True).sqrt(),
        "not centred": x / x.square().mean(1, keepdim=True).sqrt(),
        "no norm": x,
    }


def _regress(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return slope and intercept of each column of y on x, and the largest residual relative to the size of y."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    deviation = x - mean_x
    slope = (deviation * (y - mean_y)).sum(0) / deviation.square().sum(0)
    residual = y - mean_y - slope * deviation
    size = y.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return slope, mean_y - slope * mean_x, (residual.square().mean(0).sqrt().max() / size).item()


def _exact(gain: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """Replace a measured gain by the stored values that it equals up to rounding, if there are any."""
    stored = [w.detach().float().cpu() for w in weights if w.shape == gain.shape]
    for candidate in [*stored, *(1 + w for w in stored), torch.ones_like(gain)]:
        if torch.allclose(gain, candidate, rtol=_ROUNDING, atol=_ROUNDING * candidate.abs().max().item()):
            return candidate.contiguous()
    return gain
