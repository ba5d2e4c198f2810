"""Where training starts: the scale and centre of the activations, random decoder rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from universality.errors import ModelError
from universality.sae.weights import Weights

SAMPLE_ROWS = 8192  # the geometric median of more is the same to 1%
SAME_ROWS = 1e-11
"""Mean squared difference of rows, relative to their mean square, that is float32's rounding alone."""
LEAST_SQUARE = 1e-24
"""The least and, inverted, the largest mean squared norm of activations whose squares float32 holds."""


@dataclass(frozen=True)
class ActivationSummary:
    """What training needs to know of the activations beforehand; share one among the SAEs of a model."""

    scale: float
    """Activations times this have mean squared norm d_in, so that learning rates and penalties carry over."""
    centre: Tensor
    """Geometric median [d_in] in the activations' own units: the first decoder bias."""


def summarise(sample: Tensor | NDArray[np.floating]) -> ActivationSummary:
    """Scale and centre of activations.

    Parameters
    ----------
    sample : [n_tokens, d_in]
        Some thousand tokens; of more than 8,192 evenly spaced ones are taken.

    Raises
    ------
    ModelError
        If the sample is no matrix, holds NaN or infinity, its rows are the same but for rounding, or too large for
        float32.
    """
    sample = torch.as_tensor(sample)
    if sample.ndim != 2 or sample.shape[0] < 2 or sample.shape[1] < 1:
        raise ModelError(
            f"expected a sample of activations [n_tokens ≥ 2, d_in ≥ 1], found shape {tuple(sample.shape)}"
        )
    n_rows = min(sample.shape[0], SAMPLE_ROWS)
    taken = torch.arange(n_rows) * sample.shape[0] // n_rows
    rows = sample[taken.to(sample.device)].to(torch.float32)
    finite = torch.isfinite(rows)
    if not bool(finite.all()):
        token, column = (~finite).nonzero()[0].tolist()
        raise ModelError(
            f"the sample of activations holds NaN or infinity, first at row {taken[token]}, column {column}; "
            "check the model and the hook that the activations come from"
        )
    mean_square = float(rows.double().square().sum(dim=1).mean())
    spread = float((rows - rows[0]).double().square().sum(dim=1).mean())
    if spread <= SAME_ROWS * mean_square:
        raise ModelError(
            f"all {rows.shape[0]} rows of the sample of activations are the same; nothing can be learnt from them. "
            "Check the hook that they come from"
        )
    if not LEAST_SQUARE <= mean_square <= 1 / LEAST_SQUARE:
        raise ModelError(
            f"the mean squared norm of the sample of activations is {mean_square:.3g}, beyond what float32 can square; "
            "check the model and the hook that they come from"
        )
    return ActivationSummary(math.sqrt(rows.shape[1] / mean_square), geometric_median(rows))


def geometric_median(rows: Tensor, tolerance: float = 1e-5, max_iterations: int = 200) -> Tensor:
    """The point whose distances to all rows have the least sum.

    Weiszfeld's iteration from the mean: each step is the mean weighted by inverse distance. Stops when a step is
    shorter than ``tolerance`` times the point's norm, or after ``max_iterations``.

    Parameters
    ----------
    rows : [n_tokens, d_in]

    Returns
    -------
    Tensor [d_in]
        The point.

    References
    ----------
    Weiszfeld 1937; Vardi & Zhang 2000 (a point that meets a row: here its distance is bounded from below).
    """
    point = rows.mean(dim=0)
    floor = torch.finfo(rows.dtype).eps * rows.abs().max().clamp_min(torch.finfo(rows.dtype).tiny)
    for _ in range(max_iterations):
        weight = 1 / torch.linalg.vector_norm(rows - point, dim=1).clamp_min(floor)
        following = weight @ rows / weight.sum()
        moved = torch.linalg.vector_norm(following - point)
        point = following
        if moved <= tolerance * torch.linalg.vector_norm(point).clamp_min(floor):
            break
    return point


def encoder_norm(d_sae: int, d_in: int, threshold: float) -> float:
    """Norm of encoder rows, at most 1, with which the first reconstruction is as large as its input.

    Rows of norm m in uniform directions give pre-activations m·g with g standard normal, and on average
    Σ_f a_f w_f = d_sae / d_in · m · E[g²; m·g > θ] · x. Larger ones overshoot in a wide dictionary; with smaller ones
    nothing reaches the threshold θ there, and a feature that never fires does not learn.
    """

    def excess(norm: float) -> float:
        least = threshold / norm
        upper = math.erfc(least / math.sqrt(2)) / 2 + least * math.exp(-(least**2) / 2) / math.sqrt(2 * math.pi)
        return d_sae / d_in * norm * upper - 1

    return 1.0 if excess(1.0) <= 0 else float(brentq(excess, 1e-9, 1.0))


def initial_weights(
    d_sae: int, summary: ActivationSummary, seed: int, threshold: float | None = None, match_size: bool = False
) -> Weights:
    """Random unit decoder rows, the encoder a multiple, biases 0 and the scaled geometric median.

    Numbers are drawn on the CPU, so a seed means the same weights on every device. Width and seed together decide
    them: were a larger dictionary to start with the rows of a smaller one, its features would seem to be the same.

    Parameters
    ----------
    seed
        Of the decoder's directions, which are uniform on the sphere.
    threshold
        Of every feature, where thresholds are learnt.
    match_size
        Whether the encoder's rows have `encoder_norm`, for kinds whose number of firing features is free. Otherwise
        the encoder is the decoder's copy.
    """
    d_in, device = summary.centre.numel(), summary.centre.device
    state = np.random.SeedSequence([seed, d_sae]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    decoder = torch.randn(d_sae, d_in, generator=generator, dtype=torch.float32)
    decoder /= torch.linalg.vector_norm(decoder, dim=1, keepdim=True)
    decoder = decoder.to(device)
    norm = encoder_norm(d_sae, d_in, threshold or 0.0) if match_size else 1.0
    return Weights(
        W_enc=decoder * norm,
        b_enc=torch.zeros(d_sae, device=device),
        W_dec=decoder,
        b_dec=summary.centre.to(torch.float32) * summary.scale,
        log_threshold=None if threshold is None else torch.full((d_sae,), math.log(threshold), device=device),
    )
